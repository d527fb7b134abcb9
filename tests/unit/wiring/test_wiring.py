from __future__ import annotations

import contextlib
import os
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import config
from pipeline.config import Config
from pipeline.core import log
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import (
    Code,
    LocalFilesProblem,
    NotEnoughShares,
    OrgkeyError,
    Unreachable,
    UsageProblem,
)
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, SealedShare
from pipeline.custody.shares.manifest_section import CustodySection
from pipeline.custody.shares.paths import HolderDescription
from pipeline.sources.backups import s3
from pipeline.sources.command import CommandSource
from pipeline.sources.file import FileSource
from pipeline.sources.gnupg import GnupgSource
from pipeline.sources.inbox import InboxSource
from pipeline.storage.interface import Slot
from pipeline.wiring import factory as wiring
from pipeline.wiring import record_locations as locations
from pipeline.wiring.backends import ConfiguredBackends
from pipeline.wiring.holder_addresses import Consent, reach
from pipeline.wiring.sessions import Sessions
from tests.support.configtext import PIN, changed, put
from tests.support.reporter import Lines

OTHER = "F" * 40


def settings(*changes: Any) -> Config:
    return config.parse(
        changed(lambda document: [change(document) for change in changes]), Path("orgkey.toml")
    )


def estate(read: Config | None = None, role: Any = "writer") -> ConfiguredBackends:
    return ConfiguredBackends(Sessions(read, Deadline(5), SystemClock()), role)


@pytest.fixture(autouse=True)
def _nothing_is_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"contacted {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


# -- targets, holders, logins ------------------------------------------------------------------------


def test_every_kind_is_built_with_its_name_kind_and_domain_and_without_contact() -> None:
    made = estate(settings())
    assert {name: (item.name, item.kind, item.domain) for name, item in made.targets().items()} == {
        "vault-eu": ("vault-eu", "vault", "dc-1"),
        "s3-eu": ("s3-eu", "s3", "s3-eu"),
        "disk": ("disk", "directory", "disk"),
    }
    assert {name: (item.kind, item.size, item.unattended) for name, item in made.holders().items()} == {
        "vault": ("vault-transit", 1, True),
        "aws": ("aws-kms", 1, True),
    }
    assert made.request_ids() == {"vault": [], "aws": []}


def test_one_login_serves_a_services_target_and_holder() -> None:
    made = estate(settings())
    made.targets()
    made.holders()
    assert len(made.sessions._vaults) == 1


def test_a_login_of_its_own_is_not_shared() -> None:
    own = put("identity/writer/at", {"vault-eu": {"token_file": "/run/other"}})
    made = estate(settings(own))
    made.targets()
    made.holders()
    assert len(made.sessions._vaults) == 2


def logins(read: Config, role: Any) -> set[str]:
    made = estate(read, role)
    made.targets()
    made.holders()
    told = [str(key[-1]) for key in (*made.sessions._vaults, *made.sessions._clouds)]
    return {word for line in told for word in re.findall(r"'([^']+)'", line)}


def test_each_role_has_its_own_logins() -> None:
    read = settings()
    assert "/etc/orgkey/role-id" in logins(read, "writer")
    assert "/run/token" in logins(read, "driller")
    assert "/etc/orgkey/aws" in logins(read, "driller")
    assert not {"/etc/orgkey/role-id", "writer"} & logins(read, "driller")


def test_without_a_driller_the_writers_logins_drill() -> None:
    read = settings(put("identity/driller", None))
    assert logins(read, "driller") == logins(read, "writer")


# -- holders from a record -------------------------------------------------------------------------


def section(**holders: HolderDescription) -> CustodySection:
    return CustodySection(holders, (), "")


TRANSIT = HolderDescription(
    "vault-transit",
    {"address": "https://old.example.com", "namespace": None, "mount": "t", "key": "k", "key_version": 1},
)
KMS = HolderDescription(
    "aws-kms", {"region": "eu-west-1", "key_arn": "arn:aws:kms:eu-west-1:1:key/2", "endpoint_url": None}
)


def reached(made: ConfiguredBackends, name: str, description: HolderDescription) -> dict[str, Any]:
    return reach(made.config, name, description).model_dump()


