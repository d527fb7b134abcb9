from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config import Config, load, locate, parse
from pipeline.config.places import DirectoryTargetConfig, S3TargetConfig, VaultTargetConfig
from pipeline.config.sections import Policy
from pipeline.core.errors import Code, UsageProblem
from pipeline.posture import model as posture
from tests.support.configtext import GOOD, PIN, changed, put


def refused(data: bytes) -> str:
    with pytest.raises(UsageProblem) as caught:
        parse(data, Path("orgkey.toml"))
    assert caught.value.code is Code.USAGE
    assert caught.value.hint
    assert caught.value.message.startswith("orgkey.toml")
    return caught.value.message


def test_a_good_file_is_read() -> None:
    read = parse(GOOD.encode(), Path("orgkey.toml"))
    assert read.key is not None
    assert read.key.fingerprint == PIN
    assert isinstance(read.target["vault-eu"], VaultTargetConfig)
    assert isinstance(read.target["s3-eu"], S3TargetConfig)
    assert isinstance(read.target["disk"], DirectoryTargetConfig)
    assert read.target["vault-eu"].address == "https://vault.example.com:8200"
    assert read.target["s3-eu"].prefix == "orgkey"
    assert [need.holder for need in read.path["unattended"].needs] == ["vault", "aws"]
    assert read.domains() == {"dc-1", "s3-eu", "disk"}
    assert read.policy.copies == 2


def test_it_is_frozen() -> None:
    read = parse(GOOD.encode(), Path("orgkey.toml"))
    with pytest.raises(ValidationError):
        read.policy = Policy(copies=1)  # type: ignore[misc]  # that is the point
    with pytest.raises(ValidationError):
        read.policy.copies = 1  # type: ignore[misc]  # that is the point


def test_a_small_file_is_enough() -> None:
    small = [
        put("key", None), put("source", None), put("identity", None), put("policy/copies", 1),
        put("target/s3-eu", None), put("target/disk", None),
    ]  # fmt: skip
    read = parse(changed(lambda document: [change(document) for change in small]), Path("orgkey.toml"))
    assert (read.key, read.source, dict(read.identity)) == (None, None, {})
    assert read.policy == Policy(copies=1)


@pytest.mark.parametrize(
    "written",
    [
        PIN.lower(),
        "0x" + PIN,
        "\u200e" + PIN.replace("0", "\uff10"),
        " ".join(PIN[start : start + 4] for start in range(0, 40, 4)),
        ":".join(PIN[start : start + 2] for start in range(0, 40, 2)),
    ],
)
def test_a_fingerprint_is_taken_as_people_write_it(written: str) -> None:
    read = parse(changed(put("key/fingerprint", written)), Path("orgkey.toml"))
    assert read.key is not None
    assert read.key.fingerprint == PIN
    former = parse(changed(put("key/former", [written])), Path("orgkey.toml"))
    assert former.key is not None
    assert former.key.former == (PIN,)


