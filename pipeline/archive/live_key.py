"""The live public key: what the server gives out today, where the configuration says how to get it.

The pin decides. Whatever a server, or somebody on the way to it, answers: only what the pinned key itself has
signed is ever taken, and another key is reported, never believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.archive.catalog import Epoch
from pipeline.archive.run import KeyScope
from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem, OrgkeyError, Unreachable, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.core.text import some
from pipeline.openpgp.key.compare import compare_public
from pipeline.record.verify import Record

if TYPE_CHECKING:
    from pipeline.openpgp.key.model import TransferableKey

MAX_BYTES: Final = 4 * 1024 * 1024
_WORST: Final = ("replaced", "unknown", "renewed", "same")
RENEWAL_DAYS: Final = (31, 1)
"""How long before the Org Key expires the server renews it: since release 3.4.2, and before."""


@dataclass(frozen=True)
class LiveNode:
    """What one node of a cluster gives out as the live key.

    Attributes:
        place: Its place, as ``key.live`` has it.
        state: ``same``, ``renewed``, ``replaced`` or ``unknown``.
        reason: Why it is replaced or unknown, or null.
        behind: Whether another node gives out newer self-signatures: it has not renewed, or not replicated.
    """

    place: str
    state: str
    reason: str | None
    behind: bool


@dataclass(frozen=True)
class Live:
    """How the live key stands to the escrowed one.

    Attributes:
        state: ``same``, ``renewed``, ``replaced`` or ``unknown``; of several nodes the worst.
        public: The live public part, when it is the pinned key's; of several nodes the newest.
        reason: Why it is unknown or replaced, in words.
        others: Other keys that the server lists under the pinned key's names, former ones left out.
        nodes: Of a cluster whose places are configured one by one, what each of them gives out.
    """

    state: str
    public: bytes | None = None
    reason: str | None = None
    others: tuple[str, ...] = ()
    nodes: tuple[LiveNode, ...] = ()


@dataclass(frozen=True)
class Renewal:
    """When the server renews the key by itself.

    Attributes:
        state: ``never expires``; ``ahead``; ``due``: the days have come; ``overdue``: it has expired.
        expires: When the present self-signatures end.
        due: For each of :data:`RENEWAL_DAYS`, when the server does it.
    """

    state: str
    expires: datetime | None = None
    due: tuple[datetime, ...] = ()


def live(scope: KeyScope, epoch: Epoch | None) -> Live:
    """Get the live key and compare it.

    Args:
        scope: The key.
        epoch: The escrowed epoch to compare with.

    Returns:
        The comparison. A place that gives no answer is ``unknown`` with the reason, never an error.
    """
    places = scope.config.key.live_places if scope.config.key else ()
    record = epoch.record if epoch else None
    if not places or record is None:
        return Live("unknown")
    seen = [_at(scope, place, record) for place in places]
    return seen[0] if len(seen) == 1 else _cluster(places, seen)


def _at(scope: KeyScope, place: str, record: Record) -> Live:
    seen = isolated(partial(_seen, scope, place, record), f"the live key at {place}")
    if isinstance(seen, OrgkeyError):
        scope.reporter.warn(f"the live key is not known: {seen.message}")
        return Live("unknown", reason=seen.message)
    return seen


def _cluster(places: Sequence[str], seen: Sequence[Live]) -> Live:
    """What the nodes of a cluster say together; the Org Key is one for all of them."""
    given = [one.public for one in seen if one.public]
    newest = reduce(_newer, given) if given else None
    nodes = tuple(
        LiveNode(place, one.state, one.reason, _behind(one.public, newest))
        for place, one in zip(places, seen, strict=True)
    )
    state = min((one.state for one in seen), key=_WORST.index)
    reasons = [f"{node.place}: {node.reason}" for node in nodes if node.reason and node.state == state]
    others = tuple(dict.fromkeys(other for one in seen for other in one.others))
    return Live(state, newest, "; ".join(reasons) or None, others, nodes)


def _behind(one: bytes | None, newest: bytes | None) -> bool:
    return one is not None and newest is not None and compare_public(one, newest) == "renewed"


def _newer(one: bytes, other: bytes) -> bytes:
    """The public part with the newer self-signatures; the first where they are the same."""
    return other if compare_public(one, other) == "renewed" else one


def _seen(scope: KeyScope, place: str, record: Record) -> Live:
    from pipeline.openpgp.key import parsing, validity

    escrowed = parsing.read_one(record.public, "the escrowed public part")
    found, others = _served(scope, place, validity.user_ids(escrowed))
    if found is None:
        if others:
            reason = f"the server has no such key, but {some(others)} under its name"
            return Live("replaced", reason=reason, others=others)
        return Live("unknown", reason="the server has no such key")
    return _compare(escrowed, found, others, scope.clock.now())


def fetch(scope: KeyScope) -> bytes:
    """Get what the configured place gives out, of several nodes the newest, for a refresh; foreign bytes.

    Raises:
        UsageProblem: None is configured.
        LocalFilesProblem: The file cannot be read.
        Unreachable: The server does not answer, or does not have the key.
    """
    places = scope.config.key.live_places if scope.config.key else ()
    if not places:
        raise UsageProblem("no newer public key is named", hint="give --public FILE, or set key.live")
    answers = [isolated(partial(fetch_from, scope, place), f"the live key at {place}") for place in places]
    found = [answer for answer in answers if isinstance(answer, bytes)]
    if not found:
        raise next(answer for answer in answers if isinstance(answer, OrgkeyError))
    # A node that gives out something else keeps nobody from what another one has.
    found.sort(key=lambda one: _own(one, scope.fingerprint) is None or compare_public(one, one) != "same")
    return reduce(_newer, found)


def fetch_from(scope: KeyScope, place: str) -> bytes:
    """The same from one place.

    Raises:
        LocalFilesProblem: The file cannot be read.
        Unreachable: The server does not answer, or does not have the key.
    """
    found, _ = _served(scope, place, ())
    if found is None:
        raise Unreachable(
            "the key server does not have this key",
            hint="look it up by hand; was the Org Key regenerated?",
            again=False,
        )
    return _own(found, scope.fingerprint) or found


def renewal(public: bytes, now: datetime) -> Renewal:
    """Foretell when the server renews the key.

    Args:
        public: The public part.
        now: The present time.

    Raises:
        OrgkeyError: It cannot be read.
    """
    from pipeline.openpgp.key import parsing, validity

    expires = validity.judge(parsing.read_one(public, "the public part"), None).primary.expires
    if expires is None:
        return Renewal("never expires")
    due = tuple(expires - timedelta(days=days) for days in RENEWAL_DAYS)
    state = "overdue" if now >= expires else "due" if now >= due[0] else "ahead"
    return Renewal(state, expires, due)


def _served(scope: KeyScope, place: str, user_ids: Sequence[str]) -> tuple[bytes | None, tuple[str, ...]]:
    """What a place gives out, and other keys that it lists under these names, former ones left out."""
    from pipeline.openpgp.gnupg import keyserver

    if "://" not in place:
        with files.os_errors(f"cannot read {place}", hint="check key.live and its permissions"):
            data = files.read_regular(Path(place), MAX_BYTES)
        if data is None:
            raise LocalFilesProblem(
                f"{place} is not a regular file", hint="key.live names a file or a key server"
            )
        return data, ()
    assert scope.config.key is not None
    ca_file, former = scope.config.key.live_ca_file, scope.config.key.former
    found = keyserver.look_up(
        place, scope.fingerprint, user_ids, seconds=scope.config.policy.call_seconds,
        deadline=scope.deadline, ca_file=Path(ca_file) if ca_file else None,
    )  # fmt: skip
    others = (other for other in found.others if not any(one.endswith(other) for one in former))
    return found.key, tuple(others)


def _compare(escrowed: TransferableKey, found: bytes, others: tuple[str, ...], now: datetime) -> Live:
    from pipeline.openpgp.key import parsing, validity
    from pipeline.openpgp.key.compare import unescrowed

    own = _own(found, escrowed.fingerprint)
    if own is None:
        served = parsing.read_all(found)
        if served.keys:
            names = tuple(key.fingerprint for key in served.keys)
            return Live("replaced", reason=f"another key is given out: {some(names)}", others=names)
        why = served.problems[0].message if served.problems else "nothing was given out"
        return Live("unknown", reason=f"what is given out is not a key: {why}", others=others)
    key = parsing.read_one(own, "the live key")
    if validity.judge(key, None).primary.revoked:
        return Live("replaced", reason="the live key is revoked: another one has to follow it", others=others)
    if missing := unescrowed(escrowed, key, now):
        reason = (
            f"it has a new encryption subkey that is not escrowed ({some(missing)}): "
            "export the keypair and escrow it again"
        )
        return Live("replaced", reason=reason, others=others)
    return Live(compare_public(escrowed.public(), own), own, others=others)


def _own(data: bytes, fingerprint: str) -> bytes | None:
    """The pinned key alone, out of what may be several, with nothing that it has not signed itself."""
    from pipeline.openpgp.key import parsing, validity

    for key in parsing.read_all(data).keys:
        if key.fingerprint == fingerprint:
            # One that cannot be judged stays as it is: its reader says why.
            return key.public() if key.problems else validity.own_part(key).public()
    return None
