"""What one run works with, and what it knows of one key.

A story takes the scope of a key, and holds its lock while it changes anything::

    with scope.locked("rotate-failed"):
        targets = scope.backends("writer").targets()
        ...
        scope.record_event(RotateEvent(...))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.archive import journal
from pipeline.archive.archive import Archive
from pipeline.archive.backends import Backends
from pipeline.archive.catalog import Catalog
from pipeline.archive.journal import Journal
from pipeline.config import Config
from pipeline.config.identities import IdentityName
from pipeline.core import files, log
from pipeline.core.clock import Clock, Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.core.reporter import Reporter
from pipeline.evidence.ledger.events import Event, Failure
from pipeline.evidence.ledger.mirror_state import MirrorState
from pipeline.evidence.ledger.replicator import Replicator
from pipeline.evidence.ledger.store import Ledger

if TYPE_CHECKING:
    from pipeline.openpgp.proofs import Prestarted

Role = IdentityName
_EVIDENCE: Final = 64 * 1024
"""What an epoch in the journal, its certificate and ledger entries take, in bytes."""


@dataclass(frozen=True)
class Run:
    """Everything that one run works with, whichever key it is about.

    Attributes:
        config: The configuration.
        clock: Where time comes from.
        deadline: When the run stops trying.
        run_id: What correlates its log, ledger entries and certificates.
        reporter: Tells a person what happens.
        backends: Gives targets and holders under a role's logins; the same for a role throughout the run.
    """

    config: Config
    clock: Clock
    deadline: Deadline
    run_id: str
    reporter: Reporter
    backends: Callable[[Role], Backends]

    def backup_deadline(self) -> Deadline:
        """A new deadline for reading backups, from now."""
        return Deadline(self.config.policy.backup_seconds, self.clock, "policy.backup_seconds")


@dataclass(frozen=True)
class KeyScope(Run):
    """A run, and this host's state of one key.

    Attributes:
        fingerprint: The key's.
        root: Its state directory.
    """

    fingerprint: str
    root: Path
    _replicators: dict[str, Replicator] = field(default_factory=dict, repr=False, compare=False)
    _provers: list[Prestarted] = field(default_factory=list, repr=False, compare=False)

    def of(self, fingerprint: str) -> KeyScope:
        """The same run for another key of the configuration: its own state, journal and ledger."""
        return replace(self, fingerprint=fingerprint, root=self.root.parent / fingerprint)

    def former(self) -> tuple[KeyScope, ...]:
        """The same run for each former Org Key, which old backups still need."""
        listed = dict.fromkeys(self.config.key.former if self.config.key else ())
        return tuple(self.of(fingerprint) for fingerprint in listed if fingerprint != self.fingerprint)

    @contextmanager
    def locked(self, failure: str | None = None) -> Iterator[None]:
        """Hold the key's lock on this host; what killed runs left is removed first.

        Args:
            failure: The ledger's event for an error that ends the work.

        Raises:
            Locked: Another run holds it, which is not a failure of this one.
        """
        from pipeline.openpgp.gnupg import home

        with journal.lock(self.root):
            self.require_room()
            home.sweep_orphans()
            if failure is None:
                yield
                return
            with self.recorded(failure):
                yield

    def require_room(self) -> None:
        """See that evidence can be kept here: before the work, and before people bring their shares.

        Raises:
            LocalFilesProblem: The disk refuses.
        """
        root = files.private_directory(self.root)
        files.sweep(root)
        files.check_new(root / "evidence", _EVIDENCE)

    @contextmanager
    def prover(self) -> Iterator[None]:
        """Have PGPy loaded while servers are talked to, since it takes longest; the next proof uses it."""
        from pipeline.openpgp import proofs

        if self._provers:
            yield
            return
        with proofs.Prestarted() as ready:
            self._provers.append(ready)
            try:
                yield
            finally:
                self._provers.clear()

    def take_prover(self) -> Prestarted | None:
        """PGPy's process, where one was started and not yet used."""
        return self._provers.pop() if self._provers else None

    @contextmanager
    def recorded(self, failure: str) -> Iterator[None]:
        """Enter an error that ends the work in the ledger, as this event."""
        try:
            yield
        except OrgkeyError as error:
            self.note_failure(failure, error)
            raise

    @property
    def journal(self) -> Journal:
        """What this host remembers of the key."""
        return Journal(self.root)

    def archive(self, role: Role) -> Archive:
        """All targets as one, under a role's logins."""
        return Archive(
            self.fingerprint,
            self.backends(role).targets(),
            self.deadline,
            self.clock.now(),
            self.config.policy.copies,
            self.journal.sound(),
            self.config.policy.known_false,
        )

    def catalogs(self) -> tuple[Catalog, ...]:
        """What is stored of the key, and of the former Org Keys that old backups still need."""
        return tuple(key.archive("driller").catalog() for key in (self, *self.former()))

    @property
    def ledger(self) -> Ledger:
        """This host's log of the key."""
        return Ledger(self.root, self.fingerprint)

    @property
    def replicator(self) -> Replicator:
        """What writes the ledger and its mirrors: one in a run for a key, so a dead mirror costs one call."""
        if self.fingerprint not in self._replicators:
            writer = self.backends("writer")
            self._replicators[self.fingerprint] = Replicator(
                self.ledger,
                MirrorState(self.root),
                writer.mirrors(self.fingerprint),
                writer.heads(self.fingerprint),
                deadline=self.deadline,
                call_seconds=self.config.policy.call_seconds,
                clock=self.clock,
                reporter=self.reporter,
            )
        return self._replicators[self.fingerprint]

    def record_event(self, event: Event, *, final: bool = False) -> None:
        """Write an entry to the ledger; a mirror that cannot have it now gets it later.

        Args:
            event: What it says.
            final: Whether another try can only end the same, for a scope that remembers it.

        Raises:
            LocalFilesProblem: It cannot be kept here, which is a failure of the run.
        """
        mirrored = self.config.ledger.mirrors or self.config.ledger.heads
        writer = self.replicator if mirrored else self.ledger
        head = writer.append(event.kind, event.to_details(), now=self.clock.now(), run=self.run_id)
        said = f"ledger entry {head.sequence}: {event.kind}"
        log.event("ledger", said, entry=event.kind, sequence=head.sequence)

    def note_event(self, event: Event, *, final: bool = False) -> None:
        """Write an entry of a query or a failure: that it cannot be kept must not hide the answer itself."""
        try:
            self.record_event(event, final=final)
        except OrgkeyError as error:
            self.reporter.warn(f"the ledger has no entry of this: {error.message}")

    def note_failure(self, event: str, error: OrgkeyError, *, final: bool = False) -> None:
        """Write the entry of a failure; of too few people ``…-failed`` becomes ``…-not-held``."""
        self.note_event(Failure.because(event, error), final=final)
