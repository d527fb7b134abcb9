"""Texts that lie in files of their own: templates of Jinja, and tables in TOML of templates and expressions.

In tables nothing is escaped: whoever writes a text into a format of its own does that.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from pipeline.core.clock import stamp
from pipeline.core.text import age

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from markupsafe import Markup


def table(package: str, name: str) -> dict[str, Any]:
    """A table that lies in a package."""
    return tomllib.loads(_text(package, name))


@cache
def template(text: str) -> Callable[..., str]:
    """What fills in a text."""
    return environment().from_string(text).render


@cache
def expression(text: str) -> Callable[..., Any]:
    """What computes a value."""
    return environment().compile_expression(text, undefined_to_none=False)


@cache
def environment() -> Environment:
    """What texts may use; a name that does not exist is an error."""
    import jinja2

    made = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701 - see the module
    made.filters |= {
        "listed": listed,
        "age": age,
        "day": "{:%Y-%m-%d}".format,
        "stamp": lambda at: stamp(at) if at else "",
    }
    made.globals.clear()  # each text would copy them
    return made


def listed(items: Iterable[str], text: str, separator: str = ", ") -> str:
    """A text with the items in its braces; empty where there are none."""
    found = separator.join(items)
    return text.format(found) if found else ""


def filled(package: str, name: str, /, **words: object) -> str:
    """Fill a template of plain text; nothing in it is escaped.

    Args:
        package: The package that it lies in.
        name: Its file's name.
        words: What it speaks of.
    """
    return filled_text(_text(package, name), **words)


def filled_text(text: str, /, **words: object) -> str:
    """Fill a template of plain text that lies elsewhere than in a package. As :func:`filled`."""
    return _compiled(text, markup=False).render(words)


def filled_markup(package: str, name: str, /, **words: object) -> str:
    """Fill a template of HTML or SVG: foreign text in it is text, and never markup. As :func:`filled`."""
    return _compiled(_text(package, name), markup=True).render(words)


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _quoted(text: object) -> Markup:
    """HTML of a sentence that has commands and settings between backticks."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just now


@cache
def _compiled(text: str, *, markup: bool) -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=markup,  # noqa: S701 - of plain text nothing has to be escaped
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=not markup,
    )
    environment.filters["quoted"] = _quoted
    return environment.from_string(text)
