"""The only place that chooses implementations."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pipeline import config as settings
from pipeline.backups.sources import Source as BackupSource
from pipeline.clients.aws import AwsSession
from pipeline.clients.vault import VaultSession
from pipeline.clock import Clock, Deadline, SystemClock
from pipeline.config import Config
from pipeline.context import Context, Role
from pipeline.custody.interface import Holder
from pipeline.custody.paths import Description
from pipeline.custody.section import CustodySection
from pipeline.errors import OrgkeyError, UsageProblem
from pipeline.retry import Retrier
from pipeline.secret import SecretSource
from pipeline.sources.interface import Source
from pipeline.targets.interface import Target


@dataclass
class Estate:
    """Targets and holders as one role sees them. Nothing is contacted before it is used.

    Attributes:
        config: The configuration; ``None`` for a restore that has none.
        role: Whose logins are used.
        deadline: Bounds every call.
        clock: Where time comes from.
    """

    config: Config | None
    role: Role
    deadline: Deadline
    clock: Clock
    _vaults: dict[tuple[Any, ...], VaultSession] = field(default_factory=dict)
    _clouds: dict[tuple[Any, ...], AwsSession] = field(default_factory=dict)

    def targets(self) -> dict[str, Target]:
        """The configured targets by name, with retries."""
        assert self.config is not None
        return {name: self.target(name, item) for name, item in self.config.target.items()}

    def target(self, name: str, item: settings.TargetConfig) -> Target:
        """Build one target."""
        from pipeline.targets.retrying import RetryingTarget

        target: Target
        if isinstance(item, settings.VaultTarget):
            from pipeline.targets.vault import VaultTarget

            target = VaultTarget(name, item, self._vault(name, item))
        elif isinstance(item, settings.S3Target):
            from pipeline.targets.s3 import S3Target

            target = S3Target(name, item, self._cloud(name, item))
        else:
            from pipeline.targets.directory import DirectoryTarget

            target = DirectoryTarget(name, item)
        return RetryingTarget(target, self._retrier())

    def holders(self) -> dict[str, Holder]:
        """The configured holders by name, with retries."""
        assert self.config is not None
        return {name: self.holder(name, item) for name, item in self.config.holder.items()}

    def holder(self, name: str, item: settings.HolderConfig) -> Holder:
        """Build one holder."""
        from pipeline.custody.retrying import RetryingHolder

        holder: Holder
        if isinstance(item, settings.TransitHolder):
            from pipeline.custody.transit import TransitHolder

            holder = TransitHolder(name, item, self._vault(name, item))
        elif isinstance(item, settings.OpenpgpHolder):
            from pipeline.custody.openpgp import CustodianGroup

            days = self.config.policy.certificate_warning_days if self.config else 0.0
            return CustodianGroup(name, item, deadline=self.deadline, clock=self.clock, warning_days=days)
        elif isinstance(item, settings.PaperHolder):
            from pipeline.custody.paper import PaperSheets

            return PaperSheets(name, item, deadline=self.deadline)  # printing is never tried again by itself
        else:
            from pipeline.custody.kms import KmsHolder

            holder = KmsHolder(name, item, self._cloud(name, item))
        return RetryingHolder(holder, self._retrier())

    def openers(self, section: CustodySection) -> dict[str, Holder]:
        """Build the holders that open a record's shares, from the record's own coordinates.

        The manifest is authentic by now. Where the configuration has a holder of the same name and kind,
        it says how that holder is reached today, without one the tools' own variables may (VAULT_ADDR,
        VAULT_CACERT, AWS_ENDPOINT_URL_KMS); which key is used stays the record's word.
        """
        return {
            name: self.holder(name, self._reach(name, description))
            for name, description in section.holders.items()
            if description.kind in ("vault-transit", "aws-kms")
        }

    def seal_types(self) -> dict[str, str | OrgkeyError]:
        """How each configured Vault server says that it is unsealed, by address."""
        assert self.config is not None
        told: dict[str, str | OrgkeyError] = {}
        for name, place in (*self.config.target.items(), *self.config.holder.items()):
            if isinstance(place, settings.VaultPlace) and place.address not in told:
                try:
                    told[place.address] = self._vault(name, place).seal_type()
                except OrgkeyError as error:
                    told[place.address] = error
        return told

    def backups(self, places: Sequence[str] = ()) -> list[BackupSource]:
        """The server's backups at these places; at the configured ones when none is named.

        Args:
            places: Names in ``[backups]``, files, folders, ``s3://bucket/prefix``, or ``-`` for standard
                input.

        Raises:
            OrgkeyError: A place cannot be listed, or none is configured.
        """
        known = self.config.backups if self.config else {}
        wanted = [known.get(place, place) for place in places] or list(known.values())
        if not wanted:
            raise UsageProblem(
                "no backups are named",
                hint="give files, folders or s3://bucket/prefix; or configure [backups.<name>]",
            )
        # Reading takes as long as a backup is large: another deadline than the rest of the run has.
        seconds = (self.config.policy if self.config else settings.Policy()).backup_seconds
        reader = Estate(self.config, self.role, Deadline(seconds, self.clock), self.clock)
        return [source for place in wanted for source in reader._backups_at(place)]

    def _backups_at(self, place: settings.BackupPlace | str) -> Sequence[BackupSource]:
        from pipeline.backups import s3, sources

        if place == "-":
            return [sources.Stream()]
        name, item = self._backup_place(place)
        if not item.location.startswith("s3://"):
            return sources.local(Path(item.location), item.ignore)
        bucket, _, prefix = item.location.removeprefix("s3://").partition("/")
        named: dict[str, Any] = {"Bucket": bucket}
        if item.expected_bucket_owner is not None:
            named["ExpectedBucketOwner"] = item.expected_bucket_owner
        return s3.listed(self._cloud(name, item), named, prefix, item.ignore, self._retrier())

    def _backup_place(self, place: settings.BackupPlace | str) -> tuple[str, settings.BackupPlace]:
        """A place with its name; one that is only an address borrows what is known of its bucket."""
        known = self.config.backups if self.config else {}
        for name, item in known.items():
            if item is place:
                return name, item
        assert isinstance(place, str)
        asked = f"{place}/"
        for name, item in known.items():
            if item.location.startswith("s3://") and asked.startswith(item.location.rstrip("/") + "/"):
                return name, item.model_copy(update={"location": place})
        for name, target in (self.config.target if self.config else {}).items():
            if isinstance(target, settings.S3Target) and asked.startswith(f"s3://{target.bucket}/"):
                shared = settings.BackupPlace.model_fields.keys() & settings.S3Target.model_fields.keys()
                values = {field: getattr(target, field) for field in shared}
                return name, settings.BackupPlace(location=place, **values)
        try:
            return "", settings.BackupPlace(
                location=place,
                region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            )
        except ValueError:
            raise UsageProblem(f"{place} is no place of backups", hint="give s3://bucket/prefix") from None

    def request_ids(self) -> dict[str, Sequence[str]]:
        """The request ids that the services gave, by service."""
        return {
            "vault": [item for session in self._vaults.values() for item in session.request_ids],
            "aws": [item for session in self._clouds.values() for item in session.request_ids],
        }

    def _reach(self, name: str, description: Description) -> settings.HolderConfig:
        try:
            return self._reach_today(name, description)
        except (KeyError, ValueError):
            raise UsageProblem(
                f"holder {name} cannot be reached as the record and this environment say",
                hint="VAULT_ADDR and AWS_ENDPOINT_URL_KMS are addresses like https://vault.example.com:8200; "
                "or configure the holder",
            ) from None

    def _reach_today(self, name: str, description: Description) -> settings.HolderConfig:
        known = self.config.holder.get(name) if self.config else None
        told = description.coordinates
        if description.kind == "vault-transit":
            here = known if isinstance(known, settings.TransitHolder) else None
            return settings.TransitHolder(
                kind="vault-transit",
                controlled_by=("record",),
                address=here.address if here else os.environ.get("VAULT_ADDR") or str(told["address"]),
                namespace=here.namespace if here else _optional(told.get("namespace")),
                ca_file=here.ca_file if here else os.environ.get("VAULT_CACERT"),
                mount=str(told["mount"]),
                key=str(told["key"]),
            )
        cloud = known if isinstance(known, settings.KmsHolder) else None
        return settings.KmsHolder(
            kind="aws-kms",
            controlled_by=("record",),
            region=str(told["region"]),
            endpoint_url=cloud.endpoint_url
            if cloud
            else os.environ.get("AWS_ENDPOINT_URL_KMS") or _optional(told.get("endpoint_url")),
            ca_file=cloud.ca_file if cloud else None,
            key_id=str(told["key_arn"]),
        )

    def _retrier(self) -> Retrier:
        return Retrier(self.deadline, clock=self.clock)

    def _call_seconds(self) -> float:
        return self.config.policy.call_seconds if self.config else settings.Policy().call_seconds

    def _identity(self) -> settings.Identity:
        known = self.config.identity if self.config else {}
        return known.get(self.role) or known.get("writer") or settings.Identity()

    def _vault(self, name: str, place: settings.VaultPlace) -> VaultSession:
        identity = self._identity()
        login = identity.at.get(name, identity.vault)
        if login is not None and not isinstance(login, settings.VaultIdentity):
            raise UsageProblem(
                f"identity.{self.role}.at.{name} is no login for Vault",
                hint="give role_id_file and secret_id_file, or token_file",
            )
        key = (place.address, place.namespace, place.ca_file, login)
        if key not in self._vaults:
            self._vaults[key] = VaultSession(
                settings.VaultPlace(address=place.address, namespace=place.namespace, ca_file=place.ca_file),
                login,
                call_seconds=self._call_seconds(),
                deadline=self.deadline,
                role=self.role,
            )
        return self._vaults[key]

    def _cloud(self, name: str, place: settings.AwsPlace) -> AwsSession:
        identity = self._identity()
        login = identity.at.get(name, identity.aws)
        if login is not None and not isinstance(login, settings.AwsIdentity):
            raise UsageProblem(
                f"identity.{self.role}.at.{name} is no login for AWS",
                hint="give profile, or credentials_file",
            )
        key = (place.region, place.endpoint_url, place.ca_file, getattr(place, "path_style", None), login)
        if key not in self._clouds:
            self._clouds[key] = AwsSession(
                place, login, call_seconds=self._call_seconds(), deadline=self.deadline, role=self.role
            )
        return self._clouds[key]


def context(
    config: Config,
    *,
    fingerprint: str | None,
    state_dir: Path | None,
    say: Callable[[str], None],
    clock: Clock | None = None,
) -> Context:
    """Put a run together.

    Args:
        config: The configuration.
        fingerprint: The value of ``--fingerprint``, or what an operator confirmed; else the pin is used.
        state_dir: The value of ``--state-dir``.
        say: Tells a person what happens.
        clock: Where time comes from.

    Raises:
        UsageProblem: No key is pinned, or the option contradicts the pin.
    """
    clock = clock or SystemClock()
    pin = pinned(config, fingerprint)
    if pin is None:
        raise UsageProblem(
            "no key is pinned",
            hint="put its fingerprint into [key] of the configuration (`orgkey init --from EXPORT`), "
            "or give --fingerprint",
        )
    deadline = Deadline(config.policy.deadline_seconds, clock)
    return Context(
        config=config,
        fingerprint=pin,
        clock=clock,
        deadline=deadline,
        run=secrets.token_hex(8),
        root=state_root(state_dir) / pin,
        say=say,
        estate=lambda role: Estate(config, role, deadline, clock),
    )


def pinned(config: Config | None, option: str | None) -> str | None:
    """The fingerprint that is trusted, or ``None`` where nothing says which.

    Raises:
        UsageProblem: ``--fingerprint`` is none, or is neither the pin nor a former Org Key.
    """
    key = config.key if config else None
    if option is None:
        return key.fingerprint if key else None
    try:
        given = settings.Key(fingerprint=option).fingerprint
    except ValueError:
        raise UsageProblem(
            f"--fingerprint {option!r} is no fingerprint", hint="give all 40 hexadecimal digits"
        ) from None
    if key and given not in {key.fingerprint, *key.former}:
        raise UsageProblem(
            f"--fingerprint {given} is not the pinned key",
            hint=f"the configuration pins {key.fingerprint}; a former Org Key belongs into key.former",
        )
    return given


def no_pin(option: str) -> NoReturn:
    """Refuse an empty ``--fingerprint``.

    Raises:
        UsageProblem: Always.
    """
    raise UsageProblem(f"--fingerprint {option!r} is no fingerprint", hint="give all 40 hexadecimal digits")


def state_root(option: Path | None) -> Path:
    """Where state lives: the option, ``ORGKEY_STATE_DIR``, systemd's, or the user's."""
    if option is not None:
        return option
    for variable in ("ORGKEY_STATE_DIR", "STATE_DIRECTORY"):
        if value := os.environ.get(variable):
            return Path(value.split(":")[0])
    import platformdirs

    return platformdirs.user_state_path("orgkey")


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


def source(config: Config, export: Path | None, *, pin: str | None, passphrase: SecretSource) -> Source:
    """Build the place that an export comes from.

    Args:
        config: The configuration.
        export: A file that was named on the command line; it goes before the configured source.
        pin: The fingerprint that is trusted, when one is.
        passphrase: Opens the export; a GnuPG keyring needs it to export at all.

    Raises:
        UsageProblem: Neither a file nor a source is given.
    """
    item = config.source
    if export is not None or (item is not None and item.kind == "file"):
        from pipeline.sources.file import FileSource

        path = export or Path(_required(item.path if item else None))
        return FileSource(path, item.max_bytes) if item else FileSource(path)
    if item is None:
        raise UsageProblem(
            "no export is named", hint="give the file: `orgkey escrow EXPORT`, or configure [source]"
        )
    if item.kind == "inbox":
        from pipeline.sources.inbox import InboxSource

        return InboxSource(
            Path(_required(item.path)), pin=pin, settle_seconds=item.settle_seconds, limit=item.max_bytes
        )
    if item.kind == "command":
        from pipeline.sources.command import CommandSource

        return CommandSource(
            item.command or (), fingerprint=pin, seconds=item.timeout_seconds, limit=item.max_bytes
        )
    from pipeline.sources.gnupg import GnupgSource

    if pin is None:
        raise UsageProblem(
            "a keyring holds many keys, and none is pinned",
            hint="put the Org Key's fingerprint into [key], or give --fingerprint",
        )
    return GnupgSource(
        pin,
        passphrase,
        home=Path(item.path) if item.path else None,
        seconds=item.timeout_seconds,
        limit=item.max_bytes,
    )


def _required(value: str | None) -> str:
    if not value:  # the configuration's validation has seen to it
        raise UsageProblem("the source has no path", hint="add path to [source]")
    return value
