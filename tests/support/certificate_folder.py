"""A folder of custodians' certificates, and what is said of each."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.holders import OpenpgpHolderConfig
from pipeline.core.errors import UsageProblem
from pipeline.core.finding import Finding
from pipeline.custody.custodians import certificate_check, certificate_store, certificates
from pipeline.custody.custodians.certificates import Recipient
from tests.support.certificate_writer import NOW, Person, person

BESIDE = Person("somebody else").fingerprint


class Folder:
    """The place of the certificates, and the configuration that nobody can write to."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()

    def put(self, name: str, data: bytes | str | Person) -> Path:
        path = self.place / name
        if isinstance(data, Person):
            return data.write(path)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def holder(self, *members: str | dict[str, Any], certificates: Path | None = None) -> OpenpgpHolderConfig:
        listed = [*members, BESIDE][: max(2, len(members))]
        return OpenpgpHolderConfig.model_validate(
            {"kind": "openpgp", "members": listed, "certificates": str(certificates or self.place)}
        )

    def judge(self, member: str | dict[str, Any], now: datetime = NOW) -> Recipient:
        """One member, as a split would."""
        item = self.holder(member)
        known = certificate_store.read_store(item).certificates
        return certificates.recipient("custodians", item.members[0], known, now)

    def refusal(self, member: str | dict[str, Any], now: datetime = NOW) -> UsageProblem:
        with pytest.raises(UsageProblem) as caught:
            self.judge(member, now)
        assert caught.value.hint
        assert not caught.value.message.endswith(".")
        return caught.value

    def findings(
        self, *members: str | dict[str, Any], now: datetime = NOW, days: float = 60
    ) -> list[Finding]:
        """What `doctor` says; the group is filled up by somebody who is good."""
        if len(members) < 2:
            self.put("beside.asc", person("somebody else"))
        return certificate_check.findings("custodians", self.holder(*members), now, timedelta(days=days))
