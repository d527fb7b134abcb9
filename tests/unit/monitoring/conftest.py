"""A server that hears, logging that starts afresh, and one authentic record that many may look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.core import log
from pipeline.core.redaction import Redactor
from tests.support import quiet_log
from tests.support.listener import Listener, listening
from tests.support.worlds import genuine as genuine


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


@pytest.fixture(autouse=True)
def fresh_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log, "_redactor", Redactor())
    yield
    quiet_log.shut_down()
