"""What a runbook says: its commands with what they must print and end with, and what people do in between."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RUN = ("console", "sh")
SHOW = ("text", "toml", "json", "ini")
_FENCE = re.compile(r"^ *```(\w*) *$")
_SCENE = re.compile(r"^ *<!-- scene: ([a-z-]+) -->$")
_EXIT = re.compile(r" +# exit (\d+)$")


class PageProblem(Exception):
    """A page that cannot be executed as it stands."""


@dataclass(frozen=True)
class Command:
    """One command of a block.

    Attributes:
        block: The number of its block on the page, from 1.
        line: The page's line where it begins.
        text: What the shell gets.
        code: The exit code that is written behind it; 0 where none is.
        shown: Lines that it must print, in this order; ``…`` in one stands for anything.
    """

    block: int
    line: int
    text: str
    code: int = 0
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Happening:
    """What people or servers do at that point of the page, outside its commands.

    Attributes:
        name: What the scene calls it.
        line: The page's line.
    """

    name: str
    line: int


Step = Command | Happening


def read(path: Path) -> list[Step]:
    """Read a page.

    Raises:
        PageProblem: A block is of an unknown kind, shows commands that would not be executed, or holds
            something else than commands and what they print.
    """
    steps: list[Step] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    kind, begun, blocks, inside = "", 0, 0, False
    block: list[str] = []
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if not inside and fence is None:
            if "```" in line or line.lstrip().startswith(("~~~", "$ ")):
                raise PageProblem(f"{path.name}:{number}: this fence cannot be read")
            if found := _SCENE.match(line):
                steps.append(Happening(found[1], number))
        elif not inside and fence is not None:
            kind, begun, inside, block = fence[1], number, True, []
            indent = len(line) - len(line.lstrip())
        elif line.strip() == "```":
            inside = False
            if kind in RUN:
                blocks += 1
                read_block = _session if kind == "console" else _script
                steps += read_block(path.name, blocks, begun + 1, block)
            elif kind not in SHOW:
                raise PageProblem(f"{path.name}:{begun}: a block of kind {kind!r} is not executed")
            elif any(text.startswith("$ ") for text in block):
                raise PageProblem(f"{path.name}:{begun}: commands in a block of kind {kind} are not executed")
        else:
            block.append(line[indent:] if not line[:indent].strip() else line)
    if inside:
        raise PageProblem(f"{path.name}:{begun}: this block has no end")
    return steps


def blocks_of(path: Path) -> int:
    """How many blocks have to be executed, counted without the reader above."""
    return len(re.findall(rf"^ *```(?:{'|'.join(RUN)}) *$", path.read_text(encoding="utf-8"), re.MULTILINE))


def _session(page: str, block: int, first: int, lines: list[str]) -> list[Step]:
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(lines, first):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif not found:
            raise PageProblem(f"{page}:{number}: a block begins with a command")
        elif line.startswith("> ") or (found[-1][1][-1].endswith("\\") and not found[-1][2]):
            found[-1][1].append(line.removeprefix("> "))
        elif line.strip() not in ("", "..."):
            found[-1][2].append(line)
    if not found:
        raise PageProblem(f"{page}:{first}: a block without commands")
    return [_command(block, number, text, shown) for number, text, shown in found]


def _script(page: str, block: int, first: int, lines: list[str]) -> list[Step]:
    if not any(line.strip() for line in lines):
        raise PageProblem(f"{page}:{first}: a block without commands")
    return [_command(block, first, lines, [])]


def _command(block: int, number: int, text: list[str], shown: list[str]) -> Command:
    told = _EXIT.search(text[-1])
    last = _EXIT.sub("", text[-1])
    return Command(block, number, "\n".join([*text[:-1], last]), int(told[1]) if told else 0, tuple(shown))
