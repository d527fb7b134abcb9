"""The group of custodians as a holder: what is sealed, to whom, and that gpg opens it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.holders import OpenpgpHolderConfig
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import IntegrityProblem, NotEnoughShares, UsageProblem
from pipeline.core.finding import Level
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding
from pipeline.custody.holders.openpgp import CustodianGroup, encrypted_to_alone
from pipeline.custody.shares import paths
from pipeline.openpgp.format import armor
from pipeline.openpgp.gnupg.driver import GnuPG
from tests.support import certificate_writer as forge
from tests.support import openpgp_writer as writer
from tests.support import people
from tests.support.certificate_writer import MADE, NOW, Person, committed, person
from tools.make_keys import KEYS, Home

BINDING = Binding("A" * 40, "0123456789abcdef" * 2)
DAY = timedelta(days=1)


class Clock(SystemClock):
    """A time that a test chooses."""

    def __init__(self, now: datetime = NOW) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment


def group(place: Path, *members: str | dict[str, Any], clock: Clock | None = None) -> CustodianGroup:
    item = OpenpgpHolderConfig.model_validate(
        {"kind": "openpgp", "members": list(members), "certificates": str(place)}
    )
    return CustodianGroup("custodians", item, deadline=Deadline(60), clock=clock or Clock())


def words(count: int) -> list[Secret]:
    return [Secret(f"academic acid {'acne ' * 30}share {number}") for number in range(1, count + 1)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return people.folder(tmp_path / "certificates")


EVERYBODY = tuple(people.FINGERPRINTS[name] for name in people.EVERYBODY)


def packets(message: bytes) -> list[writer.Packet]:
    return writer.split(armor.dearmor(message))


def test_every_custodian_opens_the_own_share_and_no_other(place: Path) -> None:
    sealed = group(place, *EVERYBODY).seal(words(5), BINDING)
    assert [(share.index, share.label, share.suffix) for share in sealed] == [
        (number, fingerprint, "asc") for number, fingerprint in enumerate(EVERYBODY, 1)
    ]
    for name, share, text in zip(people.EVERYBODY, sealed, words(5), strict=True):
        assert people.decrypt(name, share.data).reveal() == text.reveal() + b"\n"
        assert text.reveal() not in share.data
    with pytest.raises(Exception, match=r"(?i)decrypt|session key|no .*key"):
        people.decrypt("alice", sealed[1].data)


def test_a_share_is_encrypted_to_one_subkey_and_protected_against_changes(place: Path) -> None:
    holder = group(place, *EVERYBODY)
    described = holder.describe()["encrypted_to"]
    assert isinstance(described, list)
    for subkey, share in zip(described, holder.seal(words(5), BINDING), strict=True):
        (first, key), (second, data) = packets(share.data)
        assert (first, second) == (1, 18)
        assert (key[0], key[1:9].hex().upper(), data[0]) == (3, subkey[-16:], 1)
        assert encrypted_to_alone(share.data, [subkey])
        assert not encrypted_to_alone(share.data, [EVERYBODY[0]])


@pytest.mark.parametrize(
    "name",
    ["rsa2048", "rsa4096", "brainpoolp256", "brainpoolp384", "nistp256", "nistp384", "nistp521", "dsa2048"],
)
def test_custodians_with_other_kinds_of_keys_decrypt_with_gpg(tmp_path: Path, name: str) -> None:
    place = people.folder(tmp_path / "certificates", ("alice",))
    (place / "other.gpg").write_bytes(committed(name))
    fingerprint = writer.fingerprint(writer.split(committed(name))[0][1])
    holder = group(place, fingerprint, people.FINGERPRINTS["alice"])
    share = holder.seal(words(2), BINDING)[0]
    with GnuPG(Deadline(60)) as gpg:
        secret = writer.dearmor((KEYS / f"{name}-unprotected.asc").read_text())
        gpg.import_keys(secret, {fingerprint: True})
        assert gpg.decrypt(share.data, Secret(b"")).strip() == words(1)[0].reveal()


@pytest.fixture(scope="session")
def renewed() -> Iterator[dict[str, bytes]]:
    """One person's key with two generations of encryption subkeys, as gpg makes it: secret and public."""
    home = Home()
    try:
        fingerprint = home.make("Rita Renewed <rita@example.com>", "ed25519", "cv25519")
        home.gpg("--quick-add-key", fingerprint, "cv25519", "encr", "30y", at="20250601T120000")
        yield {"secret": writer.join(home.secret()), "public": writer.join(home.public())}
    finally:
        home.close()


