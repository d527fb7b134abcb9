from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.redaction import MARK, SHORTEST, Redactor
from pipeline.core.secret import Secret

SHARE = " ".join(["academic", "acid", "ecology", "frost", "guitar", "husky"] * 6)[: 33 * 8]

LEAKS = [
    ("X-Vault-Token: s.JTPxgsRfNzXWmlS5i8DFjbzi", "JTPxgsRf"),
    ("{'X-Vault-Token': 's.JTPxgsRfNzXWmlS5i8DFjbzi', 'n': 1}", "JTPxgsRf"),
    ("token hvs.CAESIJlU9JMYEhOPYv4igdhm9PnZDrabYTobQ4Ymnlq1qY here", "CAESIJlU9"),
    ("Authorization: AWS4-HMAC-SHA256 Credential=AKID/2024, Signature=abc123def", "abc123def"),
    ("headers={'Authorization': b'AWS4-HMAC Signature=abc123def'}", "abc123def"),
    ('"x-amz-security-token": "FwoGZXIvYXdzEJr//////////wEaDH"', "FwoGZXIvYXdz"),
    ("x-amz-security-token:FwoGZXIvYXdzEJr\nhost:kms", "FwoGZXIvYXdzEJr"),
    ('{"secret_id": "6a174c20-f6de-a53c-74d2-6018fcceff64"}', "6018fcceff64"),
    (r'body "{\"client_token\": \"b.AAAAAQKy\"}"', "AAAAAQKy"),
    ('{"Plaintext": "c2VjcmV0IHNoYXJl"}', "c2VjcmV0"),
    ("plaintext='academic acid'", "acid"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
    ('{"keys_base64": ["q83vEjRWeJA="], "root_token": "s.x"}', "q83vEjRWeJA"),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQdGBF\n-----END PGP PRIVATE KEY BLOCK-----", "lQdGBF"),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\\n\\nlQdGBF cut off", "lQdGBF"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
    (f"words {SHARE} end", "ecology frost"),
]


@pytest.mark.parametrize(("line", "secret"), LEAKS)
def test_what_has_the_shape_of_a_secret_is_taken_out(line: str, secret: str) -> None:
    assert secret in line
    cleaned = Redactor().clean(line)
    assert secret not in cleaned
    assert MARK in cleaned


@pytest.mark.parametrize(
    "line",
    [
        "wrote s3://orgkey/records/20240101T000000Z-0123abcd.tar version 3sL4kqtJlcpXroDTDmJ",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBF\n-----END PGP PUBLIC KEY BLOCK-----",
        "secret_id_file and token_file are read at start, address=https://vault:8200",
        "this is an ordinary sentence which goes on for quite a while without saying what a share says, "
        "and it has more than twenty words in a row",
        'http://127.0.0.1:8200 "PUT /v1/transit/encrypt/orgkey-escrow HTTP/1.1" 200 None',
    ],
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert Redactor().clean(line) == line


def forms(value: bytes) -> dict[str, str]:
    return {
        "raw": value.decode("utf-8", "replace"),
        "repr of bytes": repr(value),
        "hex": value.hex(),
        "HEX": value.hex().upper(),
        "base64": base64.b64encode(value).decode(),
        "base64, second position": base64.b64encode(b"{" + value + b"}").decode(),
        "base64, third position": base64.b64encode(b'{"' + value + b'"}').decode(),
        "base64 url": base64.urlsafe_b64encode(value).decode(),
        "json": json.dumps(value.decode("utf-8", "replace")),
        "url": quote(value, safe=""),
    }


@pytest.mark.parametrize("form", forms(b"").keys())
@pytest.mark.parametrize("value", [b"Tr0ub4dor & 3/\xc3\xa9", b"a\"quoted\\secret'", b"0123456789abcdef" * 4])
def test_a_registered_secret_is_taken_out_however_it_is_spelled(value: bytes, form: str) -> None:
    redactor = Redactor()
    redactor.register(Secret(value))
    spelled = forms(value)[form]

    cleaned = redactor.clean(f"before {spelled} after")

    # At the two other positions in base64 the first and last characters are shared with neighbours.
    assert spelled[3:-3] not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


def test_the_bytes_behind_a_hexadecimal_secret_are_registered_too() -> None:
    value = bytes(range(32))
    redactor = Redactor()
    redactor.register(Secret(value.hex()))

    assert redactor.clean(base64.b64encode(value).decode()) == f"{MARK}="
    assert redactor.clean(value.hex().upper()) == MARK


def test_a_digest_that_was_not_registered_stays() -> None:
    redactor = Redactor()
    redactor.register(Secret("ab" * 32))
    assert redactor.clean("cd" * 32) == "cd" * 32


def test_overlapping_and_repeated_secrets_leave_nothing_between() -> None:
    redactor = Redactor()
    redactor.register(Secret("abcdefgh"))
    redactor.register(Secret("efghijkl"))
    assert redactor.clean("x abcdefghijkl abcdefgh y") == f"x {MARK} {MARK} y"


def test_a_secret_too_short_to_tell_is_left() -> None:
    redactor = Redactor()
    redactor.register(Secret("pw"))
    assert redactor.clean("pw and more") == "pw and more"


def test_what_is_known_is_not_kept() -> None:
    redactor = Redactor()
    redactor.register(Secret("a very secret passphrase"))
    kept = repr(vars(redactor))
    assert "secret" not in kept
    assert b"a very secret".hex() not in kept


# NUL stands for the mark below, so that a secret cannot come together around it.
@given(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=SHORTEST, max_size=40
    ),
    st.text(max_size=60),
    st.text(max_size=60),
)
def test_a_secret_is_found_anywhere_in_any_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.register(Secret(secret))
    assert secret not in redactor.clean(before + secret + after).replace(MARK, "\0")


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("shift", range(3))
@pytest.mark.parametrize("length", [16, 17, 18])
def test_inside_a_longer_base64_text_just_the_secret_s_characters_go(
    length: int, shift: int, encode: Callable[[bytes], bytes]
) -> None:
    value = bytes(range(200, 200 + length))
    redactor = Redactor()
    redactor.register(Secret(value))
    spelled = encode(b"\xfb" * shift + value + b"\xfb" * (3 - (shift + length) % 3)).decode()
    first, last = -(-shift * 8 // 6), (shift + length) * 8 // 6
    assert redactor.without_known(spelled) == spelled[:first] + MARK + spelled[last:]


@pytest.mark.parametrize(("digits", "known"), [(30, False), (32, True), (33, False), (64, True)])
def test_hexadecimal_of_a_key_s_length_stands_for_its_bytes(digits: int, known: bool) -> None:
    text = ("0123456789abcdef" * 5)[:digits]
    redactor = Redactor()
    redactor.register(Secret(text))
    raw = base64.b64encode(bytes.fromhex(text[: digits // 2 * 2])).decode().rstrip("=")
    assert (raw not in redactor.without_known(raw)) is known


def test_many_logins_cost_no_time() -> None:
    redactor = Redactor()
    for number in range(5):
        redactor.register(Secret(f"{number}b174c20-f6de-a53c-74d2-6018fcceff6{number}"))
    text = json.dumps({"sha256": "9f86d081884c7d659a2feaa0c55ad015"}) * 5_000  # 240 kB
    begun = time.process_time()
    assert redactor.without_known(text) == text
    assert time.process_time() - begun < 1.0  # 0.06; two seconds when each place was looked at by itself
