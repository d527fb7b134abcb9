"""Undoes what a test had :func:`pipeline.core.log.setup` do."""

from __future__ import annotations

import logging

from pipeline.core import log


def shut_down() -> None:
    """Have no handler of this program's, and the standard library's own levels."""
    root = logging.getLogger()
    if log._handler is not None:
        root.removeHandler(log._handler)
        log._handler = None
    for name in (*log._OWN, "py.warnings"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(False)
    log._state.as_json = log._state.quiet = False
