"""What only a write shows of a server: two small objects, the second of which it has to refuse.

A server may take the headers of Object Lock and do nothing about them, and answers every question that stores
nothing as one that locks. So the trial writes as a record is written, and looks at what came of it.
"""

from __future__ import annotations

import secrets

from pipeline.core.errors import Conflict
from pipeline.core.finding import Finding
from pipeline.storage.check import Check
from pipeline.storage.s3.bucket import Bucket
from pipeline.storage.s3.rights import WRITE_WRONG_SHA256, probe

LISTING, CONDITION = "listing of versions (ListObjectVersions)", "conditional writes (If-None-Match)"
LOCK = "Object Lock: mode and retention"
_BODY = b"what does this server do with a record?"


class WriteTrial(Check):
    """An object written and looked at, by the writer; it stays for as long as a record would.

    Args:
        name: The target's name in the config.
        bucket: The bucket, as the writer sees it.
    """

    def __init__(self, name: str, bucket: Bucket) -> None:
        self._key = f"{bucket.top}trial/{secrets.token_hex(16)}"
        locked = f", and keeps it for {bucket.settings.lock_days} days" if bucket.settings.lock_mode else ""
        super().__init__(
            name, f"the server takes an object once and checked{locked}: {bucket.location(self._key)}"
        )
        self.what = f"target {name}, try a write"
        self._bucket = bucket
        self._version: str | None = None

    def look(self) -> list[Finding]:
        """Write, and take all looks at what was written."""
        return self.run([self._write], [self._listed, self._locked, self._checked, self._once])

    def _write(self) -> None:
        self._version, _ = self._bucket.write(self._key, _BODY, "text/plain", self.what)

    def _listed(self) -> None:
        entries = [
            entry.get("VersionId")
            for page in self._bucket.pages(self._key, self.what)
            for entry in page.get("Versions") or ()
        ]
        if self._version is None or self._version not in entries:
            self._lacks(LISTING, "a record that is hidden or overwritten could not be found again")

    def _locked(self) -> None:
        if self._bucket.settings.lock_mode is None:
            return
        found = self._bucket.retention(self._key, self._version, f"{self.what}, look at its lock")
        if problem := self._bucket.lock_problem(*found, self._bucket.session.deadline.clock.now()):
            self._lacks(LOCK, f"{problem}, so that records could be deleted, and break the gate")

    def _checked(self) -> None:
        probe(self._bucket, f"{self.what}, look at its checksum", WRITE_WRONG_SHA256)

    def _once(self) -> None:
        try:
            self._bucket.write(self._key, _BODY, "text/plain", self.what)
        except Conflict:
            return
        self._lacks(CONDITION, "a record or an entry of the ledger could be laid over another")

    def _lacks(self, feature: str, without: str) -> None:
        self.fail(
            f"the server lacks {feature}: {without}", "use another server or release; see docs/logins.md"
        )
