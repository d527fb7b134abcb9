"""One identity at AWS, or at a service that speaks its protocol; botocore without the layer above it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pipeline.core import log
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError, Unreachable
from pipeline.core.secret import Secret
from pipeline.providers import failures
from pipeline.providers.text import one_line

if TYPE_CHECKING:
    from pipeline.config.identities import AwsIdentity
    from pipeline.config.places import AwsPlace
    from pipeline.providers.aws.wire import Sender

T = TypeVar("T")
Service = Literal["s3", "kms", "sts"]

# "auto" is the host name at AWS, and the path wherever an endpoint_url is given.
_STYLES = {True: "path", False: "virtual", None: "auto"}
_MAKING = threading.Lock()
# What a listing says of its next page, and how that is asked for: of versions, and of objects.
_MARKS = {
    "NextKeyMarker": "KeyMarker",
    "NextVersionIdMarker": "VersionIdMarker",
    "NextContinuationToken": "ContinuationToken",
}


@cache
def _loader() -> Any:
    """The descriptions of AWS's services, read once for all sessions: most of a client's cost."""
    import botocore.loaders

    return botocore.loaders.create_loader()


def preload() -> None:
    """Read the descriptions of the services that are used; for a process that others are forked from."""
    for service in ("s3", "kms", "sts"):
        for kind in ("service-2", "endpoint-rule-set-1"):
            _loader().load_service_model(service, kind)
    _loader().load_data("endpoints")
    _loader().load_data("partitions")


@dataclass(eq=False)
class AwsCredentials:
    """Credentials, read once: by one session, or by several of a role that need the same ones."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    session: Any = None
    kept: list[Secret] = field(default_factory=list, repr=False)
    chain: Sender | None = None


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request to STS that somebody else may send; it is valid for 15 minutes.

    Attributes:
        url: Where to.
        body: What is posted.
        headers: With the signature.
    """

    url: str
    body: str
    headers: Mapping[str, str] = field(repr=False)


class AwsSession:
    """Makes clients late, bounds every call, and lets only ``OrgkeyError`` out.

    Sessions may be used from several threads. botocore's own retries are off, since
    :class:`pipeline.core.retry.Retrier` is the one layer that tries again.

    Args:
        place: Region, endpoint and CA file. Without ``endpoint_url`` botocore looks at
            ``AWS_ENDPOINT_URL_S3`` and its like.
        identity: A profile, in AWS's own files or in others; ``None`` takes botocore's own chain.
        call_seconds: Time allowed for connecting, and for each wait on the answer, in seconds; also in the
            calls by which the chain itself gets credentials.
        deadline: The end of the run.
        role: ``writer`` or ``driller``, for messages.
        apart: Whether that role has a login of its own. Then whatever it may beyond its role is too much.
        credentials: Those that another session of the same identity and role uses, too.
    """

    def __init__(
        self,
        place: AwsPlace,
        identity: AwsIdentity | None,
        *,
        call_seconds: float,
        deadline: Deadline,
        role: str,
        apart: bool = True,
        credentials: AwsCredentials | None = None,
    ) -> None:
        self.place = place
        self.role = role
        self.apart = apart
        self.deadline = deadline
        self.request_ids: list[str] = []
        self._identity = identity
        self._call_seconds = call_seconds
        self._lock = threading.Lock()
        self._login = credentials or AwsCredentials()
        self._clients: dict[Service, Any] = {}
        self._senders: dict[Service, Sender] = {}

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
        self._log_in(what)
        with failures.translated(self.deadline, lambda error: self._translate(error, what, service)):
            client = self._client(service)
            self._senders[service].begin()
            return fn(client)

    def identified(self, region: str | None, headers: Mapping[str, str], what: str) -> SignedRequest:
        """Sign the question who one is, for another to ask it of STS: no right but to be known comes with it.

        Args:
            region: The region whose STS is asked; the global one where left out.
            headers: What is signed, too.
            what: As in :meth:`call`.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: There are no credentials.
        """
        self._log_in(what)
        with failures.translated(self.deadline, lambda error: self._translate(error, what, None)):
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.exceptions import NoCredentialsError

            credentials = self._login.session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            host = "sts.amazonaws.com"
            if region is not None:
                partition = self._login.session.get_partition_for_region(region)
                known = {it["id"]: it["outputs"] for it in _loader().load_data("partitions")["partitions"]}
                host = f"sts.{region}.{known[partition]['dnsSuffix']}"
            url, body = f"https://{host}/", "Action=GetCallerIdentity&Version=2011-06-15"
            kind = "application/x-www-form-urlencoded; charset=utf-8"
            request = AWSRequest("POST", url, {"Host": host, "Content-Type": kind, **headers}, body)
            SigV4Auth(credentials.get_frozen_credentials(), "sts", region or "us-east-1").add_auth(request)
            return SignedRequest(url, body, dict(request.headers.items()))

    def _translate(self, error: Exception, what: str, service: Service | None) -> OrgkeyError:
        """Say what a call of a service raised, or what the chain of credentials did, of none."""
        from botocore.exceptions import ClientError

        from pipeline.providers import unanswered
        from pipeline.providers.aws.errors import facts, refusal
        from pipeline.providers.wire import NoAnswer

        if isinstance(error, NoAnswer):
            # The address that was really asked: a bucket's own, or STS while credentials are fetched.
            url = urlsplit(error.url)
            server = f"{url.scheme}://{url.netloc}"
            own = server == (self.place.endpoint_url or "").rstrip("/")
            seconds = max(0.1, min(self._call_seconds, self.deadline.left()))
            trusted = self.place.ca_file if own else None
            route = unanswered.Route(server, self.place, trusted, seconds=seconds)
            return unanswered.explain(error, what, route, where=server, setting="endpoint_url")
        where = self.where(service) if service else "AWS's login service"
        code, text, passes = "", one_line(str(error)), False
        if isinstance(error, ClientError):
            answer = refusal(error, service or "sts", self.role, where)
            if service is not None:
                return failures.explain(answer, what)
            code, passes = error.operation_name, failures.passes(answer)
            text = f"{code}, {answer.named}"
        known = facts(error, self._login.session, of_login=service is None, passes=passes)
        failure = failures.CallFailure(
            "aws", where, service or "sts", self.role, code=code, text=text,
            kinds=failures.class_names(error), facts=known,
        )  # fmt: skip
        return failures.explain(failure, what)

    def look(self, what: str) -> None:
        """See that this host has the files and the profile of the login. Contacts nothing.

        Args:
            what: As in :meth:`call`.

        Raises:
            UsageProblem: It has not.
        """
        with failures.translated(self.deadline, lambda error: self._translate(error, what, None)):
            self._open()

    def _log_in(self, what: str) -> None:
        """Have the credentials read, or renewed where they run out: a failure is a login's, not a call's."""
        self.deadline.check()
        with (
            self._login.lock,
            failures.translated(self.deadline, lambda error: self._translate(error, what, None)),
        ):
            if self._login.session is None:
                self._login.session = self._open()
            if (found := self._login.session.get_credentials()) is not None:
                self._keep(found.get_frozen_credentials())

    def _keep(self, credentials: Any) -> None:
        """Keep credentials from being shown, once each: a service may repeat what it was sent."""
        secrets = [Secret(value) for value in (credentials.secret_key, credentials.token) if value]
        if secrets != self._login.kept:
            for secret in secrets:
                log.redact_login(secret)
            self._login.kept = secrets

    def where(self, service: Service) -> str:
        """The service's address, for messages."""
        known = self._clients.get(service)
        return known.meta.endpoint_url if known else self.place.endpoint_url or service

    def listed(self, page: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        """See that a good answer is a listing of S3's, never to take another one for an empty bucket.

        Raises:
            Unreachable: It is not.
        """
        return self._like(page, what, "IsTruncated", "Name", "KeyCount")

    def next_page(self, page: Mapping[str, Any], sent: Mapping[str, Any], what: str) -> dict[str, Any]:
        """What asks for the next page of a listing; empty behind the last.

        Args:
            page: The answer.
            sent: What had asked for it.
            what: As in :meth:`call`.

        Raises:
            Unreachable: It is cut short and does not say how it goes on: what is missing is not known.
        """
        marks = {name: page[told] for told, name in _MARKS.items() if page.get(told)}
        if not page.get("IsTruncated") and "ContinuationToken" not in marks:
            return {}
        if all(sent.get(name) == value for name, value in marks.items()):
            raise Unreachable(
                f"{what}: the server cuts its listing short, and does not say how it goes on",
                hint="report it to the maker of that server",
                again=False,
            )
        return marks

    def tagged(self, answer: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        """See that a good answer is S3's about an object: every one has the object's tag.

        Raises:
            Unreachable: It is not.
        """
        return self._like(answer, what, "ETag")

    def _like(self, answer: Mapping[str, Any], what: str, *names: str) -> Mapping[str, Any]:
        if not any(name in answer for name in names):
            raise failures.other_shape(self.where("s3"), what, f"the answer has no {names[0]}")
        return answer

    def client(self, service: Service) -> Any:
        """The botocore client for ``service``, made on first use; its calls belong into :meth:`call`.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`call`.
        """
        return self.call(lambda client: client, service, service)

    def _client(self, service: Service) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: Service) -> Any:
        from pipeline.providers.aws.wire import Sender
        from pipeline.providers.wire import Wire

        trusted = self.place.ca_file or self._login.session.get_config_variable("ca_bundle")
        wire = Wire(self.place, self.deadline, self._call_seconds, ca_file=trusted)
        # One at a time: the first client of a service reads megabytes of JSON, the next finds them read.
        with _MAKING:
            client = self._login.session.create_client(
                service,
                region_name=self.place.region,
                endpoint_url=self.place.endpoint_url,
                config=self._config(),
            )
        # None of these refers to this object: the connections end with it.
        self._senders[service] = Sender(wire, service)
        client.meta.events.unregister("before-send", self._login.chain)
        client.meta.events.register("before-send", self._senders[service])
        client.meta.events.register("after-call.*.*", partial(_note, self.request_ids))
        weakref.finalize(self, wire.close)
        return client

    def _config(self) -> Any:
        from botocore.config import Config

        style = getattr(self.place, "path_style", None)
        return Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            # The newer defaults upset some servers; the one upload names its SHA-256 itself.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": _STYLES[style]},
            user_agent_extra="orgkey-escrow",
        )

    def _open(self) -> Any:
        from pipeline.providers.aws.login import open_session
        from pipeline.providers.aws.wire import Sender
        from pipeline.providers.wire import Wire

        limit = partial(self.deadline.limit, self._call_seconds)
        session = open_session(self.place, self._identity, limit)
        session.register_component("data_loader", _loader())
        # The chain's own calls, to STS and SSO, are bounded like all others.
        session.set_default_client_config(self._config())
        trusted = session.get_config_variable("ca_bundle")
        wire = Wire(self.place, self.deadline, self._call_seconds, ca_file=trusted)
        weakref.finalize(self._login, wire.close)
        self._login.chain = Sender(wire, "sts")
        session.register("before-send", self._login.chain)
        return session


def _note(request_ids: list[str], parsed: dict[str, Any], **_: Any) -> None:
    if request_id := parsed.get("ResponseMetadata", {}).get("RequestId"):
        request_ids.append(request_id)
