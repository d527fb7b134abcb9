"""What `doctor` should know about a target in Vault; asks, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import Code, Denied, OrgkeyError
from pipeline.finding import Finding, Level
from pipeline.targets._slots import is_epoch
from pipeline.targets.interface import Slot

if TYPE_CHECKING:
    from pipeline.targets.vault import VaultTarget

_PROBE = Slot("0" * 40, "20000101T000000Z-00000000")
_WRITES = frozenset({"create", "update", "patch", "delete", "sudo", "root"})
_ENTRIES = 50  # how many entries are looked at for settings of their own
_NO_END = {"", "0s", "0"}


def check(target: VaultTarget) -> list[Finding]:
    """Look at the server, the login, its rights, and the mount's and the entries' settings."""
    what = f"target {target.name}, check"
    findings: list[Finding] = []
    for look in (_server, _login, _rights, _mount, _entries):
        try:
            findings.extend(look(target, what))
        except OrgkeyError as error:
            findings.append(_finding(target, Level.FAIL, error.message, error.hint, error.code))
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
        from pipeline.clients._vault_errors import from_health

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
    mount, path, role = target.settings.mount, target.path(_PROBE), target.session.role
    data, metadata = f"{mount}/data/{path}", f"{mount}/metadata/{path}"
    administration = [f"{mount}/{verb}/{path}" for verb in ("delete", "undelete", "destroy")]
    administration += [f"{mount}/config", f"sys/mounts/{mount}", "sys/policies/acl/orgkey"]
    can = target.session.capabilities([data, metadata, *administration], what)
    if "root" in can[data]:
        return  # said of the token already
    needed = {"create", "read"} if role == "writer" else {"read"}
    if missing := needed - can[data]:
        yield _finding(
            target,
            Level.FAIL,
            f"the {role} may not {' or '.join(sorted(missing))} {data}",
            f"add it to the {role}'s policy",
            Code.DENIED,
        )
    too_much = {data: (can[data] & _WRITES) - needed} | {
        other: can[other] & _WRITES for other in (metadata, *administration)
    }
    for where, rights in too_much.items():
        if rights:
            yield _finding(
                target,
                Level.FAIL,
                f"the {role} may {' and '.join(sorted(rights))} {where}, with which records can be lost",
                f"take it out of the {role}'s policy",
                Code.USAGE,
            )
    if role != "writer" and "read" not in can[metadata]:
        yield _finding(
            target,
            Level.WARN,
            f"the {role} may not read {metadata}: older and deleted versions stay unseen",
            f"add read and list on the metadata to the {role}'s policy",
        )


def _mount(target: VaultTarget, what: str) -> Iterator[Finding]:
    mount = target.settings.mount
    # The one question about a mount that any token with a right below it may ask.
    facts = target.session.call(
        lambda client: client.adapter.get(f"/v1/sys/internal/ui/mounts/{mount}")["data"], what
    )
    if facts.get("type") != "kv" or (facts.get("options") or {}).get("version") != "2":
        yield _finding(
            target,
            Level.FAIL,
            f"{mount} is no key-value store of version 2",
            f"make one: vault secrets enable -path={mount} -version=2 kv",
            Code.USAGE,
        )
        return
    try:
        config = target.session.call(
            lambda client: client.secrets.kv.v2.read_configuration(mount_point=mount)["data"], what
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


def _expiry(target: VaultTarget, where: str, settings: Mapping[str, Any], remedy: str) -> Iterator[Finding]:
    after = str(settings.get("delete_version_after") or "")
    if after not in _NO_END:
        yield _finding(
            target, Level.FAIL, f"{where} deletes versions {after} after they are written", remedy, Code.USAGE
        )
    kept = int(settings.get("max_versions") or 0)
    if kept == 1:
        yield _finding(
            target,
            Level.WARN,
            f"{where} keeps one version: whoever may overwrite an entry destroys the record in it",
            "keep at least 10 (max_versions=0 is vault's default)",
        )
