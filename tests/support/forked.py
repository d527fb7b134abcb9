"""The process that has imported all of `orgkey`, and forks it for :mod:`tests.support.forkserver`."""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import io
import json
import logging
import os
import pkgutil
import platform
import random
import re
import resource
import select
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import typer

from pipeline.cli.app import app
from pipeline.config import parse
from pipeline.core import hardening, retry
from pipeline.core.clock import Deadline
from pipeline.core.redaction import Redactor
from pipeline.core.secret import Secret
from pipeline.openpgp.format import protection
from pipeline.providers import failures
from pipeline.record import verify
from pipeline.report.controls.assess import assess
from pipeline.report.formats import html
from tests.support import configtext, forkserver, hugepages, sample_report, shared_botocore

ROOT: Final = Path(__file__).parents[2]
_KEY: Final = "70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"
_LINK: Final = 700
"""The number above all that a process uses under which it finds the server that forked it."""
_LATE: Final = (
    "_strptime", "botocore.session", "cryptography.hazmat.decrepit.ciphers.modes",
    "cryptography.hazmat.primitives.asymmetric.x25519", "cryptography.hazmat.primitives.kdf.hkdf",
    "cryptography.hazmat.primitives.serialization", "ctypes", "encodings.utf_16_be", "jinja2",
    "prometheus_client", "pydantic.type_adapter", "pysequoia", "rfc8785", "shamir_mnemonic.recovery",
    "tests.support.faulty", "typer._adapters", "typer._click.decorators", "pgpy",
)  # fmt: skip
"""What functions import when they run."""


def serve(control: socket.socket) -> None:
    """Fork a process for each request, and report each end; until the other side is gone."""
    gc.disable()
    _import_everything()
    tasks = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names
    assert tasks == 1, f"{tasks} threads: a fork takes only one of them along"
    gc.collect()
    gc.freeze()
    gc.enable()
    hugepages.use()
    from_forked, link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fcntl.fcntl(link.detach(), fcntl.F_DUPFD_CLOEXEC, _LINK)
    asking = {control.fileno(): control, from_forked.fileno(): from_forked}
    control.send(b"ready")
    running: dict[int, tuple[int, socket.socket]] = {}
    poller = select.poll()
    for asked in asking:
        poller.register(asked, select.POLLIN)
    while True:
        for ready, _ in poller.poll():
            if ready in running:
                poller.unregister(ready)
                pid, job = running.pop(ready)
                _, status = os.waitpid(pid, 0)
                os.close(ready)
                with job, suppress(OSError):  # perhaps nobody is waiting any more
                    job.send(json.dumps({"status": status}).encode())
                continue
            whole, fds, _, _ = socket.recv_fds(asking[ready], 1 << 20, 64)
            if not whole:  # nobody is left who could look after them
                for handle in running:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                return
            request = json.loads(whole)
            job = socket.socket(fileno=fds[0])
            pid = os.fork()
            if pid == 0:
                _be(request, job, dict(zip(request["numbers"], fds[1:], strict=True)))
            handle = os.pidfd_open(pid)
            for fd in fds[1:]:
                os.close(fd)
            running[handle] = (pid, job)
            poller.register(handle, select.POLLIN)


def _be(request: Mapping[str, Any], job: socket.socket, given: Mapping[int, int]) -> NoReturn:
    """Become the process that was asked for, call its function, and end as an interpreter would."""
    code = 70
    try:
        job = _take_descriptors(job, given)
        try:
            _become(request)
        except OSError as error:
            told = {"errno": error.errno, "name": error.filename}
            job.send(json.dumps(told).encode())
            os._exit(code)
        forkserver.link(socket.socket(fileno=_LINK))
        _keep_link()
        forkserver.fork_children()
        handle = os.pidfd_open(os.getpid())
        socket.send_fds(job, [json.dumps({"pid": os.getpid()}).encode()], [handle])
        os.close(handle)
        job.close()
        code = _call(request["entry"])
    finally:
        os._exit(code)


def _keep_link() -> None:
    """Leave the link alone where a process closes all that it has, as a member of a fleet does."""
    close = os.closerange

    def spare(low: int, high: int, /) -> None:
        close(low, min(high, _LINK))
        close(max(low, _LINK + 1), high)

    os.closerange = spare


