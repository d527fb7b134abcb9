"""`orgkey custody posture`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.core.errors import Code


def posture(
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Also draw it, into this new file.")
    ] = None,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Compute who can reconstruct the key, and what loss would be fatal.

    From the configuration, from what is really stored, and from what the servers say. Opens nothing.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.core import files
    from pipeline.posture import analysis as story
    from pipeline.posture import diagram as picture
    from pipeline.posture import text as posture_text

    context = common.context(out)
    found = story.expose(context)
    if svg is not None:
        files.write_new(svg, picture.draw(found).encode(), mode=0o644)
    out.emit(posture_text.document(found), posture_text.lines(found))
    return found.code
