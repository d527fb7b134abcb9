"""What `orgkey init` has to know: its options, its questions, and what follows from the answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from pipeline.config._base import fingerprint_of
from pipeline.config.holders import kms_region
from pipeline.config.places import BUCKET, VaultPlace
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
_TRANSIT_KEY: Final = "orgkey-escrow"
_TWO: Final = 2
PARTIES: Final = "Who can read, write or wipe it; repeatable."

_VAULT, _S3, _PEOPLE, _GATE, _OTHER = "Vault", "S3 and KMS", "Custodians", "The gate", "Other"
_MACHINES_DRILL: Final = 8
"""Days: every week, with a day to see to a drill that did not run."""
_PEOPLE_MEET: Final = 190
"""Days: twice a year."""


def _option(panel: str, default: Any, text: str, metavar: str | None = None, name: str | None = None) -> Any:
    """An answer that has an option.

    Args:
        panel: The heading under which the help page shows it.
        default: What most installations use; ``None`` is "not answered".
        text: Its line on the help page.
        metavar: What stands for its value.
        name: How the option is called, where not as the field.
    """
    named = {"name": name} if name else {}
    return field(default=default, metadata={"panel": panel, "text": text, "metavar": metavar} | named)


@dataclass(frozen=True, slots=True)
class Setup:
    """What `init` needs to know; ``None`` is "not answered", an empty text "none"."""

    fingerprint: str | None = None
    vault_address: str | None = _option(_VAULT, None, "For example https://vault.example.com:8200.", "URL")
    vault_namespace: str | None = _option(_VAULT, None, "Namespace, where Vault has them.", "NAME")
    vault_ca_file: str | None = _option(
        _VAULT, None, "PEM file of the authority of Vault's certificate.", "FILE"
    )
    vault_mount: str = _option(_VAULT, "orgkey", "KV v2 mount.")
    vault_prefix: str = _option(_VAULT, "records", "Path below the mount.", "PATH")
    vault_controlled_by: tuple[str, ...] = _option(_VAULT, ("vault-admins",), PARTIES, "PARTY")
    transit_key: str | None = _option(_VAULT, None, "Transit key that opens a share.")
    transit_mount: str = _option(_VAULT, "transit", "Transit mount.", "MOUNT")
    s3_bucket: str | None = _option(_S3, None, "Bucket.")
    s3_prefix: str = _option(_S3, "orgkey", "Start of every object's key.", "PATH")
    s3_endpoint: str | None = _option(_S3, None, "URL of another S3 server than AWS.", "URL")
    s3_owner: str | None = _option(_S3, None, "Account that must own the bucket (12 digits).", "ID")
    s3_lock_mode: str | None = _option(_S3, None, "GOVERNANCE or COMPLIANCE.")
    s3_lock_days: int | None = _option(_S3, None, "Days of retention; with --s3-lock-mode.", "N")
    region: str | None = _option(_S3, None, "Of the bucket and the KMS key, unless its ARN names it.")
    kms_key: str | None = _option(_S3, None, "KMS key that opens a share.")
    kms_endpoint: str | None = _option(_S3, None, "URL of another KMS server than AWS.", "URL")
    aws_controlled_by: tuple[str, ...] = _option(_S3, ("aws-admins",), PARTIES, "PARTY")
    custodians: tuple[str, ...] = _option(
        _PEOPLE,
        (),
        "A person who gets a share: the fingerprint of an OpenPGP certificate; repeatable.",
        "FPR",
        "--custodian",
    )
    custodian_threshold: int | None = _option(
        _PEOPLE, None, "How many of them suffice; default: more than half.", "N"
    )
    custodian_certificates: str | None = _option(
        _PEOPLE, None, "Where their certificates lie; default: custodians beside the new file.", "DIR"
    )
    max_drill_age_days: float | None = _option(
        _GATE, None, "How old the last drill may be; default: 8, or 190 without machines.", "DAYS"
    )
    max_path_drill_age_days: float | None = _option(
        _GATE, None, "How old each path's may be; default: 190 with custodians, else no limit.", "DAYS"
    )
    max_check_in_age_days: float | None = _option(
        _GATE, None, "How old a custodian's check-in may be; default: 190.", "DAYS"
    )
    directory: str | None = _option(_OTHER, None, "Keep one more copy here.")
    directory_controlled_by: tuple[str, ...] = _option(_OTHER, ("host-admins",), PARTIES, "PARTY")
    inbox: str | None = _option(_OTHER, None, "Folder in which exports are dropped.")
    accept_single_party: bool = _option(
        _OTHER, False, "Allow a plan under which one party gets the key alone."
    )
    accept_single_loss: bool = _option(_OTHER, False, "Allow a plan under which one loss ends every restore.")

    @property
    def kms_region(self) -> str | None:
        """The region of the KMS key: its ARN names it."""
        return kms_region(self.kms_key) or self.region

    @property
    def on_aws(self) -> bool:
        """Whether the bucket is one of AWS itself."""
        return bool(self.s3_bucket) and not self.s3_endpoint

    @property
    def lacks_region(self) -> bool:
        """Whether a region is needed and not known."""
        return bool(self.s3_bucket or self.kms_key) and not self.with_region().region

    def with_region(self) -> Setup:
        """Take the region that an answer names anyway: the key's, or one for servers other than AWS."""
        if self.region or not (self.s3_bucket or self.kms_key):
            return self
        others = (not self.s3_bucket or self.s3_endpoint) and (not self.kms_key or self.kms_endpoint)
        return replace(self, region=self.kms_region or ("us-east-1" if others else None))

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

    @property
    def usual_drill_age(self) -> int:
        """Days that are between two drills, where nothing else was answered."""
        return _MACHINES_DRILL if self.machines() else _PEOPLE_MEET

    def with_limits(self) -> Setup:
        """Fill in the limits of the gate that were not answered."""
        usual = _PEOPLE_MEET if self.custodians else None
        return replace(
            self,
            max_drill_age_days=self.max_drill_age_days or self.usual_drill_age,
            max_path_drill_age_days=self.max_path_drill_age_days or usual,
            max_check_in_age_days=self.max_check_in_age_days or usual,
        )


