"""Run one counterpart, in namespaces of its own: ``python -m tools.interop.run NAME GOT OUT`` (JSON)."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.devstack import wire
from pipeline.devstack.programs import OPENBAO, VERSITYGW, cache_root, find, version_of
from pipeline.devstack.stack import Stack
from pipeline.devstack.state import IDENTITIES
from tools.interop.counterparts import COUNTERPARTS, Counterpart, Part
from tools.interop.fetch import ROOT

_UP = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
_SIOCSIFFLAGS = 0x8914
START_SECONDS, DEMO_SECONDS, SUITE_SECONDS = 90.0, 900.0, 900.0
# Of the contract suite what is about the part; all of it with proofs where the program runs on another.
SUITES: Mapping[Part, tuple[str, ...]] = {
    Part.S3: ("tests/contract", "tests/runbooks/test_own_s3_bucket.py", "-k", "s3"),
    Part.VAULT: ("tests/contract", "-k", "vault or transit"),
}
WHOLE = (
    "tests/contract",
    "tests/component/proofs/test_known_answer.py",
    "tests/component/proofs/test_forms_of_keys.py",
)


def main(name: str, got: str, out: str) -> None:
    """Run one counterpart.

    Args:
        name: Its name in the table.
        got: What was fetched for it.
        out: The file for the result.
    """
    item = next(item for item in COUNTERPARTS if item.name == name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, _UP)
    with (
        tempfile.TemporaryDirectory(prefix="interop-") as home,
        _environment(item, Path(got), Path(home)) as env,
    ):
        versions = {
            row.name: {"version": row.version, **_version(row, Path(got), env)}
            for row in COUNTERPARTS
            if item.name in (row.name, row.like)
        }
        result: dict[str, Any] = {}
        if item.part is Part.S3:
            result |= _asked(env, Path(home))
        if not result.get("refused"):
            result |= {"demo": _demo(env), "suite": _suite(env, SUITES.get(item.part, WHOLE))}
    Path(out).write_text(json.dumps({name: result | told for name, told in versions.items()}))


@contextmanager
def _environment(item: Counterpart, got: Path, home: Path) -> Iterator[dict[str, str]]:
    """Start what has to be started; the environment with which the program finds it."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ORGKEY_STACK_CACHE": str(cache_root()),
        "LANG": "C.UTF-8",
    }
    env["VENV"] = str(got if item.part in (Part.PYTHON, Part.OPENSSL) and got != ROOT else Path(sys.prefix))
    if item.part is Part.GPG and got != ROOT:
        for program in (
            *got.glob("usr/bin/gpg*"),
            *got.glob("usr/bin/dirmngr"),
            *got.glob("usr/lib/gnupg/keyboxd"),
        ):
            if (place := Path("/") / program.relative_to(got)).exists():
                subprocess.run(["mount", "--bind", program, place], check=True, timeout=30)
    if item.argv:
        with _server(item, got, home) as url:
            key = wire.write_credentials(*item.key).decode()
            credentials = _credentials(home, dict.fromkeys(("default", *IDENTITIES[1:]), key))
            yield env | {
                "ORGKEY_STACK_S3_ENDPOINT": url,
                "ORGKEY_STACK_S3_CREDENTIALS_FILE": str(credentials),
            }
    elif item.part in (Part.S3, Part.VAULT):
        if got != ROOT:  # a server on PATH is taken before the lock's
            os.environ["PATH"] = f"{got.parent}:{os.environ['PATH']}"
        lender = Stack(home / "lender")
        try:
            lender.up()
            if item.part is Part.VAULT:
                yield env | {
                    "ORGKEY_STACK_VAULT_ADDR": lender.endpoint("vault"),
                    "ORGKEY_STACK_VAULT_TOKEN_FILE": str(lender.layout.root_token),
                }
            else:
                files = {name: lender.layout.aws_credentials(name).read_text() for name in IDENTITIES}
                credentials = _credentials(home, {"default": files.pop("root"), **files})
                yield env | {
                    "ORGKEY_STACK_S3_ENDPOINT": lender.endpoint("s3"),
                    "ORGKEY_STACK_S3_CREDENTIALS_FILE": str(credentials),
                }
        finally:
            lender.down(wipe=True)
    else:
        yield env


@contextmanager
def _server(item: Counterpart, got: Path, home: Path) -> Iterator[str]:
    values = {"got": str(got), "port": str(item.port), "home": str(home), "python": sys.executable}
    url = f"http://127.0.0.1:{item.port}"
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **item.env}
    with (home / "server.log").open("w") as log:
        argv = [part.format(**values) for part in item.argv]
        with subprocess.Popen(argv, env=env, cwd=home, stdout=log, stderr=log) as server:
            try:
                ends = time.monotonic() + START_SECONDS
                while wire.request(url, "GET", "/", seconds=2) is None:
                    if server.poll() is not None or time.monotonic() > ends:
                        raise SystemExit(
                            f"{item.name} does not start: {(home / 'server.log').read_text()[-500:]}"
                        )
                    time.sleep(0.2)
                yield url
            finally:
                server.terminate()


def _credentials(home: Path, profiles: Mapping[str, str]) -> Path:
    path = home / "credentials"
    path.write_text("".join(text.replace("[default]", f"[{name}]") for name, text in profiles.items()))
    path.chmod(0o600)
    return path


