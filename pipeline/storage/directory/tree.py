"""Files below a directory, written once and never through a link: for records and the ledger's mirror."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from pipeline.core.errors import (
    Conflict,
    Denied,
    IntegrityProblem,
    LocalFilesProblem,
    OrgkeyError,
    Unreachable,
)
from pipeline.core.files import fsync_directory, read_regular, write_new
from pipeline.storage.names import MAX_RECORD, nothing_there, too_large


class Tree:
    """A directory that must be there, and what is below it.

    Args:
        name: The target's name in the config.
        top: The directory; it is never made.
    """

    def __init__(self, name: str, top: Path) -> None:
        self.name = name
        self.top = top

    def put_new(self, path: Path, data: bytes) -> None:
        """Write a read-only file where there is none, and the directories that lead to it.

        Raises:
            Conflict: There is one.
            IntegrityProblem: The way holds a link.
            Denied, Unreachable: The disk refuses.
        """
        self.enter(path.parent)
        try:
            for folder in [*reversed(path.relative_to(self.top).parents)][1:]:
                if not (self.top / folder).exists():
                    (self.top / folder).mkdir(mode=0o700, exist_ok=True)
                    fsync_directory((self.top / folder).parent)
            write_new(path, data, mode=0o400)
        except LocalFilesProblem as error:
            if isinstance(error.__context__, FileExistsError):
                raise Conflict(
                    f"target {self.name}, write: {path} exists already",
                    hint="nothing is overwritten; compare what is there with `orgkey verify`",
                ) from error
            if isinstance(error.__cause__, OSError):
                raise self.translate(error.__cause__, "write", path) from error
            raise
        except OSError as error:
            raise self.translate(error, "write", path) from error

    def get(self, path: Path) -> bytes:
        """Read a regular file whole.

        Raises:
            IntegrityProblem: There is none, or it is too large.
            Denied, Unreachable: The disk refuses.
        """
        self.enter(path.parent)
        try:
            data = read_regular(path, MAX_RECORD, follow=False)
        except OSError as error:
            raise self.translate(error, "read", path) from error
        if data is None:
            raise nothing_there(f"target {self.name}, read: {path}", "is not a regular file")
        if len(data) > MAX_RECORD:
            raise too_large(f"target {self.name}, read: {path}")
        return data

    def identity(self, path: Path) -> str:
        """The same for one file, whatever way leads to it; empty where it cannot be looked at."""
        try:
            facts = path.lstat()
        except OSError:
            return ""
        return f"{facts.st_dev}:{facts.st_ino}"

    def names(self, folder: Path) -> list[str]:
        """The names of the regular files in a folder; empty when there is no folder.

        Raises:
            IntegrityProblem: The way holds a link.
            Denied, Unreachable: The disk refuses.
        """
        return [entry.name for entry in self._scan(folder) if entry.is_file(follow_symlinks=False)]

    def folders(self, folder: Path) -> list[str]:
        """The names of the folders in a folder; empty when there is no folder.

        Raises:
            IntegrityProblem: The way holds a link.
            Denied, Unreachable: The disk refuses.
        """
        return [entry.name for entry in self._scan(folder) if entry.is_dir(follow_symlinks=False)]

    def _scan(self, folder: Path) -> list[os.DirEntry[str]]:
        self.enter(folder)
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self.translate(error, "list", folder) from error

    def enter(self, place: Path) -> None:
        """Make sure that the top directory is there, and that the way below it holds no link.

        Raises:
            Unreachable: It is not there.
            Denied: It cannot be looked at.
            IntegrityProblem: A link stands where a directory should be.
        """
        try:
            if not stat.S_ISDIR(self.top.stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory")
        except OSError as error:
            raise self.translate(error, "open", self.top, absent=True) from error
        for step in [*reversed(place.relative_to(self.top).parents), place.relative_to(self.top)][1:]:
            below = self.top / step
            try:
                linked = stat.S_ISLNK(below.lstat().st_mode)
            except FileNotFoundError:
                return  # nothing was stored there yet
            except OSError as error:
                raise self.translate(error, "open", self.top, absent=True) from error
            if linked:
                raise IntegrityProblem(
                    f"target {self.name}: {below} is a symbolic link",
                    hint="links are not followed below the target's directory; put the real directory there",
                )

    def translate(self, error: OSError, doing: str, path: Path, *, absent: bool = False) -> OrgkeyError:
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
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        if missing and not absent and doing == "read":
            return nothing_there(prefix)
        again = error.errno in (errno.EINTR, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY)
        what, hint = f" failed ({reason})", "check the disk and its mount"
        if missing:
            what = f" is not there ({reason})"
            hint = "mount the disk, or make the directory yourself; it is never made automatically"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            what, hint = ": the disk is full", "make room on that disk"
        return Unreachable(prefix + what, hint=hint, again=again)