def normal_fingerprint(text: str) -> str:
    """Write a fingerprint as the configuration has it.

    Raises:
        UsageProblem: It is not a fingerprint.
    """
    try:
        return fingerprint_of(text)
    except ValueError:
        raise UsageProblem(
            f"{text!r} is not a fingerprint: it has 40 hexadecimal digits, a key id is not enough",
            hint="`orgkey inspect EXPORT` shows it; compare it with the server's",
        ) from None


def group(members: tuple[str, ...]) -> tuple[str, ...]:
    """Write the custodians of a group as the configuration has them.

    Raises:
        UsageProblem: One is not a fingerprint, or they are not a group.
    """
    try:
        normal = tuple(map(normal_fingerprint, members))
    except UsageProblem as error:
        raise UsageProblem(
            f"--custodian: {error.message}", hint="the custodian reads it to you from `gpg --fingerprint`"
        ) from None
    people = len(set(normal))
    if not 2 <= people <= MOST_CUSTODIANS or people != len(normal):
        raise UsageProblem(
            f"{counted(people, 'custodian')} in {len(normal)} entries cannot be a group",
            hint=f"a group has 2 to {MOST_CUSTODIANS} custodians, each named once",
        )
    return normal


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


def advice(setup: Setup) -> tuple[str, ...]:
    """What to think about before this configuration is used, a sentence each.

    Args:
        setup: Complete answers.
    """
    sentences = {
        "there is one copy only, and losing it loses everything: add a second target": len(setup.targets())
        < 2,
        "records in the bucket are not locked, so whoever may delete there can: give --s3-lock-mode and "
        "--s3-lock-days": setup.s3_bucket and not setup.s3_lock_mode,
        f"put the certificates of the {len(setup.custodians)} custodians into "
        f"{setup.custodian_certificates}, and have each custodian read out the fingerprint: "
        "`orgkey config validate` looks at them": setup.custodians,
        f"nobody, not even AWS, can delete a record or shorten its lock for {setup.s3_lock_days} days": (
            setup.s3_lock_mode == "COMPLIANCE"
        ),
    }
    return tuple(text for text, applies in sentences.items() if applies)
