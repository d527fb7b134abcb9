"""What `orgkey init` has to know: the answers, each with its option, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pipeline.config._base import fingerprint_of
from pipeline.config.holders import kms_region
from pipeline.config.places import SYSTEM
from pipeline.core.errors import UsageProblem
from pipeline.core.text import counted

MOST_CUSTODIANS: Final = 16

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

    def with_whole_paths(self) -> Setup:
        """Write out relative paths: they were typed in this folder, and the file may lie in another."""
        places = ("vault_ca_file", "custodian_certificates", "directory", "inbox")
        typed: dict[str, Any] = {name: whole_path(place) for name in places if (place := getattr(self, name))}
        return replace(self, **typed)

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


def whole_path(typed: str) -> str:
    """A path as the file is to have it: absolute, but for what the configuration expands."""
    return typed if typed == SYSTEM or typed.startswith(("~", "$")) else str(Path(typed).absolute())


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
