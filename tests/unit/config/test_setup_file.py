from __future__ import annotations

import stat
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import config
from pipeline.config.holders import NeedConfig, OpenpgpHolderConfig
from pipeline.config.places import S3TargetConfig, VaultTargetConfig
from pipeline.config.setup import template as setup_file
from pipeline.config.setup.answers import Setup, advice, normal_fingerprint
from pipeline.config.setup.questions import OPTIONS, complete
from pipeline.core.errors import LocalFilesProblem, UsageProblem

PIN = "0123456789ABCDEF0123456789ABCDEF01234567"
CREDENTIALS = Path("/etc/orgkey/credentials")
SMALL = Setup(fingerprint=PIN, vault_address="https://vault:8200", transit_key="orgkey-escrow")
FULL = Setup(
    fingerprint=PIN,
    vault_address="https://vault.example.com:8200/",
    vault_namespace="pgp",
    vault_ca_file="/etc/ssl/vault.pem",
    s3_bucket="orgkey-records",
    s3_endpoint="http://127.0.0.1:7070",
    s3_lock_mode="COMPLIANCE",
    s3_lock_days=30,
    s3_owner="123456789012",
    region="eu-central-1",
    directory="/mnt/usb/orgkey",
    transit_key="orgkey-escrow",
    kms_key="alias/orgkey",
    inbox="/srv/orgkey/inbox",
    accept_single_party=False,
)
CERTIFICATES = "/etc/orgkey/custodians"


def parsed(setup: Setup) -> config.Config:
    return config.parse(setup_file.render(setup, CREDENTIALS).encode(), Path("orgkey.toml"))


def test_a_full_setup_becomes_a_valid_configuration() -> None:
    loaded = parsed(FULL)
    assert loaded.key is not None
    assert loaded.key.fingerprint == PIN
    assert loaded.source is not None
    assert (loaded.source.kind, loaded.source.path) == ("inbox", "/srv/orgkey/inbox")
    assert set(loaded.target) == {"vault", "s3", "directory"}
    bucket = loaded.target["s3"]
    assert isinstance(bucket, S3TargetConfig)
    assert (bucket.lock_mode, bucket.lock_days, bucket.region) == ("COMPLIANCE", 30, "eu-central-1")
    assert (bucket.expected_bucket_owner, bucket.path_style) == ("123456789012", True)
    vault = loaded.target["vault"]
    assert isinstance(vault, VaultTargetConfig)
    assert (vault.namespace, vault.ca_file) == ("pgp", "/etc/ssl/vault.pem")
    assert set(loaded.holder) == {"vault", "aws"}
    assert [need.holder for need in loaded.path["unattended"].needs] == ["vault", "aws"]
    assert loaded.policy.copies == 2
    for role in ("writer", "driller"):
        login = loaded.identity[role]
        assert login.vault is not None
        assert login.vault.role_id_file == f"/etc/orgkey/credentials/vault-{role}-role-id"
        assert login.aws is not None
        assert login.aws.profile == f"orgkey-{role}"


def test_the_smallest_setup_is_valid_and_has_nothing_that_was_not_asked_for() -> None:
    loaded = parsed(SMALL)
    assert set(loaded.target) == {"vault"}
    assert set(loaded.holder) == {"vault"}
    assert loaded.source is None
    assert loaded.policy.copies == 1
    assert loaded.policy.accept_single_party is False
    assert all(login.aws is None for login in loaded.identity.values())


def test_custodians_are_proposed_commented_out_with_a_reason() -> None:
    text = setup_file.render(SMALL, CREDENTIALS)
    assert "# [holder.custodians]" in text
    assert "Machines can be lost together" in text
    assert "custodians" not in tomllib.loads(text)["holder"]


def test_the_proposed_custodians_are_valid_once_uncommented_and_filled_in() -> None:
    text = setup_file.render(SMALL, CREDENTIALS)
    start = text.index("# [holder.custodians]")
    block = "\n".join(line.removeprefix("# ") for line in text[start:].splitlines())
    for number in range(5):
        block = block.replace("<FINGERPRINT>", f"{number}" * 40, 1)
    loaded = config.parse((text[:start] + block).encode(), Path("orgkey.toml"))
    group = loaded.holder["custodians"]
    assert isinstance(group, OpenpgpHolderConfig)
    assert (group.size, group.certificates) == (5, "/etc/orgkey/custodians")
    assert loaded.path["custodians"].needs == (NeedConfig(holder="custodians", threshold=3),)


