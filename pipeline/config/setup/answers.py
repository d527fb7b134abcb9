"""What `orgkey init` asks, and what it does with the answers before a file is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeline.config.holders import kms_region
from pipeline.core.errors import UsageProblem
from pipeline.core.text import counted

MOST_CUSTODIANS: Final = 16

Ask = Callable[[str, str], str]
"""Asks a person: a question and its default; an empty answer takes the default."""

OPTIONS: Final[Mapping[str, str]] = {
    "fingerprint": "--fingerprint or --from",
    "places": "--vault-address, --s3-bucket or --directory",
    "holders": "--transit-key, --kms-key or --custodian",
    "transit": "--vault-address",
    "region": "--region",
}
LOCKS: Final = ("GOVERNANCE", "COMPLIANCE")


@dataclass(frozen=True, slots=True)
class Setup:
    """What `init` needs to know; ``None`` is "not answered", an empty text "none".

    The names of the fields are those of the options. Defaults that are not ``None`` are what most
    installations use.
    """

    fingerprint: str | None = None
    vault_address: str | None = None
    vault_namespace: str | None = None
    vault_ca_file: str | None = None
    vault_mount: str = "orgkey"
    vault_prefix: str = "records"
    s3_bucket: str | None = None
    s3_prefix: str = "orgkey"
    s3_endpoint: str | None = None
    s3_lock_mode: str | None = None
    s3_lock_days: int | None = None
    s3_owner: str | None = None
    region: str | None = None
    directory: str | None = None
    transit_key: str | None = None
    transit_mount: str = "transit"
    kms_key: str | None = None
    kms_endpoint: str | None = None
    inbox: str | None = None
    vault_controlled_by: tuple[str, ...] = ("vault-admins",)
    aws_controlled_by: tuple[str, ...] = ("aws-admins",)
    directory_controlled_by: tuple[str, ...] = ("host-admins",)
    custodians: tuple[str, ...] = ()
    custodian_threshold: int | None = None
    custodian_certificates: str | None = None
    accept_single_party: bool = False
    accept_single_loss: bool = False

    @property
    def kms_region(self) -> str | None:
        """The region of the KMS key: its ARN names it."""
        return kms_region(self.kms_key) or self.region

    def targets(self) -> tuple[str, ...]:
        """The names of the targets that the file will have."""
        given = {"vault": self.vault_address, "s3": self.s3_bucket, "directory": self.directory}
        return tuple(name for name, value in given.items() if value)

    def machines(self) -> tuple[str, ...]:
        """The names of the holders that need no person."""
        given = {"vault": self.transit_key, "aws": self.kms_key}
        return tuple(name for name, value in given.items() if value)

    def holders(self) -> tuple[str, ...]:
        """The names of the holders that the file will have."""
        return (*self.machines(), *(("custodians",) if self.custodians else ()))


def normal_fingerprint(text: str) -> str:
    """Write a fingerprint as the configuration has it.

    Raises:
        UsageProblem: It is not a fingerprint.
    """
    from pydantic import ValidationError

    from pipeline.config import Key

    try:
        return Key(fingerprint=text).fingerprint
    except ValidationError:
        raise UsageProblem(
            f"{text!r} is not a fingerprint: it has 40 hexadecimal digits, a key id is not enough",
            hint="`orgkey inspect EXPORT` shows it; compare it with the server's",
        ) from None


def custodian(text: str) -> str:
    """Write a custodian's fingerprint as the configuration has it.

    Raises:
        UsageProblem: It is not a fingerprint.
    """
    try:
        return normal_fingerprint(text)
    except UsageProblem as error:
        raise UsageProblem(
            f"--custodian: {error.message}", hint="the custodian reads it to you from `gpg --fingerprint`"
        ) from None


def _with_custodians(given: Setup, certificates: str) -> Setup:
    """Settle the group of custodians, as far as one is wanted.

    Raises:
        UsageProblem: It is not a group, or the threshold does not fit it.
    """
    size, threshold = len(given.custodians), given.custodian_threshold
    if not size:
        if threshold is not None or given.custodian_certificates:
            raise UsageProblem(
                "there are no custodians", hint="name each with --custodian and a certificate's fingerprint"
            )
        return given
    members = tuple(custodian(text) for text in given.custodians)
    if not 2 <= size <= MOST_CUSTODIANS or len(set(members)) != size:
        raise UsageProblem(
            f"--custodian was given {size} times, for {len(set(members))} people",
            hint=f"a group has 2 to {MOST_CUSTODIANS} custodians, each named once",
        )
    if threshold is None:
        threshold = size // 2 + 1
    if not 2 <= threshold <= size:
        raise UsageProblem(
            f"{threshold} of {size} custodians is not a group",
            hint=f"--custodian-threshold is from 2 to {size}",
        )
    return replace(
        given,
        custodians=members,
        custodian_threshold=threshold,
        custodian_certificates=given.custodian_certificates or certificates,
    )


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
    given = _with_region(given)
    missing = [
        OPTIONS[name]
        for name, lacking in (
            ("fingerprint", not given.fingerprint),
            ("places", not given.targets()),
            ("holders", not given.holders()),
            ("transit", bool(given.transit_key and not given.vault_address)),
            ("region", _without_region(given)),
        )
        if lacking
    ]
    if missing:
        raise UsageProblem(
            "not all that a configuration needs was answered", hint=f"give {'; and '.join(missing)}"
        )
    if given.s3_bucket and bool(given.s3_lock_mode) != bool(given.s3_lock_days):
        raise UsageProblem("a lock has a mode and days", hint="give both --s3-lock-mode and --s3-lock-days")
    given = _with_custodians(given, certificates)
    return replace(given, fingerprint=normal_fingerprint(given.fingerprint or ""))


def _with_region(given: Setup) -> Setup:
    """Take the region that an answer names anyway: the key's, or what servers other than AWS are given."""
    if given.region or not (given.s3_bucket or given.kms_key):
        return given
    if region := kms_region(given.kms_key):
        return replace(given, region=region)
    others = (not given.s3_bucket or given.s3_endpoint) and (not given.kms_key or given.kms_endpoint)
    return replace(given, region="us-east-1") if others else given


