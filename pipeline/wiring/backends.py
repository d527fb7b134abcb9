"""Targets, holders and servers of the configuration: which implementation each of them has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.archive.run import Role
from pipeline.config import Config
from pipeline.config.holders import HolderConfig, OpenpgpHolderConfig, PaperHolderConfig, TransitHolderConfig
from pipeline.config.places import (
    AwsPlace,
    BackupPlace,
    DirectoryTargetConfig,
    S3TargetConfig,
    TargetConfig,
    VaultPlace,
    VaultTargetConfig,
    ambient_region,
)
from pipeline.config.sections import Policy
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.core.retry import retrying
from pipeline.custody.holders.interface import HOLDER_CALLS, Holder
from pipeline.custody.shares.manifest_section import CustodySection
from pipeline.custody.shares.paths import HolderDescription
from pipeline.providers.tls.files import require_authority
from pipeline.sources.backups.sources import BackupSource
from pipeline.storage.interface import RETAINER_CALLS, TARGET_CALLS, Retainer, Stored, Target
from pipeline.storage.ledger_mirror import MIRROR_CALLS, Mirror
from pipeline.wiring.holder_addresses import Consent, reach
from pipeline.wiring.sessions import Sessions

if TYPE_CHECKING:
    from pipeline.providers.aws.session import AwsSession
    from pipeline.providers.vault.session import VaultSession
    from pipeline.provision.desired import Site

T = TypeVar("T")


@dataclass
class ConfiguredBackends:
    """Targets, holders and servers of the configuration, as one role sees them.

    Nothing is contacted before it is used.

    Attributes:
        sessions: The run's logins.
        role: Whose are used.
        consent: Which addresses of a record may be contacted where no configuration names any.
    """

    sessions: Sessions
    role: Role
    consent: Consent = field(default_factory=Consent)

    @property
    def config(self) -> Config | None:
        """The configuration; ``None`` for a restore that has none."""
        return self.sessions.config

    @property
    def _configured(self) -> Config:
        assert self.config is not None  # what needs one is not asked without one
        return self.config

    def _vault(self, name: str, item: VaultPlace) -> VaultSession:
        return self.sessions.vault(self.role, name, item)

    def _cloud(self, name: str, item: AwsPlace) -> AwsSession:
        return self.sessions.cloud(self.role, name, item)

    def targets(self) -> dict[str, Target]:
        """The configured targets by name, with retries."""
        return {name: self.target(name, item) for name, item in self._configured.target.items()}

    def target(self, name: str, item: TargetConfig) -> Target:
        """Build one target."""
        target: Target
        if isinstance(item, VaultTargetConfig):
            from pipeline.storage.vault.backend import VaultBackend

            key = self.config.key if self.config else None
            pins = (key.fingerprint, *key.former) if key else ()
            target = VaultBackend(name, item, self._vault(name, item), pins=pins)
        elif isinstance(item, S3TargetConfig):
            from pipeline.storage.s3.backend import S3Backend

            target = S3Backend(name, item, self._cloud(name, item))
        else:
            from pipeline.storage.directory.backend import DirectoryBackend

            target = DirectoryBackend(name, item)
        return retrying(target, self.sessions.retrier(item), "target", TARGET_CALLS)

    def retainers(self) -> dict[str, Retainer[Stored]]:
        """The configured targets that have a retention, by name, with retries."""
        from pipeline.storage.s3.backend import S3Backend

        return {
            name: self._retainer(name, item, S3Backend(name, item, self._cloud(name, item)).place)
            for name, item in self._configured.target.items()
            if isinstance(item, S3TargetConfig)
        }

    def entry_retainers(self) -> dict[str, Retainer[str]]:
        """The ledger's mirrors that have a retention, by name, with retries."""
        from pipeline.storage.s3.ledger_mirror import split

        return {
            name: self._retainer(name, item, split)
            for name in self._configured.ledger.mirrors
            if isinstance(item := self._configured.target[name], S3TargetConfig)
        }

    def _retainer(
        self, name: str, item: S3TargetConfig, place: Callable[[T], tuple[str, str | None]]
    ) -> Retainer[T]:
        from pipeline.storage.s3.retention import S3Retainer

        retainer = S3Retainer(name, item, self._cloud(name, item), place)
        return retrying(retainer, self.sessions.retrier(item), "target", RETAINER_CALLS)

    def holders(self) -> dict[str, Holder]:
        """The configured holders by name, with retries."""
        return {name: self.holder(name, item) for name, item in self._configured.holder.items()}

    def holder(self, name: str, item: HolderConfig) -> Holder:
        """Build one holder."""
        holder: Holder
        if isinstance(item, TransitHolderConfig):
            from pipeline.custody.holders.transit import TransitKeyHolder

            holder = TransitKeyHolder(name, item, self._vault(name, item))
        elif isinstance(item, OpenpgpHolderConfig):
            from pipeline.custody.holders.openpgp import CustodianGroup

            days = self.config.policy.certificate_warning_days if self.config else 0.0
            known = self.sessions
            return CustodianGroup(name, item, deadline=known.deadline, clock=known.clock, warning_days=days)
        elif isinstance(item, PaperHolderConfig):
            from pipeline.custody.holders.paper import PaperSheets

            # Printing is never tried again by itself.
            return PaperSheets(name, item, deadline=self.sessions.deadline)
        else:
            from pipeline.custody.holders.kms import KmsKeyHolder

            sealer = partial(self.sessions.cloud, "writer", name, item)
            holder = KmsKeyHolder(name, item, self._cloud(name, item), sealer)
        return retrying(holder, self.sessions.retrier(item), "holder", HOLDER_CALLS)

    def openers(self, section: CustodySection) -> dict[str, Holder]:
        """Build the holders that open a record's shares, from the record's own coordinates.

        The manifest is authentic by now; even so a login is not sent to an address that only it
        names. :mod:`pipeline.wiring.holder_addresses` decides, when a holder is first used; which key is used
        stays the record's word.
        """
        from pipeline.custody.holders.late import LateHolder

        def late(name: str, description: HolderDescription) -> Holder:
            made = partial(reach, self.config, name, description, self.consent)
            return LateHolder(name, description.kind, lambda: self.holder(name, made()))

        return {
            name: late(name, description)
            for name, description in section.holders.items()
            if description.kind in ("vault-transit", "aws-kms")
        }

    def seals(self) -> dict[str, tuple[str, str] | OrgkeyError]:
        """How each configured Vault server says that it is unsealed, and its cluster's id, by address."""
        told: dict[str, tuple[str, str] | OrgkeyError] = {}
        for name, place in (*self._configured.target.items(), *self._configured.holder.items()):
            if isinstance(place, VaultPlace) and place.address not in told:

                def ask(name: str = name, place: VaultPlace = place) -> tuple[str, str]:
                    return self._vault(name, place).seal()

                told[place.address] = isolated(ask, "its seal")
        return told

    def logins(self) -> list[Finding]:
        """What this host lacks for the logins of this role; contacts nothing."""
        found: dict[str, Finding] = {}
        for name, place in (*self._configured.target.items(), *self._configured.holder.items()):
            checks: list[Callable[[], None]] = []
            if isinstance(place, VaultPlace):
                login = partial(lambda name, place: self._vault(name, place).login.look(name), name, place)
                checks = [partial(require_authority, place.ca_file), login]
            elif isinstance(place, AwsPlace):
                checks = [partial(lambda name, place: self._cloud(name, place).look(name), name, place)]
            for check in checks:
                problem = isolated(check, f"the login at {name}")
                if isinstance(problem, OrgkeyError):
                    subject = f"login of the {self.role}"
                    told = Finding(Level.FAIL, subject, problem.message, problem.hint, problem.code)
                    found.setdefault(problem.message.removeprefix(f"{name}: "), told)
        return list(found.values())

    def certificates(self) -> list[Finding]:
        """What is said of the certificates of servers, and of our own for logins."""
        from pipeline.providers.tls import expiry

        return expiry.findings(self._configured, self.sessions.clock, self.sessions.deadline)

    def backups(self, places: Sequence[str] = (), *, whole: bool = True) -> list[BackupSource]:
        """The server's backups at these places; at the configured ones when none is named.

        Args:
            places: Names in ``[backups]``, files, folders, ``s3://bucket/prefix``, or ``-`` for standard
                input.
            whole: Whether they are going to be read whole; else the run's own deadline bounds them, too.

        Returns:
            Them all; of several places one that cannot be listed as :class:`Unlisted`.

        Raises:
            OrgkeyError: The only place cannot be listed, or none is configured.
        """
        known = self.config.backups if self.config else {}
        wanted = [known.get(place, place) for place in places] or list(known.values())
        if not wanted:
            raise UsageProblem(
                "no backups are named",
                hint="give files, folders or s3://bucket/prefix; or configure [backups.<name>]",
            )
        reader = self
        if whole:
            # Reading takes as long as a backup is large: another deadline than the rest of the run has.
            seconds = (self.config.policy if self.config else Policy()).backup_seconds
            known_as = self.sessions
            deadline = Deadline(seconds, known_as.clock, "policy.backup_seconds")
            sessions = Sessions(known_as.config, deadline, known_as.clock, known_as.breakers)
            reader = replace(self, sessions=sessions)
        if len(wanted) == 1:
            return list(reader._backups_at(wanted[0]))
        listed = [(_at(place), reader._backups_by_itself(place)) for place in wanted]
        return [source for _, found in listed for source in found] if places else _once(listed)

    def _backups_by_itself(self, place: BackupPlace | str) -> Sequence[BackupSource]:
        from pipeline.sources.backups.sources import Unlisted

        name = _at(place)
        found = isolated(lambda: self._backups_at(place), f"backups {name}")
        return [Unlisted(name, found)] if isinstance(found, OrgkeyError) else found

    def _backups_at(self, place: BackupPlace | str) -> Sequence[BackupSource]:
        from pipeline.core import files
        from pipeline.sources.backups import s3, sources

        if place == "":
            raise UsageProblem(
                "an empty name is not a place of backups", hint="give a file, a folder or s3://bucket/prefix"
            )
        if place == "-":
            return [sources.BackupPipe(self.sessions.deadline)]
        if isinstance(place, str) and "://" not in place:
            return sources.local(files.expanded(Path(place)), self.sessions.deadline)
        name, item = self._backup_place(place)
        if not item.location.startswith("s3://"):
            return sources.local(Path(item.location), self.sessions.deadline, item.ignore)
        bucket, _, prefix = item.location.removeprefix("s3://").partition("/")
        named: dict[str, Any] = {"Bucket": bucket}
        if item.expected_bucket_owner is not None:
            named["ExpectedBucketOwner"] = item.expected_bucket_owner
        return s3.listed(self._cloud(name, item), named, prefix, item.ignore, self.sessions.retrier(item))

    def _backup_place(self, place: BackupPlace | str) -> tuple[str, BackupPlace]:
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
            if isinstance(target, S3TargetConfig) and asked.startswith(f"s3://{target.bucket}/"):
                shared = BackupPlace.model_fields.keys() & S3TargetConfig.model_fields.keys()
                values = {field: getattr(target, field) for field in shared}
                return name, BackupPlace(location=place, **values)
        try:
            return "", BackupPlace(location=place, region=ambient_region())
        except ValueError:
            raise UsageProblem(f"{place} is not a place of backups", hint="give s3://bucket/prefix") from None

    def mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        """The places that a key's ledger is mirrored to, by name. Each call is made once, without retries."""
        from pipeline.storage.directory.ledger_mirror import DirectoryMirror
        from pipeline.storage.s3.ledger_mirror import S3Mirror

        found: dict[str, Mirror] = {}
        for name in self._configured.ledger.mirrors:
            item = self._configured.target[name]
            if isinstance(item, S3TargetConfig):
                found[name] = S3Mirror(name, item, self._cloud(name, item), fingerprint)
            elif isinstance(item, DirectoryTargetConfig):
                found[name] = DirectoryMirror(name, item, fingerprint)
        return found

    def patient_mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        """The same, whose reading is tried again."""
        known = self._configured.target
        return {
            name: retrying(mirror, self.sessions.retrier(known[name]), "target", MIRROR_CALLS)
            for name, mirror in self.mirrors(fingerprint).items()
        }

    def heads(self, fingerprint: str) -> dict[str, Mirror]:
        """The places for a key's ledger's heads, by name."""
        from pipeline.storage.vault.ledger_heads import VaultHeads

        return {
            name: VaultHeads(name, item, self._vault(name, item), fingerprint)
            for name in self._configured.ledger.heads
            if isinstance(item := self._configured.target[name], VaultTargetConfig)
        }

    def sites(self) -> list[Site]:
        """The configured Vault servers, each namespace by itself, with what belongs there."""
        from pipeline.provision.desired import Site

        found: dict[tuple[str, str | None], Site] = {}
        for group in (self._configured.target, self._configured.holder):
            for name, item in group.items():
                if not isinstance(item, VaultTargetConfig | TransitHolderConfig):
                    continue
                key = (item.address, item.namespace)
                known = found.get(key) or Site(item, {}, {}, self._vault(name, item))
                if isinstance(item, VaultTargetConfig):
                    found[key] = replace(known, targets={**known.targets, name: item})
                else:
                    found[key] = replace(known, holders={**known.holders, name: item})
        return list(found.values())

    def request_ids(self) -> dict[str, Sequence[str]]:
        """The request ids that the services gave, by service."""
        return self.sessions.request_ids(self.role)


def _at(place: BackupPlace | str) -> str:
    return place if isinstance(place, str) else place.location


def _once(listed: Sequence[tuple[str, Sequence[BackupSource]]]) -> list[BackupSource]:
    """The backups of several places in their order, each once: what lies in two places, in the inner one."""
    owner: dict[str, int] = {}
    for number, (_, found) in sorted(enumerate(listed), key=lambda item: -len(item[1][0])):
        for source in found:
            owner.setdefault(source.location, number)
    return [
        source
        for number, (_, found) in enumerate(listed)
        for source in found
        if not source.location or owner[source.location] == number
    ]
