"""PDFs from templates of this package, by Typst: in memory, with its own fonts, without network.

A template reads its data from ``sys.inputs``; foreign text is data and never part of a template's source.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.core.errors import LocalFilesProblem, ProgramMissing


def demand_typst() -> None:
    """See that pages can be set here at all: typst comes with an extra.

    Raises:
        ProgramMissing: They cannot.
    """
    if find_spec("typst") is None:
        raise ProgramMissing(
            "a PDF needs the package typst, which is not installed",
            hint="install the extra: pip install 'orgkey-escrow[pdf]'",
        )


def render(template: str, data: Mapping[str, Any], *, at: datetime, accessible: bool = False) -> bytes:
    """Set a page.

    Args:
        template: The name of a template beside this file, without its ending.
        data: JSON values; texts are shown as they are.
        at: The creation date in the document; the same input gives the same bytes.
        accessible: Whether it has to be PDF/UA-1, for screen readers: then a picture without words fails.

    Raises:
        LocalFilesProblem: The template is missing, or cannot be set.
        ProgramMissing: Typst is not installed.
    """
    demand_typst()
    import typst

    source = Path(__file__).with_name(f"{template}.typ")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a letter that no font has is shown as a box
            pdf = typst.compile(
                source.read_bytes(),
                format="pdf",
                ignore_system_fonts=True,
                sys_inputs={"data": json.dumps(dict(data))},
                timestamp=at.replace(microsecond=0),
                pdf_standards="ua-1" if accessible else [],
            )
    except (OSError, RuntimeError) as error:
        # Typst's message may quote what it set: it stays here.
        raise LocalFilesProblem(
            f"the page {template} cannot be set: {type(error).__name__}",
            hint="install orgkey-escrow again; report it if it stays so",
        ) from None
    assert isinstance(pdf, bytes)  # one document
    return pdf


def qr(text: str) -> str:
    """A QR code as SVG.

    Args:
        text: What it says; digits, capitals and spaces make it smallest.
    """
    import segno

    made = segno.make(text, error="m", micro=False)
    out = io.BytesIO()
    made.save(out, kind="svg", border=2, xmldecl=False, svgns=True, omitsize=True)
    return out.getvalue().decode("ascii")


def spaced(fingerprint: str) -> str:
    """A fingerprint in groups of four digits."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))