def _without_region(given: Setup) -> bool:
    return bool(given.s3_bucket or given.kms_key) and not given.region


@dataclass(frozen=True, slots=True)
class Question:
    """One question of `init`.

    Attributes:
        field: Which answer of :class:`Setup` it fills in.
        text: What is asked.
        read: Turns what was typed into the answer; raises ``UsageProblem`` for what cannot be one.
        applies: Whether it is asked, given the answers so far.
        default: What an empty line stands for.
    """

    field: str
    text: str
    read: Callable[[str], Any]
    applies: Callable[[Setup], bool] = lambda _: True
    default: str = ""


def _address(text: str) -> str:
    from pydantic import ValidationError

    from pipeline.config import VaultPlace

    try:
        return VaultPlace(address=text).address if text else ""
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageProblem(f"{text!r}: {said}", hint="write the scheme and the port, too") from None


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", text):
        raise UsageProblem(f"{text!r} is not a region", hint="it looks like eu-central-1")
    return text


def _owner(text: str) -> str:
    if text and not re.fullmatch(r"\d{12}", text):
        raise UsageProblem(f"{text!r} is not an account's number", hint="it has 12 digits")
    return text


def _lock(text: str) -> str:
    if text.upper() in LOCKS:
        return text.upper()
    if text.lower() == "none":
        return ""
    raise UsageProblem(f"{text!r} is not a lock mode", hint=f"write {', '.join(LOCKS)} or none")


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageProblem(f"{text!r} is not a number of days", hint="write a whole number, for example 2")
    return int(text)


def _people(text: str) -> tuple[str, ...]:
    members = tuple(custodian(item) for item in text.split(",") if item.strip())
    if members and (not 2 <= len(members) <= MOST_CUSTODIANS or len(set(members)) != len(members)):
        raise UsageProblem(
            f"{counted(len(set(members)), 'custodian')} cannot be a group",
            hint=f"a group has 2 to {MOST_CUSTODIANS} custodians, each named once",
        )
    return members