@pytest.mark.parametrize("generation", [0, 1])
def test_the_pinned_subkey_alone_can_open_the_share(
    place: Path, renewed: dict[str, bytes], generation: int
) -> None:
    bodies = writer.split(renewed["public"])
    fingerprint = writer.fingerprint(bodies[0][1])
    subkeys = [writer.fingerprint(body) for tag, body in bodies if tag == writer.PUBLIC_SUBKEY]
    (place / "rita.gpg").write_bytes(renewed["public"])
    pinned = {"fingerprint": fingerprint, "subkey": subkeys[generation]}
    holder = group(place, EVERYBODY[0], pinned)
    coordinates = holder.describe()
    assert coordinates["pinned_subkeys"] == [f"{fingerprint}/{subkeys[generation]}"]
    assert isinstance(coordinates["encrypted_to"], list)
    assert coordinates["encrypted_to"][1] == subkeys[generation]
    share = holder.seal(words(2), BINDING)[1]
    assert encrypted_to_alone(share.data, [subkeys[generation]])
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(renewed["secret"], {fingerprint: True})
        assert gpg.decrypt(share.data, Secret(b"")).strip() == words(2)[1].reveal()


def test_any_token_of_a_member_opens_the_one_share(place: Path, renewed: dict[str, bytes]) -> None:
    """Alice has the certificate of another card, and a subkey on a third one; nobody else opens her share."""
    bodies = writer.split(renewed["public"])
    fingerprint = writer.fingerprint(bodies[0][1])
    subkeys = [writer.fingerprint(body) for tag, body in bodies if tag == writer.PUBLIC_SUBKEY]
    (place / "second.gpg").write_bytes(renewed["public"])
    pinned = [{"fingerprint": fingerprint, "subkey": subkey} for subkey in subkeys]
    member = {"fingerprint": EVERYBODY[0], "also": pinned}
    holder = group(place, EVERYBODY[1], member)
    coordinates = holder.describe()
    assert coordinates["members"] == [EVERYBODY[1], EVERYBODY[0]]
    assert coordinates["also_opened_by"] == [f"{EVERYBODY[0]}/{fingerprint}/{subkey}" for subkey in subkeys]
    assert isinstance(coordinates["encrypted_to"], list)
    keys = coordinates["encrypted_to"][1].split(" ")
    assert keys[1:] == subkeys
    assert len(keys) == 3
    other, share = holder.seal(words(2), BINDING)
    assert (share.index, share.label) == (2, EVERYBODY[0])
    assert encrypted_to_alone(share.data, keys)
    assert not encrypted_to_alone(share.data, keys[:2])
    assert not encrypted_to_alone(other.data, keys)
    assert people.decrypt("alice", share.data).reveal().strip() == words(2)[1].reveal()
    for subkey in subkeys:
        with GnuPG(Deadline(60)) as gpg:
            gpg.import_keys(renewed["secret"], {fingerprint: True})
            for body in (packet for packet in subkeys if packet != subkey):
                gpg.demand("delete", gpg.call("--delete-secret-keys", f"{body}!"))
            assert gpg.decrypt(share.data, Secret(b"")).strip() == words(2)[1].reveal()


def test_a_changed_set_of_tokens_is_a_changed_plan(place: Path) -> None:
    path = paths.Path("custodians", (paths.PathNeed("custodians", 2, 2),))
    alice, bob, carol = EVERYBODY[:3]
    more = {"fingerprint": alice, "also": [carol]}
    digests = {paths.plan_digest([path], {"custodians": group(place, one, bob)}) for one in (alice, more)}
    assert len(digests) == 2
    renamed = {**more, "name": "Alice"}
    assert paths.plan_digest([path], {"custodians": group(place, renamed, bob)}) in digests


@pytest.fixture(scope="session")
def all_in_one() -> Iterator[dict[str, bytes]]:
    """A key whose primary key also encrypts, as older programs make them."""
    home = Home()
    try:
        home.gpg("--quick-generate-key", "Otto One <otto@example.com>", "rsa2048", "cert,sign,encr", "30y")
        yield {"secret": writer.join(home.secret()), "public": writer.join(home.public())}
    finally:
        home.close()


