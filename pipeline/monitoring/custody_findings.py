"""What `doctor` says of the custody that the configuration plans."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pipeline.config import Config
from pipeline.config.places import DirectoryTargetConfig
from pipeline.core.errors import Code
from pipeline.core.finding import Finding, Level
from pipeline.posture import model


def parties(config: Config) -> list[Finding]:
    """Whether one party can reconstruct the key alone.

    Raises:
        UsageProblem: One can, and nothing accepts it.
    """
    model.require_no_single_party(config)
    alone = ", ".join(model.single_parties(config))
    if not alone:
        message = "by the configuration, no one party can reconstruct the key alone"
        return [Finding(Level.OK, "custody", f"{message}; `orgkey custody posture` asks the servers, too")]
    message = f"{alone} can reconstruct the key alone; policy.accept_single_party is set"
    return [Finding(Level.WARN, "custody", message, "add a holder that somebody else controls")]


def losses(config: Config) -> list[Finding]:
    """Whether one loss makes every restore impossible."""
    fatal = model.single_losses(config)
    if not fatal:
        return []
    message = f"any one of these losses makes every restore impossible: {'; '.join(fatal)}"
    hint = model.against_losses(config, fatal)
    if config.policy.accept_single_loss:
        hint = f"{hint}; policy.accept_single_loss accepts it"
        return [Finding(Level.WARN, "custody", message, hint)]
    hint = f"{hint}, or set policy.accept_single_loss"
    return [Finding(Level.FAIL, "custody", message, hint, Code.USAGE)]


def disks(config: Config) -> list[Finding]:
    """Whether directories that count as several failure domains lie on one file system."""
    lying: dict[int, dict[str, str]] = {}
    for name, target in config.target.items():
        if isinstance(target, DirectoryTargetConfig):
            with suppress(OSError):  # its own check says why
                lying.setdefault(Path(target.path).stat().st_dev, {})[target.domain or name] = name
    told = "lie on one file system, which fails as a whole"
    hint = "give them one domain, or move one to another disk"
    return [
        Finding(Level.WARN, "custody", f"targets {' and '.join(names.values())} {told}", hint)
        for names in lying.values()
        if len(names) > 1
    ]
