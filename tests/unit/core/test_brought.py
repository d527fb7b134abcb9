"""Text that people bring: what editors, printers and word processors did to it is undone, or named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import config
from pipeline.cli import shares
from pipeline.cli.fleet_members import FleetMember
from pipeline.core import log, passphrases, typed_text
from pipeline.core.errors import UsageProblem, WrongPassphrase
from pipeline.core.secret import Secret
from pipeline.custody.shares import slip39
from pipeline.monitoring.notify import address
from pipeline.openpgp.gnupg import user
from pipeline.openpgp.key.rewrap import load
from pipeline.providers.credentials import read_secret

ASSETS = Path(__file__).parents[2] / "assets"
CASES = sorted((ASSETS / "passphrases").iterdir())
EXPORT = (ASSETS / "keys" / "ed25519-two-block.asc").read_bytes()
PASSPHRASE = b"correct horse battery staple"


def told(name: str) -> Secret:
    """The file as an option hands it on."""
    return passphrases.from_options("it", file=ASSETS / "passphrases" / name, option_names="-file")()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_file_that_an_editor_spoilt_opens_and_its_cause_is_named(
    case: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = told(case.name)
    assert PASSPHRASE in typed_text.readings(given.reveal())
    assert typed_text.oddity(given.reveal())
    assert "used as it stands, but" in caplog.text
    assert "horse" not in caplog.text


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_new_passphrase_that_nobody_can_type_is_refused(case: Path) -> None:
    fits = case.name == "nbsp"  # which some keyboards have
    source = passphrases.from_options("it", file=case, new=True, option_names="-file")
    if fits:
        assert source()
        return
    with pytest.raises(UsageProblem, match="cannot be typed") as caught:
        source()
    assert "horse" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "value",
    ["a\x00b", "a\tb", "two\nlines", "a\u2028b", "a\u200bb", "a\x1b[31m", "bell\x07", "end\r", "\ufeffx"],
)
def test_characters_that_do_not_show_make_no_new_passphrase(value: str) -> None:
    assert typed_text.unfit(value.encode())
    assert typed_text.unfit(b"\xff\xfe\x00")


@pytest.mark.parametrize("value", ["plain", "with inner space", "Schlüssel", "日本語の鍵", "naïve café"])
def test_what_can_be_typed_is_taken(value: str) -> None:
    assert typed_text.unfit(value.encode()) is None
    assert typed_text.readings(value.encode())[0] == value.encode()
    assert typed_text.oddity(value.encode()) is None


def test_a_short_new_passphrase_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for content, warned in ((b"abc\n", True), (b"long enough\n", False)):
        caplog.clear()
        (tmp_path / "new").write_bytes(content)
        (tmp_path / "new").chmod(0o600)
        passphrases.from_options("it", file=tmp_path / "new", new=True, option_names="-file")()
        assert ("can guess it" in caplog.text) == warned


def test_the_hint_of_a_wrong_passphrase_names_what_is_odd() -> None:
    wrong = Secret("wrong\n".encode("utf-16"))
    with pytest.raises(WrongPassphrase) as caught:
        load(EXPORT, wrong, pin=None, now=datetime.now(UTC))
    assert "UTF-16" in caught.value.hint


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-8"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
@settings(max_examples=10)
@given(text=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40))
def test_however_a_text_was_saved_it_is_among_the_readings(encoding: str, end: str, text: str) -> None:
    saved = (text + end).encode(encoding).removesuffix(b"\n")
    assert text.encode() in typed_text.readings(saved)
    assert len(typed_text.readings(saved)) <= 6


@given(st.binary(max_size=64))
def test_any_bytes_are_first_taken_as_they_stand(data: bytes) -> None:
    assert typed_text.readings(data)[0] == data
    for reading in (typed_text.oddity(data), typed_text.unfit(data), typed_text.words(data)):
        assert reading is None or isinstance(reading, str)


def words() -> str:
    raw = Secret(bytes(range(32)))
    from pipeline.custody.shares.paths import Path as CustodyPath
    from pipeline.custody.shares.paths import PathNeed

    return slip39.split(raw, CustodyPath("p", (PathNeed("a", 1, 1),)), set()).shares["a"][0].text()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.replace(" ", "\u00a0").encode(),
        lambda text: text.replace(" ", "\u2003").encode(),
        lambda text: text.replace(" ", " \u200b").encode(),
        lambda text: text.replace("a", "\uff41").encode(),  # full width
        lambda text: text.upper().replace(" ", "\r\n").encode("utf-8-sig"),
    ],
)
def test_a_share_is_read_however_it_was_written(change: object) -> None:
    text = words()
    data = change(text)  # type: ignore[operator]
    assert slip39.normalise(Secret(data)).text() == text
    assert shares.split(data) == [text.encode()]


@pytest.mark.parametrize(
    "change",
    [
        lambda words: ", ".join(words).encode(),
        lambda words: ",".join(words).encode(),
        lambda words: "-".join(words).encode(),
        lambda words: f"“{' '.join(words)}”.".encode(),
        lambda words: "\n".join(f"• {word}" for word in words).encode(),
        lambda words: "\n".join(f"- {word}" for word in words).encode(),
        lambda words: "\n".join(f"{number} - {word}" for number, word in enumerate(words, 1)).encode(),
        lambda words: "\n".join(f"({number}) {word}" for number, word in enumerate(words, 1)).encode(),
        lambda words: " | ".join(f"#{number} {word}" for number, word in enumerate(words)).encode(),
        lambda words: "\u2028".join(words).encode(),
        lambda words: "\xa0".join(words).encode("latin-1"),
        lambda words: " ".join(words).upper().replace("I", "\u0130").encode(),
        lambda words: " ".join(words).replace("i", "\u0131").encode(),
    ],
)
def test_signs_around_the_words_of_shares_are_left_out(change: object) -> None:
    texts = [words(), words()]
    data = [change(text.split()) for text in texts]  # type: ignore[operator]
    for item, text in zip(data, texts, strict=True):
        assert shares.split(item) == [text.encode()]
    assert shares.split(b"\n".join(data)) == [text.encode() for text in texts]


def test_shares_are_found_among_other_words() -> None:
    one, two = words(), words()
    mail = (
        f"Content-Type: text/plain; charset=utf-8\n\nThis is my academic share:\n{one}\n\nThe other:\n{two}\n"
    )
    assert shares.split(mail.encode()) == [one.encode(), two.encode()]
    first, second, *rest = two.split()
    damaged = " ".join([second, first, *rest])
    found = shares.split(mail.replace(two, damaged).encode())
    assert found == [one.encode(), damaged.encode()], "it is not left out"
    for before in range(34):  # as many other words as a share has, in a line or beside it
        for end in ("\n", " "):
            text = f"{' '.join(['hello'] * before)}{end}{one}\n{' '.join(['regards'] * (33 - before))}\n"
            assert shares.split(text.encode()) == [one.encode()]
    for nothing in ("no share at all", f"aca demic {' '.join(rest)}", f"{damaged} more"):
        assert shares.split(nothing.encode()) == [nothing.encode()], "its error counts all words"


def test_words_are_told_from_an_encrypted_message() -> None:
    text = words()
    armored = "-----BEGIN PGP MESSAGE-----\n\nwcDMA\n-----END PGP MESSAGE-----\n"
    for data in (text.encode("utf-16"), f"“{text}”".encode(), f"\u00a0{text}".encode(), "\u0101".encode()):
        assert user.message_in(data) is None
    for around in ("", "Subject: the share\n\n", "\ufeff"):
        for encoding in ("utf-8", "utf-16"):
            assert user.message_in((around + armored).encode(encoding)) == armored.encode()
    for first in (b"\x85\x01\x0c\x03", b"\xc1\xc0\x4c\x03", b"\x84\x5e\x03"):
        assert user.message_in(first + bytes(range(256))) == first + bytes(range(256))


def test_shares_are_told_apart_by_lines_or_by_what_is_between_them() -> None:
    one, two = words(), words()
    found = [one.encode(), two.encode()]
    sheets = ["\n".join(" ".join(text.split()[at : at + 11]) for at in (0, 11, 22)) for text in (one, two)]
    for text in (f"{one}\n{two}\n", f"\n{one}\r\n\r\n{two}", "\n \n".join(sheets), "\r\n\r\n".join(sheets)):
        assert shares.split(text.encode()) == found
    assert shares.split("\n".join(sheets[0].split(" ")).encode()) == found[:1]


def test_commas_and_numbers_are_not_of_the_words() -> None:
    text = words()
    listed = ", ".join(text.split()) + "."
    numbered = "\n".join(f"{number}. {word};" for number, word in enumerate(text.split(), 1))
    assert shares.split(listed.encode()) == shares.split(numbered.encode()) == [text.encode()]


def test_what_was_meant_is_kept_out_of_the_logs_too() -> None:
    told("utf16")
    assert "horse" not in log.clean("x correct horse battery staple x")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_an_editor_s_encoding_changes_no_file_that_people_write(encoding: str, tmp_path: Path) -> None:
    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    small = '[target.disk]\nkind = "directory"\ndomain = "disk"\ncontrolled_by = ["ops"]\npath = "/srv"\n'
    assert lacking(written("orgkey.toml", small).read_bytes()) == lacking(small.encode())
    assert read_secret(str(written("role-id", "0a1b-2c3d\r\n")), "role id").reveal() == b"0a1b-2c3d"
    assert address.read(str(written("urls", "https://one.example/\n# no\n")), None, "urls_file", 5.0) == (
        "https://one.example/",
    )
    written("berlin.env", "AWS_PROFILE=berlin\n")
    assert FleetMember("berlin", tmp_path / "berlin.toml").environment({}) == {"AWS_PROFILE": "berlin"}


def lacking(data: bytes) -> str:
    """What is said of a configuration without holders and paths."""
    with pytest.raises(UsageProblem) as caught:
        config.parse(data, Path("orgkey.toml"))
    return caught.value.message