def _on_aws(so_far: Setup) -> bool:
    return bool(so_far.s3_bucket) and not so_far.s3_endpoint


# In the order in which the file has them.
QUESTIONS: Final = (
    Question("fingerprint", "Fingerprint of the Org Key (40 hexadecimal digits)", normal_fingerprint),
    Question("vault_address", "Address of Vault or OpenBao (empty for none)", _address),
    Question("s3_bucket", "S3 bucket for records (empty for none)", str),
    Question("s3_owner", "Account that owns the bucket (12 digits; empty: not checked)", _owner, _on_aws),
    Question(
        "s3_lock_mode",
        "Object Lock: GOVERNANCE (an administrator can lift it), COMPLIANCE (nobody can) or none",
        _lock,
        lambda so_far: bool(so_far.s3_bucket) and so_far.s3_lock_days is None,
        "GOVERNANCE",
    ),
    Question(
        "s3_lock_days",
        "Days for which each record is locked (2 to try it)",
        _days,
        lambda so_far: bool(so_far.s3_lock_mode),
    ),
    Question("directory", "Directory for one more copy (empty for none)", str),
    Question("transit_key", "Transit key", str, lambda so_far: bool(so_far.vault_address), "orgkey-escrow"),
    Question("kms_key", "AWS KMS key: ARN, id or alias (empty for none)", str),
    Question(
        "region",
        "Region of the bucket and the KMS key",
        _region,
        lambda so_far: _without_region(_with_region(so_far)),
    ),
    Question(
        "custodians",
        "Custodians: fingerprints of their certificates, with commas between (empty for none yet)",
        _people,
        lambda so_far: not so_far.custodians,
    ),
    Question(
        "custodian_threshold",
        "How many of the custodians suffice (empty for more than half)",
        lambda text: _days(text) if text else None,
        lambda so_far: bool(so_far.custodians),
    ),
)


def _asked(given: Setup, ask: Ask) -> Setup:
    """Ask for what is open; what cannot be an answer is asked for again at once."""
    answers = given
    for question in QUESTIONS:
        if getattr(answers, question.field) not in (None, ()) or not question.applies(answers):
            continue
        text = question.text
        while True:
            try:
                answer: dict[str, Any] = {question.field: question.read(ask(text, question.default).strip())}
            except UsageProblem as error:
                text = f"{error.message}: {error.hint}\n{question.text}"
                continue
            answers = replace(answers, **answer)
            break
    return answers


def advice(setup: Setup) -> tuple[str, ...]:
    """What to think about before this configuration is used, a sentence each.

    Args:
        setup: Complete answers.
    """
    told = []
    parties = {
        *(setup.vault_controlled_by if setup.transit_key else ()),
        *(setup.aws_controlled_by if setup.kms_key else ()),
    }
    if len(parties) == 1 and not setup.accept_single_party:
        told.append(
            f"{', '.join(sorted(parties))} alone can reconstruct the key, so `orgkey escrow` will refuse: "
            "add a holder that somebody else controls, or give --accept-single-party"
        )
    if len(setup.targets()) < 2:
        told.append("there is one copy only, and losing it loses everything: add a second target")
    if setup.s3_bucket and not setup.s3_lock_mode:
        told.append(
            "records in the bucket are not locked, so whoever may delete there can: give --s3-lock-mode and "
            "--s3-lock-days"
        )
    if setup.custodians:
        told.append(
            f"put the certificates of the {len(setup.custodians)} custodians into "
            f"{setup.custodian_certificates}, and have each custodian read out the fingerprint: "
            "`orgkey config validate` looks at them"
        )
    if setup.s3_lock_mode == "COMPLIANCE":
        told.append(
            f"nobody, not even AWS, can delete a record or shorten its lock for {setup.s3_lock_days} days"
        )
    return tuple(told)
