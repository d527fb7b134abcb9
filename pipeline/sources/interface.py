"""What every place that an export comes from can do: two methods, nothing that deletes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from pipeline.core.clock import Deadline
from pipeline.core.digest import Digest
from pipeline.core.errors import LocalFilesProblem

LARGEST: Final = 4 * 1024 * 1024  # bytes; a keypair export has some kilobytes

STILL_A_KEY: Final = "what lies there still opens the server's backups: take it offline or destroy it"


class NoExport(LocalFilesProblem):
    """The source works, and holds no export."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that an export was chosen from, to be put aside afterwards.

    Attributes:
        path: Where it lies.
        digest: What it held when it was read; a file that has changed since is not touched.
        used: Whether these are the export's bytes; else another, passed-over export of the same key.
    """

    path: Path
    digest: Digest
    used: bool = True


@dataclass(frozen=True, slots=True)
class Export:
    """A keypair export as it came in; nothing in it is verified yet.

    Attributes:
        data: The bytes. Not shown by ``repr``.
        origin: Where it came from, for people: a path, ``standard input``, a keyring, a command.
        notes: What an operator should know about how it was found, a sentence each.
        files: The files that it was chosen from.
    """

    data: bytes = field(repr=False)
    origin: str
    notes: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()


class ExportSource(Protocol):
    """Where an export comes from. Every error that leaves it descends from ``OrgkeyError``."""

    kind: str

    def fetch(self, deadline: Deadline) -> Export:
        """Read the export. Changes nothing at the source.

        Args:
            deadline: When to give up waiting.

        Raises:
            NoExport: Nothing is there.
            LocalFilesProblem: It cannot be read.
            NotAKey, NotPinned, PublicOnly, SeveralKeys: What is there is not what was asked for.
            DeadlinePassed: It did not settle, or end, in time.
            UsageProblem, ProgramMissing: The source is not set up as it has to be.
        """
        ...

    def finish(self, export: Export, note: str) -> tuple[str, ...]:
        """Put the export aside. Called only after its escrow is proven; never deletes.

        Args:
            export: What :meth:`fetch` returned.
            note: What became of it, for whoever finds it later: ``escrowed and proven as <epoch>``.

        Returns:
            What to tell the operator, a sentence each.

        Raises:
            LocalFilesProblem: It cannot be put aside; the escrow stands all the same.
        """
        ...