@pytest.mark.parametrize("pinned", [False, True])
def test_a_primary_key_that_encrypts_is_a_recipient(
    place: Path, all_in_one: dict[str, bytes], pinned: bool
) -> None:
    fingerprint = writer.fingerprint(writer.split(all_in_one["public"])[0][1])
    (place / "otto.gpg").write_bytes(all_in_one["public"])
    member = {"fingerprint": fingerprint} | ({"subkey": fingerprint} if pinned else {})
    share = group(place, EVERYBODY[0], member).seal(words(2), BINDING)[1]
    assert encrypted_to_alone(share.data, [fingerprint])
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(all_in_one["secret"], {fingerprint: True})
        assert gpg.decrypt(share.data, Secret(b"")).strip() == words(2)[1].reveal()


def test_an_appended_subkey_never_gets_a_share(tmp_path: Path) -> None:
    """Mallory's subkey is newer, first in gpg's own choice if its signature were genuine."""
    place = people.folder(tmp_path / "certificates", ("alice", "bob"))
    mine = writer.split(armor.dearmor(people.certificate("alice")))
    theirs = Person("alice")
    theirs.subkey("mallory encrypts", made=MADE + DAY, by="mallory")
    (place / "alice.asc").write_bytes(writer.join([*mine, *theirs.packets]))
    share = group(place, *EVERYBODY[:2]).seal(words(2), BINDING)[0]
    assert people.decrypt("alice", share.data).reveal().strip() == words(1)[0].reveal()
    assert len(packets(share.data)) == 2


def test_a_stranger_with_the_same_user_id_never_gets_a_share(tmp_path: Path) -> None:
    place = people.folder(tmp_path / "certificates", ("alice", "bob"))
    stranger = Person("mallory")
    stranger.packets.append((writer.PUBLIC_KEY, stranger.primary))
    stranger.identity("Alice Custodian (test) <alice@custodians.example>").subkey("mallory encrypts")
    stranger.write(place / "0.asc")
    share = group(place, *EVERYBODY[:2]).seal(words(2), BINDING)[0]
    assert people.decrypt("alice", share.data).reveal().strip() == words(1)[0].reveal()


def test_a_secret_key_in_the_folder_is_not_given_to_gpg_and_opens_nothing(tmp_path: Path) -> None:
    place = people.folder(tmp_path / "certificates", ("bob",))
    (place / "alice.asc").write_bytes(people.secret_key("alice"))
    holder = group(place, *EVERYBODY[:2])
    sealed = holder.seal(words(2), BINDING)
    for share in sealed:
        with pytest.raises(NotEnoughShares, match=share.label):
            holder.open(share, BINDING)
    assert [item.level for item in holder.check()] == [Level.FAIL]


def test_gpg_judges_by_the_same_clock(tmp_path: Path) -> None:
    """Long after a certificate's end, a clock inside its validity still seals; not the other way round."""
    place = tmp_path / "certificates"
    place.mkdir()
    for name in ("ann", "ben"):
        made = Person(name).start(expires=30 * DAY)
        made.subkey(f"{name} encrypts", expires=30 * DAY)
        made.write(place / f"{name}.asc")
    members = [Person(name).fingerprint for name in ("ann", "ben")]
    clock = Clock(MADE + DAY)
    holder = group(place, *members, clock=clock)
    assert len(holder.seal(words(2), BINDING)) == 2
    clock.moment = MADE + 30 * DAY
    for ask in (holder.describe, lambda: holder.seal(words(2), BINDING)):
        with pytest.raises(UsageProblem, match=r"custodian Ann .*expired"):
            ask()
    assert [item.level for item in holder.check()] == [Level.FAIL] * 2


def test_a_certificate_that_changes_between_description_and_split_stops_it(place: Path) -> None:
    made = person("alice")
    made.write(place / "z.asc")
    holder = group(place, EVERYBODY[1], made.fingerprint)
    holder.describe()
    holder.seal(words(2), BINDING)
    made.subkey("newer", made=MADE + DAY)
    made.write(place / "z.asc")
    with pytest.raises(UsageProblem, match=r"Alice .* has changed"):
        holder.seal(words(2), BINDING)
    holder.describe()
    assert len(holder.seal(words(2), BINDING)) == 2


