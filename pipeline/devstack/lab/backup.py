"""Backups of the stand-in server: an archive, encrypted to the Org Key as a stream; restoring from one."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final, Literal, cast

from pipeline.core import environment, files, process
from pipeline.core.clock import Clock, SystemClock
from pipeline.core.errors import (
    IntegrityProblem,
    LocalFilesProblem,
    NotPinned,
    TooManyCertificates,
    UsageProblem,
)
from pipeline.core.secret import Secret
from pipeline.devstack.lab import keywork
from pipeline.devstack.lab.server import LabServer
from pipeline.devstack.lab.state import DOCUMENT
from pipeline.openpgp.format.protection import ESCROW_COUNT_OCTET
from pipeline.openpgp.key import rewrap
from pipeline.sources.backups import message_header
from pipeline.sources.backups.armored import binary
from pipeline.sources.backups.byte_stream import of_bytes

if TYPE_CHECKING:
    import subprocess

Content = Literal["random", "compressible", "sparse"]
CONTENTS: Final = ("random", "compressible", "sparse")
CONTAINERS: Final = ("tar", "tar.gz")
LARGEST_ORDINARY: Final = 2**31
"""Bytes of a backup that the ordinary way of restoring takes: below 2 GiB."""
_CERTIFICATES: Final = "a backup of an Org Key with more than one Organization Certificate cannot be restored"
_FILLER: Final = "filler"
_BLOCK: Final = 1 << 20
_PIPE: Final = 1 << 16
"""What a pipe holds: six of the blocks that a tar is read and written by."""


class _Filler:
    """So many bytes of one kind, never all at once in memory."""

    def __init__(self, content: str, size: int) -> None:
        text = b"".join(b"%06d a line of a log that repeats itself\n" % number for number in range(30_000))
        blocks = {"random": os.urandom(_BLOCK), "compressible": text[:_BLOCK], "sparse": bytes(_BLOCK)}
        self._block, self._size, self._at = blocks[content], size, 0

    def read(self, size: int) -> bytes:
        """As a file does it. What repeats is longer than a compression's window, so random stays random."""
        at = self._at % _BLOCK
        found = self._block[at : at + min(size, self._size - self._at)]
        self._at += len(found)
        return found


def make(
    server: LabServer,
    folder: Path | None = None,
    *,
    content: str = "random",
    size: int = 0,
    container: str = "tar",
    compress: bool = True,
) -> Path:
    """Make a backup, encrypted to the Org Key as a stream; nothing of it is on disk in the clear.

    Args:
        server: Whose.
        folder: Where to; the server's own folder when ``None``.
        content: What fills it: ``random``, ``compressible`` or ``sparse``.
        size: Bytes of filling.
        container: ``tar`` or ``tar.gz``.
        compress: Whether the message is compressed, as gpg does it.

    Returns:
        The file.

    Raises:
        UsageProblem: There is no such content or container.
        LocalFilesProblem: It cannot be written.
    """
    if content not in CONTENTS or container not in CONTAINERS:
        raise UsageProblem(
            f"{content} in {container} is not known", hint=f"{', '.join(CONTENTS)}; {', '.join(CONTAINERS)}"
        )
    state = server.state
    folder = folder or state.directory / "backups"
    moment = state.now()
    path = folder / f"backup-{state.data.domain}-{moment:%Y%m%dT%H%M%SZ}.pgp"
    partial = folder / f".{path.name}.part"
    options = ["--trust-model", "always", "--recipient", server.fingerprint, "--output", str(partial)]
    options += ["--faked-system-time", f"{moment:%Y%m%dT%H%M%S}!"]
    options += [] if compress else ["--compress-algo", "none"]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with keywork.gpg(moment) as gpg:
            gpg.import_keys(server.public(), {server.fingerprint: False})
            with _child(gpg.home, [*options, "--encrypt"]) as child:
                _archive(server, child, content, size, container)
                _drain(child)
            if child.returncode:
                raise LocalFilesProblem(
                    f"gpg did not write the backup into {folder}",
                    hint="is there room, and may it write there?",
                )
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
        files.fsync_directory(folder)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot write a backup into {folder}: {error.strerror or error}", hint="is there room?"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _archive(
    server: LabServer, child: subprocess.Popen[bytes], content: str, size: int, container: str
) -> None:
    raw = cast("io.RawIOBase", child.stdin)  # without a buffer
    mode: Literal["w|gz", "w|"] = "w|gz" if container == "tar.gz" else "w|"
    with (
        io.BufferedWriter(raw) as pipe,
        tarfile.open(fileobj=pipe, mode=mode, bufsize=_PIPE) as tar,
    ):
        _member(tar, DOCUMENT, server.state.file.read_bytes())
        keys = server.state.keys
        for path in sorted(path for path in keys.rglob("*") if path.is_file()):
            # The Org Key itself is not in its own backup: a restore brings it. Nor is an unlocked disk key.
            if path.name not in ("org.secret", "disk-key"):
                _member(tar, f"keys/{path.relative_to(keys)}", path.read_bytes())
        info = tarfile.TarInfo(_FILLER)
        info.size = size
        tar.addfile(info, _Filler(content, size))  # type: ignore[arg-type]  # it reads, which is all it takes


