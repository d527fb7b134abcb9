"""Whatever a server answers: an error of the tree comes out, in time, and never a success."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.holders import KmsHolderConfig, TransitHolderConfig
from pipeline.config.identities import AwsIdentity, VaultIdentity
from pipeline.config.places import S3TargetConfig, VaultTargetConfig
from pipeline.core import clock, signals
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, Interrupted, OrgkeyError
from pipeline.core.retry import Retrier
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, SealedShare
from pipeline.custody.holders.kms import KmsKeyHolder
from pipeline.custody.holders.transit import TransitKeyHolder
from pipeline.openpgp.gnupg.keyserver import MAX_BYTES, look_up
from pipeline.openpgp.key import parsing
from pipeline.providers.aws.session import AwsSession
from pipeline.providers.vault.session import VaultSession
from pipeline.sources.backups import s3 as backups
from pipeline.storage.interface import Presence, Retention, Slot, Stored
from pipeline.storage.s3.backend import S3Backend
from pipeline.storage.s3.ledger_mirror import S3Mirror
from pipeline.storage.s3.retention import S3Retainer
from pipeline.storage.vault.backend import VaultBackend
from pipeline.storage.vault.ledger_heads import VaultHeads
from tests.support.bad_answers import ANSWERS, BadServer, head, raw, stalls

FPR = "A" * 40
EPOCH = "20260131T080000Z-0a1b2c3d"
SLOT = Slot(FPR, EPOCH)
BINDING = Binding(FPR, "0" * 32)
CALL, RUN = 0.15, 5.0
LOOKUP = json.dumps({"data": {"ttl": 0, "policies": ["writer"]}}).encode()
OWNER = ("team",)
# urllib3 leaves the socket of some answers to the garbage collector: one whose headers contradict each other.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Calls = dict[str, Callable[[], Any]]


class Scene:
    """One server, and every call of every adapter that speaks to it."""

    def __init__(self, server: BadServer, folder: Path) -> None:
        self.server = server
        self.deadline = Deadline(RUN)
        self.calls = of_vault(server.url, folder, self.deadline) | of_aws(server.url, folder, self.deadline)
        calm = Deadline(600)
        self.patient = of_vault(server.url, folder, calm, 300) | of_aws(server.url, folder, calm, 300)

    def judge(self, name: str, *calls: str) -> list[str]:
        """What is wrong with how each call ends, while the server gives this answer."""
        self.deadline.renew()
        with self.server.playing(name), ThreadPoolExecutor(16) as pool:
            found = pool.map(lambda call: judge(name, call, self.calls[call]), calls or self.calls)
            return [each for each in found if each]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("logins")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "VAULT_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("HOME", str(folder))
        for name, text in (("token", "s.token"), ("role", "role"), ("secret", "secret-id")):
            (folder / name).write_text(text)
        (folder / "keys").write_text(
            "[default]\naws_access_key_id = A\naws_secret_access_key = not-a-secret\n"
        )
        with BadServer({"/v1/auth/token/lookup-self": LOOKUP}) as server:
            yield Scene(server, folder)


def of_vault(url: str, folder: Path, deadline: Deadline, seconds: float = CALL) -> Calls:
    place = VaultTargetConfig(kind="vault", address=url, mount="orgkey", prefix="r", controlled_by=OWNER)
    key = TransitHolderConfig(
        kind="vault-transit", address=url, mount="transit", key="k", controlled_by=OWNER
    )

    def session(identity: VaultIdentity | None = None) -> VaultSession:
        known = identity or VaultIdentity(token_file=str(folder / "token"))
        return VaultSession(place, known, call_seconds=seconds, deadline=deadline, role="writer")

    ids = VaultIdentity(role_id_file=str(folder / "role"), secret_id_file=str(folder / "secret"))
    sealed = SealedShare(1, "transit", b"vault:v1:aaaa\n", "vault")
    target = VaultBackend("vault", place, session())
    heads = VaultHeads("vault", place, session(), FPR)
    head = json.dumps({"head": "x"}).encode()
    return {
        "vault put": lambda: target.put(SLOT, b"record"),
        "vault get": lambda: target.get(SLOT),
        "vault get version": lambda: target.get(SLOT, "1"),
        "vault find": lambda: target.find(FPR),
        "vault find epoch": lambda: target.find(FPR, EPOCH),
        "vault check": lambda: VaultBackend("vault", place, session()).check(),
        "heads hosts": lambda: heads.hosts(),
        "heads listing": lambda: heads.listing("0123456789abcdef", 0),
        "heads get": lambda: heads.get("0123456789abcdef/head-000000001"),
        "heads put": lambda: heads.put("0123456789abcdef", 1, head, datetime.now(UTC)),
        "vault health": lambda: session().health(),
        "vault seal type": lambda: session().seal(),
        "vault capabilities": lambda: session().capabilities(["a"], "look"),
        "vault read": lambda: session().read("sys/mounts", "look"),
        "vault write": lambda: session().write("sys/mounts/x", {}, "make"),
        "vault login": lambda: session(ids).token("look"),
        "transit describe": lambda: TransitKeyHolder("vault", key, session()).describe(),
        "transit seal": lambda: TransitKeyHolder("vault", key, session()).seal([Secret(b"s")], BINDING),
        "transit open": lambda: TransitKeyHolder("vault", key, session()).open(sealed, BINDING),
        "transit check": lambda: TransitKeyHolder("vault", key, session()).check(),
    }


def of_aws(url: str, folder: Path, deadline: Deadline, seconds: float = CALL) -> Calls:
    place = S3TargetConfig(
        kind="s3",
        bucket="b",
        prefix="r",
        region="eu-central-1",
        endpoint_url=url,
        lock_mode="GOVERNANCE",
        lock_days=2,
        controlled_by=OWNER,
    )
    key = KmsHolderConfig(
        kind="aws-kms", key_id="k", region="eu-central-1", endpoint_url=url, controlled_by=OWNER
    )
    identity = AwsIdentity(credentials_file=str(folder / "keys"))

    def session(of: Any) -> AwsSession:
        return AwsSession(of, identity, call_seconds=seconds, deadline=deadline, role="writer")

    shared, kms = session(place), session(key)
    target, mirror = S3Backend("s3", place, shared), S3Mirror("s3", place, shared, FPR)
    stored = Stored(SLOT, "s3://b/r", "v1", Presence.CURRENT)
    retainer = S3Retainer("s3", place, shared, target.place)
    until = Retention("GOVERNANCE", datetime.now(UTC) + timedelta(days=3))
    once = Retrier(deadline, attempts=1)
    backup = backups.S3Source(shared, {"Bucket": "b"}, "k", 100, '"e"', once)
    sealed = SealedShare(1, "kms", b"blob", "aws")

    def whole() -> bytes:
        with backup.open() as cursor:
            return cursor.take(100, "the backup")

    return {
        "s3 put": lambda: target.put(SLOT, b"record"),
        "s3 get": lambda: target.get(SLOT),
        "s3 get version": lambda: target.get(SLOT, "v1"),
        "s3 find": lambda: target.find(FPR),
        "s3 confirm": lambda: target.confirm(stored),
        "s3 check": lambda: target.check(),
        "s3 retain": lambda: retainer.retain(stored, until),
        "mirror hosts": lambda: mirror.hosts(),
        "mirror listing": lambda: mirror.listing("0123456789abcdef", 0),
        "mirror get": lambda: mirror.get("v1 k"),
        "mirror put": lambda: mirror.put("0123456789abcdef", 1, b"{}", datetime.now(UTC)),
        "backups listed": lambda: backups.listed(shared, {"Bucket": "b"}, "p", (), once),
        "backup start": backup.start,
        "backup whole": whole,
        "kms describe": lambda: KmsKeyHolder("aws", key, kms).describe(),
        "kms seal": lambda: KmsKeyHolder("aws", key, kms).seal([Secret(b"s")], BINDING),
        "kms open": lambda: KmsKeyHolder("aws", key, kms).open(sealed, BINDING),
        "kms check": lambda: KmsKeyHolder("aws", key, kms).check(),
    }


# What a whole and right server may mean by these: that nothing is there, or nothing to tell.
FINE = {
    ("status 404", "vault find"),
    ("status 404", "vault find epoch"),
    ("status 404", "heads hosts"),
    ("status 404", "heads listing"),
    ("status 404", "vault read"),
    ("a wait without end", "vault find"),
    ("a wait without end", "vault find epoch"),
    ("a wait without end", "heads hosts"),
    ("a wait without end", "heads listing"),
    ("a wait without end", "vault read"),
    ("status 404", "vault health"),
}
SILENT = ("vault health", "vault write", "vault read")  # they say what they saw, or nothing


def judge(name: str, call: str, made: Callable[[], Any]) -> str | None:
    begun = time.monotonic()
    try:
        got = made()
    except OrgkeyError as error:
        if error.code is Code.INTERNAL or not error.message or not error.hint:
            return f"{call}: {error!r}"
        if "Error(" in error.message or "<html" in error.message.lower():
            return f"{call}: {error.message}"
    except BaseException as error:
        return f"{call}: {type(error).__name__}: {error}"
    else:
        if call.endswith("check"):
            if any(finding.code is Code.INTERNAL for finding in got) or all(f.level == "ok" for f in got):
                return f"{call}: {got}"
        elif call not in SILENT and (name, call) not in FINE:
            return f"{call}: {got!r}"
    took = time.monotonic() - begun
    return f"{call}: took {took:.1f} s" if took > RUN + 5 else None


@pytest.mark.parametrize("name", ANSWERS)
def test_only_errors_of_the_tree_come_out(name: str, scene: Scene) -> None:
    assert scene.judge(name) == []


@pytest.mark.parametrize("name", ["endless body", "10 GB announced", "endless chunks", "endless headers"])
def test_what_does_not_end_is_not_kept(name: str, scene: Scene) -> None:
    wanted = ("vault get", "s3 get", "kms open", "backup start", "s3 find")
    tracemalloc.start()
    try:
        scene.judge(name, *wanted)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20  # five answers at once


def test_nothing_goes_on_once_nobody_waits(scene: Scene) -> None:
    """Who gives up closes the connection: the thread that waited for the server ends."""
    scene.deadline.renew()
    with scene.server.playing("dripping header"):
        judge("", "vault get", scene.calls["vault get"])
        judge("", "s3 get", scene.calls["s3 get"])
        ends = time.monotonic() + 5
        while any(thread.name == "wire" for thread in threading.enumerate()):
            assert time.monotonic() < ends
            threading.Event().wait(0.01)


@pytest.mark.parametrize("name", ["silence", "dripping header", "dripping body"])
def test_the_first_signal_ends_a_call_that_only_reads(
    name: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "interrupted", signals.Flag())

    def cut(call: str) -> float:
        begun = time.monotonic()
        with pytest.raises(Interrupted):
            scene.patient[call]()
        return time.monotonic() - begun

    waiting = ("s3 get", "vault get", "kms open")
    with scene.server.playing(name), ThreadPoolExecutor(3) as pool:
        found = [pool.submit(cut, call) for call in waiting]
        threading.Timer(0.1, clock.interrupted.set).start()
        assert max(job.result() for job in found) < 2


@pytest.mark.skipif(shutil.which("dirmngr") is None, reason="dirmngr is not installed")
@pytest.mark.parametrize("name", ["web page 200", "deep JSON", "half", "dripping body", "endless body"])
def test_a_key_server(name: str, scene: Scene) -> None:
    """GnuPG's dirmngr asks it: what comes is an error of the tree, or bytes that no key is found in."""
    url = scene.server.url.replace("http:", "hkp:")
    begun, found = time.monotonic(), None
    with scene.server.playing(name), suppress(OrgkeyError):
        found = look_up(url, FPR, ("A <a@example.com>",), seconds=1, deadline=Deadline(3))
    assert time.monotonic() - begun < 3 + 5
    key = found.key if found and found.key else b""
    assert len(key) <= MAX_BYTES
    assert not parsing.read_all(key).keys


@pytest.mark.parametrize("cut", ["cut", "stalled"])
def test_a_body_that_stops_is_asked_for_again(
    cut: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing about the copy: only a whole answer can be damaged."""
    start = head(200, 'ETag: "e"', kind="application/x-tar", length=6)
    answers = [raw(start + b"rec"), raw(start + b"record")]
    if cut == "stalled":
        answers[0] = stalls(start + b"rec")

    def play(connection: socket.socket, over: threading.Event) -> None:
        answers.pop(0)(connection, over)

    monkeypatch.setitem(ANSWERS, "mends itself", play)
    scene.deadline.renew()
    with scene.server.playing("mends itself"):
        assert Retrier(Deadline(10), base=0.01).call(scene.calls["s3 get"], "read") == b"record"
    assert answers == []
