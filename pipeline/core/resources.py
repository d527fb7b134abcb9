"""Where the files of `infra/` and `docs/` are: beside the package in a checkout, inside it in a wheel."""

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
    return _bundled("infra", parts)


def docs_path(*parts: str) -> Path:
    """Find a page or folder of `docs/`; see :func:`infra_path`.

    Raises:
        LocalFilesProblem: It is in neither place.
    """
    return _bundled("docs", parts)


def _bundled(folder: str, parts: tuple[str, ...]) -> Path:
    package = Path(__file__).resolve().parents[1]
    for base in (package / f"_{folder}", package.parent / folder):
        path = base.joinpath(*parts)
        if path.exists():
            return path
    raise LocalFilesProblem(
        f"{folder}/{'/'.join(parts)} is missing from this installation", hint="install orgkey-escrow again"
    )
