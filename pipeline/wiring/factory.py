"""A run put together: its scope, the key that is meant, the place that an export comes from."""

from __future__ import annotations

from pathlib import Path

from pipeline.archive.run import KeyScope
from pipeline.config import Config, state_root
from pipeline.config.sections import KeyConfig
from pipeline.core import log
from pipeline.core.clock import Clock, Deadline, SystemClock
from pipeline.core.errors import UsageProblem
from pipeline.core.reporter import Reporter
from pipeline.core.secret import SecretSource
from pipeline.sources.interface import ExportSource
from pipeline.wiring.backends import ConfiguredBackends
from pipeline.wiring.sessions import Sessions


def context(
    config: Config,
    *,
    fingerprint: str | None,
    state_dir: Path | None,
    reporter: Reporter,
    clock: Clock | None = None,
) -> KeyScope:
    """Put a run together.

    Args:
        config: The configuration.
        fingerprint: The value of ``--fingerprint``, or what an operator confirmed; else the pin is used.
        state_dir: The value of ``--state-dir``.
        reporter: Tells a person what happens.
        clock: Where time comes from.

    Raises:
        UsageProblem: No key is pinned, or the option contradicts the pin.
    """
    clock = clock or SystemClock()
    pin = pinned(config, fingerprint)
    if pin is None:
        raise UsageProblem(
            "no key is pinned",
            hint="put its fingerprint into [key] of the configuration (`orgkey init --from EXPORT`), "
            "or give --fingerprint",
        )
    deadline = Deadline(config.policy.deadline_seconds, clock)
    sessions = Sessions(config, deadline, clock)
    return KeyScope(
        config=config,
        fingerprint=pin,
        clock=clock,
        deadline=deadline,
        run_id=log.run_id(),
        root=state_root(state_dir) / pin,
        reporter=reporter,
        backends=lambda role: ConfiguredBackends(sessions, role),
    )


def pinned(config: Config | None, option: str | None) -> str | None:
    """The fingerprint that is trusted, or ``None`` where nothing says which.

    Raises:
        UsageProblem: ``--fingerprint`` is malformed, or neither the pin nor a former Org Key.
    """
    key = config.key if config else None
    if option is None:
        return key.fingerprint if key else None
    try:
        given = KeyConfig(fingerprint=option).fingerprint
    except ValueError:
        raise UsageProblem(
            f"--fingerprint {option!r} is not a fingerprint", hint="give all 40 hexadecimal digits"
        ) from None
    if key and given not in {key.fingerprint, *key.former}:
        raise UsageProblem(
            f"--fingerprint {given} is not the pinned key",
            hint=f"the configuration pins {key.fingerprint}; list a former Org Key in key.former",
        )
    return given


def source(config: Config, export: Path | None, *, pin: str | None, passphrase: SecretSource) -> ExportSource:
    """Build the place that an export comes from.

    Args:
        config: The configuration.
        export: A file that was named on the command line; it goes before the configured source.
        pin: The fingerprint that is trusted, when one is.
        passphrase: Opens the export; a GnuPG keyring needs it to export at all.

    Raises:
        UsageProblem: Neither a file nor a source is given.
    """
    item = config.source
    if export is not None or (item is not None and item.kind == "file"):
        from pipeline.sources.file import FileSource

        path = export or Path(_required(item.path if item else None))
        return FileSource(path, item.max_bytes) if item else FileSource(path)
    if item is None:
        raise UsageProblem(
            "no export is named", hint="give the file: `orgkey escrow EXPORT`, or configure [source]"
        )
    if item.kind == "inbox":
        from pipeline.sources.inbox import InboxSource

        return InboxSource(
            Path(_required(item.path)), pin=pin, settle_seconds=item.settle_seconds, limit=item.max_bytes
        )
    if item.kind == "command":
        from pipeline.sources.command import CommandSource

        return CommandSource(
            item.command or (), fingerprint=pin, seconds=item.timeout_seconds, limit=item.max_bytes
        )
    from pipeline.sources.gnupg import GnupgSource

    if pin is None:
        raise UsageProblem(
            "a keyring holds many keys, and none is pinned",
            hint="put the Org Key's fingerprint into [key], or give --fingerprint",
        )
    return GnupgSource(
        pin,
        passphrase,
        home=Path(item.path) if item.path else None,
        seconds=item.timeout_seconds,
        limit=item.max_bytes,
    )


def _required(value: str | None) -> str:
    if not value:  # the configuration's validation has seen to it
        raise UsageProblem("the source has no path", hint="add path to [source]")
    return value
