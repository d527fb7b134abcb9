"""Servers that are down, sealed, emptied or refuse: the table's code, nothing false, completed later."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.commandline import Desk, copies

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack


@dataclass(frozen=True)
class Outage:
    """Something that goes wrong on a stack.

    Attributes:
        begin: Brings it about.
        end: Ends it.
        code: What an escrow ends with meanwhile.
        named: What the error names.
        committed: Whether Vault holds a copy by then, so that the same epoch must be finished.
    """

    begin: Callable[[Stack], object]
    end: Callable[[Stack], object]
    code: int
    named: str
    committed: bool


def bucket_directory(stack: Stack) -> Path:
    """Where versitygw keeps the bucket."""
    found = [path for path in stack.layout.member("s3").rglob(stack.state.bucket) if path.is_dir()]
    return min(found, key=lambda path: len(path.parts))


def take_bucket_away(stack: Stack) -> None:
    path = bucket_directory(stack)
    path.rename(stack.layout.root / "put-away")
    (stack.layout.root / "put-away.json").write_text(json.dumps(str(path)))


def put_bucket_back(stack: Stack) -> None:
    path = Path(json.loads((stack.layout.root / "put-away.json").read_text()))
    (stack.layout.root / "put-away").rename(path)
    (stack.layout.root / "put-away.json").unlink()


OUTAGES = {
    "vault-sealed": Outage(lambda s: s.seal(), lambda s: s.unseal(), 20, "vault", committed=False),
    "vault-stopped": Outage(
        lambda s: s.stop_member("vault"), lambda s: s.start_member("vault"), 20, "vault", committed=False
    ),
    "kms-stopped": Outage(
        lambda s: s.stop_member("kms"), lambda s: s.start_member("kms"), 20, "aws", committed=False
    ),
    "kms-key-disabled": Outage(
        lambda s: s.kms("root").disable_key(KeyId=s.state.kms_key),
        lambda s: s.kms("root").enable_key(KeyId=s.state.kms_key),
        20,
        "aws",
        committed=False,
    ),
    "s3-stopped": Outage(
        lambda s: s.stop_member("s3"), lambda s: s.start_member("s3"), 20, "s3", committed=True
    ),
    "bucket-gone": Outage(take_bucket_away, put_bucket_back, 20, "s3", committed=True),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_an_escrow_meets_an_outage_and_completes_after_it(
    name: str, breakable_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    outage, desk = OUTAGES[name], Desk(fresh_place(breakable_stack), tmp_path)
    outage.begin(breakable_stack)
    met = desk.run(
        *("escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file), "--json"),
        expect=outage.code,
    )
    document = met.document
    if outage.committed:
        bad = {copy["target"]: copy for copy in document["copies"] if not copy["verified"]}
        assert set(bad) == {outage.named}
        assert bad[outage.named]["error"]["code"] == outage.code
        assert (document["proven"], document["drill"]) == (False, None)
    else:
        assert document["error"]["code"] == outage.code
        assert outage.named in document["error"]["message"]
        assert met.error == (document["error"]["message"], document["error"]["hint"])
        assert not desk.journal.exists() or list(desk.journal.iterdir()) == []
    gate = desk.ask("status", expect=outage.code)["gate"]
    assert gate["ok"] is False

    outage.end(breakable_stack)
    before = desk.stored_in_vault()
    assert len(before) == int(outage.committed)
    assert desk.stored_in_s3() == []
    done = desk.escrow()
    assert done["proven"] is True
    assert done["resumed"] is outage.committed
    if outage.committed:
        assert [done["epoch"]] == before == [document["epoch"]]
        assert done["record_sha256"] == document["record_sha256"]
    assert desk.stored_in_vault() == [done["epoch"]]
    assert len(desk.stored_in_s3()) == 1
    assert desk.ask("status")["gate"]["ok"] is True


def test_a_drill_and_a_restore_name_the_holder_that_does_not_answer(
    breakable_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    desk = Desk(fresh_place(breakable_stack), tmp_path)
    desk.escrow("--no-drill")
    breakable_stack.stop_member("kms")
    drilled = desk.ask("drill", expect=20)
    assert drilled["passed"] is False
    for result in drilled["results"]:
        assert result["proofs"]["recover"]["ok"] is False
        assert "aws" in result["proofs"]["recover"]["problem"]
    told = desk.restore(expect=20)
    assert "aws" in told["error"]["message"]
    assert not (tmp_path / "restored.asc").exists()
    assert desk.ask("verify")["exit_code"] == 0, "whether copies are whole needs no holder"

    breakable_stack.start_member("kms")
    breakable_stack.seal()
    assert desk.restore(expect=20)["error"]["code"] == 20
    listed = desk.ask("list", expect=20)
    assert listed["unreachable"]["vault"]["code"] == 20
    assert listed["epochs"][0]["state"] != "proven"
    breakable_stack.unseal()
    assert desk.ask("drill")["passed"] is True


def test_a_server_that_never_answers_is_given_up_in_time(
    breakable_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    desk = Desk(fresh_place(breakable_stack), tmp_path)
    desk.edit("copies = 2", "copies = 2\ncall_seconds = 1\ndeadline_seconds = 4")
    breakable_stack.pause_member("s3")
    try:
        desk.escrow(expect=25)  # an error, or a result without enough copies: as far as it came
    finally:
        breakable_stack.resume_member("s3")
    desk.edit("deadline_seconds = 4", "deadline_seconds = 120")
    desk.edit("call_seconds = 1", "call_seconds = 10")
    assert desk.escrow()["proven"] is True
    assert len(desk.stored_in_vault()) == 1


def test_a_server_that_keeps_silent_is_insisted_on_once(
    breakable_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    """A report has many questions: only the first one is tried again, the others cost one time-out each."""
    desk = Desk(fresh_place(breakable_stack), tmp_path)
    desk.escrow()
    desk.edit("copies = 2", "copies = 2\ncall_seconds = 1")
    breakable_stack.pause_member("vault")
    try:
        told = desk.run("report", "--out", str(tmp_path / "report.html"), "-v").err
    finally:
        breakable_stack.resume_member("vault")
        desk.edit("call_seconds = 1", "call_seconds = 10")
    asked = [line for line in told.splitlines() if "attempt" in line and "vault" in line]
    assert [number for number in range(1, 6) for line in asked if f"attempt {number} failed" in line] == [
        *range(1, 5)
    ], told
    assert desk.ask("status")["gate"]["ok"] is True


def test_one_of_three_targets_down_is_degraded_and_completed_later(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path, disk=True)
    desk.disk.rmdir()  # a disk that is not mounted
    made = desk.escrow(expect=24)
    assert {copy["target"]: copy["verified"] for copy in made["copies"]} == {
        "vault": True,
        "s3": True,
        "disk": False,
    }
    assert made["drill"]["passed"] is True
    assert not desk.disk.exists(), "the mount point is never made"
    assert desk.ask("status", expect=20)["gate"]["ok"] is False

    desk.disk.mkdir()
    assert copies(desk.ask("verify", expect=24), made["epoch"])["disk"]["ok"] is False
    fixed = {item["target"]: item["action"] for item in desk.ask("repair")["copies"]}
    assert fixed == {"vault": "kept", "s3": "kept", "disk": "copied"}
    assert desk.ask("status")["gate"]["ok"] is True
    again = desk.escrow()
    assert (again["already"], again["epoch"], again["exit_code"]) == (True, made["epoch"], 0)


def test_an_escrow_completes_what_a_degraded_one_left(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path, disk=True)
    desk.disk.rmdir()
    made = desk.escrow("--no-drill", expect=24)
    desk.disk.mkdir()
    again = desk.escrow()
    assert (again["epoch"], again["resumed"], again["proven"]) == (made["epoch"], True, True)
    assert all(copy["verified"] for copy in again["copies"])


# -- logins that are refused -----------------------------------------------------------------------------


def test_a_wrong_secret_id_is_denied(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    wrong = desk.write("secret-id", b"00000000-0000-0000-0000-000000000000\n")
    desk.edit(str(place.stack.layout.secret_id("writer")), str(wrong))
    told = desk.escrow(expect=21)["error"]
    assert (told["name"], "vault" in told["message"]) == ("denied", True)
    assert desk.nothing_stored()


def test_a_revoked_token_is_denied(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    root = place.stack.vault("root")
    token = root.auth.token.create(policies=["orgkey-writer"], ttl="20m")["auth"]["client_token"]
    file = desk.write("token", token.encode())
    text = desk.config.read_text()
    head, _, tail = text.partition("[identity.writer.vault]")
    _, _, tail = tail.partition("[identity.writer.aws]")
    desk.config.write_text(
        f"{head}[identity.writer.vault]\ntoken_file = {json.dumps(str(file))}\n[identity.writer.aws]{tail}"
    )
    assert desk.escrow("--no-drill")["exit_code"] == 0
    root.auth.token.revoke(token)
    told = desk.escrow("--no-drill", expect=21)["error"]
    assert "vault" in told["message"]
    assert token not in json.dumps(told)


@pytest.mark.parametrize("only_s3", [False, True])
def test_wrong_aws_credentials_are_denied(only_s3: bool, place: Place, tmp_path: Path) -> None:
    wrong = tmp_path / "credentials"
    wrong.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n")
    wrong.chmod(0o600)
    at = f"\n[identity.writer.at.s3]\ncredentials_file = {json.dumps(str(wrong))}\n"
    desk = Desk(place, tmp_path, more=at if only_s3 else "")
    if not only_s3:
        desk.edit(str(place.stack.layout.aws_credentials("writer")), str(wrong))
    made = desk.escrow(expect=21)
    if only_s3:
        bad = next(copy for copy in made["copies"] if copy["target"] == "s3")
        assert (bad["verified"], bad["error"]["code"], made["proven"]) == (False, 21, False)
        assert [epoch["state"] for epoch in desk.ask("list")["epochs"]] == ["written"]
    else:
        assert "aws" in made["error"]["message"]
        assert desk.nothing_stored()
    assert desk.stored_in_s3() == []


def test_the_writer_alone_cannot_drill(place: Place, tmp_path: Path) -> None:
    """The two identities are told apart by the servers: what the writer may not open stays closed."""
    desk = Desk(place, tmp_path)
    desk.escrow("--no-drill")
    layout = place.stack.layout
    for of in (layout.role_id, layout.secret_id):
        desk.edit(str(of("driller")), str(of("writer")))
    drilled = desk.ask("drill", expect=21)
    assert drilled["passed"] is False
    assert desk.restore(expect=21)["error"]["name"] == "denied"
    assert not (tmp_path / "restored.asc").exists()