WRONG: list[tuple[str, object, str]] = [
    ("key/fingerprint", PIN[-16:], "40 hexadecimal digits"),
    ("key/fingerprint", PIN[:-1] + "G", "40 hexadecimal digits"),
    ("key/former", [PIN[:8]], "40 hexadecimal digits"),
    ("key/fingerprint", 7, "[key] fingerprint"),
    ("key/live", "hkp://[::1", "an address with hkp://"),
    ("key/live", "~no-such-user/live.asc", "a user who is not known here"),
    ("key/live", "hkps://keys.example.com:99999", "an address with hkp://"),
    ("key/live", "ldap://:389", "an address with hkp://"),
    ("key/live", "file:///srv/live.asc", "an address with hkp://"),
    ("source/kind", "carrier-pigeon", "[source] kind"),
    ("source/path", None, "needs path"),
    ("source/settle_seconds", -1, "[source] settle_seconds"),
    ("source/max_bytes", 0, "[source] max_bytes"),
    ("source/timeout_seconds", 0, "[source] timeout_seconds"),
    ("target", {}, "target"),
    ("holder", {}, "holder"),
    ("path", {}, "path"),
    ("target/disk/kind", "floppy", "target.disk"),
    ("target/disk/path", None, "target.disk"),
    ("target/disk/controlled_by", None, "controlled_by"),
    ("target/disk/controlled_by", [], "controlled_by"),
    ("target/disk/controlled_by", "ops", "controlled_by"),
    ("target/vault-eu/address", "vault.example.com", "an address looks like"),
    ("target/vault-eu/address", "ftp://vault.example.com", "an address looks like"),
    ("target/vault-eu/address", "https://vault.example.com/ui/vault", "an address looks like"),
    ("target/vault-eu/address", "https://", "an address looks like"),
    ("target/s3-eu/bucket", None, "target.s3-eu"),
    ("target/s3-eu/bucket", "s3://example-orgkey", "a bucket is its name alone"),
    ("target/s3-eu/bucket", "example-orgkey/records", "a bucket is its name alone"),
    ("target/s3-eu/bucket", "", "a bucket is its name alone"),
    ("target/s3-eu/endpoint_url", "s3.example.com:9000", "an address looks like"),
    ("target/s3-eu/endpoint_url", "", "an address looks like"),
    ("target/s3-eu/region", "", "a region looks like"),
    ("target/s3-eu/region", "Frankfurt am Main", "a region looks like"),
    ("target/s3-eu/expected_bucket_owner", " ", "it is empty"),
    ("target/s3-eu/controlled_by", ["aws-admins", ""], "the name of a party is empty"),
    ("target/disk/path", "", "it is empty"),
    ("holder/aws/key_id", "", "it is empty"),
    ("identity/writer/vault/role_id_file", "", "it is empty"),
    ("backups/nightly", {"location": ""}, "it is empty"),
    ("backups/nightly", {"location": "S3://bucket/pgp"}, "a bucket is written s3://bucket/prefix"),
    ("target/s3-eu/lock_days", None, "go together"),
    ("target/s3-eu/lock_mode", None, "go together"),
    ("target/s3-eu/lock_mode", "FOREVER", "lock_mode"),
    ("target/s3-eu/lock_days", 0, "lock_days"),
    ("target/s3-eu/lock_days", 3651, "lock_days is above max_lock_days of [policy]"),
    ("holder/aws/key_id", None, "holder.aws"),
    ("holder/aws/kind", "abacus", "holder.aws"),
    ("path/unattended/needs", [], "needs"),
    ("path/unattended/needs", ["vault", "nobody"], "and there is no [holder.nobody]"),
    ("path/unattended/needs", ["vault", "vault"], "twice"),
    ("path/unattended/needs", [{"holder": "vault", "threshold": 2}], "its threshold is 1"),
    ("path/unattended/needs", [{"holder": "vault", "threshold": 0}], "threshold"),
    ("path/unattended/needs", [{"holder": "vault", "weight": 1}], "weight"),
    ("path/unattended/needs", ["vault"] * 17, "needs"),
    ("path/unattended/needs", "vault", "needs"),
    ("identity/writer/vault/secret_id_file", None, "go together"),
    ("identity/writer/vault/role_id_file", None, "go together"),
    ("identity/writer/vault/token_file", "/run/token", "several ways to log in (approle, token)"),
    ("identity/writer/vault/method", "token", "a login by token needs token_file"),
    ("identity/writer/vault/method", "magic", "[identity.writer.vault] method"),
    ("identity/writer/vault/jwt_file", "/run/jwt", "jwt_file is not a setting of a login by approle"),
    ("target/vault-eu/client_cert_file", "/etc/orgkey/host.pem", "client_key_file go together"),
    ("target/vault-eu/proxy", "http://user:word@proxy.example.com:3128", "give proxy_file"),
    ("target/s3-eu/proxy", "socks5://proxy.example.com:1080", "a proxy looks like"),
    ("target/s3-eu/proxy", "", "a proxy looks like"),
    ("identity/driller/vault/token_file", None, "give role_id_file and secret_id_file, or token_file"),
    ("identity/janitor", {}, "identity"),
    ("policy/copies", 0, "[policy] copies"),
    ("policy/copies", 17, "[policy] copies"),
    ("policy/copies", 4, "3 failure domains"),
    ("policy/call_seconds", 0, "[policy] call_seconds"),
    ("policy/deadline_seconds", 0, "[policy] deadline_seconds"),
    ("policy/deadline_seconds", 90_000, "[policy] deadline_seconds"),
    ("policy/max_lock_days", 0, "[policy] max_lock_days"),
    ("policy/max_age_days", 0, "[policy] max_age_days"),
    ("policy/max_drill_age_days", -1, "[policy] max_drill_age_days"),
    ("policy/max_drill_age_days", 9999999, "[policy] max_drill_age_days"),
    ("policy/rto_seconds", float("inf"), "[policy] rto_seconds"),
]


