"""`orgkey backups verify` with [readers]: machines of a crew read what lies in a folder and in a bucket."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pipeline.sources.backups.crew.crew_key import CrewKey
from pipeline.sources.backups.crew.ticket import Ticket
from tests.e2e.leaks import Searcher
from tests.e2e.noted_dispatch import opened
from tests.e2e.watched import Watched
from tests.support import openpgp_writer as writer
from tests.support.commandline import ROOT, Desk, end_gpg, environment, gpg, orgkey, packets_of
from tests.support.dask_crew import HONEST, DaskCrew
from tests.support.ports import distinct_ports
from tests.support.relays import tls_tap

if TYPE_CHECKING:
    from tests.conftest import Place

MANIFEST = ROOT / "infra" / "crew" / "kubernetes.yaml"
COUNT = 3
SAME = (
    "ok",
    "container",
    "entries",
    "content_bytes",
    "integrity",
    "engine",
    "sha256",
    "fingerprint",
    "epoch",
)


def readers(desk: Desk, **settings: str | float) -> None:
    """Write [readers], in place of an earlier one."""
    text, _, _ = desk.config.read_text().partition("\n[readers]\n")
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    desk.config.write_text("\n".join([text, "[readers]", *lines, ""]))


def crew_key(desk: Desk) -> str:
    """Make the crew's key; the public half."""
    made = orgkey(desk.folder, "backups", "crew", "init", "--output", "crew.key", "--json", expect=0)
    return str(made.document["crew_key"])


def reached(crew: DaskCrew, port: int | None = None) -> dict[str, str]:
    """How [readers] says where a scheduler is."""
    cert, key = crew.pair
    return {
        "engine": "dask",
        "scheduler": f"tls://127.0.0.1:{port}" if port else crew.address,
        "ca_file": str(crew.certificates.ca),
        "cert_file": str(cert),
        "key_file": str(key),
    }


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    desk = Desk(place, tmp_path)
    desk.escrow()
    return desk


def backups(folder: Path, packets: list[writer.Packet], fingerprint: str) -> list[bytes]:
    """So many backups for a key."""
    home = folder / "server"
    try:
        gpg(home, "--import", stdin=writer.join(writer.public_of(packets)))
        how = ("--trust-model", "always", "--recipient", fingerprint, "--encrypt")
        return [gpg(home, *how, stdin=b"a backup" * size).stdout for size in range(1, COUNT + 1)]
    finally:
        end_gpg(home)


@pytest.fixture
def places(desk: Desk) -> tuple[str, str]:
    """A folder and a bucket with backups."""
    folder, at = desk.folder / "backups", desk.at_s3
    folder.mkdir()
    for number, data in enumerate(backups(desk.folder, packets_of(desk.key), desk.fingerprint)):
        (folder / f"file {number}.pgp").write_bytes(data)
        at.client.put_object(Bucket=at.bucket, Key=f"{at.prefix}-crew/object {number}.pgp", Body=data)
    return str(folder), f"s3://{at.bucket}/{at.prefix}-crew/"


def verified(desk: Desk, *places: str) -> tuple[dict[str, list[Any]], list[str | None]]:
    """What a run says of each backup, and whose word it is."""
    found = desk.ask("backups", "verify", *places)["backups"]
    assert len(found) == 2 * COUNT
    return {row["source"]: [row[key] for key in SAME] for row in found}, [row["worker"] for row in found]


def test_workers_of_dask_read_a_folder_and_a_bucket(desk: Desk, places: tuple[str, str]) -> None:
    own, _ = verified(desk, *places)
    key = crew_key(desk)
    login = {"AWS_SHARED_CREDENTIALS_FILE": str(desk.stack.layout.aws_credentials("driller"))}
    with DaskCrew(desk.folder) as crew:
        for _ in range(2):
            crew.worker(HONEST, "--crew-key-file", "crew.key", env=login)
        readers(desk, crew_key=key, **reached(crew))
        found, workers = verified(desk, *places)
    assert found == own
    assert workers.count(None) == 1  # it was read again here


