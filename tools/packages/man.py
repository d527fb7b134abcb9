"""Pages for man(1), out of what the program says of itself: one a command, and ``orgkey.toml.5``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pipeline.config.schema import sections
from pipeline.core.errors import Code
from tools.make_reference import Command, Option, commands, settings


def pages(version: str, date: str) -> dict[str, str]:
    """The text of each page, by the name of its file.

    Args:
        version: Of the program.
        date: Of its release, ``2026-11-30``.
    """
    known = {one.words: one for one in commands()}
    found = {f"{words.replace(' ', '-')}.1": _page(one, known, version, date) for words, one in known.items()}
    return found | {"orgkey.toml.5": _configuration(version, date)}


def escaped(text: str) -> str:
    """Text that means nothing to roff; what stands between backticks is bold."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)  # a link's address means nothing here
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def _head(name: str, section: int, version: str, date: str) -> str:
    return f'.TH "{escaped(name.upper())}" {section} "{date}" "orgkey\\-escrow {version}" "orgkey\\-escrow"'


def _page(one: Command, known: Mapping[str, Command], version: str, date: str) -> str:
    name = one.words.replace(" ", "-")
    first, *rest = one.help.split("\n\n")
    usage = f"\\fB{escaped(one.words)}\\fR" + (
        " \\fICOMMAND\\fR ..." if one.children else " [\\fIOPTION\\fR]..."
    )
    arguments = [option for option in one.options if not option.names]
    lines = [
        _head(name, 1, version, date),
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


def _configuration(version: str, date: str) -> str:
    from pipeline.config import Config

    schema = Config.model_json_schema()
    definitions = schema["$defs"] | {"Config": schema}
    lines = [
        _head("orgkey.toml", 5, version, date),
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
