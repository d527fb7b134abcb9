"""Dead-man pings against a server on loopback that is well, dead, slow, broken, or never ends."""

from __future__ import annotations

import socket
import time
import uuid
from pathlib import Path

import pytest

from pipeline.config.sections import Ping
from pipeline.core import log
from pipeline.core.errors import UsageProblem
from pipeline.monitoring.notify import address, ping
from pipeline.monitoring.notify.ping import post
from tests.support.listener import Listener

RUN = "0123456789abcdef"
TOKEN = "5a1c9f4e-secret-token"


class Told:
    """A pinger of one job, and its warnings."""

    def __init__(self, folder: Path, where: str) -> None:
        self.warnings: list[str] = []
        file = folder / "url"
        file.write_text(f"# the drill's\n{where}\n")
        file.chmod(0o600)
        self.pinger = ping.Pinger(Ping(url_file=str(file)), "drill", RUN, self.warnings.append)


def test_a_run_is_told_at_its_start_and_end(tmp_path: Path, listener: Listener) -> None:
    told = Told(tmp_path, f"{listener.address}/{TOKEN}")
    told.pinger.start()
    told.pinger.end(0, "well")
    told.pinger.end(24, "degraded")
    assert listener.paths == [f"/{TOKEN}/start", f"/{TOKEN}", f"/{TOKEN}/24"]
    rids = {item.query["rid"][0] for item in listener.heard}
    assert [str(uuid.UUID(rid)) for rid in rids] == ["01234567-89ab-4cde-8f00-000000000000"]
    assert [item.body for item in listener.heard] == [f"run {RUN}", "well", "degraded"]
    assert told.warnings == []


def test_what_the_address_asks_for_stays() -> None:
    made = ping.target("https://hc.example.com/key/slug/?create=1#x", "/30", RUN)
    assert made == f"https://hc.example.com/key/slug/30?create=1&rid={ping.rid(RUN)}"


@pytest.mark.parametrize(
    ("mood", "status", "told", "tries"),
    [
        ("well", 404, "it answered 404", 1),
        ("well", 500, "it answered 500", 2),
        ("well", 302, "redirect (302), which is not followed", 1),
        ("silent", 200, "it cannot be reached", 2),
        ("slow", 200, "did not answer within 0.5 s", 2),
        ("dripping", 200, "did not answer within 0.5 s", 2),
    ],
)
def test_a_server_that_is_not_well_is_a_warning_in_time(
    listener: Listener, mood: str, status: int, told: str, tries: int
) -> None:
    listener.mood, listener.status = mood, status
    began = time.monotonic()
    seconds = 0.5 if mood in ("slow", "dripping") else 20
    said = post(f"{listener.address}/{TOKEN}", b"x", seconds=seconds)
    assert time.monotonic() - began < 15
    assert said is not None
    assert told in said
    assert TOKEN not in said
    assert len(listener.heard) == tries
    assert "/elsewhere" not in listener.paths


def test_an_endless_answer_is_not_read(listener: Listener) -> None:
    listener.mood = "endless"
    began = time.monotonic()
    assert post(f"{listener.address}/x", b"x", seconds=60) is None
    assert time.monotonic() - began < 20


def test_a_second_attempt_helps(listener: Listener) -> None:
    listener.status, listener.after = 503, 200
    assert post(f"{listener.address}/x", b"x", seconds=5) is None
    assert len(listener.heard) == 2


def test_a_dead_server_is_a_warning_that_does_not_tell_the_address(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"http://127.0.0.1:{taken.getsockname()[1]}/{TOKEN}"
    told = Told(tmp_path, where)
    began = time.monotonic()
    told.pinger.start()
    told.pinger.end(0, "well")
    assert time.monotonic() - began < 15
    assert told.warnings == ["ping.drill could not be sent at the end of the run: it cannot be reached"]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "ftp://x/y\n", "https://a/1\nhttps://a/2\n"])
def test_an_address_that_is_none_is_said_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "url"
    file.write_text(text)
    with pytest.raises(UsageProblem, match=r"ping\.drill\.url"):
        ping.ping_address(Ping(url_file=str(file)), "drill")


@pytest.mark.parametrize(
    ("where", "hidden", "shown"),
    [
        (
            "https://hc-ping.com/0a1b2c3d-0000-4000-8000-000000000000",
            "0a1b2c3d-0000-4000-8000-000000000000",
            "hc-ping.com",
        ),
        (
            "https://user:hunter22@push.example.com/abcdef12?token=s3cr3tvalue",
            "s3cr3tvalue",
            "push.example.com",
        ),
        ("https://user:hunter22@push.example.com/abcdef12?token=s3cr3tvalue", "hunter22", "example"),
        ("slack://TokenAAAA/TokenBBBB/TokenCCCC/#general", "TokenAAAA", "slack"),
        ("tgram://123456789:AAFdeadbeefdead/42", "AAFdeadbeefdead", "tgram"),
        ("https://hooks.example.com/deadbeefdeadbeef0", "deadbeefdeadbeef0", "hooks.example.com"),
        ("mailtos://me:correcthorse@example.com", "correcthorse", "example.com"),
    ],
)
def test_the_parts_of_an_address_are_kept_out_of_logs(where: str, hidden: str, shown: str) -> None:
    address.conceal(where)
    for line in (where, f'"POST {where.partition("://")[2]} HTTP/1.1" 200', f"path {hidden}"):
        assert hidden not in log.clean(line)
    assert log.clean(f"host {shown}") == f"host {shown}"


def test_a_job_named_in_an_address_does_not_vanish_from_what_is_said() -> None:
    address.conceal("https://hc-ping.com/Xy7_f2kQ9aLmZ/orgkey-escrow")
    address.conceal("https://hc.example.com/drill")
    said = "orgkey drill and orgkey escrow; orgkey-escrow 1.0; /srv/drill"
    assert log.clean(said) == said


def test_bodies_are_short(tmp_path: Path, listener: Listener) -> None:
    told = Told(tmp_path, f"{listener.address}/{TOKEN}")
    told.pinger.end(1, "x" * 100_000)
    (heard,) = listener.heard
    assert len(heard.body) == 2000
