"""What `orgkey init` asks, and what it does with the answers before a file is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeline.errors import UsageProblem

MOST_CUSTODIANS: Final = 16

Ask = Callable[[str, str], str]
"""Asks a person: a question and its default; an empty answer takes the default."""

OPTIONS: Final[Mapping[str, str]] = {
    "fingerprint": "--fingerprint or --from",
    "places": "--vault-address, --s3-bucket or --directory",
    "holders": "--transit-key, --kms-key or --custodian",
    "transit": "--vault-address",
}


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
    region: str = "us-east-1"
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
        UsageProblem: It is no fingerprint.
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
        UsageProblem: It is no fingerprint.
    """
    try:
        return normal_fingerprint(text)
    except UsageProblem as error:
        raise UsageProblem(
            f"--custodian: {error.message}", hint="the custodian reads it to you from `gpg --fingerprint`"
        ) from None


def _with_custodians(given: Setup) -> Setup:
    """Settle the group of custodians, as far as one is wanted.

    Raises:
        UsageProblem: It is no group, or the threshold does not fit it.
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
    if not given.custodian_certificates:
        raise UsageProblem(
            "it is not known where the custodians' certificates are", hint="give --custodian-certificates"
        )
    return replace(given, custodians=members, custodian_threshold=threshold)


def complete(given: Setup, ask: Ask | None) -> Setup:
    """Fill in what was not given, by asking where somebody can answer.

    Args:
        given: What the options say.
        ask: How to ask; ``None`` when nobody is there.

    Returns:
        Answers that a configuration can write down.

    Raises:
        UsageProblem: An answer is missing and nobody can be asked; the options are named.
    """
    if ask is not None:
        given = _asked(given, ask)
    missing = [
        OPTIONS[name]
        for name, lacking in (
            ("fingerprint", not given.fingerprint),
            ("places", not given.targets()),
            ("holders", not given.holders()),
            ("transit", bool(given.transit_key and not given.vault_address)),
        )
        if lacking
    ]
    if missing:
        raise UsageProblem(
            "not all that a configuration needs was answered", hint=f"give {'; and '.join(missing)}"
        )
    if given.s3_bucket and (given.s3_lock_mode is None) != (given.s3_lock_days is None):
        raise UsageProblem("a lock has a mode and days", hint="give both --s3-lock-mode and --s3-lock-days")
    given = _with_custodians(given)
    return replace(given, fingerprint=normal_fingerprint(given.fingerprint or ""))


def _asked(given: Setup, ask: Ask) -> Setup:
    """Ask for what is open, in the order in which the file has it."""
    answers = given
    questions: tuple[tuple[str, str, Callable[[Setup], bool], str], ...] = (
        ("fingerprint", "Fingerprint of the Org Key (40 hexadecimal digits)", lambda _: True, ""),
        ("vault_address", "Address of Vault or OpenBao (empty for none)", lambda _: True, ""),
        ("s3_bucket", "S3 bucket for records (empty for none)", lambda _: True, ""),
        ("directory", "Directory for one more copy (empty for none)", lambda _: True, ""),
        ("transit_key", "Transit key", lambda so_far: bool(so_far.vault_address), "orgkey-escrow"),
        ("kms_key", "AWS KMS key: ARN, id or alias (empty for none)", lambda _: True, ""),
    )
    for field, question, applies, default in questions:
        if getattr(answers, field) is None and applies(answers):
            answer: dict[str, Any] = {field: ask(question, default)}
            answers = replace(answers, **answer)
    return answers


def advice(setup: Setup) -> tuple[str, ...]:
    """What to think about before this configuration is used, a sentence each."""
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
