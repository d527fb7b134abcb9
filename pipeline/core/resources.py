"""Where the data files of `infra/` are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import LocalFilesProblem


def infra_path(*parts: str) -> Path:
    """Find a file or directory of `infra/`.

    Args:
        parts: The path below `infra/`, for example ``"stack", "openbao"``.

    Raises:
        LocalFilesProblem: It is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for base in (package / "_infra", package.parent / "infra"):
        path = base.joinpath(*parts)
        if path.exists():
            return path
    raise LocalFilesProblem(
        f"infra/{'/'.join(parts)} is missing from this installation", hint="install orgkey-escrow again"
    )
