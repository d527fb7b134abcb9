"""Why this person's gpg does not open a share: each reason told, with what helps.

Where a real gpg can be brought to it without a card, it is a real one; cards that are wrong, blocked or
taken out are played by a gpg that says what a real one has said (see ``make card``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, NotEnoughShares
from pipeline.openpgp.gnupg import user
from tests.support import leftovers, people
from tests.support.commandline import end_gpg, gpg

SERIAL = "D276000124010304FFFE000000010000"
NUMBER = "FFFE 00000001"
KEY = "04B48264A232B42A"
STATUS = "[GNUPG:] "


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A person's own gpg, which finds no program for cards whatever this machine has."""
    place = leftovers.directory("og-", memory=True)
    (place / "gpg-agent.conf").write_text("disable-scdaemon\ns2k-count 65536\n")
    monkeypatch.setenv("GNUPGHOME", str(place))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    try:
        yield place
    finally:
        end_gpg(place)


def message(home: Path) -> bytes:
    """A share for Alice, whose key this gpg has."""
    gpg(home, "--import", stdin=people.secret_key("alice"))
    to = ("--trust-model", "always", "--recipient", people.FINGERPRINTS["alice"])
    return gpg(home, *to, "--armor", "--encrypt", stdin=b"the words").stdout


def secret_parts(home: Path) -> list[Path]:
    """The file of each secret part, the encryption subkey's last."""
    listed = gpg(home, "--with-colons", "--with-keygrip", "--list-secret-keys").stdout.decode()
    grips = re.findall(r"^grp:{9}([0-9A-F]{40}):", listed, re.MULTILINE)
    return [home / "private-keys-v1.d" / f"{grip}.key" for grip in grips]


def text(value: bytes) -> bytes:
    """One value of a canonical s-expression."""
    return b"%d:%s" % (len(value), value)


def move_to_card(file: Path) -> None:
    """Leave what ``keytocard`` leaves: a stub that names the card."""
    point = re.search(rb"\(q\s+#([0-9A-F]+)#\)", file.read_bytes())
    assert point
    curve = b"(%s%s)(%s%s)" % tuple(map(text, (b"curve", b"Curve25519", b"flags", b"djb-tweak")))
    public = b"(%s%s)" % (text(b"q"), text(bytes.fromhex(point[1].decode())))
    where = b"(%s%s(%s%s))" % tuple(map(text, (b"shadowed", b"t1-v1", bytes.fromhex(SERIAL), b"OPENPGP.2")))
    file.write_bytes(b"(%s(%s%s%s%s))" % (text(b"shadowed-private-key"), text(b"ecc"), curve, public, where))


def refused(data: bytes) -> NotEnoughShares:
    with pytest.raises(NotEnoughShares) as caught:
        user.decrypt(data, "the share of Alice", Deadline(60))
    assert caught.value.code is Code.NOT_ENOUGH_SHARES
    assert caught.value.message.startswith("gpg cannot open the share of Alice: ")
    return caught.value


def test_a_share_is_opened_by_this_persons_gpg(home: Path) -> None:
    assert user.decrypt(message(home), "the share of Alice", Deadline(60)).reveal() == b"the words"


def test_a_signature_that_nobody_can_check_keeps_no_share_closed(home: Path, tmp_path: Path) -> None:
    """Mail programs sign what they encrypt; the share is compared with its commitment anyway."""
    gpg(home, "--import", stdin=people.secret_key("alice"))
    sender = tmp_path / "sender"
    try:
        gpg(
            sender, "--passphrase", "", "--quick-gen-key", "Bob <bob@example.com>", "ed25519", "sign", "never"
        )
        gpg(sender, "--import", stdin=people.certificate("alice"))
        to = ("--trust-model", "always", "--recipient", people.FINGERPRINTS["alice"])
        data = gpg(sender, *to, "--armor", "--sign", "--encrypt", stdin=b"the words").stdout
    finally:
        end_gpg(sender)
    assert user.decrypt(data, "the share of Alice", Deadline(60)).reveal() == b"the words"


