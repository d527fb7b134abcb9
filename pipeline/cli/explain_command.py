"""`orgkey explain`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer

from pipeline.cli import completion
from pipeline.cli.command import WHERE, Invocation, arg, command, opt
from pipeline.core import files
from pipeline.core.errors import Code, UsageProblem
from pipeline.core.resources import docs_path

_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_TEXT = "utf-8"


@command("orgkey explain 23", shared=())
def explain(
    call: Invocation,  # noqa: ARG001, RUF100 - it needs no configuration
    topic: str | None = arg(
        "TOPIC",
        "An exit code, or the name of a page; without one, the list.",
        autocompletion=completion.words(lambda _: _topics()),
    ),
    man: Path | None = opt(
        "--man", "Write the pages for man(1) below this folder, such as ~/.local/share/man.", "DIR", WHERE
    ),
    words: list[str] | None = arg("WORD", "Only the sections whose headings have these words."),
) -> Code:
    """Show what an exit code means and what to do, or a page of the documentation.

    The pages are those of this version, and come with the program.
    """
    if man is not None:
        typer.echo(f"{_write_manual(man)} pages are in {man}")
    elif topic is None:
        typer.echo(_contents())
    elif topic.isdecimal():
        typer.echo(_exit_code(topic))
    else:
        typer.echo("\n\n".join(_sections(_page(topic), [word.lower() for word in words or ()])))
    return Code.OK


def _write_manual(folder: Path) -> int:
    """Write the manual, over that of another version; how many pages it has.

    Raises:
        LocalFilesProblem: The folder cannot be written to.
    """
    pages = sorted(docs_path("man").glob("man?/*"))
    with files.os_errors(f"cannot write to {folder}"):
        for page in pages:
            place = folder / page.parent.name
            place.mkdir(parents=True, exist_ok=True)
            files.replace(place / page.name, page.read_bytes(), mode=0o644)
    return len(pages)


def _contents() -> str:
    rows = [
        f"  {name:<18} {_title(path)}"
        for name, path in sorted(_pages().items())
        if path.parent.name != "adr" or name == "adr"  # that page lists the others
    ]
    return "\n".join(["orgkey explain CODE says what an exit code means, and what to do.", "", *rows])


def _topics() -> list[str]:
    return [*(str(int(code)) for code in Code), *sorted(_pages())]


def _exit_code(number: str) -> str:
    try:
        code = Code(int(number))
    except ValueError:  # of a number with too many digits, too
        known = ", ".join(str(int(code)) for code in Code)
        raise UsageProblem(f"{number} is not an exit code", hint=f"there are {known}") from None
    again = "can succeed later, unchanged" if code.retry else "fails again as long as nothing is changed"
    return f"{code:d} {code.label}\n{code.meaning}\nwhat to do: {code.remedy}\nthe same command {again}"


def _pages() -> dict[str, Path]:
    """The pages by name."""
    found = docs_path().rglob("*.md")
    return {path.parent.name if path.stem == "README" else path.stem: path for path in found}


def _title(path: Path) -> str:
    heading = _HEADING.search(path.read_text(_TEXT))
    return heading[2] if heading else path.stem


def _page(name: str) -> str:
    pages, found = _pages(), name.rpartition("/")[2].removesuffix(".md")  # as pages name each other
    if found not in pages:
        raise UsageProblem(f"there is no page {name!r}", hint="`orgkey explain` lists the pages")
    return pages[found].read_text(_TEXT)


def _sections(text: str, words: list[str]) -> Iterator[str]:
    """The page, or those of its sections whose headings have all the words.

    Raises:
        UsageProblem: None has.
    """
    if not words:
        yield text.rstrip()
        return
    headings = list(_HEADING.finditer(_without_code(text)))
    found = end = 0
    for place, heading in enumerate(headings):
        if heading.start() < end or not all(word in heading[2].lower() for word in words):
            continue
        after = (one.start() for one in headings[place + 1 :] if len(one[1]) <= len(heading[1]))
        end = next(after, len(text))
        found += 1
        yield text[heading.start() : end].rstrip()
    if not found:
        listed = "; ".join(heading[2] for heading in headings)
        raise UsageProblem(f"no heading of this page has {' '.join(words)!r}", hint=f"there are: {listed}")


def _without_code(text: str) -> str:
    """The same text with blanks for its blocks of code, in which ``#`` begins a comment."""
    return re.sub(
        r"^ *```.*?^ *```$",
        lambda block: re.sub(r"[^\n]", " ", block[0]),
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