def test_openers_take_the_key_from_the_record_and_the_way_from_the_configuration() -> None:
    made = estate(settings(put("holder/vault/mount", "elsewhere"), put("holder/vault/key", "renamed")))
    reach = reached(made, "vault", TRANSIT)
    assert (reach["address"], reach["mount"], reach["key"]) == ("https://vault.example.com:8200", "t", "k")
    cloud = reached(made, "aws", KMS)
    assert (cloud["region"], cloud["key_id"]) == ("eu-west-1", "arn:aws:kms:eu-west-1:1:key/2")


def refused(made: ConfiguredBackends, name: str, description: HolderDescription) -> OrgkeyError:
    with pytest.raises(OrgkeyError) as caught:
        reach(made.config, name, description, made.consent)
    return caught.value


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("gone", TRANSIT),
        ("aws", TRANSIT),  # configured, but as a KMS key
        ("vault", KMS),
        (
            "gone",
            HolderDescription("vault-transit", {**TRANSIT.coordinates, "address": "http://127.0.0.1:1"}),
        ),
        ("gone", HolderDescription("vault-transit", {**TRANSIT.coordinates, "address": "no address"})),
        (
            "gone",
            HolderDescription(
                "vault-transit", {**TRANSIT.coordinates, "address": "https://vault.example.com"}
            ),
        ),
        (
            "gone",
            HolderDescription(
                "vault-transit",
                {**TRANSIT.coordinates, "address": "https://vault.example.com:8200", "namespace": "other"},
            ),
        ),
        (
            "gone",
            HolderDescription(
                "aws-kms", {**KMS.coordinates, "region": "eu-central-1", "endpoint_url": "https://x.y"}
            ),
        ),
    ],
)
def test_with_a_configuration_nothing_is_contacted_that_only_the_record_names(
    name: str, description: HolderDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the environment or an option agrees with the record: the configuration says it all."""
    address = str(description.coordinates.get("address", ""))
    monkeypatch.setenv("VAULT_ADDR", address)
    made = replace(estate(settings()), consent=Consent([address], lambda holder, shown: True))
    error = refused(made, name, description)
    assert error.code is Code.NOT_ENOUGH_SHARES
    assert f"holder {name}" in error.message
    assert f"[holder.{name}]" in error.hint
    openers = made.openers(section(**{name: description}))
    assert set(openers) == {name}, "it stays a machine: its path is closed, and is not a path of people"
    with pytest.raises(NotEnoughShares):
        openers[name].open(SealedShare(1, "transit", b"", name), Binding(PIN, "0" * 32))


def test_a_server_that_the_configuration_names_otherwise_is_reached_as_it_says() -> None:
    read = settings(put("holder/vault/ca_file", "/ca.pem"), put("target/vault-eu/ca_file", "/other.pem"))
    moved = HolderDescription(
        "vault-transit", {**TRANSIT.coordinates, "address": "https://VAULT.example.com:8200/"}
    )
    reach = reached(estate(read), "before", moved)
    assert (reach["address"], reach["ca_file"]) == ("https://vault.example.com:8200", "/ca.pem")
    assert (reach["mount"], reach["key"]) == ("t", "k")
    twin = HolderDescription("aws-kms", {**KMS.coordinates, "region": "eu-central-1"})
    assert reached(estate(settings()), "before", twin)["key_id"] == "arn:aws:kms:eu-west-1:1:key/2"


def alone(*addresses: str, ask: Any = None) -> ConfiguredBackends:
    return replace(estate(None), consent=Consent(addresses, ask))


def test_without_a_configuration_an_address_of_the_record_alone_is_asked_about_or_named() -> None:
    shown: list[tuple[str, ...]] = []
    assert refused(estate(None), "vault", TRANSIT).code is Code.NOT_ENOUGH_SHARES
    assert "--allow-address https://old.example.com" in refused(estate(None), "vault", TRANSIT).hint

    def no_thanks(*words: str) -> bool:
        shown.append(words)
        return False

    no = alone(ask=no_thanks)
    assert refused(no, "vault", TRANSIT).code is Code.NOT_ENOUGH_SHARES
    assert shown == [("vault", "https://old.example.com")]
    for yes in (alone("https://OLD.example.com:443"), alone(ask=lambda *_: True)):
        assert reach(None, "vault", TRANSIT, yes.consent).model_dump()["address"] == "https://old.example.com"
    assert refused(alone("https://other.example.com"), "vault", TRANSIT).code is Code.NOT_ENOUGH_SHARES
    assert reached(estate(None), "aws", KMS)["endpoint_url"] is None, "AWS's own endpoints are nobody else's"


def test_a_variable_of_the_tools_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "VAULT_ADDR",
        "VAULT_CACERT",
        "VAULT_CLIENT_CERT",
        "AWS_ENDPOINT_URL_KMS",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.setenv(name, "")
    there = reach(None, "vault", TRANSIT, alone("https://old.example.com").consent).model_dump()
    assert (there["address"], there["ca_file"]) == ("https://old.example.com", None)
    assert reached(estate(None), "aws", KMS)["endpoint_url"] is None
    assert locations.addresses(f"vault://vault.example.com/m/{PIN}/{EPOCH}") == ["https://vault.example.com"]


def test_the_tools_own_variables_agree_with_the_record_or_are_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VAULT_ADDR", "https://old.example.com/")
    assert reached(estate(None), "vault", TRANSIT)["address"] == "https://old.example.com/".rstrip("/")
    monkeypatch.setenv("VAULT_ADDR", "https://new.example.com:8200")
    error = refused(estate(None), "vault", TRANSIT)
    assert error.code is Code.NOT_ENOUGH_SHARES
    assert "https://old.example.com" in error.message
    assert "https://new.example.com:8200" in error.message
    for address in ("https://new.example.com:8200", "https://old.example.com"):
        made = alone(address)
        assert reach(None, "vault", TRANSIT, made.consent).model_dump()["address"] == address
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9999")
    assert refused(estate(None), "aws", KMS).code is Code.NOT_ENOUGH_SHARES
    here = HolderDescription("aws-kms", {**KMS.coordinates, "endpoint_url": "http://127.0.0.1:9999/"})
    assert reached(estate(None), "aws", here)["endpoint_url"] == "http://127.0.0.1:9999"
    assert reached(estate(settings()), "vault", TRANSIT)["address"] == "https://vault.example.com:8200"


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("http://127.0.0.1:8200", True),
        ("http://[::1]:8200", True),
        ("http://localhost:8200", True),
        ("HTTP://vault.example.com:8200", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1:8200", False),
        ("http://0.0.0.0:8200", False),
    ],
)
def test_without_a_configuration_no_login_leaves_the_host_in_the_clear(address: str, fine: bool) -> None:
    description = HolderDescription("vault-transit", {**TRANSIT.coordinates, "address": address})
    made = alone(address, ask=lambda *_: True)
    if fine:
        assert reach(None, "vault", description, made.consent)
    else:
        assert "in the clear" in refused(made, "vault", description).message


@pytest.mark.parametrize(
    "address",
    [
        "vault.example.com",
        "https://vault.example.com/ui",
        "::::",
        "https://a.example@b.example",
        "https://a\\@b.example",
    ],
)
def test_a_variable_that_is_not_an_address_is_a_usage_problem(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ADDR", address)
    with pytest.raises(UsageProblem):
        reach(None, "vault", TRANSIT, Consent([address, "https://old.example.com"], lambda *_: True))


def test_only_one_place_makes_a_holder_of_what_a_record_says() -> None:
    """All that opens shares asks it: drill, restore, refresh, rotate, backups, report."""
    package = Path(wiring.__file__).parents[1]
    makers = {
        path.name
        for path in package.rglob("*.py")
        if path.parent.name != "devstack"  # whose servers no record names
        and re.search(r"(?<!class )\b(TransitHolderConfig|KmsHolderConfig)\(", path.read_text())
    }
    assert makers == {"holder_addresses.py"}


def test_people_are_not_opened_by_machines() -> None:
    people = HolderDescription("openpgp", {"members": [PIN]})
    assert set(estate(settings()).openers(section(custodians=people, vault=TRANSIT))) == {"vault"}


# -- a run -----------------------------------------------------------------------------------------


def run(read: Config, **more: Any) -> Any:
    given: dict[str, Any] = {"fingerprint": None, "state_dir": Path("/state"), "reporter": Lines()}
    return wiring.context(read, **given | more)


def test_a_run_is_put_together() -> None:
    read = settings(put("key/former", [OTHER]), put("policy/deadline_seconds", 7))
    made = run(read)
    assert (made.fingerprint, made.root) == (PIN, Path("/state") / PIN)
    assert made.deadline.seconds == 7
    assert re.fullmatch(r"[0-9a-f]{16}", made.run_id)
    assert made.run_id == log.run_id() == run(read).run_id, "one id for a run's log, ledger and certificates"
    assert log.begin_run() == run(read).run_id != made.run_id
    assert made.backends("writer").role == "writer"
    assert made.backends("writer").sessions is made.backends("driller").sessions, "logins are made once"


def test_a_pin_is_needed() -> None:
    with pytest.raises(UsageProblem, match="no key is pinned") as caught:
        run(settings(put("key", None)))
    assert "orgkey init" in caught.value.hint
    assert run(settings(put("key", None)), fingerprint=OTHER).fingerprint == OTHER


def test_the_option_may_repeat_the_pin_or_name_a_former_key_and_nothing_else() -> None:
    read = settings(put("key/former", [OTHER]))
    assert wiring.pinned(read, None) == PIN
    assert wiring.pinned(read, PIN.lower()) == PIN
    assert wiring.pinned(read, OTHER) == OTHER
    assert wiring.pinned(None, None) is None
    assert wiring.pinned(None, f"0x{OTHER}") == OTHER
    with pytest.raises(UsageProblem, match="not the pinned key"):
        wiring.pinned(read, "A" * 40)
    for wrong in ("", "A" * 16, "latest"):
        with pytest.raises(UsageProblem, match="is not a fingerprint"):
            wiring.pinned(read, wrong)


def test_where_state_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.state_root(None) == Path(os.environ["XDG_STATE_HOME"]) / "orgkey"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/orgkey:/var/lib/other")
    assert config.state_root(None) == Path("/var/lib/orgkey")
    monkeypatch.setenv("ORGKEY_STATE_DIR", "/srv/state")
    assert config.state_root(None) == Path("/srv/state")
    monkeypatch.setenv("ORGKEY_STATE_DIR", "~/state")
    assert config.state_root(None) == Path.home() / "state"
    assert config.state_root(Path("/option")) == Path("/option")


# -- a record by its place --------------------------------------------------------------------------


class Looked(ConfiguredBackends):
    """Remembers what would have been read."""

    def target(self, name: str, item: Any) -> Any:
        self.seen: dict[str, Any] = {"item": item}

        class Target:
            def get(_, slot: Slot, version: str | None) -> bytes:  # noqa: N805 - the estate is self here
                self.seen |= {"slot": slot, "version": version}
                return b"the record"

        return Target()


def looked(place: str) -> dict[str, Any]:
    made = Looked(Sessions(None, Deadline(5), SystemClock()), "driller")
    assert locations.read_record(place, made) == b"the record"
    return made.seen


EPOCH = "20260131T080000Z-0a1b2c3d"


def test_a_record_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "record.tar").write_bytes(b"x" * 100)
    assert locations.read_record(str(tmp_path / "record.tar"), estate()) == b"x" * 100
    with pytest.raises(LocalFilesProblem):
        locations.read_record(str(tmp_path / "none.tar"), estate())
    with (tmp_path / "large.tar").open("wb") as stream:
        stream.truncate(9 * 1024 * 1024)
    with pytest.raises(LocalFilesProblem, match="is larger than any record"):
        locations.read_record(str(tmp_path / "large.tar"), estate())


def test_a_record_in_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = looked(f"s3://bucket/some/prefix/{PIN.lower()}/{EPOCH}.tar?version=abc%2B1")
    assert (seen["slot"], seen["version"]) == (Slot(PIN, EPOCH), "abc+1")
    assert (seen["item"].bucket, seen["item"].prefix) == ("bucket", "some/prefix")
    assert seen["item"].region == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert looked(f"s3://bucket/{PIN}/{EPOCH}.tar")["item"].prefix == ""
    assert looked(f"s3://bucket/{PIN}/{EPOCH}.tar")["item"].region == "eu-west-1"


def test_a_record_in_vault() -> None:
    seen = looked(f"vault://vault.example.com:8200/kv/a/b/{PIN}/{EPOCH}?version=2")
    assert (seen["slot"], seen["version"]) == (Slot(PIN, EPOCH), "2")
    assert (seen["item"].mount, seen["item"].prefix) == ("kv", "a/b")
    assert seen["item"].address == "https://vault.example.com:8200"
    assert looked(f"vault://127.0.0.1:8200/kv/{PIN}/{EPOCH}")["item"].address == "http://127.0.0.1:8200"


@pytest.mark.parametrize(
    "place",
    [
        "s3://bucket", "s3://bucket/x.tar", "s3:///a/b", "vault://host/kv/x", "vault://", "vault://[::1/a/b/c/d",
        "vault://host name/kv/a/b", f"s3://bucket/p/{PIN[:8]}/{EPOCH}.tar", f"s3://bucket/p/{PIN}/../x.tar",
        f"vault://vault.example.com/kv/a/{PIN}/latest",
    ],
)  # fmt: skip
def test_a_place_that_names_no_record_is_a_usage_problem(place: str) -> None:
    with pytest.raises(UsageProblem):
        locations.read_record(place, estate())


@given(st.sampled_from(["s3://", "vault://"]), st.text(max_size=60))
def test_any_place_is_refused_in_order(scheme: str, text: str) -> None:
    with contextlib.suppress(OrgkeyError):
        looked(scheme + text)


# -- sources ---------------------------------------------------------------------------------------


def no_passphrase() -> Secret:
    raise AssertionError("nothing is asked while a source is built")


def source(read: Config, export: Path | None = None, pin: str | None = PIN) -> object:
    return wiring.source(read, export, pin=pin, passphrase=no_passphrase)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({"kind": "file", "path": "/x.asc"}, FileSource),
        ({"kind": "inbox", "path": "/inbox"}, InboxSource),
        ({"kind": "gnupg"}, GnupgSource),
        ({"kind": "command", "command": ["export"]}, CommandSource),
    ],
)
def test_the_configured_source_is_built(written: dict[str, Any], kind: type[object]) -> None:
    read = settings(put("source", written))
    assert isinstance(source(read), kind)
    assert isinstance(source(read, Path("/named.asc")), FileSource), "a file that is named goes first"


def test_a_source_is_needed() -> None:
    read = settings(put("source", None))
    with pytest.raises(UsageProblem, match="no export is named"):
        source(read)
    assert isinstance(source(read, Path("/named.asc")), FileSource)


def test_a_keyring_needs_a_pin() -> None:
    with pytest.raises(UsageProblem, match="none is pinned"):
        source(settings(put("source", {"kind": "gnupg"})), pin=None)


def test_a_backup_that_lies_in_two_places_is_one(tmp_path: Path) -> None:
    for name in ("outer.pgp", "inner/one.pgp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    places = {"outer": str(tmp_path), "inner": str(tmp_path / "inner")}
    for names in (["outer", "inner"], ["inner", "outer"]):
        found = estate(
            settings(put("backups", {name: {"location": places[name]} for name in names}))
        ).backups()
        assert sorted(source.location for source in found) == [
            str(tmp_path / "inner" / "one.pgp"), str(tmp_path / "outer.pgp"),
        ]  # fmt: skip


def test_a_place_of_backups_that_cannot_be_listed_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.pgp").touch()
    made = estate(settings())

    def listed(*_: object) -> object:
        raise Unreachable("s3://silent/backups: no answer", hint="wait")

    monkeypatch.setattr(s3, "listed", listed)
    with pytest.raises(Unreachable):  # nothing else is asked for
        made.backups(["s3://silent/backups"])
    closed, there = made.backups(["s3://silent/backups", str(tmp_path)])
    assert (closed.name, there.name) == ("s3://silent/backups", str(tmp_path / "one.pgp"))
    with pytest.raises(Unreachable, match="no answer"):
        closed.start()
