"""A server that hears, and logging that starts afresh."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.core import log
from pipeline.core.redaction import Redactor
from tests.support.listener import Listener, listening


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


@pytest.fixture(autouse=True)
def fresh_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log, "_redactor", Redactor())
    yield
    log.shutdown()
