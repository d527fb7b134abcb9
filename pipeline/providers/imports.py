"""First imports that must not happen side by side."""

from __future__ import annotations

import threading

_LOCK = threading.Lock()


def load_requests() -> None:
    """Import requests, before anything of botocore is.

    While it is imported for the first time it walks over all modules, and fails when one vanishes meanwhile;
    botocore's own first import makes urllib3's optional ones come and go in another thread.
    """
    with _LOCK:
        import requests  # noqa: F401
