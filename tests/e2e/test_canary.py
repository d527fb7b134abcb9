"""Known secrets go through escrow, drill and restore, and then are searched for everywhere."""

from __future__ import annotations

import base64
import json
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.e2e.leaks import Searcher
from tests.e2e.watched import Watched
from tests.support import authority as authorities
from tests.support.commandline import Run
from tests.support.listener import listening

if TYPE_CHECKING:
    from tests.conftest import Place


@pytest.fixture
def watched(place: Place, tmp_path: Path) -> Watched:
    return Watched(place, tmp_path)


def test_no_secret_is_left_anywhere(watched: Watched) -> None:
    desk = watched.desk
    export = (str(desk.export), "--export-passphrase-file")
    printed = shlex.join(["cat", str(desk.passphrase_file)])
    with watched.sampler:
        watched.run("escrow", *export, str(watched.wrong_file), expect=12)
        watched.run("escrow", *export, str(desk.passphrase_file), "--json")
        with authorities.serve(watched.authority) as serving:
            desk.edit("http://127.0.0.1:9/tsr", serving.url)
            watched.run("drill")
        new = ("--new-passphrase-file", str(desk.new_passphrase_file))
        watched.run("restore", *new, "--out", str(desk.folder / "restored.asc"))
        watched.run("escrow", str(desk.export), "--export-passphrase-command", printed)
        watched.run("report", "--bundle", str(desk.folder / "bundle"))
    assert {"report.html", "ledger", "certificates"} <= {
        path.name for path in (desk.folder / "bundle").iterdir()
    }
    # What was looked at is not empty: the search below would find nothing in nothing.
    assert watched.sampler.rounds > 20
    places = {where for where, _ in watched.sampler.seen}
    assert any(where.startswith("cmdline") for where in places)
    assert any("orgkey-gpg-" in where for where in places)
    assert len(list(watched.calls.iterdir())) >= 3
    assert "urllib3" in "".join(run.err for run in watched.runs)
    assert "botocore" in "".join(run.err for run in watched.runs)
    certificates = desk.state / desk.fingerprint / "certificates"
    assert list(certificates.glob("*.tsq"))
    assert list(certificates.glob("*.tsr"))
    secrets = watched.secrets()
    assert len(secrets) >= 20
    assert len(watched.stored()) >= 10
    assert any("/ledger/" in name and name.endswith("/000000001.json") for name in watched.stored())

    assert watched.hunt(Searcher(secrets)) == set()
    # No agent, no home, no temporary file is left.
    assert [path for path in watched.temporary.rglob("*") if path.is_file()] == []


def test_json_logs_metrics_pings_and_notifications_have_no_secret(watched: Watched) -> None:
    """What goes to others and to collectors; the addresses that it goes to are secrets, too."""
    desk, kept = watched.desk, watched.desk.folder / "notifications"
    token, service = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "Xk93mQz7Pw2LaB81"
    watched.env["ORGKEY_LOG_FORMAT"] = "json"
    export = (str(desk.export), "--export-passphrase-file")
    with listening() as listener, watched.sampler:
        ping = watched._give("ping", f"{listener.address}/{token}".encode())
        urls = watched._give("urls", f"json://{listener.address[7:]}/{service}".encode())
        keep = f"import sys; open({str(kept)!r}, 'a').write(sys.stdin.read())"
        command = json.dumps([sys.executable, "-c", keep])
        text = f"[notify]\nurls_file = {json.dumps(str(urls))}\ncommand = {command}\n"
        text += "".join(f"[ping.{job}]\nurl_file = {json.dumps(str(ping))}\n" for job in ("escrow", "status"))
        desk.config.write_text(f"{desk.config.read_text()}\n{text}")
        watched.run("escrow", *export, str(watched.wrong_file), expect=12)
        watched.run("escrow", *export, str(desk.passphrase_file))
        watched.run("status", "--metrics", str(desk.folder / "orgkey.prom"))
        watched.run("notify", "test")
    told = [json.loads(line)["event"] for line in kept.read_text().splitlines()]
    assert told == ["failure", "recovery", "test"]
    assert len(listener.heard) == 6 + 3 + 2
    assert "orgkey_gate_ok" in (desk.folder / "orgkey.prom").read_text()
    lines = [json.loads(line) for run in watched.runs for line in run.err.splitlines()]
    assert {"urllib3.connectionpool", "botocore.retryhandler"} & {line.get("logger") for line in lines}
    assert any("rid=" in line["message"] for line in lines), "pings are in the log, without their token"
    searcher = Searcher(watched.secrets() | {"ping": token.encode(), "service": service.encode()})
    leaks = watched.hunt(searcher)
    for heard in listener.heard:
        leaks |= searcher.search(heard.body.encode(), "what others were told")
    assert leaks == set()


