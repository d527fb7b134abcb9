"""Writes the generated files of ``infra/schedule``. Run: ``python -m tools.make_schedule``."""

from __future__ import annotations

from pathlib import Path

from tools.schedule import cron, kubernetes, systemd

SCHEDULE = Path(__file__).parents[1] / "infra" / "schedule"
GENERATED = ("systemd", "cron")  # folders in which nothing else lies


def files() -> dict[str, str]:
    """Every generated file's text, by its path below ``infra/schedule``."""
    return {
        f"{folder}/{name}": text
        for folder, made in (
            ("systemd", systemd.files()),
            ("cron", cron.files()),
            ("kubernetes", kubernetes.files() | _configurations()),
        )
        for name, text in made.items()
    }


def _configurations() -> dict[str, str]:
    # Kustomize reads nothing above its folder, hence copies.
    head = kubernetes.HEAD.replace("in an overlay", "by an overlay's own file")
    copies = {"base": "escrow-host", "overlays/drill-host": "drill-host"}
    texts = {folder: (SCHEDULE / f"{name}.toml.example").read_text() for folder, name in copies.items()}
    return {f"{folder}/orgkey.toml": head + text[text.index("\n[key]") :] for folder, text in texts.items()}


if __name__ == "__main__":
    for name, text in files().items():
        path = SCHEDULE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path)
