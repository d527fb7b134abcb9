"""What a drill leaves behind: certificates and time-stamps, entries of the ledger, the journal's mark."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.archive.catalog import Epoch
from pipeline.archive.live_key import Live
from pipeline.archive.run import KeyScope
from pipeline.core.clock import stamp
from pipeline.core.digest import Digest
from pipeline.core.errors import Code, DeadlinePassed, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.evidence import statement
from pipeline.evidence.ledger import witnessed
from pipeline.evidence.ledger.drill_results import Result
from pipeline.evidence.ledger.events import DrillEvent, Failure
from pipeline.record.verify import Record


@dataclass
class DrillEvidence:
    """What a drill of one epoch leaves behind: certificates, the ledger's entries, the journal's mark."""

    scope: KeyScope
    epoch: Epoch
    results: list[Result]

    def certify(self, record: Record, raw: Secret, nonce: str | None, live: Live) -> None:
        """Issue the certificate of one record, where its key signs, and name it in the record's results."""
        scope, now = self.scope, self.scope.clock.now()
        head = scope.ledger.head()
        told = {
            "run": scope.run_id,
            "nonce": nonce or secrets.token_hex(16),
            "nonce_from": "verifier" if nonce else "random",
            "copies": [
                {name: getattr(copy, name) for name in ("target", "domain", "location", "version")}
                | {"sha256": copy.sha256.hex if copy.sha256 else None}
                for copy in self.epoch.copies
            ],
            "rto_objective": scope.config.policy.rto_seconds,
            "public_key_from": "live" if live.public else "record",
            "requests": {name: list(ids) for name, ids in scope.backends("driller").request_ids().items()},
            "ledger_head": {
                "host": scope.ledger.host, "sequence": head.sequence, "sha256": head.digest.hex
            },
        }  # fmt: skip
        of_record = [result for result in self.results if result.record_sha256 in (None, record.sha256)]
        body = statement.build(record, of_record, at=now, told=told)
        try:
            path = statement.keep(
                scope.root / statement.FOLDER, record, body, raw, now=now, deadline=scope.deadline
            )
        except OrgkeyError as error:
            if error.code is Code.LOCAL_FILES:
                raise  # evidence that cannot be kept is a failure
            # A key that does not sign has failed its proof already, and is reported by it.
            scope.reporter.progress(f"no certificate for {record.epoch}: {error.message}")
            return
        _stamp(scope, path)
        self.results = [
            replace(result, certificate=str(path)) if result.record_sha256 == record.sha256 else result
            for result in self.results
        ]

    def keep(self, recovered: Mapping[str, tuple[Record, Secret]]) -> None:
        """Enter the drill in the ledger, then mark the epoch as proven where it is.

        Args:
            recovered: The records whose escrow passphrase came back, with it, by digest.
        """
        for result in self.results:
            if not result.held:
                message = result.proofs["recover"].problem
                self.scope.record_event(
                    Failure(event="drill-not-held", epoch=self.epoch.name, path=result.path, message=message)
                )
                break  # the people are the same for every copy
        held = [result for result in self.results if result.held]
        if not held:
            return
        shown, now = witnessed.results(held), self.scope.clock.now()
        details = {
            "epoch": self.epoch.name,
            "results": shown,
            "witnessed": [witnessed.sign(shown, record, raw, now) for record, raw in recovered.values()],
            "certificates": sorted({result.certificate for result in held if result.certificate}),
        }
        self.scope.record_event(DrillEvent.model_validate(details))
        self._mark_proven([item for item in held if item.record_sha256 and proved(held, item.record_sha256)])

    def _mark_proven(self, proven: Sequence[Result]) -> None:
        if not proven:
            return
        first = proven[0]
        assert first.record_sha256 is not None
        journal = self.scope.journal
        entry = journal.entry(self.epoch.name) or journal.begin(self.epoch.name, None)
        read = isolated(entry.proven, "the mark of the drill before")
        before = {} if isinstance(read, OrgkeyError) else read or {}  # a damaged one is written anew
        if before.get("record_sha256") != first.record_sha256.hex:
            before = {}
        records = [copy.record for copy in self.epoch.copies if copy.record]
        record = next(record for record in records if record.sha256 == first.record_sha256)
        entry.mark_proven(
            {
                "record_sha256": first.record_sha256.hex,
                "plan": record.manifest.custody.plan_digest(),
                "at": stamp(self.scope.clock.now()),
                "copies": sorted({result.copy for result in proven}),
                # What was proven on other paths stays proven: machines and people are drilled apart.
                "paths": sorted({result.path for result in proven} | set(before.get("paths", ()))),
                "certificate": first.certificate,
                "rto_seconds": round(max(result.seconds["total"] for result in proven), 3),
            }
        )


def _stamp(scope: KeyScope, path: Path) -> None:
    """Have the certificate's time stamped where that is configured; and those not yet stamped."""
    from pipeline.evidence import timestamp

    settings = scope.config.certificate
    if settings.timestamp is None:
        return
    try:
        made = timestamp.ask(path, settings, seconds=scope.deadline.limit(settings.timestamp_seconds))
        if made.state == "stamped":
            timestamp.ask_all(path.parent, settings, limit=scope.deadline.limit)
        else:
            scope.reporter.warn(f"the certificate's time-stamp is pending: {made.reason}")
    except DeadlinePassed as error:  # the evidence of the drill is still to be kept
        scope.reporter.warn(f"time-stamps are pending: {error.message}")


def proved(results: Sequence[Result], digest: Digest) -> bool:
    """Whether a record was proven through all copies and paths that were tried."""
    tried = [result for result in results if result.record_sha256 == digest]
    return bool(tried) and all(result.passed for result in tried)