def test_a_planted_leak_is_found(watched: Watched) -> None:
    """The same search, with an operator's hook that lets secrets out in every way that it can."""
    desk = watched.desk
    hook = watched.given / "leaky.py"
    hook.write_text(
        "import base64, os, pathlib, subprocess, sys\n"
        f"secret = {watched.export_passphrase.decode()!r}\n"
        "state, temporary = sys.argv[1:]\n"
        "pathlib.Path(state).mkdir(exist_ok=True)\n"
        "pathlib.Path(state, 'note').write_bytes(b'..' + base64.b64encode(b'x' + secret.encode()))\n"
        "passing = pathlib.Path(temporary, 'passing')\n"
        "passing.write_text(secret.encode().hex())\n"
        "subprocess.run(['sleep', '3'], env={'LEAK': secret})\n"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(3)', secret])\n"
        "passing.unlink()\n"
        "print(secret)\n"
    )
    command = shlex.join([sys.executable, str(hook), str(desk.state), str(watched.temporary)])
    with watched.sampler:
        watched.run("escrow", str(desk.export), "--no-drill", "--export-passphrase-command", command)
    secrets = watched.secrets()
    words = next(secret for name, secret in secrets.items() if name.startswith("share of"))
    notes = {"Bucket": desk.at_s3.bucket, "Key": f"{desk.place.s3_prefix}/notes"}
    desk.at_s3.client.put_object(**notes, Body=b"shares: " + words)
    watched.runs.append(Run(("log",), 0, "", f"debug: {secrets['escrow passphrase'].hex()}"))

    found = {(leak.secret, leak.where) for leak in watched.hunt(Searcher(secrets))}
    assert ("export passphrase", "environ of process") in found
    assert ("export passphrase", "cmdline of process") in found
    assert ("export passphrase", str(desk.state / "note")) in found
    assert ("export passphrase", str(watched.temporary / "passing")) in found
    assert any(secret.startswith("share of") and where.startswith("s3 ") for secret, where in found)
    assert ("escrow passphrase", "stderr of log") in found


SECRET = 'Zo\u00eb\'s 32-byte secret: \u00e5\u00df "quoted"'.encode()


SPELLED = {
    "raw": SECRET,
    "hexadecimal": SECRET.hex().encode(),
    "upper case": SECRET.hex().upper().encode(),
    **{f"base64-{shift}": base64.b64encode(bytes(shift) + SECRET + b"more") for shift in range(4)},
    "base64url": base64.urlsafe_b64encode(b"\xff\xff" + SECRET),
    "decomposed": unicodedata.normalize("NFD", SECRET.decode()).encode(),
    "latin-1": SECRET.decode().encode("latin-1"),
    "utf-16": SECRET.decode().encode("utf-16-le"),
    "reversed": SECRET[::-1],
    "cut": SECRET[3:-3],
    "decimal": str(int.from_bytes(SECRET, "big")).encode(),
    "percent": quote(SECRET).encode(),
    "json": json.dumps(SECRET.decode())[1:-1].encode(),
    "repr": repr(SECRET)[2:-1].encode(),
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_every_spelling_is_found(spelling: str) -> None:
    spelled = SPELLED[spelling]
    searcher = Searcher({"it": SECRET})
    assert searcher.search(b"before " + spelled + b" after", "here")
    assert not searcher.search(b"before " + spelled[: len(spelled) // 3] + b" after", "here")
