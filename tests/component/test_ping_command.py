"""A command gives the address of a ping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.sections import Ping
from pipeline.monitoring.notify import ping
from tests.support.listener import Listener, listening

RUN = "0123456789abcdef"
TOKEN = "5a1c9f4e-secret-token"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


def test_a_command_gives_the_address_and_its_failure_is_a_warning(tmp_path: Path, listener: Listener) -> None:
    warnings: list[str] = []
    good = Ping(url_command=("echo", f"{listener.address}/{TOKEN}"))
    ping.Pinger(good, "drill", RUN, warnings.append).end(0, "well")
    assert listener.paths == [f"/{TOKEN}"]
    assert warnings == []
    ping.Pinger(Ping(url_command=("false",)), "drill", RUN, warnings.append).end(0, "well")
    (told,) = warnings
    assert "the command false ended with code 1 and no address" in told
