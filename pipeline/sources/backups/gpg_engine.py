"""Read a message through gpg, which understands more kinds of it; slower, and the other opinion.

gpg gets the session key by a descriptor (``--override-session-key-fd``), never the Org Key, and hands the
content over by a pipe.
"""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from typing import IO, Final

from pipeline.core import environment, log, process
from pipeline.core.clock import Deadline
from pipeline.core.errors import IntegrityProblem, OrgkeyError, Unsupported
from pipeline.core.secret import Secret
from pipeline.openpgp.gnupg.home import Home
from pipeline.sources.backups.byte_stream import PIECE, ByteStream
from pipeline.sources.backups.container import Contents, ContentSummary
from pipeline.sources.backups.engine import NO_EXPECTATIONS, Expectations, ReadResult, SessionKey
from pipeline.sources.backups.message_header import MessageHeader
from pipeline.sources.backups.pipe_writer import PipeWriter

_STATUS_LIMIT: Final = 1 << 20
_STAMP: Final = re.compile(rb"^\S+ \S+ gpg\[\d+\] ")
_NOT_SAID: Final = (b"DBG:", b"keybox ", b"encrypted with ")


def read(
    cursor: ByteStream,
    header: MessageHeader,
    key: SessionKey,
    deadline: Deadline,
    contents: Contents | None = None,
    expected: Expectations = NO_EXPECTATIONS,
) -> ReadResult:
    """Read a message to its end; see :func:`pipeline.sources.backups.engine.read`.

    Signatures inside are not looked at.

    Raises:
        IntegrityProblem: gpg refuses it, or what is inside is damaged.
        Unsupported: gpg does not know its cipher or its protection.
        ProgramMissing: gpg is not installed.
        DeadlinePassed: Its time is over.
    """
    contents = contents or Contents(expected.entries)
    written = Secret(f"{key.algorithm}:{key.key.reveal().hex().upper()}\n".encode())
    with Home() as home, process.secret_fd(written) as descriptor:
        options = ["--homedir", str(home.path), "--batch", "--no-tty", "--status-fd", "2"]
        options += [
            "--skip-verify",
            "--logger-file",
            str(home.path / "log"),
            "--override-session-key-fd",
            str(descriptor),
        ]
        if header.protection == "none":
            options.append("--ignore-mdc-error")  # there is none; the verdict says so
        child = process.start(
            ["gpg", *options, "--decrypt"],
            env=environment.clean_environment({"GNUPGHOME": str(home.path)}),
            pass_fds=(descriptor,),
        )
        feeder = PipeWriter(cursor, child.stdin)
        status = bytearray()
        listener = threading.Thread(target=_listen, args=(child.stderr, status), daemon=True)
        late = threading.Event()

        def end() -> None:  # everything here waits for gpg, so its end is the end of all
            late.set()
            child.kill()

        alarm = threading.Timer(deadline.left(), end)
        alarm.daemon = True
        alarm.start()
        try:
            feeder.start()
            listener.start()
            found, problem = _take(child.stdout, contents)
            child.wait()
            feeder.join()
            listener.join()
        finally:
            alarm.cancel()
            process.end(child)
        if late.is_set() and child.returncode:
            raise deadline.passed()
        if feeder.problem is not None:
            raise feeder.problem
        with suppress(OSError):
            status += b"\n" + (home.path / "log").read_bytes()
        _judge(child.returncode, bytes(status))
    if problem is not None or found is None:
        raise problem or IntegrityProblem("it has no content", hint="take another copy of this backup")
    return ReadResult(found, None, header.protection, "gnupg")


def _take(stdout: IO[bytes] | None, contents: Contents) -> tuple[ContentSummary | None, OrgkeyError | None]:
    """Hand gpg's output on; all of it is taken, so that gpg comes to its own verdict."""
    assert stdout is not None
    problem: OrgkeyError | None = None
    room = memoryview(bytearray(PIECE))
    while size := stdout.readinto(room):  # type: ignore[attr-defined]
        if problem is None:
            try:
                contents.feed(room[:size])
            except OrgkeyError as error:
                problem = error
    if problem is None:
        try:
            return contents.finish(), None
        except OrgkeyError as error:
            problem = error
    return None, problem


def _listen(stderr: IO[bytes] | None, status: bytearray) -> None:
    assert stderr is not None
    while piece := stderr.read(4096):
        if len(status) < _STATUS_LIMIT:
            status += piece


def _judge(returncode: int, status: bytes) -> None:
    words = {line.split()[1] for line in status.splitlines() if line.startswith(b"[GNUPG:] ")}
    if returncode == 0 and b"DECRYPTION_OKAY" in words and b"BADMDC" not in words:
        return
    told = _said(status)
    if words & {b"GOODMDC", b"DECRYPTION_OKAY"} and b"BADMDC" not in words:
        raise Unsupported(
            f"its integrity code is right, but gpg does not understand what is inside ({told})",
            hint="see what it is: gpg --list-packets, after `orgkey restore`",
        )
    if b"BEGIN_DECRYPTION" not in words or b"unknown cipher" in status or b"nvalid cipher" in status:
        raise Unsupported(
            f"neither this program nor this gpg understands it ({told})", hint="use a newer gpg"
        )
    what = "its integrity code is wrong" if b"BADMDC" in words else told or "gpg does not say why"
    raise IntegrityProblem(
        f"it was altered, damaged or cut off: {what}",
        hint="take another copy of this backup; find out who can write where it lies",
    )


def _said(status: bytes) -> str:
    """What gpg says to people, without the session key that it says too."""
    lines = [_STAMP.sub(b"", line) for line in status.splitlines() if not line.startswith(b"[GNUPG:]")]
    return log.last_words(b"\n".join(line for line in lines if not line.startswith(_NOT_SAID)))