PEOPLE = tuple(f"{number}" * 40 for number in range(1, 6))


def people(count: int = 5, threshold: int | None = None, **change: object) -> Setup:
    given = replace(SMALL, custodians=PEOPLE[:count], custodian_threshold=threshold, **change)  # type: ignore[arg-type]
    return replace(given, custodian_certificates=given.custodian_certificates or "/etc/orgkey/custodians")


def test_custodians_become_a_group_and_a_path_of_their_own() -> None:
    setup = complete(people(threshold=4), None, CERTIFICATES)
    loaded = parsed(setup)
    group = loaded.holder["custodians"]
    assert isinstance(group, OpenpgpHolderConfig)
    assert tuple(member.fingerprint for member in group.members) == PEOPLE
    assert group.certificates == "/etc/orgkey/custodians"
    assert [need.holder for need in loaded.path["unattended"].needs] == ["vault"]
    assert loaded.path["custodians"].needs == (NeedConfig(holder="custodians", threshold=4),)
    assert setup.holders() == ("vault", "custodians")
    assert "# [holder.custodians]" not in setup_file.render(setup, CREDENTIALS)


@pytest.mark.parametrize(("count", "threshold"), [(2, 2), (3, 2), (4, 3), (5, 3)])
def test_without_a_threshold_more_than_half_are_needed(count: int, threshold: int) -> None:
    loaded = parsed(complete(people(count), None, CERTIFICATES))
    assert loaded.path["custodians"].needs[0].threshold == threshold


def test_custodians_alone_are_holders_enough() -> None:
    setup = complete(replace(people(), transit_key=None), None, CERTIFICATES)
    loaded = parsed(setup)
    assert set(loaded.holder) == set(loaded.path) == {"custodians"}


def test_advice_says_where_the_certificates_go() -> None:
    setup = complete(people(), None, CERTIFICATES)
    assert any("/etc/orgkey/custodians" in line and "5 custodians" in line for line in advice(setup))


