"""Credentials for AWS, by botocore's own chain; bounded in time, and asking nobody.

Imports botocore, so it is itself imported only where a session is opened.
"""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.credentials as lib
import botocore.exceptions as boto
import botocore.hooks
import botocore.session

from pipeline.core import process
from pipeline.core.errors import DeadlinePassed, Unreachable, UsageProblem

if TYPE_CHECKING:
    from pipeline.config.identities import AwsIdentity
    from pipeline.config.places import AwsPlace


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
    session = botocore.session.Session(event_hooks=copy.copy(_hooks()), include_builtin_handlers=False)
    if identity is not None:
        _point(session, identity)
    # From here on the session has read its files.
    if session.get_config_variable("region") is None:
        session.set_config_variable("region", place.region)
    _bound(session, limit)
    return session


@cache
def _hooks() -> Any:
    """The hooks that each session begins with, registered once: nine tenths of what making one takes."""
    hooks = botocore.hooks.HierarchicalEmitter()
    botocore.session.Session(event_hooks=hooks)
    return hooks


def _no_traceback(record: logging.LogRecord) -> bool:
    """Whether to log it: a renewal that failed comes with its traceback, and is raised besides."""
    return record.exc_info is None


def _point(session: Any, identity: AwsIdentity) -> None:
    files = {"credentials_file": identity.credentials_file, "config_file": identity.config_file}
    for called, path in files.items():
        if path is None:
            continue
        try:
            # botocore takes a file that it may not read for one that has no such profile, or for another's.
            Path(path).open("rb").close()
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            raise UsageProblem(
                f"the {called.replace('_', ' ')} {path} "
                + ("does not exist" if missing else f"cannot be read: {error.strerror or error}"),
                hint=f"correct {called} of the identity in the configuration"
                + ("" if missing else ", or the file's owner and permissions"),
            ) from error
    if any(files.values()):
        # Only what is named is read: with one file given, the user's other one is not.
        for called, path in files.items():
            session.set_config_variable(called, path or os.devnull)
        # Naming the profile also takes precedence over AWS_ACCESS_KEY_ID and AWS_PROFILE.
        session.set_config_variable("profile", identity.profile or "default")
    elif identity.profile is not None:
        session.set_config_variable("profile", identity.profile)


def _bound(session: Any, limit: Callable[[], float]) -> None:
    """Give an end to commands that print credentials, and ask nobody for the code of a token.

    botocore waits for such a command as long as it runs, and reads a code from the terminal. Both are
    arguments of its providers: those that it has made itself are replaced.
    """

    def start(words: list[str], **_: Any) -> _Ended:
        return _Ended(words, limit())

    def ask(_: str) -> str:
        raise boto.CredentialRetrievalError(
            provider="assume-role", error_msg="the profile has mfa_serial, and nobody is asked for a code"
        )

    def load() -> Any:
        return session.full_config

    def create(service: str, **named: Any) -> Any:
        return session.create_client(service, **{"region_name": region} | named)

    def ended(provider: Any, profile: str) -> Any:
        if not isinstance(provider, lib.ProcessProvider):
            return provider
        return lib.ProcessProvider(profile_name=profile, load_config=load, popen=start)

    class Builder(lib.ProfileProviderBuilder):  # type: ignore[misc]
        """Makes the providers of a ``source_profile``."""

        def providers(self, profile_name: str, disable_env_vars: bool = False) -> list[Any]:
            made = super().providers(profile_name, disable_env_vars)
            return [ended(provider, profile_name) for provider in made]

    region = session.get_config_variable("region")
    profile, cache = session.get_config_variable("profile") or "default", dict[str, Any]()
    resolver = session.get_component("credential_provider")
    hosts = (lib.EnvProvider, lib.ContainerProvider, lib.InstanceMetadataProvider)
    sources = [provider for provider in resolver.providers if isinstance(provider, hosts)]
    if not any(isinstance(provider, lib.EnvProvider) for provider in sources):
        sources.insert(0, lib.EnvProvider())
    assume = lib.AssumeRoleProvider(
        load_config=load,
        client_creator=create,
        cache=cache,
        profile_name=profile,
        prompter=ask,
        credential_sourcer=lib.CanonicalNameCredentialSourcer(sources),
        profile_provider_builder=Builder(session, cache=cache, region_name=region),
    )
    resolver.providers[:] = [
        assume if isinstance(provider, lib.AssumeRoleProvider) else ended(provider, profile)
        for provider in resolver.providers
    ]


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
        self._output = done.stdout, done.stderr.decode(errors="replace").encode()
        if done.returncode == 0:
            document: object = None
            with suppress(ValueError):
                document = json.loads(done.stdout)
            if not isinstance(document, dict):
                raise boto.CredentialRetrievalError(
                    provider="credential_process",
                    error_msg="what the command prints is not a JSON document",
                )

    def communicate(self) -> tuple[bytes, bytes]:
        """Standard output and standard error."""
        return self._output
