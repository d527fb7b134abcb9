"""Records in a directory: a mounted disk or share."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256
from pipeline.errors import (
    Code,
    Conflict,
    Denied,
    IntegrityProblem,
    LocalFilesProblem,
    OrgkeyError,
    Unreachable,
)
from pipeline.files import fsync_directory, write_new
from pipeline.finding import Finding, Level
from pipeline.targets._slots import (
    MAX_RECORD,
    checked,
    checked_epoch,
    checked_fingerprint,
    is_epoch,
    nothing_there,
    too_large,
)
from pipeline.targets.interface import Presence, Receipt, Slot, Stored

if TYPE_CHECKING:
    from pipeline.config import DirectoryTarget as Settings

_LOW_SPACE = 16 * 1024 * 1024


class DirectoryTarget:
    """Records at ``<dir>/<FINGERPRINT>/<epoch>.tar``, read-only, never overwritten.

    The directory itself is never made: a disk that is not mounted must not be mistaken for its empty
    mount point.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
    """

    kind = "directory"

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.domain = settings.domain or name
        self._top = Path(settings.path)

    def put(self, slot: Slot, data: bytes) -> Receipt:
        """See :meth:`pipeline.targets.interface.Target.put`."""
        path = self._path(checked(slot))
        self._enter(path.parent)
        try:
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                fsync_directory(self._top)
            write_new(path, data, mode=0o400)
        except LocalFilesProblem as error:
            if isinstance(error.__context__, FileExistsError):
                raise Conflict(
                    f"target {self.name}, write: {path} exists already",
                    hint="nothing is overwritten; compare what is there with `orgkey verify`",
                ) from error
            if isinstance(error.__cause__, OSError):
                raise self._translate(error.__cause__, "write", path) from error
            raise
        except OSError as error:
            raise self._translate(error, "write", path) from error
        return Receipt(
            target=self.name,
            kind=self.kind,
            domain=self.domain,
            location=str(path),
            version=None,
            sha256=sha256(data),
        )

    def get(self, slot: Slot, version: str | None = None) -> bytes:
        """See :meth:`pipeline.targets.interface.Target.get`; a directory has no versions."""
        path = self._path(checked(slot))
        if version is not None:
            raise nothing_there(f"target {self.name}, read: {path}", f"has no version {version!r}")
        self._enter(path.parent)
        try:
            data = _read_file(path)
        except OSError as error:
            raise self._translate(error, "read", path) from error
        if data is None:
            raise nothing_there(f"target {self.name}, read: {path}", "is no regular file")
        if len(data) > MAX_RECORD:
            raise too_large(f"target {self.name}, read: {path}")
        return data

    def find(self, fingerprint: str, epoch: str | None = None) -> list[Stored]:
        """See :meth:`pipeline.targets.interface.Target.find`."""
        if epoch is not None:
            checked_epoch(epoch)
        place = self._top / checked_fingerprint(fingerprint)
        self._enter(place)
        found: list[Stored] = []
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    name = entry.name.removesuffix(".tar")
                    ours = entry.name.endswith(".tar") and is_epoch(name)
                    if not ours or not entry.is_file(follow_symlinks=False):
                        continue
                    if epoch is None or name == epoch:
                        slot = Slot(fingerprint, name)
                        found.append(Stored(slot, str(self._path(slot)), None, Presence.CURRENT))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._translate(error, "list", place) from error
        return sorted(found, key=lambda stored: stored.slot.epoch)

    def check(self) -> list[Finding]:
        """See :meth:`pipeline.targets.interface.Target.check`."""
        try:
            self._enter(self._top)
            facts = self._top.stat()
            free = shutil.disk_usage(self._top).free
        except OrgkeyError as error:
            return [self._finding(Level.FAIL, error.message, error.hint, error.code)]
        except OSError as error:
            told = self._translate(error, "check", self._top)
            return [self._finding(Level.FAIL, told.message, told.hint, told.code)]
        findings = []
        if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & 0o022:
            findings.append(
                self._finding(
                    Level.WARN,
                    f"others can change {self._top}",
                    f"chmod go-w {self._top}, and let it belong to this user or to root",
                )
            )
        if not os.access(self._top, os.W_OK | os.X_OK):
            findings.append(
                self._finding(
                    Level.FAIL, f"{self._top} cannot be written", "check its permissions and mount options",
                    Code.DENIED,
                )
            )  # fmt: skip
        if free < _LOW_SPACE:
            findings.append(
                self._finding(
                    Level.WARN, f"only {free // 1024} KiB are free at {self._top}", "make room on that disk"
                )
            )
        return findings or [self._finding(Level.OK, f"{self._top} can be read and written")]

    # -- inside ----------------------------------------------------------------------------------

    def _path(self, slot: Slot) -> Path:
        return self._top / slot.fingerprint / f"{slot.epoch}.tar"

    def _enter(self, place: Path) -> None:
        """Make sure that the top directory is there, and that the way below it holds no link.

        Raises:
            Unreachable: It is not there.
            Denied: It cannot be looked at.
            IntegrityProblem: A link stands where the key's directory should be.
        """
        try:
            if not stat.S_ISDIR(self._top.stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory")
            if place != self._top and stat.S_ISLNK(place.lstat().st_mode):
                raise IntegrityProblem(
                    f"target {self.name}: {place} is a symbolic link",
                    hint="links are not followed below the target's directory; put the real directory there",
                )
        except FileNotFoundError as error:
            if error.filename == str(place) and place != self._top:
                return  # nothing was stored for this key yet
            raise self._translate(error, "open", self._top, absent=True) from error
        except OSError as error:
            raise self._translate(error, "open", self._top, absent=True) from error

    def _translate(self, error: OSError, doing: str, path: Path, *, absent: bool = False) -> OrgkeyError:
        """Say what an ``OSError`` means for a target.

        Args:
            error: What the system said.
            doing: ``read``, ``write`` and so on.
            path: The file or directory.
            absent: Whether something missing means that the target itself is not there.
        """
        prefix = f"target {self.name}, {doing}: {path}"
        reason = error.strerror or str(error)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return Denied(
                f"{prefix} is not permitted ({reason})", hint="check its permissions and mount options"
            )
        if error.errno == errno.ELOOP:
            return IntegrityProblem(
                f"{prefix} is a symbolic link", hint="links are not followed; put the record itself there"
            )
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and not absent and doing == "read":
            return nothing_there(prefix)
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return Unreachable(
                f"{prefix} is not there ({reason})",
                hint="mount the disk, or make the directory yourself; it is never made automatically",
                again=False,
            )
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Unreachable(f"{prefix}: the disk is full", hint="make room on that disk", again=False)
        again = error.errno in (errno.EINTR, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY)
        return Unreachable(f"{prefix} failed ({reason})", hint="check the disk and its mount", again=again)

    def _finding(self, level: Level, message: str, hint: str = "", code: Code = Code.OK) -> Finding:
        return Finding(level, f"target {self.name}", message, hint, code)


def _read_file(path: Path) -> bytes | None:
    """Read at most one byte more than a record may have; ``None`` for what is no regular file."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(MAX_RECORD + 1)
    finally:
        os.close(handle)
