"""What `doctor` should know about a target in Vault; asks, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.core.errors import Code, Denied
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.providers.vault import rights as vault_rights
from pipeline.providers.vault.fields import field
from pipeline.storage.interface import Slot
from pipeline.storage.names import is_epoch

if TYPE_CHECKING:
    from pipeline.storage.vault.target import VaultTarget

_PROBE = Slot("0" * 40, "20000101T000000Z-00000000")
_NEEDED = {
    "writer": frozenset({"create", "read"}),
    "driller": frozenset({"read"}),
    "auditor": frozenset[str](),
}
_WRITES = vault_rights.WRITES
_ENTRIES = 50  # how many entries are looked at for settings of their own
_NO_END = {"", "0s", "0"}


def check(target: VaultTarget) -> list[Finding]:
    """Look at the server, the login, its rights, and the mount's and the entries' settings."""
    what = f"target {target.name}, check"
    findings: list[Finding] = []

    def found(look: Callable[..., Iterator[Finding]]) -> None:
        findings.extend(look(target, what))  # what was found before it breaks stays

    for look in (_server, _login, _rights, _mount, _entries):
        error = isolated(partial(found, look), what)
        if error is not None:
            said = _finding(target, Level.FAIL, error.message, error.hint, error.code)
            findings += [] if said in findings else [said]  # two looks may begin with the same question
            if look in (_server, _login):
                return findings  # nothing further can be asked
    return findings or [
        _finding(target, Level.OK, f"{target.session.role}: reachable, permitted, safely set up")
    ]


def _finding(
    target: VaultTarget, level: Level, message: str, hint: str = "", code: Code = Code.OK
) -> Finding:
    return Finding(level, f"target {target.name}", message, hint, code)


def _server(target: VaultTarget, what: str) -> Iterator[Finding]:
    place = target.session.place
    url = urlsplit(place.address)
    if url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
        yield _finding(
            target,
            Level.FAIL,
            f"{place.address} is not encrypted: tokens cross the network in the clear",
            "use https, with ca_file for an authority of your own",
            Code.USAGE,
        )
    health = target.session.health()
    if health is not None and not health.usable:
        from pipeline.providers.vault.errors import from_health

        error = from_health(health, what, place.address)
        if error is not None:
            raise error


def _login(target: VaultTarget, what: str) -> Iterator[Finding]:
    session = target.session
    facts = session.token(what)
    if "root" in facts.policies:
        yield _finding(
            target,
            Level.FAIL,
            f"the {session.role} logs in with a root token",
            "give it an AppRole with a policy of its own; see docs/how-to",
            Code.USAGE,
        )
    if facts.ttl and facts.ttl < session.deadline.left():
        yield _finding(
            target,
            Level.WARN,
            f"the {session.role}'s token lives {facts.ttl:.0f} s, less than a run may take",
            "raise the token TTL of its role above policy.deadline_seconds",
        )


def _rights(target: VaultTarget, what: str) -> Iterator[Finding]:
    session = target.session
    role, places = session.role, [_Paths(target, slot) for slot in _probes(target)]
    more = vault_rights.becoming(session, session.token(what).policies)
    mount = [f"{target.settings.mount}/config", f"sys/mounts/{target.settings.mount}"]
    can = session.capabilities(
        list(dict.fromkeys([*mount, *more, *(path for place in places for path in place.all)])), what
    )
    if "root" in can[places[0].data]:
        return  # said of the token already
    needed = _NEEDED.get(role, frozenset({"read"}))
    forbidden = _WRITES if needed else _WRITES | {"read"}
    said: set[tuple[str, str]] = set()  # a wide rule is the same for every key: it is said once
    for place in places:
        if missing := " or ".join(sorted(needed - can[place.data])):
            if ("lacks", missing) not in said:
                yield _finding(
                    target,
                    Level.FAIL,
                    f"the {role} may not {missing} {place.data}",
                    f"add it to the {role}'s policy",
                    Code.DENIED,
                )
            said.add(("lacks", missing))
        why = "with which records can be lost"
        if role == "auditor" and "read" in can[place.data]:
            why = "and an auditor reads no record"
        too_much = [("data", place.data, (can[place.data] & forbidden) - needed, why)]
        too_much += [
            (kind, path, can[path] & _WRITES, "with which records can be lost")
            for kind, path in place.others.items()
        ]
        made = {"create"} if role == "writer" else frozenset[str]()
        too_much += [
            ("head", place.head, (can[place.head] & _WRITES) - made, "and only the writer makes heads")
        ]
        for kind, path, rights, why in too_much:
            named = " and ".join(sorted(rights))
            if rights and (kind, named) not in said:
                yield _surplus(target, named, path, why)
            said.add((kind, named))
    for path in mount:
        if rights := can[path] & _WRITES:
            yield _surplus(target, " and ".join(sorted(rights)), path, "with which records can be lost")
    yield from vault_rights.judge(session, more, can)
    yield from _sight(target, places[0], can)


def _surplus(target: VaultTarget, named: str, path: str, why: str) -> Finding:
    role = target.session.role
    return _finding(
        target,
        Level.FAIL,
        f"the {role} may {named} {path}, {why}",
        f"take it out of the {role}'s policy",
        Code.USAGE,
    )


def _sight(
    target: VaultTarget, paths: _Paths, can: Mapping[str, frozenset[str]]
) -> Iterator[Finding]:  # what an identity ought to see, and does not
    role = target.session.role
    if role != "writer" and "read" not in can[paths.metadata]:
        yield _finding(
            target,
            Level.WARN,
            f"the {role} may not read {paths.metadata}: older and deleted versions stay unseen",
            f"add read and list on the metadata to the {role}'s policy",
        )
    if role == "auditor" and "read" not in can[paths.head]:
        yield _finding(
            target,
            Level.WARN,
            f"the auditor may not read {paths.head}: the ledger's heads stay unseen",
            "add read on the heads to the auditor's policy",
        )


def _probes(target: VaultTarget) -> list[Slot]:
    """Slots that are asked about: those of the trusted keys first, since a rule may name just them."""
    return [Slot(pin, _PROBE.epoch) for pin in dict.fromkeys((*target.pins, _PROBE.fingerprint))]


class _Paths:
    """API paths whose capabilities say what an identity is able to do to a slot of a target.

    Args:
        target: The target.
        slot: The slot.
    """

    def __init__(self, target: VaultTarget, slot: Slot) -> None:
        mount, path = target.settings.mount, target.path(slot)
        self.data = f"{mount}/data/{path}"
        self.metadata = f"{mount}/metadata/{path}"
        self.head = f"{mount}/data/{path.rpartition('/')[0]}/ledger/head-000000001"
        self.others = {
            verb: f"{mount}/{verb}/{path}" for verb in ("metadata", "delete", "undelete", "destroy")
        }
        self.all = [self.data, self.head, *self.others.values()]


def _mount(target: VaultTarget, what: str) -> Iterator[Finding]:
    mount = target.settings.mount
    target.session.demand_versions(mount, what)
    try:
        config = target.session.call(
            lambda client: field(client.secrets.kv.v2.read_configuration(mount_point=mount), what, "data"),
            what,
        )
    except Denied:
        return  # a right that a small policy does not give
    yield from _expiry(
        target, f"mount {mount}", config, f"vault write {mount}/config delete_version_after=0s"
    )


def _entries(target: VaultTarget, what: str) -> Iterator[Finding]:
    """Look at the settings that entries have of their own, where this identity sees them."""
    looked = 0
    try:
        for fingerprint in target.names("", what):
            for epoch in target.names(fingerprint, what):
                looked += 1
                slot = Slot(fingerprint.rstrip("/"), epoch)
                if not is_epoch(epoch) or looked > _ENTRIES:
                    continue
                metadata = target.metadata(slot, what) or {}
                path = f"{target.settings.mount}/{target.path(slot)}"
                yield from _expiry(
                    target,
                    f"entry {path}",
                    metadata,
                    f"vault kv metadata put -delete-version-after=0s {path}",
                )
    except Denied:
        return


def _expiry(target: VaultTarget, where: str, settings: object, remedy: str) -> Iterator[Finding]:
    if not isinstance(settings, Mapping):
        field(settings, f"target {target.name}, check {where}", "delete_version_after")  # says what is wrong
        return
    after = str(settings.get("delete_version_after") or "")
    if after not in _NO_END and not after.startswith("-"):  # below zero: expiry is switched off altogether
        yield _finding(
            target, Level.FAIL, f"{where} deletes versions {after} after they are written", remedy, Code.USAGE
        )
    try:
        kept = int(settings.get("max_versions") or 0)
    except (TypeError, ValueError):
        yield _finding(
            target,
            Level.FAIL,
            f"{where}: the server says max_versions {settings['max_versions']!r}, which is no number",
            "check that the address is that of a vault, with no proxy that changes answers",
            Code.UNREACHABLE,
        )
        return
    if kept == 1:
        yield _finding(
            target,
            Level.WARN,
            f"{where} keeps one version: whoever may overwrite an entry destroys the record in it",
            "keep at least 10 (max_versions=0 is vault's default)",
        )
