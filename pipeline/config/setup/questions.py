"""What `orgkey init` asks, and the answers made whole: by questions where somebody is there, by defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

from pipeline.config.places import BUCKET, VaultPlace
from pipeline.config.setup.answers import Setup, group, normal_fingerprint
from pipeline.core.errors import UsageProblem

Ask = Callable[[str, str], str]
"""Asks a person: a question and its default; an empty answer takes the default."""

OPTIONS: Final[Mapping[str, str]] = {
    "fingerprint": "--fingerprint or --from",
    "places": "--vault-address, --s3-bucket or --directory",
    "holders": "--transit-key, --kms-key or --custodian",
    "transit": "--vault-address",
    "region": "--region",
}
_TRANSIT_KEY: Final = "orgkey-escrow"
_TWO: Final = 2


@dataclass(frozen=True, slots=True)
class Question:
    """One question of `init`.

    Attributes:
        field: Which answer of :class:`Setup` it fills in.
        text: What is asked.
        why: What the answer decides, on one line.
        read: Turns what was typed into the answer; raises ``UsageProblem`` for what cannot be one.
        applies: Whether it is asked, given the answers so far.
        default: What an empty line stands for, given the answers so far.
    """

    field: str
    text: str
    why: str
    read: Callable[[str], Any] = str
    applies: Callable[[Setup], bool] = lambda _: True
    default: Callable[[Setup], str] = lambda _: ""


def _address(text: str) -> str:
    try:
        return VaultPlace(address=text).address if text else ""
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageProblem(f"{text!r}: {reason}", hint="write the scheme and the port, too") from None


def _matching(pattern: str, what: str, hint: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise UsageProblem(f"{text!r} is not {what}", hint=hint)
        return text

    return read


_lock_mode = _matching("GOVERNANCE|COMPLIANCE|NONE", "a lock mode", "write GOVERNANCE, COMPLIANCE or none")
_number = _matching("[1-9][0-9]*", "a number", "write a whole number, for example 2")

# At most eleven are asked: a directory only where there are fewer than two places.
QUESTIONS: Final = (
    Question(
        "fingerprint",
        "Fingerprint of the Org Key (40 hexadecimal digits)",
        "no other key is escrowed; the server shows it under Keys > Organization Keys",
        normal_fingerprint,
    ),
    Question(
        "vault_address",
        "Address of Vault or OpenBao (empty for none)",
        "it keeps a copy of each record, and its Transit key opens a share of the passphrase",
        _address,
    ),
    Question(
        "s3_bucket",
        "S3 bucket for records (empty for none)",
        "a copy that Vault's loss does not take",
        _matching(f"({BUCKET})?", "a bucket", "give its name alone, without s3:// and without a path"),
    ),
    Question(
        "s3_owner",
        "Account that owns the bucket (12 digits; empty: not checked)",
        "nothing is sent to a bucket of this name that belongs to somebody else",
        _matching(r"(\d{12})?", "an account's number", "it has 12 digits"),
        lambda so_far: so_far.on_aws,
    ),
    Question(
        "s3_lock_mode",
        "Object Lock: GOVERNANCE (an administrator can lift it), COMPLIANCE (nobody can) or none",
        "a locked record cannot be deleted, by a mistake or by a thief of the login",
        lambda text: _lock_mode(text.upper()).replace("NONE", ""),
        lambda so_far: bool(so_far.s3_bucket) and so_far.s3_lock_days is None,
        lambda _: "GOVERNANCE",
    ),
    Question(
        "s3_lock_days",
        "Days for which each record is locked (2 to try it)",
        "`orgkey retain` extends a lock before it ends; COMPLIANCE is never shortened",
        lambda text: int(_number(text)),
        lambda so_far: bool(so_far.s3_lock_mode),
        lambda _: "30",
    ),
    Question(
        "directory",
        "Directory for one more copy (empty for none)",
        "with one copy only, its loss is the loss of everything",
        str,
        lambda so_far: len(so_far.targets()) < _TWO,
    ),
    Question(
        "kms_key",
        "AWS KMS key: ARN, id or alias (empty for none)",
        "its owner and Vault's open a share each: neither gets the key alone",
    ),
    Question(
        "region",
        "Region of the bucket and the KMS key",
        "where they are looked for; a key's ARN would say it",
        _matching("[a-z0-9]+(-[a-z0-9]+)+", "a region", "it looks like eu-central-1"),
        lambda so_far: so_far.lacks_region,
    ),
    Question(
        "custodians",
        "Custodians: fingerprints of their certificates, with commas between (empty for none yet)",
        "people who can restore together when all machines are lost",
        lambda text: group(tuple(item for item in text.split(",") if item.strip())) if text else (),
    ),
    Question(
        "custodian_threshold",
        "How many of the custodians suffice",
        "fewer could be talked into it; more might not be found in an emergency",
        lambda text: int(_number(text)),
        lambda so_far: len(so_far.custodians) > _TWO,
        lambda so_far: str(len(so_far.custodians) // 2 + 1),
    ),
    Question(
        "max_drill_age_days",
        "Days after which the last drill is too old",
        "`orgkey status` then fails, so that nobody forgets",
        lambda text: int(_number(text)),
        default=lambda so_far: str(so_far.usual_drill_age),
    ),
)


def _asked(given: Setup, ask: Ask) -> Setup:
    """Ask for what is open; what cannot be an answer is asked for again at once."""
    answers = given
    for question in QUESTIONS:
        if answers.vault_address and answers.transit_key is None:
            answers = replace(answers, transit_key=_TRANSIT_KEY)
        if getattr(answers, question.field) not in (None, ()) or not question.applies(answers):
            continue
        text = f"\n{question.why[0].upper()}{question.why[1:]}.\n{question.text}"
        while True:
            try:
                typed = ask(text, question.default(answers)).strip()
                answer: dict[str, Any] = {question.field: question.read(typed)}
            except UsageProblem as error:
                text = f"{error.message}: {error.hint}\n{question.text}"
                continue
            answers = replace(answers, **answer)
            break
    return answers


def _with_custodians(given: Setup, certificates: str) -> Setup:
    """Settle the group of custodians, as far as one is wanted.

    Raises:
        UsageProblem: It is not a group, or the threshold does not fit it.
    """
    if not given.custodians:
        if given.custodian_threshold is not None or given.custodian_certificates:
            raise UsageProblem(
                "there are no custodians", hint="name each with --custodian and a certificate's fingerprint"
            )
        return given
    members, size = group(given.custodians), len(given.custodians)
    threshold = size // 2 + 1 if given.custodian_threshold is None else given.custodian_threshold
    if not 2 <= threshold <= size:
        raise UsageProblem(
            f"{threshold} of {size} custodians is not a group",
            hint=f"--custodian-threshold is from 2 to {size}",
        )
    folder = given.custodian_certificates or certificates
    return replace(given, custodians=members, custodian_threshold=threshold, custodian_certificates=folder)


def complete(given: Setup, ask: Ask | None, certificates: str) -> Setup:
    """Fill in what was not given, by asking where somebody can answer.

    Args:
        given: What the options say.
        ask: How to ask; ``None`` when nobody is there.
        certificates: Where the custodians' certificates lie, unless an answer says otherwise.

    Returns:
        Answers that a configuration can write down.

    Raises:
        UsageProblem: An answer is missing and nobody can be asked; the options are named.
    """
    if ask is not None:
        given = _asked(given, ask)
    given = given.with_region()
    lacking = {
        "fingerprint": not given.fingerprint,
        "places": not given.targets(),
        "holders": not given.holders(),
        "transit": bool(given.transit_key and not given.vault_address),
        "region": given.lacks_region,
    }
    missing = [OPTIONS[name] for name, absent in lacking.items() if absent]
    if missing:
        raise UsageProblem(
            "not all that a configuration needs was answered", hint=f"give {'; and '.join(missing)}"
        )
    if given.s3_bucket and bool(given.s3_lock_mode) != bool(given.s3_lock_days):
        raise UsageProblem("a lock has a mode and days", hint="give both --s3-lock-mode and --s3-lock-days")
    given = _with_custodians(given, certificates).with_limits()
    return replace(given, fingerprint=normal_fingerprint(given.fingerprint or ""))
