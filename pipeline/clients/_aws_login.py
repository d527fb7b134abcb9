"""Credentials for AWS, by botocore's own chain; bounded in time, and asking nobody.

Imports botocore, so it is itself imported only where a session is opened.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.credentials
import botocore.exceptions as boto
import botocore.session

from pipeline import process
from pipeline.errors import DeadlinePassed, Unreachable, UsageProblem

if TYPE_CHECKING:
    from pipeline.config import AwsIdentity, AwsPlace


def open_session(place: AwsPlace, identity: AwsIdentity | None, limit: Callable[[], float]) -> Any:
    """Open a session that takes its credentials from where the identity says.

    Args:
        place: Whose region logins use where neither profile nor environment names one.
        identity: Files and profile; ``None`` takes botocore's own chain.
        limit: Seconds that a command which gives credentials may take.

    Raises:
        UsageProblem: A file does not exist.
    """
    for talkative in ("botocore.credentials", "botocore.tokens"):
        logging.getLogger(talkative).addFilter(_no_traceback)
    session = botocore.session.Session()
    if identity is not None:
        _point(session, identity)
    # From here on the session has read its files.
    if session.get_config_variable("region") is None:
        session.set_config_variable("region", place.region)
    _bound(session.get_component("credential_provider"), limit)
    return session


def _no_traceback(record: logging.LogRecord) -> bool:
    """Whether to log it: a renewal that failed comes with its traceback, and is raised besides."""
    return record.exc_info is None


def _point(session: Any, identity: AwsIdentity) -> None:
    files = {"credentials_file": identity.credentials_file, "config_file": identity.config_file}
    for called, path in files.items():
        if path is not None and not Path(path).is_file():
            raise UsageProblem(
                f"the {called.replace('_', ' ')} {path} does not exist",
                hint="correct the identity's files in the configuration",
            )
    if any(files.values()):
        # Only what is named is read: with one file given, the user's other one is not.
        for called, path in files.items():
            session.set_config_variable(called, path or os.devnull)
        # Naming the profile also takes precedence over AWS_ACCESS_KEY_ID and AWS_PROFILE.
        session.set_config_variable("profile", identity.profile or "default")
    elif identity.profile is not None:
        session.set_config_variable("profile", identity.profile)


def _bound(resolver: Any, limit: Callable[[], float]) -> None:
    """Give an end to commands that print credentials, and ask nobody for the code of a token.

    botocore waits for such a command as long as it runs, and reads a code from the terminal. Both are
    arguments of its providers, which it makes itself: here and for a profile's ``source_profile``.
    """

    def start(words: list[str], **_: Any) -> _Ended:
        return _Ended(words, limit())

    def ask(_: str) -> str:
        raise boto.CredentialRetrievalError(
            provider="assume-role", error_msg="the profile has mfa_serial, and nobody is asked for a code"
        )

    for provider in resolver.providers:
        if isinstance(provider, botocore.credentials.ProcessProvider):
            provider._popen = start
        if isinstance(provider, botocore.credentials.AssumeRoleProvider):
            provider._prompter = ask
            builder = provider._profile_provider_builder
            make = builder._create_process_provider

            def bounded(*args: Any, _make: Any = make, **named: Any) -> Any:
                made = _make(*args, **named)
                made._popen = start
                return made

            builder._create_process_provider = bounded


class _Ended:
    """What botocore needs of a process: one that has run to its end, in time, and printed JSON."""

    def __init__(self, words: list[str], seconds: float) -> None:
        try:
            done = process.run(words, timeout=seconds, env=os.environ)
        except DeadlinePassed as error:
            raise Unreachable(
                f"the profile's credential_process did not end within {seconds:.0f} s",
                hint="run it by hand, or raise policy.call_seconds",
            ) from error
        self.returncode = done.returncode
        self._said = done.stdout, done.stderr.decode(errors="replace").encode()
        if done.returncode == 0:
            try:
                whole = isinstance(json.loads(done.stdout), dict)
            except ValueError:
                whole = False
            if not whole:
                raise _process_failed("what the command prints is no JSON document")

    def communicate(self) -> tuple[bytes, bytes]:
        """Standard output and standard error."""
        return self._said


def _process_failed(said: str) -> boto.CredentialRetrievalError:
    return boto.CredentialRetrievalError(provider="credential_process", error_msg=said)