def _become(request: Mapping[str, Any]) -> None:
    if request["session"]:
        os.setsid()
    if request["terminal"]:
        # Opening it makes it the controlling terminal, which a prompt for a passphrase insists on.
        os.close(os.open(os.ttyname(next(filter(os.isatty, (0, 2)))), os.O_RDWR))
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    coerced = os.environ.get("LC_CTYPE")  # by the interpreter itself, in every process without a locale
    os.environ.clear()
    os.environ.update(dict(request["env"]))
    if coerced is not None:
        os.environ["LC_CTYPE"] = coerced
    time.tzset()
    tempfile.tempdir = None
    random.seed()
    sys.argv = list(request["argv"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, f"<{name}>", getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    for number, soft, hard in request["limits"]:
        if resource.getrlimit(number) != (soft, hard):
            resource.setrlimit(number, (soft, hard))


def _take_descriptors(job: socket.socket, given: Mapping[int, int]) -> socket.socket:
    """Have the descriptors that were handed over under their numbers, and no other but the job's."""
    above = max([2, *given]) + 1
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for number, fd in given.items()}
    link = fcntl.fcntl(job.detach(), fcntl.F_DUPFD_CLOEXEC, above)
    for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - names
        if fd not in (link, _LINK, *moved.values()):
            with suppress(OSError):  # the one with which this folder was read
                os.close(fd)
    for number, fd in moved.items():
        os.dup2(fd, number)
        os.close(fd)
    return socket.socket(fileno=link)


def _stream(fd: int, name: str, like: Any) -> Any:
    """Open a standard stream as an interpreter does when it starts."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        return None
    raw = open(fd, "wb" if fd else "rb", closefd=False)  # noqa: SIM115 - lives as long as the process
    raw.raw.name = name  # type: ignore[attr-defined]  # typeshed has the buffer alone
    lines = os.isatty(fd) or fd == 2
    return io.TextIOWrapper(raw, like.encoding, like.errors, newline="\n", line_buffering=lines)


def _call(entry: str) -> int:
    module, _, name = entry.partition(":")
    try:
        getattr(importlib.import_module(module), name)()
        code = 0
    except SystemExit as leave:
        if isinstance(leave.code, int) or leave.code is None:
            code = (leave.code or 0) & 0xFF
        else:
            print(leave.code, file=sys.stderr)
            code = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
        if isinstance(error, KeyboardInterrupt):
            _end()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    return code if _end() else 120


def _end() -> bool:
    """What an interpreter does at its end; false where output could not be written."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    whole = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError):
            whole = stream is sys.stderr and whole
    return whole


def _import_everything() -> None:
    for found in pkgutil.walk_packages([str(ROOT / "pipeline")], "pipeline."):
        if ".dask_" not in found.name:  # Dask is an extra, and has a thread
            importlib.import_module(found.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as PGPy's child does
        for name in _LATE:
            with suppress(ImportError):  # what a release of a library has, another one has not
                importlib.import_module(name)
    retry.load()
    platform.platform()  # asks another program, once
    shared_botocore.use()
    _read_descriptions()
    _build_commands()
    parse(configtext.GOOD.encode(), Path("orgkey.toml"))  # the patterns of its settings, compiled once
    _read_record()
    _fill_templates()
    _read_times_and_errors()
    _compile_patterns()
    _load_services()
    # As in the tests' own process: tests/component/test_restore.py has one with the full stretching, 0.2 s.
    protection.MAX_COUNT_OCTET = protection.ESCROW_COUNT_OCTET
    # What is locked of a fork's memory takes as long as all else that the system does for it.
    hardening.may_lock = lambda: False


def _build_commands() -> None:
    """Have typer build the command line and its parameters once: 40 ms in each process."""
    built = typer.main.get_command(app)
    pending: list[Any] = [built]
    while pending:
        command = pending.pop()
        pending += getattr(command, "commands", {}).values()
        for one in command.params:  # made when they are first used
            getattr(one, "get_runtime_param", str)()
    real = typer.main.get_command
    typer.main.get_command = lambda typer_instance: built if typer_instance is app else real(typer_instance)


def _read_record() -> None:
    """Read a record, for which pydantic makes readers: 20 ms in each process that reads one."""
    (path,) = (ROOT / "tests" / "golden" / "records" / _KEY).iterdir()
    verify.verify_record(path.read_bytes(), _KEY, deadline=Deadline(60), now=datetime.now(UTC))


def _read_descriptions() -> None:
    """Read what botocore knows of the services: a third of a second in each process that asks one."""
    import botocore.session
    from botocore.awsrequest import AWSResponse
    from urllib3 import HTTPResponse

    from pipeline.providers.aws.login import _hooks
    from pipeline.providers.aws.session import _loader

    _hooks()
    session = botocore.session.Session()
    session.register_component("data_loader", _loader())
    asked = {
        "s3": ("get_object", "head_object", "list_object_versions", "list_objects_v2", "put_object"),
        "kms": ("decrypt", "describe_key", "encrypt"),
        "sts": ("get_caller_identity",),
    }
    given = {"Bucket": "none", "Key": "none", "KeyId": "none", "Plaintext": b"0", "CiphertextBlob": b"0"}
    for service, operations in asked.items():
        client = session.create_client(
            service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
        )
        answer = b"{}" if service == "kms" else b"<None/>"
        client.meta.events.register(
            "before-send",  # and never sent
            lambda request, answer=answer, **_: AWSResponse(
                request.url, 404, {}, HTTPResponse(io.BytesIO(answer), preload_content=False)
            ),
        )
        for operation in operations:
            takes = client.meta.service_model.operation_model(
                client.meta.method_to_api_mapping[operation]
            ).input_shape.members
            with suppress(client.exceptions.ClientError):
                getattr(client, operation)(**{name: given[name] for name in given if name in takes})


def _fill_templates() -> None:
    """Write a report, whose templates and expressions are compiled once: 0.2 s in each process with one."""
    report = sample_report.good()
    html.render(replace(report, controls=assess(report)))


def _read_times_and_errors() -> None:
    """Have the patterns of what servers say compiled once, and the forms of times."""
    for row in (row for rows in failures.table().values() for row in rows):
        re.search(row.words, "", re.IGNORECASE)
    for form in ("%Y%m%dT%H%M%SZ", "%Y-%m-%dT%H:%M:%S"):
        datetime.strptime(datetime.now(UTC).strftime(form), form).astimezone()


def _compile_patterns() -> None:
    """Have the patterns compiled that most commands use: of logs, of files, of addresses."""
    redactor = Redactor()
    redactor.clean("")
    redactor.register(Secret(b"0" * 32))
    for pattern in ("orgkey-gpg-*", "*.json", "*.toml"):
        list(ROOT.glob(pattern))
    re.fullmatch(r"https?://\S+", "")


def _load_services() -> None:
    """Have apprise read its hundred services: 0.3 s in each process that notifies somebody."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # as before a message
    with suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("apprise").Apprise().add("json://localhost")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
