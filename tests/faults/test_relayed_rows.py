"""Each row of the table of answers, played by a relay to a whole command: code, hint, tried again or not.

Which row meets which command is chosen by their order; each command meets several, and each row one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pipeline.core.errors import Code, Unreachable
from pipeline.providers import failures
from tests.faults.relayed import Play, Player, Relayed, Request, relayed, told

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

ROWS = failures.table()["answer"]
COMMANDS = {
    "vault": ("escrow", "drill", "restore", "status", "verify", "list", "ledger sync"),
    "s3": ("escrow", "drill", "status", "verify", "backups verify", "backups map", "ledger sync", "list"),
    "kms": ("escrow", "drill", "restore", "status"),
}
WORDS = {
    "speaks TLS": "Client sent an HTTP request to an HTTPS server.",
    "is full": "no space left on device",
    "limits how often": "rate limit quota exceeded",
    "is being upgraded": "Upgrading from non-versioned to versioned data.",
    "has no leader": "local node not active but active cluster node not found",
    "clock differs": "Signature expired: 20261129T000000Z is now earlier than 20261129T001500Z",
    "no Object Lock": "Bucket is missing Object Lock Configuration",
    "SSE-C": "The object was stored using a form of Server Side Encryption. The correct parameters must be "
    "provided to retrieve the object.",
    "pending deletion": "arn:aws:kms:eu-west-1:1:key/k is pending deletion.",
    "does not permit": "AccessDenied",
}
"""What a service says where a row is told by its words; by a part of what the row says."""
STATUS = {"NotImplemented": 501, "NoSuchBucket": 404, "AuthorizationHeaderMalformed": 400}
"""The status that comes with a code, where it is not the first one of the row."""


@dataclass(frozen=True)
class Example:
    """An answer that falls under a row."""

    row: failures.FailureRow
    service: str
    status: int
    code: str
    text: str

    @property
    def play(self) -> Play:
        """The answer."""
        if self.service == "vault":
            return told(self.status, json.dumps({"errors": [self.text]}).encode(), "application/json")
        if self.service == "kms":
            body = json.dumps({"__type": self.code, "message": self.text}).encode()
            return told(self.status, body, "application/x-amz-json-1.1")
        body = f"<Error><Code>{self.code}</Code><Message>{self.text}</Message></Error>".encode()
        return told(self.status, body, "application/xml")


def examples(row: failures.FailureRow) -> Iterator[Example]:
    """One for each service that can give it."""
    for service in row.service or COMMANDS:
        if service not in COMMANDS:
            continue
        told_by = next((text for part, text in WORDS.items() if part in row.says), "") if row.words else ""
        for code in sorted(row.code) or [told_by if told_by == "AccessDenied" else "Odd"]:
            status = STATUS.get(code) or min(row.status, default=400)
            code = "" if service == "vault" else code
            text = told_by or "as told"
            one = Example(row, service, status, code, text)
            failure = failures.CallFailure("answer", "w", service, "r", "s", status, code, text)
            if failures.meaning(failure) is row:
                yield one
                break


CASES = [
    (one, names[number % len(names)])
    for service, names in COMMANDS.items()
    for number, one in enumerate(one for row in ROWS for one in examples(row) if one.service == service)
]


def test_every_row_is_played() -> None:
    played = {id(one.row) for one, _ in CASES}
    assert [row for row in ROWS if id(row) not in played] == []


@pytest.fixture(scope="module")
def house(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    with relayed(stack, tmp_path_factory.mktemp("rows")) as house:
        assert house.run(*house.escrow).code == 0
        yield house


def but_for_logins(play: Play) -> Player:
    def player(asked: Request) -> Play | None:
        return None if asked.login else play

    return player


def expected(one: Example, command: str) -> Code:
    """The row's own, but where the other copy, or the other mirror, is enough."""
    code = one.row.error.code
    if command == "ledger sync" and code.retry:
        return Code.DEGRADED
    if (one.service, command, code) == ("kms", "status", Code.USAGE):
        return Code.STALE  # a holder that answers so breaks the plan, and the gate with it
    return code


@pytest.mark.parametrize(
    ("one", "command"), CASES, ids=[f"{one.service}-{one.row.says[:30]}-{command}" for one, command in CASES]
)
def test_a_row_is_what_the_command_says(one: Example, command: str, house: Relayed) -> None:
    words = {"escrow": house.escrow, "restore": house.restore}.get(command, tuple(command.split()))
    play: dict[str, Player] = {one.service: but_for_logins(one.play)}
    if command == "ledger sync":  # asks a mirror for which something waits
        house.run("verify", play=play)
    with house.elsewhere() if command == "escrow" else nullcontext(()) as place:
        run = house.run(*words, *place, play=play)
    assert run.code == expected(one, command), run
    hint = one.row.hint.partition("{")[0]
    assert hint in " ".join(f"{run.out} {run.err}".split()), run
    again = issubclass(one.row.error, Unreachable) and one.row.again
    assert house.most() >= 5 if again else 1 <= house.most() < 5, (house.most(), run)


def test_a_mirror_that_cannot_be_asked_leaves_the_other_one(house: Relayed) -> None:
    bad = but_for_logins(told(503, b"", "application/xml"))
    run = house.run("ledger", "verify", "--mirror", "s3", "--mirror", "vault", play={"s3": bad})
    assert run.code == 20, run
    assert "mirror s3 could not be asked" in run.out
    assert "by the head in vault" in run.out
    assert house.most() == 5
