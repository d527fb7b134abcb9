"""Make the pages for man(1), out of what the program says of itself: one a command, and ``orgkey.toml.5``.

They have neither version nor date, so that they change only where a command does.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pipeline.config.schema import sections
from pipeline.core.errors import Code
from tools.make_reference import Command, Option, commands, settings

FOLDER: Final = Path(__file__).parents[1] / "docs" / "man"


def pages() -> dict[str, str]:
    """The text of each page, by its place below a folder of manuals."""
    known = {one.words: one for one in commands()}
    found = {f"man1/{words.replace(' ', '-')}.1": _page(one, known) for words, one in known.items()}
    return found | {"man5/orgkey.toml.5": _configuration()}


def escaped(text: str) -> str:
    """Text that means nothing to roff; what stands between backticks is bold."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)  # a link's address means nothing here
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def _head(name: str, section: int) -> str:
    return f'.TH "{escaped(name.upper())}" {section} "" "orgkey\\-escrow" "orgkey\\-escrow"'


def _page(one: Command, known: Mapping[str, Command]) -> str:
    name = one.words.replace(" ", "-")
    first, *rest = one.help.split("\n\n")
    usage = f"\\fB{escaped(one.words)}\\fR" + (
        " \\fICOMMAND\\fR ..." if one.children else " [\\fIOPTION\\fR]..."
    )
    arguments = [option for option in one.options if not option.names]
    lines = [
        _head(name, 1),
        ".SH NAME",
        f"{escaped(name)} \\- {escaped(first.rstrip('.'))}",
        ".SH SYNOPSIS",
        " ".join([usage, *(f"\\fI{escaped(argument.spelling)}\\fR" for argument in arguments)]),
        ".SH DESCRIPTION",
        *_paragraphs([first, *rest]),
    ]
    if one.children:
        lines += [".SH COMMANDS"]
        for child in one.children:
            short = known[f"{one.words} {child}"].help.split("\n\n")[0]
            lines += [".TP", f".BR {escaped(f'{name}-{child}')} (1)", escaped(short)]
    for panel in dict.fromkeys(option.panel for option in one.options):
        lines += [f".SH {escaped((panel or 'Options').upper())}"]
        lines += [line for option in one.options if option.panel == panel for line in _option(option)]
    if one.usage:
        lines += [".SH EXAMPLE", ".nf", escaped(one.usage.example), ".fi", ".SH EXIT STATUS"]
        for code in sorted({Code.OK, Code.USAGE, Code.LOCAL_FILES, *one.usage.codes}):
            lines += [".TP", f".B {code.value}", escaped(code.meaning)]
    lines += [".SH SEE ALSO", ".BR orgkey (1),", ".BR orgkey.toml (5)"]
    return "\n".join(lines) + "\n"


def _paragraphs(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield ".PP"
        yield escaped(text)


def _option(option: Option) -> Iterator[str]:
    notes = f" ({', '.join(option.notes)})" if option.notes else ""
    yield ".TP"
    yield f".B {escaped(option.spelling)}"
    yield escaped(f"{option.help}{notes}")


def _configuration() -> str:
    from pipeline.config import Config

    schema = Config.model_json_schema()
    definitions = schema["$defs"] | {"Config": schema}
    lines = [
        _head("orgkey.toml", 5),
        ".SH NAME",
        "orgkey.toml \\- configuration of orgkey\\-escrow",
        ".SH DESCRIPTION",
        escaped(
            "One TOML file: the first of `--config`, the variable `ORGKEY_CONFIG`, `./orgkey.toml`, "
            "`~/.config/orgkey/orgkey.toml` and `/etc/orgkey/orgkey.toml`. `orgkey init` writes one. "
            "It has no secret, and is refused when others can write to it."
        ),
    ]
    for model, section in sections().items():
        lines += [f".SH {escaped(section.title)}", escaped(section.about)]
        for name, kind, default in settings(section, definitions[model]):
            facts = f"{kind}; {default.strip('*')}"
            lines += [".TP", f"\\fB{escaped(name)}\\fR ({escaped(facts)})"]
            lines += [escaped(section.settings[name])]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR orgkey (1)"]) + "\n"


def main() -> None:
    """Write the pages."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, text in pages().items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(FOLDER)


if __name__ == "__main__":
    main()
