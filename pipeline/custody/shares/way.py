"""The way to a holder's server, as far as it says who may read or answer what is sent there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.custody.holders.interface import Coordinates

if TYPE_CHECKING:
    from pipeline.config import AwsPlace, VaultPlace


def way(place: VaultPlace | AwsPlace) -> Coordinates:
    """The authority that is trusted, and the proxy; part of the custody plan, so part of the manifest.

    A file is named and not digested: an authority's bundle is renewed by the system, and whoever can replace
    the file has more than the configuration. A proxy's login is left out.

    Raises:
        UsageProblem: The proxy's file cannot be read.
    """
    from pipeline.providers import proxy as _proxy

    return {"ca_file": _named(place.ca_file), "proxy": _proxy.configured(place)}


def _named(file: str | None) -> str | None:
    """A path as the configuration may write it: each unit has a credentials' directory of its own."""
    handed = os.environ.get("CREDENTIALS_DIRECTORY")
    if file and handed and Path(file).is_relative_to(handed):
        return f"$CREDENTIALS_DIRECTORY/{Path(file).relative_to(handed)}"
    return file
