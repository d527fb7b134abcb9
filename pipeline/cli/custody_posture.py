"""`orgkey custody posture`."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.command import COPY_CODES, WHERE, Invocation, command, opt
from pipeline.core import files
from pipeline.core.errors import Code
from pipeline.posture import analysis, diagram, text
from pipeline.posture.document import CustodyPostureDocument


@command("orgkey custody posture --svg posture.svg", COPY_CODES)
def posture(
    call: Invocation,
    svg: Path | None = opt("--svg", "Also draw it, into this new file.", "FILE", WHERE),
) -> Code:
    """Compute who can reconstruct the key, and what loss would be fatal.

    From the configuration, from what is really stored, and from what the servers say. Opens nothing.
    """
    exposure = analysis.expose(call.context())
    if svg is not None:
        files.write_new(svg, diagram.draw(exposure).encode(), mode=0o644)
    return call.answer(CustodyPostureDocument.about(exposure), text.lines(exposure))