def test_a_secret_that_gpg_lacks_is_told_from_one_on_a_card(home: Path) -> None:
    data = message(home)
    file = secret_parts(home)[-1]
    move_to_card(file)
    on_card = refused(data)
    file.unlink()
    lacking = refused(data)
    gpg(home, "--yes", "--delete-secret-keys", people.FINGERPRINTS["alice"])
    nothing = refused(data)
    assert "gpg has no program for smart cards on this machine" in on_card.message
    assert "scdaemon" in on_card.hint
    for error in (lacking, nothing):
        assert "gpg has no secret key for it on this machine; it is encrypted to " in error.message
        assert "gpg --card-status" in error.hint


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a gpg into the search path that says what it is told to."""

    def play(
        *status: str, place: str = SERIAL, tries: int = 2, log: str = "gpg: decryption failed: No secret key"
    ) -> None:
        lines = [f"{STATUS}ENC_TO {KEY} 18 0", *(f"{STATUS}{line}" for line in status), log]
        said = "\n".join(lines)
        script = tmp_path / "bin" / "gpg"
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f"""#!/bin/sh
case "$*" in
*--decrypt*) cat >/dev/null; cat >&2 <<'END'
{said}
END
exit 2 ;;
*--list-secret-keys*) echo 'ssb:u:255:18:{KEY}:1796028653::::::e:::{place}::cv25519::' ;;
*--card-status*) printf 'Reader:A reader:\\npinretry:{tries}:0:3:\\n' ;;
esac
"""
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(script.parent), prepend=":")

    return play


SCD = 6 << 24
"""The part of GnuPG that reports an error stands in the upper bits of its number."""


@pytest.mark.parametrize(
    ("code", "told", "helps"),
    [
        (87, "the PIN is wrong; tries left before the card blocks: 2", "try again, or take another token"),
        (130, "the PIN of the card is blocked", "Admin PIN"),
        (112, "on a smart card that is not in a reader", f"put in the card {NUMBER}, and try again"),
        (110, "on a smart card that is not in a reader", f"put in the card {NUMBER}, and try again"),
        (99, "gpg asked for a card or its PIN, and got none", f"put in the card {NUMBER}, and try again"),
        (11, "the passphrase is wrong", "try again"),
        (85, "gpg finds no way to ask for a PIN", "pinentry"),
        (119, "gpg has no program for smart cards", "scdaemon"),
    ],
)
def test_what_a_card_does_is_told_with_what_helps(
    played: Callable[..., None], code: int, told: str, helps: str
) -> None:
    played(f"ERROR pkdecrypt_failed {SCD | code}")
    error = refused(b"a message")
    assert told in error.message
    assert helps in error.hint
    assert "[GNUPG:]" not in error.message


def test_a_card_that_nobody_puts_in_is_no_missing_secret(played: Callable[..., None]) -> None:
    """gpg 2.2 says the same of both."""
    played()
    assert "on a smart card that is not in a reader" in refused(b"a message").message
    played(place="#")
    assert "gpg has no secret key for it on this machine" in refused(b"a message").message


def test_what_is_not_known_is_told_in_gpgs_own_words(played: Callable[..., None]) -> None:
    played(f"ERROR pkdecrypt_failed {SCD | 108}", place="+", log="gpg: the card smokes")
    error = refused(b"a message")
    assert "gpg cannot open the share of Alice: gpg: the card smokes" in error.message
    assert "gpg --list-packets" in error.hint


def test_the_wrong_pin_is_told_though_another_card_was_asked_for_after_it(
    played: Callable[..., None],
) -> None:
    played(f"ERROR pkdecrypt_failed {SCD | 87}", f"ERROR pkdecrypt_failed {SCD | 99}", tries=1)
    assert "the PIN is wrong; tries left before the card blocks: 1" in refused(b"a message").message


def test_the_last_wrong_pin_blocks_the_card(played: Callable[..., None]) -> None:
    played(f"ERROR pkdecrypt_failed {SCD | 87}", tries=0)
    assert "the PIN of the card is blocked" in refused(b"a message").message
