"""The ways in which people are notified: the operator's command, and apprise's hundred services."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any, Final

from pipeline.config import Config
from pipeline.config.sections import Notify
from pipeline.core import environment, log, process
from pipeline.core.errors import Code, OrgkeyError, ProgramMissing, Unreachable, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.monitoring.notify import address
from pipeline.monitoring.notify.message import Message
from pipeline.monitoring.notify.ping import ping_address

_MOST_OUTPUT: Final = 1 << 20


def deliver(config: Notify, message: Message) -> dict[str, OrgkeyError | None]:
    """Send a message by every configured way.

    Args:
        config: The ways.
        message: What is sent.

    Returns:
        For each way, by its setting's name, why it failed; ``None`` when it did not.
    """
    ways: dict[str, Callable[[Notify, Message], None]] = {}
    if config.command:
        ways["notify.command"] = _command
    if config.urls_file or config.urls_command:
        ways["notify.urls"] = _services
    return {name: isolated(partial(way, config, message), name) for name, way in ways.items()}


def findings(config: Config) -> list[Finding]:
    """What ``doctor`` says of the ways; sends nothing."""
    checks: dict[str, Callable[[], object]] = {}
    notify = config.notify
    if notify and (notify.urls_file or notify.urls_command):
        checks["notify.urls"] = partial(_loaded, notify)
    if notify and notify.command:
        checks["notify.command"] = partial(process.find, notify.command[0])
    for job, ping in config.ping.items():
        checks[f"ping.{job}.url"] = partial(ping_address, ping, job)
    return [_finding(name, check) for name, check in checks.items()]


def _finding(name: str, check: Callable[[], object]) -> Finding:
    error = isolated(check, name)
    if isinstance(error, OrgkeyError):
        return Finding(Level.FAIL, name, error.message, error.hint, error.code)
    return Finding(Level.OK, name, "can be used; `orgkey notify test` shows whether it arrives")


def _command(config: Notify, message: Message) -> None:
    """Run the operator's command with the document on its standard input."""
    assert config.command
    home = {"HOME": os.environ["HOME"]} if "HOME" in os.environ else {}
    body = (json.dumps(message.document(), ensure_ascii=False) + "\n").encode()
    name = PurePath(config.command[0]).name
    done = process.run(
        config.command,
        stdin=body,
        timeout=config.timeout_seconds,
        env=environment.clean_environment(home),
        max_output=_MOST_OUTPUT,
    )
    if done.returncode != 0:
        raise Unreachable(
            f"the command {name} of [notify] ended with code {done.returncode}",
            hint=log.last_words(done.stderr) or "run it by hand to see why",
            again=False,
        )


def _services(config: Notify, message: Message) -> None:
    """Hand the message to apprise, in a thread: its services have time-outs of their own, or none."""
    loaded = _loaded(config)
    answers: list[bool | None] = []

    def send() -> None:
        try:
            # As text: a backup's name that stands in it must not become markup of a mail.
            answers.append(loaded.notify(title=message.title, body=message.text, body_format="text"))
        except BaseException:
            # Whatever a service's plug-in raises, its text may quote the address.
            answers.append(False)

    thread = threading.Thread(target=send, name="notify", daemon=True)
    thread.start()
    thread.join(config.timeout_seconds)
    if not answers:
        raise Unreachable(
            f"the services of [notify] did not take the message within {config.timeout_seconds:g} s",
            hint="look at the network and the proxy, or raise notify.timeout_seconds",
            again=False,
        )
    if not answers[0]:
        raise Unreachable(
            f"{'one of ' if len(loaded) > 1 else ''}the services of [notify] did not take the message",
            hint="check the addresses with apprise's own command: apprise -vv -b test ADDRESS",
            again=False,
        )


def _loaded(config: Notify) -> Any:
    """The services; nothing is sent.

    Raises:
        ProgramMissing: apprise is not installed.
        UsageProblem: An address cannot be read, or is not one of apprise's.
    """
    if find_spec("apprise") is None:
        raise ProgramMissing(
            "notify.urls needs the package apprise, which is not installed",
            hint="install the extra: pip install 'orgkey-escrow[notify]'",
        )
    lines = address.read(config.urls_file, config.urls_command, "notify.urls", config.timeout_seconds)
    # Its log lines quote addresses in forms of its own.
    quiet = logging.getLogger("apprise")
    quiet.setLevel(logging.CRITICAL + 1)
    quiet.propagate = False
    import apprise

    loaded = apprise.Apprise()
    for number, line in enumerate(lines, start=1):
        if not loaded.add(line):
            raise UsageProblem(
                f"address {number} of notify.urls is not one that apprise knows",
                hint="see https://github.com/caronc/apprise/wiki for their forms",
            )
    return loaded


def worst(results: Mapping[str, OrgkeyError | None]) -> Code:
    """The code that failed deliveries stand for."""
    return next((error.code for error in results.values() if error), Code.OK)