@pytest.mark.parametrize(("place", "value", "told"), WRONG)
def test_what_cannot_be_meant_is_refused_and_named(place: str, value: object, told: str) -> None:
    assert told in refused(changed(put(place, value)))


@pytest.mark.parametrize(
    "place",
    [
        "extra", "key/extra", "source/extra", "target/vault-eu/extra", "target/s3-eu/extra",
        "target/disk/extra", "holder/vault/extra", "holder/aws/extra", "path/unattended/extra",
        "identity/writer/extra", "identity/writer/vault/extra", "identity/writer/aws/extra", "policy/extra",
        "target/vault-eu/token", "identity/writer/vault/secret_id", "identity/writer/aws/secret_access_key",
        "source/passphrase",
    ],
)  # fmt: skip
def test_an_unknown_setting_is_refused_and_named(place: str) -> None:
    message = refused(changed(put(place, "a value that is nobody's business")))
    assert place.rpartition("/")[2] in message
    assert "nobody's business" not in message, "a misplaced value may be a secret"


@pytest.mark.parametrize("group", ["target", "holder", "path"])
@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 41, "spa ce", "../x", "a/b", "ä"])
def test_names_are_letters_digits_and_hyphens(group: str, name: str) -> None:
    def rename(document: Any) -> None:
        first = next(iter(document[group]))
        document[group][name] = document[group][first]

    assert "names are lower-case letters" in refused(changed(rename))


def test_every_problem_is_listed_at_once() -> None:
    two = [put("policy/copies", 0), put("key/fingerprint", "short")]
    message = refused(changed(lambda document: [change(document) for change in two]))
    assert "[policy] copies" in message
    assert "[key] fingerprint" in message


def test_copies_count_by_failure_domain() -> None:
    def one_building(document: Any) -> None:
        for target in document["target"].values():
            target["domain"] = "dc-1"

    assert "1 failure domain" in refused(changed(one_building))


@pytest.mark.parametrize(
    ("kind", "more", "ok"),
    [
        ("file", {"path": "/x"}, True),
        ("file", {}, False),
        ("gnupg", {}, True),
        ("gnupg", {"path": "/home/x/.gnupg"}, True),
        ("command", {"command": ["export", "--now"]}, True),
        ("command", {}, False),
        ("command", {"command": []}, False),
        ("inbox", {"path": "/x", "passphrase_file": "/p"}, True),
        ("inbox", {"path": "/x", "passphrase_command": ["pass"]}, True),
        ("inbox", {"path": "/x", "passphrase_file": "/p", "passphrase_command": ["pass"]}, False),
    ],
)
def test_a_source_has_what_its_kind_needs(kind: str, more: dict[str, Any], ok: bool) -> None:
    data = changed(put("source", {"kind": kind} | more))
    if ok:
        parse(data, Path("orgkey.toml"))
    else:
        refused(data)


# -- places of secrets -------------------------------------------------------------------------------

SECRET_PLACES = [
    "source/passphrase_file", "identity/writer/vault/role_id_file", "identity/driller/vault/token_file",
    "identity/writer/aws/credentials_file", "target/vault-eu/ca_file", "target/disk/path",
    "holder/aws/ca_file",
]  # fmt: skip


def at(read: Config, place: str) -> str:
    found: Any = read.model_dump()
    for step in place.split("/"):
        found = found[step]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("place", SECRET_PLACES)