def test_jobs_with_an_index_read_a_folder_and_a_bucket(desk: Desk, places: tuple[str, str]) -> None:
    own, _ = verified(desk, *places)
    folder, over = desk.folder / "tickets", threading.Event()
    folder.mkdir()
    readers(desk, engine="folder", folder=str(folder), crew_key=crew_key(desk))
    env = environment(
        desk.folder, AWS_SHARED_CREDENTIALS_FILE=str(desk.stack.layout.aws_credentials("driller"))
    )

    job_of = next(item for item in yaml.safe_load_all(MANIFEST.read_text()) if item["kind"] == "Job")
    paths = {"/srv/crew": str(folder), "/run/credentials/crew": str(desk.folder)}
    words = job_of["spec"]["template"]["spec"]["containers"][0]["args"]
    for there, here in paths.items():
        words = [word.replace(there, here) for word in words]

    def job() -> None:
        while not (folder / "tickets" / f"{2 * COUNT - 1}.json").exists():
            if over.wait(0.02):
                return
        for index in range(2 * COUNT):
            given = env | {"JOB_COMPLETION_INDEX": str(index)}
            orgkey(desk.folder, *words, env=given, expect=0)

    thread = threading.Thread(target=job)
    thread.start()
    try:
        found, workers = verified(desk, *places)
    finally:
        over.set()
        thread.join()
    assert found == own
    assert workers.count(None) == 1
    assert not list(folder.rglob("*.json"))


def contexts(crew: DaskCrew) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a member of the cluster: as a server, and as a client."""
    made = []
    for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(kind)
        context.check_hostname = False  # as Dask does it
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(crew.certificates.ca)
        context.load_cert_chain(*crew.pair)
        made.append(context)
    return made[0], made[1]


def processes(*first: int) -> Iterator[int]:
    """Processes, and what they have started."""
    for pid in first:
        yield pid
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield from processes(*map(int, (task / "children").read_text().split()))


def test_dispatch_and_workers_get_no_key_no_passphrase_and_no_login(place: Place, tmp_path: Path) -> None:
    """All that they are given: arguments, environment, descriptors, pipes, and what TLS carries."""
    watched = Watched(place, tmp_path)
    desk = watched.desk
    watched.run("escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file))
    folder, given = tmp_path / "backups", tmp_path / "noted"
    folder.mkdir()
    given.mkdir()
    for number, data in enumerate(backups(tmp_path, watched.packets, desk.fingerprint)):
        (folder / f"{number}.pgp").write_bytes(data)
    key = crew_key(desk)
    seen: list[bytearray] = []
    with DaskCrew(desk.folder) as crew, ExitStack() as stack:
        front, back = contexts(crew)
        (listens,) = distinct_ports(1)
        hub = stack.enter_context(tls_tap(front, back, int(crew.address.rpartition(":")[2]), seen))
        tapped = stack.enter_context(tls_tap(front, back, listens, seen))
        at = (
            "--listen-address",
            f"tls://127.0.0.1:{listens}",
            "--contact-address",
            f"tls://127.0.0.1:{tapped}",
        )
        crew.address = f"tls://127.0.0.1:{hub}"
        worker = crew.worker(HONEST, "--crew-key-file", "crew.key", at=at)
        readers(desk, crew_key=key, **reached(crew))
        words = (
            "backups",
            "verify",
            str(folder),
            "--config",
            str(desk.config),
            "--state-dir",
            str(desk.state),
        )
        done = subprocess.run(
            [sys.executable, "-m", "tests.e2e.noted_dispatch", str(given), *words],
            cwd=desk.folder, env=watched.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done
        for pid in processes(worker.pid, crew.scheduler.pid):
            for name in ("cmdline", "environ"):
                (given / f"{pid}-{name}").write_bytes(Path(f"/proc/{pid}/{name}").read_bytes())
            links = [link for link, _ in opened(Path(f"/proc/{pid}"))]
            (given / f"{pid}-fd").write_text("\n".join(links))
    for number, said in enumerate(seen):
        (given / f"wire-{number}").write_bytes(said)

    crews = CrewKey.load(desk.folder / "crew.key")
    tickets = [Ticket.of(json.loads(line)[1]) for line in (given / "stdin").read_text().splitlines()[1:]]
    keys = {ticket.open.name: ticket.unseal(crews) for ticket in tickets}
    wire = b"".join(path.read_bytes() for path in given.glob("wire-*"))
    assert len(keys) == COUNT
    for ticket in tickets:  # what was carried was looked at: each ticket and its answer
        assert ticket.sealed.encode() in wire
    assert wire.count(b"orgkey.answer/1") >= COUNT
    assert "crew.dispatch" in (given / "cmdline").read_text()
    assert "PATH=" in (given / "environ").read_text()
    descriptors = (given / "fd").read_text().split("\n")
    assert all(link.startswith("pipe:") or link == "/dev/null" for link in descriptors)
    secrets = watched.secrets() | {
        f"{what} of {name}": secret.reveal()
        for name, sealed in keys.items()
        for what, secret in (("session key", sealed.session.key), ("answer's key", sealed.mac_key))
    }
    assert len(secrets) >= 20 + 2 * COUNT
    assert Searcher(secrets).search_files([given, *desk.folder.glob("worker-*.log")]) == set()