@pytest.mark.parametrize(
    ("setup", "hint"),
    [
        (people(1), "2 to 16"),
        (replace(people(2), custodians=(PEOPLE[0], f"0x{PEOPLE[0].lower()}")), "each named once"),
        (replace(people(2), custodians=PEOPLE * 4), "2 to 16"),
        (replace(people(2), custodians=(PEOPLE[0], "0x1A2B3C4D")), "gpg --fingerprint"),
        (people(3, 1), "from 2 to 3"),
        (people(3, 4), "from 2 to 3"),
        (replace(SMALL, custodian_threshold=2), "--custodian"),
        (replace(SMALL, custodian_certificates="/x"), "--custodian"),
    ],
)
def test_custodians_that_are_no_group_are_refused(setup: Setup, hint: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        complete(setup, None, CERTIFICATES)
    assert hint in caught.value.hint


def test_the_commented_source_is_valid_once_uncommented() -> None:
    text = setup_file.render(SMALL, CREDENTIALS)
    start = text.index("# [source]")
    block = text[start : text.index("\n\n", start)]
    uncommented = text.replace(block, "\n".join(line.removeprefix("# ") for line in block.splitlines()))
    loaded = config.parse(uncommented.encode(), Path("orgkey.toml"))
    assert loaded.source is not None
    assert loaded.source.kind == "inbox"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_whatever_text_is_given_it_is_quoted(text: str) -> None:
    rendered = setup_file.render(replace(SMALL, transit_key=text), CREDENTIALS)
    assert tomllib.loads(rendered)["holder"]["vault"]["key"] == text


def test_the_file_is_private_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "orgkey.toml"
    setup_file.write(path, FULL, CREDENTIALS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config.load(path).key is not None


def test_an_older_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "orgkey.toml"
    path.write_text("mine")
    with pytest.raises(LocalFilesProblem, match="exists"):
        setup_file.write(path, SMALL, CREDENTIALS)
    assert path.read_text() == "mine"
    assert [item.name for item in tmp_path.iterdir()] == ["orgkey.toml"]


@pytest.mark.parametrize(
    "change",
    [
        {"vault_address": "vault.example.com"},
        {"s3_bucket": "b", "s3_lock_mode": "FOREVER", "s3_lock_days": 1},
        {"s3_bucket": "b", "s3_lock_mode": "GOVERNANCE", "s3_lock_days": 99999},
    ],
)
def test_an_answer_that_is_not_valid_leaves_no_file(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(UsageProblem):
        setup_file.write(tmp_path / "orgkey.toml", replace(SMALL, **change), CREDENTIALS)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setup", "options"),
    [
        (Setup(), ["fingerprint", "places", "holders"]),
        (replace(SMALL, fingerprint=None), ["fingerprint"]),
        (Setup(fingerprint=PIN, s3_bucket="b"), ["holders", "region"]),
        (Setup(fingerprint=PIN, kms_key="k"), ["places", "region"]),
        (Setup(fingerprint=PIN, s3_bucket="b", transit_key="t"), ["transit", "region"]),
    ],
)
def test_without_anybody_to_ask_every_missing_option_is_named(setup: Setup, options: list[str]) -> None:
    with pytest.raises(UsageProblem) as caught:
        complete(setup, None, CERTIFICATES)
    assert caught.value.hint == "give " + "; and ".join(OPTIONS[name] for name in options)


def test_a_lock_needs_mode_and_days() -> None:
    with pytest.raises(UsageProblem) as caught:
        complete(replace(SMALL, s3_bucket="b", region="eu-west-1", s3_lock_days=3), None, CERTIFICATES)
    assert "--s3-lock-mode" in caught.value.hint


def test_a_person_is_asked_for_what_is_open_and_for_nothing_else() -> None:
    answers = {"Fingerprint": PIN.lower(), "S3 bucket": "b", "AWS KMS": "alias/k"}
    answers |= {"Object Lock": "none", "Region": "eu-central-1"}
    asked: list[str] = []

    def ask(question: str, default: str) -> str:
        asked.append(question.rpartition("\n")[2])
        return next((value for start, value in answers.items() if asked[-1].startswith(start)), "") or default

    done = complete(Setup(vault_address="https://vault:8200"), ask, CERTIFICATES)
    assert done.fingerprint == PIN
    assert (done.targets(), done.holders()) == (("vault", "s3"), ("vault", "aws"))
    assert done.transit_key == "orgkey-escrow"
    assert not any("Address" in question for question in asked)

    asked.clear()
    assert complete(done, ask, CERTIFICATES) == done
    assert [question.partition(":")[0] for question in asked] == ["Custodians"]  # none yet


@pytest.mark.parametrize(("address", "key"), [(None, None), ("https://vault:8200", "orgkey-escrow")])
def test_whoever_is_asked_has_a_transit_key_with_a_vault(address: str | None, key: str | None) -> None:
    given = Setup(fingerprint=PIN, s3_bucket="b", s3_lock_mode="", kms_key="k", region="eu-west-1")
    done = complete(replace(given, vault_address=address), lambda _, default: default, CERTIFICATES)
    assert done.transit_key == key
    assert complete(replace(given, vault_address=address), None, CERTIFICATES).transit_key is None


@pytest.mark.parametrize("text", [PIN.lower(), f"0x{PIN}", " ".join([PIN[:20], PIN[20:]])])
def test_a_fingerprint_is_taken_however_it_is_spelled(text: str) -> None:
    assert normal_fingerprint(text) == PIN


@pytest.mark.parametrize("text", ["", "0x1A2B3C4D", PIN + "0", "G" * 40])
def test_a_key_id_is_no_fingerprint(text: str) -> None:
    with pytest.raises(UsageProblem, match="40"):
        normal_fingerprint(text)


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        (SMALL, ["one copy only"]),
        (FULL, ["30 days"]),
    ],
)
def test_advice_says_what_is_weak(setup: Setup, words: list[str]) -> None:
    told = advice(setup)
    assert len(told) == len(words)
    assert all(word in line for word, line in zip(words, told, strict=True))