def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def restore(
    directory: Path,
    backup: Path,
    keypair: bytes,
    passphrase: Secret,
    *,
    large: bool = False,
    clock: Clock | None = None,
) -> LabServer:
    """Restore a server from its backup and the Org Key's keypair.

    Args:
        directory: A new one.
        backup: The backup.
        keypair: An export of the Org Key, in whatever layout.
        passphrase: What protects it.
        large: Take the way for backups of 2 GiB and more.
        clock: Real time.

    Raises:
        PublicOnly: The export has no secret part.
        WrongPassphrase: The passphrase does not open it.
        NotPinned: The backup is encrypted to another key.
        TooManyCertificates: More than one Organization Certificate hung on the key.
        UsageProblem: It is too large for the ordinary way.
        IntegrityProblem: It was altered or cut off.
    """
    clock = clock or SystemClock()
    with files.os_errors(f"cannot read {backup}"), backup.open("rb") as stream:
        size = backup.stat().st_size
        start = stream.read(message_header.LENGTH)
    if size >= LARGEST_ORDINARY and not large:
        raise UsageProblem(
            f"{backup.name} has {size:,} bytes: the ordinary restore takes less than 2 GiB",
            hint="take the other path: --large",
        )
    accepted = frozenset({"expired", "certificates", "unprotected"})
    key = rewrap.load(keypair, passphrase, pin=None, accept=accepted, now=clock.now())
    key_ids = message_header.read(binary(of_bytes(start))).key_ids
    if not set(key_ids) & {component.public.key_id for component in key.key.components}:
        raise NotPinned(
            f"{backup.name} is encrypted to {', '.join(key_ids)}, not to {key.fingerprint}",
            hint="`orgkey backups map` says which escrowed key it is for",
        )
    server = LabServer(directory, clock)
    with server.making():
        inner = Secret(os.urandom(32).hex().encode())
        tsk = key.protect(inner, s2k_count_octet=ESCROW_COUNT_OCTET)
        with keywork.gpg(clock.now()) as gpg, process.secret_fd(inner) as descriptor:
            gpg.import_keys(tsk, {key.fingerprint: True})
            options = ["--pinentry-mode", "loopback", "--passphrase-fd", str(descriptor), "--status-fd", "2"]
            with _child(gpg.home, [*options, "--decrypt", str(backup.absolute())], descriptor) as child:
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdin.close()
                problem = _unpack(server, child.stdout)
                status = _drain(child)
        if child.returncode or b"DECRYPTION_OKAY" not in status:
            raise IntegrityProblem(
                f"{backup.name} was altered, damaged or cut off", hint="take another copy of this backup"
            )
        if problem is not None:
            raise problem
        if len(server.certificates()) > 1:
            raise TooManyCertificates(
                _CERTIFICATES, hint="remove all but one from the server, and take another backup"
            )
        server.adopt(key, server.open_disk_key(key))
    return server


def _unpack(server: LabServer, stream: IO[bytes]) -> IntegrityProblem | None:
    """Take what belongs to the server; the filling is read and dropped."""
    found: IntegrityProblem | None = IntegrityProblem(
        "it is not a backup of a stand-in server", hint="take another backup"
    )
    try:
        with tarfile.open(fileobj=stream, mode="r|*", bufsize=_PIPE) as tar:
            for member in tar:
                content = tar.extractfile(member)
                path = PurePosixPath(member.name)
                document = member.name == DOCUMENT
                if content is None or ".." in path.parts or not (document or path.parts[0] == "keys"):
                    continue
                place = server.state.file if document else server.state.directory / path
                files.replace(place, content.read(64 << 20))
                found = None if document else found
    except (tarfile.TarError, EOFError) as error:
        found = IntegrityProblem(f"the archive inside is damaged ({error})", hint="take another backup")
    while stream.read(_BLOCK):  # gpg judges the integrity at the very end
        pass
    return found


@contextmanager
def _child(home: Path, arguments: list[str], *descriptors: int) -> Iterator[subprocess.Popen[bytes]]:
    child = process.start(
        ["gpg", "--homedir", str(home), "--batch", "--yes", "--no-tty", "--quiet", *arguments],
        env=environment.clean_environment({"GNUPGHOME": str(home)}),
        pass_fds=descriptors,
    )
    try:
        yield child
    finally:
        process.end(child)


def _drain(child: subprocess.Popen[bytes]) -> bytes:
    output = child.stderr.read() if child.stderr else b""
    child.wait()
    return bytes(output)
