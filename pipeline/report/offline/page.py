"""The page `verify.html` of a bundle: one file, the same in every bundle of one version.

It has no data of the bundle, so that its digest can be told elsewhere. Its policy admits the scripts and the
style by their digests, and no connection at all.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Final

from pipeline import __version__
from pipeline.core.templates import filled_markup

NAME: Final = "verify.html"
_LIBRARIES: Final = ("openpgp.min.js", "fflate.min.js")
_SCRIPTS: Final = ("bundle.js", "checks.js", "page.js")


@cache
def render() -> bytes:
    """Put the page together from its parts."""
    from markupsafe import Markup

    scripts = [*map(_part, _LIBRARIES), "\n".join(map(_part, _SCRIPTS))]
    style = _part("verify.css")
    page = filled_markup(
        __package__,
        "verify.html.j2",
        program=f"orgkey-escrow {__version__}",
        policy=Markup(" ".join(map(_source, scripts))),  # noqa: S704 - base64
        styles=Markup(_source(style)),  # noqa: S704 - base64
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - files of this package
        style=Markup(style),  # noqa: S704 - a file of this package
        notice=_part("NOTICE.txt"),
        lgpl=_part("LGPL-3.txt"),
        gpl=_part("GPL-3.txt"),
    )
    return page.encode()


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """How a Content Security Policy names what it admits (W3C CSP 3, hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