@pytest.mark.parametrize("spelled", ["$CREDENTIALS_DIRECTORY/x", "${CREDENTIALS_DIRECTORY}/x"])
def test_systemds_credentials_are_found(place: str, spelled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/orgkey")
    read = parse(changed(put(place, spelled)), Path("orgkey.toml"))
    assert at(read, place) == "/run/credentials/orgkey/x"


@pytest.mark.parametrize("place", SECRET_PLACES)
def test_outside_of_systemd_they_are_refused_and_not_left_as_they_stand(place: str) -> None:
    os.environ.pop("CREDENTIALS_DIRECTORY", None)
    assert "$CREDENTIALS_DIRECTORY is not set" in refused(changed(put(place, "$CREDENTIALS_DIRECTORY/x")))


def test_home_expands_and_no_other_variable_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("SECRET", "hunter2")
    read = parse(changed(put("target/disk/path", "~/records/$SECRET")), Path("orgkey.toml"))
    assert at(read, "target/disk/path") == "/home/somebody/records/$SECRET"


@pytest.mark.parametrize("place", [*SECRET_PLACES, "key/live", "backups/nas/location"])
def test_a_relative_path_is_read_from_the_configurations_folder(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = changed(put(place, "there/x"))
    assert at(parse(text, Path("/etc/orgkey/one.toml")), place) == "/etc/orgkey/there/x"
    assert at(parse(text, Path("one.toml")), place) == str(tmp_path / "there" / "x")
    assert at(parse(changed(put(place, "/there/x")), Path("/etc/orgkey/one.toml")), place) == "/there/x"


@pytest.mark.parametrize(
    "place",
    [f"{place}/ca_file" for place in ("target/vault-eu", "target/s3-eu", "holder/vault", "holder/aws")],
)
def test_the_systems_authorities_are_not_a_file_of_that_folder(place: str) -> None:
    assert at(parse(changed(put(place, "system")), Path("/etc/orgkey/one.toml")), place) == "system"


# -- any bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[", b"key = ", b"a = 1\na = 2", GOOD.encode() + b"\n[key]\n"]
)
def test_what_is_no_configuration_is_refused(data: bytes) -> None:
    refused(data)


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_refused_in_order(data: bytes) -> None:
    with pytest.raises(UsageProblem):
        parse(data, Path("orgkey.toml"))


LINES = GOOD.strip().splitlines()


@given(st.data())
def test_lines_in_any_order_or_missing_are_read_or_refused_in_order(data: st.DataObject) -> None:
    lines = data.draw(st.permutations(LINES).map(lambda found: found[: len(LINES) - 3]) | st.just(LINES))
    with contextlib.suppress(UsageProblem):
        parse("\n".join(lines).encode(), Path("orgkey.toml"))


# -- the file --------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "orgkey.toml"
    made.write_text(GOOD)
    made.chmod(0o600)
    return made


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o644])
def test_others_may_read_it(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert load(path).key is not None


@pytest.mark.parametrize("mode", [0o620, 0o660, 0o602, 0o666, 0o777])
def test_others_may_not_write_it(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(UsageProblem, match="can be written by others") as caught:
        load(path)
    assert "chmod go-w" in caught.value.hint


@pytest.mark.parametrize(("mode", "fine"), [(0o755, True), (0o777, False), (0o775, False), (0o1777, True)])
@pytest.mark.parametrize("below", [False, True])
def test_a_folder_in_which_others_could_replace_it_is_refused(
    tmp_path: Path, mode: int, fine: bool, below: bool
) -> None:
    folder = tmp_path / "etc"
    place = folder / "orgkey" if below else folder
    place.mkdir(parents=True)
    file = place / "orgkey.toml"
    file.write_text(GOOD)
    file.chmod(0o600)
    folder.chmod(mode)
    linked = tmp_path / "linked.toml"
    linked.symlink_to(file)
    for path in (file, linked):
        if fine:
            assert load(path).key is not None
        else:
            with pytest.raises(UsageProblem, match=f"the folder {folder} .* can be written by others"):
                load(path)


def test_what_is_judged_is_what_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is put in its place between the two would pass as the one that was looked at."""

    def swapped(self: Path, **_: object) -> os.stat_result:
        raise AssertionError("the name is looked at a second time")

    monkeypatch.setattr(Path, "read_bytes", swapped)
    assert load(path).key is not None


def test_another_users_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    facts = path.stat()
    if facts.st_uid == 0:  # root's files are everybody's: as on any host
        assert load(path).key is not None
        os.chown(path, 4711, -1)
    with pytest.raises(UsageProblem, match="by others"):
        load(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageProblem, match="cannot read the configuration"):
            load(missing)


def test_errors_name_the_file(path: Path) -> None:
    path.write_text("[")
    with pytest.raises(UsageProblem, match=str(path)):
        load(path)


def test_the_first_place_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    user = Path(os.environ["XDG_CONFIG_HOME"]) / "orgkey"
    for folder in (here, user):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(UsageProblem, match="no configuration found") as caught:
        locate(None)
    assert "orgkey init" in caught.value.hint
    assert "/etc/orgkey/orgkey.toml" in caught.value.hint
    (user / "orgkey.toml").touch()
    assert locate(None) == user / "orgkey.toml"
    (here / "orgkey.toml").touch()
    assert locate(None) == Path("orgkey.toml")
    monkeypatch.setenv("ORGKEY_CONFIG", str(tmp_path / "variable.toml"))
    assert locate(None) == tmp_path / "variable.toml"
    assert locate(tmp_path / "option.toml") == tmp_path / "option.toml"
    monkeypatch.setenv("ORGKEY_CONFIG", "~/variable.toml")
    assert locate(None) == Path.home() / "variable.toml"
    monkeypatch.setenv("ORGKEY_CONFIG", "")
    assert locate(None) == Path("orgkey.toml")


# -- one party -------------------------------------------------------------------------------------


def parties(**controlled: list[str]) -> Config:
    def change(document: Any) -> None:
        for group in ("target", "holder"):
            for name, item in document[group].items():
                item["controlled_by"] = controlled.get(f"{group}_{name.replace('-', '_')}", ["other"])

    return parse(changed(change), Path("orgkey.toml"))


APART: dict[str, list[str]] = {
    "target_vault_eu": ["v"], "target_s3_eu": ["a"], "target_disk": ["o"],
    "holder_vault": ["v"], "holder_aws": ["a"],
}  # fmt: skip


def test_two_holders_of_two_parties_are_no_single_party() -> None:
    read = parties(**APART)
    assert posture.single_parties(read) == []
    posture.require_no_single_party(read)


@pytest.mark.parametrize(
    ("change", "alone"),
    [
        ({"holder_aws": ["v"]}, ["v"]),
        ({"holder_aws": ["a", "v"]}, ["v"]),
        ({"holder_vault": ["root"], "holder_aws": ["root"]}, []),
        ({"holder_vault": ["root"], "holder_aws": ["root"], "target_disk": ["root"]}, ["root"]),
        ({"holder_vault": ["v", "a"], "holder_aws": ["v", "a"]}, ["a", "v"]),
    ],
)
def test_one_party_with_every_share_and_a_copy_is_found(
    change: dict[str, list[str]], alone: list[str]
) -> None:
    read = parties(**(APART | change))
    assert posture.single_parties(read) == alone
    if alone:
        with pytest.raises(UsageProblem, match=alone[0]) as caught:
            posture.require_no_single_party(read)
        assert "policy.accept_single_party" in caught.value.hint
        accepted = read.model_copy(
            update={"policy": read.policy.model_copy(update={"accept_single_party": True})}
        )
        posture.require_no_single_party(accepted)


def test_an_alternative_path_that_one_party_opens_alone_counts() -> None:
    data = changed(put("path/cloud", {"needs": ["aws"]}))
    assert posture.single_parties(parse(data, Path("orgkey.toml"))) == ["aws-admins"]


@pytest.mark.parametrize("written", ["", "  ", "/", " / "])
def test_a_namespace_of_nothing_is_none(written: str) -> None:
    read = parse(changed(put("target/vault-eu/namespace", written)), Path("orgkey.toml"))
    assert read.target["vault-eu"].namespace is None  # type: ignore[union-attr]  # it is a VaultTarget


def test_a_namespace_is_spelled_without_slashes_around() -> None:
    read = parse(changed(put("holder/vault/namespace", "/team/one/")), Path("orgkey.toml"))
    assert read.holder["vault"].namespace == "team/one"  # type: ignore[union-attr]  # it is a TransitHolder


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((place, value) for place in ("target/vault-eu/mount", "holder/vault/mount", "holder/vault/key")
          for value in ("", "/", "..", "a/../b", "./a")),
        ("target/vault-eu/prefix", "a/.."),
        ("target/vault-eu/namespace", "../other"),
        ("identity/writer/vault/mount", ""),
        ("identity/writer/vault/mount", "../token"),
        ("identity/writer/vault/mount", "a/role/b"),
        ("identity/writer/vault/mount", "a/role"),
    ],
)  # fmt: skip
def test_names_that_lead_to_another_path_are_refused(place: str, value: str) -> None:
    assert place.split("/")[-1] in refused(changed(put(place, value)))


def test_a_prefix_may_be_empty() -> None:
    read = parse(changed(put("target/vault-eu/prefix", "/")), Path("orgkey.toml"))
    assert read.target["vault-eu"].prefix == ""  # type: ignore[union-attr]  # it is a VaultTarget