def test_what_gpg_refuses_names_the_person(place: Path) -> None:
    """A certificate without any user id is good mathematics, and nothing that gpg 2.2 imports."""
    made = Person("alice")
    made.packets = [(writer.PUBLIC_KEY, made.primary), made.sign(forge.DIRECT, b"", flags=forge.CERTIFY)]
    made.subkey("alice encrypts")
    made.write(place / "z.asc")
    holder = group(place, EVERYBODY[1], {"fingerprint": made.fingerprint, "name": "Alice A."})
    with pytest.raises(UsageProblem, match=rf"custodian Alice A\. \({made.fingerprint}\): gpg"):
        holder.seal(words(2), BINDING)


def test_a_message_to_others_too_is_not_accepted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gpg does with `encrypt-to` in a configuration for all users."""
    holder = group(place, *EVERYBODY[:2])
    real: Callable[..., bytes] = GnuPG.encrypt
    subkeys = holder.describe()["encrypted_to"]
    assert isinstance(subkeys, list)

    def encrypt(self: GnuPG, data: bytes, recipient: str, *, armor: bool = False) -> bytes:
        self.import_keys(
            writer.join(packets(people.certificate("frank"))), {people.FINGERPRINTS["frank"]: False}
        )
        return self.call(
            "--recipient", recipient, "--recipient", people.FINGERPRINTS["frank"], "--encrypt", stdin=data
        ).output

    message = holder.seal(words(2), BINDING)[0].data
    with monkeypatch.context() as patch:
        patch.setattr(GnuPG, "encrypt", encrypt)
        with pytest.raises(IntegrityProblem, match="alone"):
            holder.seal(words(2), BINDING)
    assert GnuPG.encrypt is real

    session, data = (writer.packet(*one) for one in packets(message))
    assert encrypted_to_alone(session + data, [subkeys[0]])
    for bad in (data, session, session + session + data, session + data + data, b"", b"junk", b"\xff\xff"):
        assert not encrypted_to_alone(bad, [subkeys[0]])
    unprotected = writer.packet(9, b"\1" * 40)
    assert not encrypted_to_alone(session + unprotected, [subkeys[0]])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_group_takes_one_share_for_each(place: Path, count: int) -> None:
    with pytest.raises(UsageProblem, match="2 custodians"):
        group(place, *EVERYBODY[:2]).seal(words(count), BINDING)


def test_a_group_says_who_it_is_and_a_newer_subkey_or_name_is_no_other_plan(place: Path) -> None:
    made = person("alice")
    made.write(place / "z.asc")
    holder = group(place, EVERYBODY[1], made.fingerprint)
    assert (holder.kind, holder.unattended, holder.size) == ("openpgp", False, 2)
    coordinates = json.loads(json.dumps(dict(holder.describe())))
    assert coordinates["members"] == [EVERYBODY[1], made.fingerprint]
    assert coordinates["names"] == ["Bob Custodian (test) <bob@custodians.example>", made.user_id]
    assert set(coordinates) == {"members", "encrypted_to", "names"}

    def digest(holder: CustodianGroup) -> str:
        path = paths.Path("people", (paths.PathNeed("custodians", 2, 2),))
        return paths.plan_digest([path], {"custodians": holder})

    plan = digest(holder)
    made.subkey("newer", made=MADE + DAY)
    made.write(place / "z.asc")
    renamed = group(place, {"fingerprint": made.fingerprint, "name": "Alice"}, EVERYBODY[1])
    assert renamed.describe()["encrypted_to"] != coordinates["encrypted_to"]
    assert digest(renamed) == plan
    pinned = made.subkey("third", made=MADE + 2 * DAY)
    made.write(place / "z.asc")
    assert digest(group(place, EVERYBODY[1], {"fingerprint": made.fingerprint, "subkey": pinned})) != plan


def test_doctor_finds_a_good_group_good(place: Path) -> None:
    (finding,) = group(place, *EVERYBODY).check()
    assert (finding.level, finding.subject) == (Level.OK, "holder custodians")


def test_an_empty_folder_seals_nothing_and_names_the_first_who_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=f"custodian {EVERYBODY[0]}: no certificate"):
        group(tmp_path, *EVERYBODY[:2]).seal(words(2), BINDING)
