"""What is wrong with a configuration is said in the program's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import config
from pipeline.config.holders import KmsHolderConfig
from pipeline.core.errors import UsageProblem

PIN = "70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"
TEXT = f"""
[key]
fingerprint = "{PIN}"
[target.vault]
kind = "vault"
address = "https://vault.example.com:8200"
mount = "orgkey"
controlled_by = ["vault-admins"]
[target.s3]
kind = "s3"
bucket = "records"
region = "eu-central-1"
controlled_by = ["aws-admins"]
[holder.vault]
kind = "vault-transit"
address = "https://vault.example.com:8200"
key = "orgkey"
controlled_by = ["vault-admins"]
[holder.people]
kind = "openpgp"
members = ["{PIN}", "{PIN[::-1]}"]
certificates = "/etc/orgkey/custodians"
[path.unattended]
needs = ["vault"]
[identity.writer.vault]
token_file = "/etc/orgkey/token"
[policy]
copies = 2
"""
POLICY = "[policy]\n"


def refused(text: str) -> str:
    with pytest.raises(UsageProblem) as caught:
        config.parse(text.encode(), Path("orgkey.toml"))
    assert caught.value.hint
    return caught.value.message.removeprefix("orgkey.toml: ")


def test_the_text_is_good() -> None:
    config.parse(TEXT.encode(), Path("orgkey.toml"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'mount = "orgkey"',
            'mounth = "orgkey"',
            "[target.vault] has no setting mounth; did you mean mount?",
        ),
        (POLICY, "[polcy]\n", "there is no section [polcy]; did you mean policy?"),
        ("[target.s3]", "[taget.s3]", "there is no section [taget]; did you mean target?"),
        (
            "[key]",
            "copies = 1\n[key]",
            "copies stands outside of every section: a setting belongs below the name",
        ),
        ('kind = "vault"\n', 'kind = "vualt"\n', "[target.vault] kind is 'vualt': did you mean vault?"),
        (
            'kind = "vault"\n',
            'kind = "ftp"\n',
            "[target.vault] kind is 'ftp': it is one of vault, s3, directory",
        ),
        ('kind = "vault"\n', "", "[target.vault] lacks kind: one of directory, s3, vault"),
        ('bucket = "records"\n', "", "[target.s3] lacks bucket"),
        (
            '"vault"]\n[id',
            '"valt"]\n[id',
            "[path.unattended] needs 'valt', and there is no [holder.valt]; did you mean",
        ),
        ("copies = 2", 'copies = "two"', "[policy] copies is not a whole number"),
        ("copies = 2", "copies = 0", "[policy] copies is below 1"),
        (
            '["aws-admins"]',
            '["Vault-Admins "]',
            "'vault-admins' and 'Vault-Admins' look like one party: spell",
        ),
        (
            "token_file",
            'vouched_by = ["VAULT-admins"]\ntoken_file',
            "'vault-admins' and 'VAULT-admins' look like one party",
        ),
        ('["aws-admins"]', '["\u2009"]', "the name of a party is empty"),
        (
            "[path.unattended]",
            '[holder.p]\nkind = "paper"\nprint_command = ["lpr"]\nkept_by = ["A", "a "]\n[path.unattended]',
            "'A' and 'a' look like one party",
        ),
        (
            'bucket = "records"',
            'bucket = "records"\ndomain = "VAULT"',
            "'VAULT' and 'vault' look like one failure domain: spell it alike",
        ),
        ("copies = 2", "copies = 3", "[policy] copies is 3, but the targets stand in 2 failure domains"),
        (
            "copies = 2",
            "copies = 2\nmax_dril_age_days = 8",
            "[policy] has no setting max_dril_age_days; did you mean",
        ),
        ("[identity.writer", "[identity.writr", "[identity] has no section writr: did you mean writer?"),
        (
            "token_file",
            "tokn_file",
            "[identity.writer.vault] has no setting tokn_file; did you mean token_file?",
        ),
        ('region = "eu-central-1"', "region = 7", "[target.s3] region is not a text in quotes"),
        (
            '"records"',
            '"records"\nlock_mode = "COMPLAINCE"',
            "[target.s3] lock_mode is not one of GOVERNANCE, COMPLIANCE; did you mean COMPLIANCE?",
        ),
        (
            f'["{PIN}"',
            f'["{PIN[1:]}"',
            "[holder.people] members, item 1: a fingerprint has 40 hexadecimal digits",
        ),
        (f'["{PIN}"', '[{ fingerprnt = "x" }', "[holder.people] members, item 1: lacks fingerprint"),
        ("[target.s3]", "[target.s3.x]", "[target.s3] lacks kind"),
        (
            POLICY,
            '[source]\nkind = "inbx"\n' + POLICY,
            "[source] kind is not one of file, inbox, gnupg, command; did you mean inbox?",
        ),
        (
            POLICY,
            '[ping.escro]\nurl_file = "/x"\n' + POLICY,
            "[ping] has no section escro: did you mean escrow?",
        ),
        (
            POLICY,
            '[ledger]\nmirrors = ["s"]\n' + POLICY,
            "[ledger] mirrors names 's', and there is no [target.s]",
        ),
    ],
)
def test_each_mistake_is_named_with_its_section(old: str, new: str, said: str) -> None:
    assert old in TEXT
    message = refused(TEXT.replace(old, new, 1))
    assert message.startswith(said)
    for word in ("Input", "permitted", "Value error", "vault.vault", "tagged"):
        assert word not in message


OTHER = "A" * 40
CARD = "B" * 40


@pytest.mark.parametrize(
    ("also", "said"),
    [
        (f'["{PIN[::-1]}"]', f"the certificate {PIN[::-1]} is of two custodians: {PIN} and {PIN[::-1]}"),
        (f'["{PIN}"]', f"the certificate {PIN} is named 2 times; give each a subkey of its own"),
        (f'["{CARD}", "{CARD}"]', f"the certificate {CARD} is named 2 times"),
        (
            f'[{{ fingerprint = "{PIN}", subkey = "{CARD}" }}]',
            f"the certificate {PIN} is named 2 times; give each a subkey of its own",
        ),
        ('["x"]', "[holder.people] members, item 1, also, item 1: a fingerprint has 40 hexadecimal digits"),
    ],
)
def test_a_token_is_one_persons_and_told_apart(also: str, said: str) -> None:
    member = f'[{{ fingerprint = "{PIN}", also = {also} }}'
    assert said in refused(TEXT.replace(f'["{PIN}"', member, 1))


def test_a_person_is_called_by_the_same_certificate_in_every_group() -> None:
    text = TEXT.replace(f'["{PIN}"', f'[{{ fingerprint = "{PIN}", also = ["{CARD}"] }}', 1)
    second = '[holder.others]\nkind = "openpgp"\nmembers = ["{0}", "{1}"]\ncertificates = "/etc/x"\n'
    config.parse(text.replace(POLICY, second.format(PIN, OTHER) + POLICY, 1).encode(), Path("orgkey.toml"))
    told = refused(text.replace(POLICY, second.format(CARD, OTHER) + POLICY, 1))
    assert f"the certificate {CARD} is of two custodians: {PIN} and {CARD}" in told


def test_the_region_of_a_kms_key_is_its_arns() -> None:
    arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    holder = f'[holder.aws]\nkind = "aws-kms"\ncontrolled_by = ["aws"]\nkey_id = "{arn}"\n'
    loaded = config.parse(TEXT.replace(POLICY, holder + POLICY, 1).encode(), Path("orgkey.toml"))
    assert isinstance(kms := loaded.holder["aws"], KmsHolderConfig)
    assert kms.region == "eu-central-1"
    message = refused(TEXT.replace(POLICY, holder + 'region = "us-east-1"\n' + POLICY, 1))
    assert message.startswith("[holder.aws] region is us-east-1, but the ARN in key_id names eu-central-1")


def test_every_mistake_is_told_at_once_and_none_twice() -> None:
    message = refused(TEXT.replace("mount =", "mounth =").replace("copies = 2", "copes = 2"))
    assert message.split("; ")[::2] == [
        "[target.vault] has no setting mounth",
        "[policy] has no setting copes",
    ]
    wrong = refused(TEXT.replace(f'"{PIN}", "', '"'))
    assert wrong == "[holder.people] members has fewer than 2 items"


READERS = {
    "dask": f'''crew_key = "{"A" * 43}="
scheduler = "tls://dask.example.com:8786"
ca_file = "/ca.pem"
cert_file = "/cert.pem"
key_file = "/key.pem"''',
    "folder": f'''crew_key = "{"A" * 43}="
folder = "/srv/crew"''',
}


@pytest.mark.parametrize("engine", READERS)
def test_readers_are_named_with_all_that_reaching_them_needs(engine: str) -> None:
    start = f'{TEXT}\n[readers]\nengine = "{engine}"\n'
    assert config.parse((start + READERS[engine]).encode(), Path("orgkey.toml")).readers.engine == engine
    for line in READERS[engine].splitlines():
        assert line.partition(" ")[0] in refused(start + READERS[engine].replace(line, ""))


@pytest.mark.parametrize(
    "line",
    [
        f'crew_key = "{"A" * 42}B="',
        'crew_key = "short"',
        'scheduler = "tcp://dask.example.com:8786"',
        'scheduler = "tls://dask.example.com"',
        "recheck_percent = 0",
        'engine = "slurm"',
        'cert_file = "/cert.pem"',
    ],
)
def test_readers_that_could_not_be_trusted_are_refused(line: str) -> None:
    assert refused(f"{TEXT}\n[readers]\n{line}\n").startswith("[readers]")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ('kind = "directory"\npath = "/srv/a"', 'kind = "directory"\npath = "/srv//a/"'),
        (
            'kind = "s3"\nbucket = "b"\nprefix = "p"',
            'kind = "s3"\nbucket = "b"\nprefix = "/p/"\nregion = "x"',
        ),
        (
            'kind = "vault"\naddress = "https://v.example.com/"',
            'kind = "vault"\naddress = "https://v.example.com"\nmount = "/orgkey"',
        ),
        ('kind = "directory"\npath = "/srv/a"', 'kind = "directory"\npath = "/srv/b/../a"'),
        (
            'kind = "vault"\naddress = "https://v.example.com"',
            'kind = "vault"\naddress = "https://V.Example.com.:443"',
        ),
        (
            'kind = "s3"\nbucket = "b"\nendpoint_url = "http://s3.example.com"',
            'kind = "s3"\nbucket = "b"\nendpoint_url = "http://s3.EXAMPLE.com:80/"',
        ),
        (
            'kind = "s3"\nbucket = "b"',
            'kind = "s3"\nbucket = "b"\nendpoint_url = "https://s3.eu-central-1.amazonaws.com"',
        ),
    ],
)
def test_one_place_is_not_two_copies(one: str, two: str) -> None:
    text = "".join(
        f'[target.{name}]\n{place}\ndomain = "{name}"\ncontrolled_by = ["{name}"]\n'
        for name, place in (("one", one), ("two", two))
    )
    assert "[target.one] and [target.two] are one place: a record there is one copy" in refused(TEXT + text)


def test_one_location_is_not_two_places_of_backups() -> None:
    text = "".join(
        f'[backups.{name}]\nlocation = "{at}"\n'
        for name, at in (("one", "/srv/b"), ("two", "/srv/x/../b/"), ("three", "s3://b/p"))
    )
    assert "[backups.one] and [backups.two] have one location" in refused(f"{TEXT}\n{text}")
