"""One identity at AWS, or at a service that speaks its protocol; botocore without the layer above it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pipeline.clock import Deadline
from pipeline.errors import Unreachable, UsageProblem
from pipeline.retry import in_time

if TYPE_CHECKING:
    from pipeline.config import AwsIdentity, AwsPlace

T = TypeVar("T")
Service = Literal["s3", "kms", "sts"]

_MAKING = threading.Lock()


@cache
def _loader() -> Any:
    """The descriptions of AWS's services, read once for all sessions: most of a client's cost."""
    import botocore.loaders

    return botocore.loaders.create_loader()


class AwsSession:
    """Makes clients late, bounds every call, and lets only ``OrgkeyError`` out.

    Sessions may be used from several threads. botocore's own retries are off, since
    :class:`pipeline.retry.Retrier` is the one layer that tries again.

    Args:
        place: Region, endpoint and CA file. Without ``endpoint_url`` botocore looks at
            ``AWS_ENDPOINT_URL_S3`` and its like.
        identity: A profile or a credentials file; ``None`` takes botocore's own chain.
        call_seconds: Time allowed for connecting, and for each wait on the answer, in seconds.
        deadline: The end of the run.
        role: ``writer`` or ``driller``, for messages.
        path_style: Whether the bucket goes into the path of an address, which most servers other than
            AWS want.
    """

    def __init__(
        self,
        place: AwsPlace,
        identity: AwsIdentity | None,
        *,
        call_seconds: float,
        deadline: Deadline,
        role: str,
        path_style: bool | None = None,
    ) -> None:
        self.place = place
        self.role = role
        self.deadline = deadline
        self.request_ids: list[str] = []
        self._identity = identity
        self._call_seconds = call_seconds
        self._path_style = getattr(place, "path_style", False) if path_style is None else path_style
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[Service, tuple[Any, float]] = {}

    def call(self, fn: Callable[[Any], T], service: Service, what: str) -> T:
        """Make one call.

        Args:
            fn: Makes it, with botocore's client for ``service``; errors of its own that descend from
                ``OrgkeyError`` pass unchanged.
            service: Which service.
            what: What it is for, as the beginning of a message: ``target s3-eu, write``.

        Returns:
            What ``fn`` returned.

        Raises:
            Denied: The credentials or the call were refused.
            Unreachable: No answer, or one that says the service cannot serve.
            DeadlinePassed: There was no time left, before or during the call.
            Conflict: A condition of the request did not hold.
            UsageProblem: Bucket, key, region or request are not what the service knows.
        """
        import botocore.exceptions

        try:
            return fn(self.client(service))
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            from pipeline.clients._aws_errors import translate

            translated = translate(error, what, self.role, self.where(service))
            if isinstance(translated, Unreachable):
                raise in_time(translated, self.deadline) from error
            raise translated from error
        except ValueError as error:
            # botocore's word for an endpoint that is no URL.
            if "Invalid endpoint" not in str(error):
                raise
            raise UsageProblem(f"{what}: {error}", hint="correct endpoint_url") from error

    def where(self, service: Service) -> str:
        """The service's address, for messages."""
        known = self._clients.get(service)
        return known[0].meta.endpoint_url if known else self.place.endpoint_url or service

    def client(self, service: Service) -> Any:
        """The botocore client for ``service``, made on first use.

        Raises:
            DeadlinePassed: There is no time left.
            UsageProblem: The identity's files or the CA file are not there.
        """
        limit = self.deadline.limit(self._call_seconds)
        with self._lock:
            known = self._clients.get(service)
            # Time-outs are fixed when a client is made: near the deadline a more hurried one is needed.
            if known is None or known[1] > limit * 1.25:
                known = (self._make(service, limit), limit)
                self._clients[service] = known
            return known[0]

    def _make(self, service: Service, limit: float) -> Any:
        from botocore.config import Config

        if self._session is None:
            self._session = self._open()
        if self.place.ca_file is not None and not Path(self.place.ca_file).is_file():
            raise UsageProblem(f"the CA file {self.place.ca_file} does not exist", hint="correct ca_file")
        # One at a time: the first client of a service reads megabytes of JSON, the next finds them read.
        with _MAKING:
            client = self._create(service, limit, Config)
        # Neither refers to this object: the connections end with it.
        client.meta.events.register("after-call.*.*", partial(_note, self.request_ids))
        weakref.finalize(self, client.close)
        return client

    def _create(self, service: Service, limit: float, config: Any) -> Any:
        return self._session.create_client(
            service,
            region_name=self.place.region,
            endpoint_url=self.place.endpoint_url,
            verify=self.place.ca_file,
            config=config(
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=limit,
                read_timeout=limit,
                # The newer defaults upset some servers; the one upload names its SHA-256 itself.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if self._path_style else "auto"},
                user_agent_extra="orgkey-escrow",
            ),
        )

    def _open(self) -> Any:
        import botocore.session

        session = botocore.session.Session()
        identity = self._identity
        if identity is not None and identity.credentials_file is not None:
            if not Path(identity.credentials_file).is_file():
                raise UsageProblem(
                    f"the credentials file {identity.credentials_file} does not exist",
                    hint="correct the identity's files in the configuration",
                )
            session.set_config_variable("credentials_file", identity.credentials_file)
            session.set_config_variable("config_file", os.devnull)
            # Naming the profile also takes precedence over AWS_ACCESS_KEY_ID and AWS_PROFILE.
            session.set_config_variable("profile", identity.profile or "default")
        elif identity is not None and identity.profile is not None:
            session.set_config_variable("profile", identity.profile)
        # Last, since asking a session for anything fixes what it has read so far.
        session.register_component("data_loader", _loader())
        return session


def _note(request_ids: list[str], parsed: dict[str, Any], **_: Any) -> None:
    if request_id := parsed.get("ResponseMetadata", {}).get("RequestId"):
        request_ids.append(request_id)