def _version(item: Counterpart, got: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The version as what runs says it, where it is not the one that was fetched."""
    python = f"{env['VENV']}/bin/python"
    asks: Mapping[Part, tuple[str, ...]] = {
        Part.GPG: ("gpg", "--version"),
        Part.PYTHON: (python, "--version"),
        Part.OPENSSL: (
            python, "-c",
            "from cryptography.hazmat.backends.openssl import backend; print(backend.openssl_version_text())",
        ),
    }  # fmt: skip
    ask = asks.get(item.part)
    if item.name == "Ceph RGW":
        ask = ("chroot", str(got), "/usr/bin/radosgw", "--version")
    if ask:
        return {"version": re.sub(r"^\D+", "", _run(ask, env, 60).stdout.splitlines()[0]).partition(" ")[0]}
    if item.version:
        return {}
    if item.part is Part.VAULT and (path := find(OPENBAO)) and (told := version_of(path, OPENBAO.ask)):
        return {"version": told.text}
    if item.name == "moto":
        from importlib.metadata import version

        return {"version": version("moto")}
    return {
        "version": told.text if (path := find(VERSITYGW)) and (told := version_of(path, "--version")) else ""
    }


def _asked(env: Mapping[str, str], home: Path) -> dict[str, Any]:
    """What `stack up` says that a server lacks, what `doctor` says of it, and how much that left there."""
    orgkey, where = f"{env['VENV']}/bin/orgkey", ("--dir", str(home / "stack"))
    try:
        up = _run((orgkey, "stack", "up", *where), env, 120)
        if up.returncode != 0:
            return {"refused": _said(up.stderr), "lacks": None}
        state = json.loads((home / "stack" / "stack.json").read_text())
        config = str(home / "orgkey.toml")
        _run((orgkey, "stack", "config", *where, "--out", config), env, 60)
        plain = (orgkey, "doctor", "--json", "--config", config, "--state-dir", str(home / "state"))
        told: dict[str, Any] = {"refused": "", "lacks": state["lacks"]}
        for name, argv in (("doctor", plain), ("tried", (*plain, "--try-writing"))):
            before = _stored(env, state["bucket"])
            findings = json.loads(_run(argv, env, 180).stdout)["findings"]
            said = [
                _steady(item["message"])
                for item in findings
                if item["level"] == "fail" and item["subject"] == "target s3"
            ]
            told |= {name: list(dict.fromkeys(said)), f"{name}_left": _stored(env, state["bucket"]) - before}
        return told
    finally:
        _run((orgkey, "stack", "down", "--wipe", *where), env, 60)


def _stored(env: Mapping[str, str], bucket: str) -> int:
    client = wire.boto3_client(
        "s3", env["ORGKEY_STACK_S3_ENDPOINT"], Path(env["ORGKEY_STACK_S3_CREDENTIALS_FILE"])
    )
    return len(client.list_object_versions(Bucket=bucket).get("Versions") or ())


def _demo(env: Mapping[str, str]) -> dict[str, Any]:
    began = time.monotonic()
    done = _run(("sh", "infra/demo/demo.sh"), env, DEMO_SECONDS)
    steps = re.findall(r"== (\d+\. .*?)(?:\x1b|$)", done.stdout, re.MULTILINE)
    said = (
        ""
        if done.returncode == 0
        else f"{steps[-1].partition('.')[0] if steps else 0}: {_said(done.stderr, done.stdout)}"
    )
    return {"code": done.returncode, "seconds": round(time.monotonic() - began), "said": said}


def _suite(env: Mapping[str, str], suite: tuple[str, ...]) -> dict[str, Any]:
    options = ("-q", "-rfEs", "-n", "2", "-p", "no:cacheprovider")
    argv = (f"{env['VENV']}/bin/python", "-m", "pytest", *options, *suite)
    done = _run(argv, env, SUITE_SECONDS)
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr[-200:]]
    counts = {
        kind: int(number) for number, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", last[0])
    }
    failed = dict.fromkeys(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE))
    why: Counter[str] = Counter()
    for count, reason in re.findall(r"^SKIPPED \[(\d+)\] .*?: (.*)$", done.stdout, re.MULTILINE):
        why[reason.removeprefix("Skipped: ")] += int(count)
    return {"code": done.returncode, **counts, "names": sorted(failed), "why": why, "last": last[0]}


def _run(argv: tuple[str, ...], env: Mapping[str, str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            argv, cwd=ROOT, env=dict(env), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess(argv, 124, "", f"orgkey: error: not done in {seconds:.0f} s")
    print(f"$ {shlex.join(argv)}\n{done.stdout}{done.stderr}[exit code {done.returncode}]\n", flush=True)
    return done


def _said(errors: str, shown: str = "") -> str:
    """What kept a command from its end, without what changes from run to run."""
    _, broken, rules = shown.partition("gate: BROKEN")
    if broken:
        return _steady(" ".join(rules.partition("\n")[2].split()).strip(" -"))
    said = (
        re.findall(r"^orgkey: error: (.*)$", errors, re.MULTILINE) or errors.strip().splitlines()[-1:] or [""]
    )
    return _steady(str(said[-1]))


def _steady(text: str) -> str:
    """A message without what changes from run to run: ports, fingerprints, random names."""
    text = re.sub(r"https?://127\.0\.0\.1:\d+", "the server", text)
    text = re.sub(r"(-record-|/trial/)\w+", r"\1…", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "DATE", text)
    return re.sub(r"/\w{40}/\w+-\w{8}\.tar", "/…", text)


if __name__ == "__main__":
    main(*sys.argv[1:])
