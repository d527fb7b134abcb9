"""Take secrets out of text that is about to be written: by shape, and by value where it is known.

Known values are not kept: what stays in memory of each is its length, its first two characters, by which
one pattern finds where it may begin, and a fingerprint under a key drawn at start-up, so that a table of
secrets never forms. Fingerprints of a short secret can be guessed by whoever reads this process's memory,
who could then read the secret itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from pipeline.core.secret import Secret

MARK: Final = "[redacted]"
SHORTEST: Final = 4  # characters; anything shorter would black out ordinary text

_BEGIN: Final = 2  # characters of a known form that are kept

_HEADERS: Final = (
    r"x-vault-token|x-vault-wrap-token|authorization|proxy-authorization|x-amz-security-token"
    r"|x-amz-server-side-encryption-customer-key|set-cookie|cookie"
)
_FIELDS: Final = (
    r"secret_id|client_token|wrapping_token|root_token|unseal_keys?(?:_b64|_hex)?|keys_base64|plaintext"
    r"|passphrase|password|secret_?access_?key|aws_secret_access_key|session_?token|aws_session_token"
    r"|secret_key|private_key|mnemonic"
)
_QUOTED: Final = r"""b?\\?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'"""

_SHAPES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # A block whose end was cut off is redacted to the end of the text.
        r"(?s)-----BEGIN (?P<kind>[A-Z0-9 ]*PRIVATE KEY[A-Z ]*)-----.*?(?:-----END (?P=kind)-----|\Z)",
        rf"""(?i)(?P<name>\b(?:{_HEADERS})\\?["']?\s*[:=]\s*)(?:{_QUOTED}|[^\r\n]+)""",
        rf"""(?i)(?P<name>\b(?:{_FIELDS})\\?["']?\s*[:=]\s*)(?:\[[^\]]*\]|{_QUOTED}|[^\s,;&}})\]]+)""",
        # A token of Vault's: service, batch or recovery.
        r"(?<![A-Za-z0-9_.-])(?:hv[sbr]\.[A-Za-z0-9_-]{20,}|[sbr]\.[A-Za-z0-9]{24,}(?:\.[A-Za-z0-9]+)?)",
        # A SLIP-39 share has 20 words or more (33 for 256 bits) of 4 to 8 letters; prose has no such run.
        r"\b(?:[a-z]{4,8}[ +_-]){19,}[a-z]{4,8}\b",
    )
)
"""What a secret looks like wherever it stands; of a header or a field, the name is kept.

One after the other, and in this order: what begins like a field may be a block, of which a field would take
the first word alone.
"""


class Redactor:
    """Knows secrets by fingerprint and takes them out of text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        # first two characters -> length -> keyed digests of the forms that have them
        self._known: dict[str, dict[int, frozenset[bytes]]] = {}

    def register(self, secret: Secret) -> None:
        """Redact ``secret`` from now on: as it stands, in hex, in base64 at any alignment, escaped.

        Args:
            secret: One with fewer than four bytes is ignored.
        """
        with self._lock:
            known = dict(self._known)
            for form in _forms(secret.reveal()):
                if len(form) >= SHORTEST:
                    lengths = known.get(form[:_BEGIN], {})
                    same = lengths.get(len(form), frozenset()) | {self._digest(form)}
                    known[form[:_BEGIN]] = lengths | {len(form): same}
            self._known = known  # readers see the old table or the new one, never a half

    def clean(self, text: str) -> str:
        """Return ``text`` without known secrets and without anything that has a secret's shape."""
        text = self.without_known(text)
        for shape in _SHAPES:
            text = shape.sub(lambda match: match.groupdict().get("name", "") + MARK, text)
        return text

    def without_known(self, text: str) -> str:
        """Return ``text`` without known secrets; the rest stays as it is."""
        known = self._known
        spans: list[tuple[int, int]] = []
        for match in _pattern(frozenset(known)).finditer(text):
            start = match.start()
            for length, digests in known.get(text[start : start + _BEGIN], {}).items():
                found = text[start : start + length]
                if len(found) == length and self._digest(found) in digests:
                    spans.append((start, start + length))
        pieces: list[str] = []
        done = 0
        for start, end in sorted(spans):
            if start >= done:
                pieces += [text[done:start], MARK]
            done = max(done, end)
        return "".join([*pieces, text[done:]])

    def _digest(self, text: str) -> bytes:
        data = text.encode(errors="surrogatepass")
        return hashlib.blake2b(data, key=self._key, digest_size=16).digest()


@lru_cache(maxsize=2)  # made when text is written, not for each secret that becomes known
def _pattern(beginnings: frozenset[str]) -> re.Pattern[str]:
    """One pattern for any of some pairs of characters; it takes the first alone, since pairs overlap."""
    if not beginnings:
        return re.compile("(?!)")
    seconds: dict[str, str] = {}
    for pair in sorted(beginnings):
        seconds[pair[0]] = seconds.get(pair[0], "") + re.escape(pair[1])
    return re.compile("|".join(f"{re.escape(first)}(?=[{more}])" for first, more in seconds.items()))


def _forms(raw: bytes) -> set[str]:
    """The ways in which a secret is spelled in logs."""
    if len(raw) < SHORTEST:
        return set()
    forms = _encodings(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    forms |= {text, repr(text)[1:-1], repr(raw)[2:-1], json.dumps(text)[1:-1], quote(text, safe="")}
    if re.fullmatch(r"(?:[0-9a-fA-F]{2}){16,}", text):
        # The escrow passphrase is written in hex; its 32 bytes are just as secret.
        forms |= {text.upper(), text.lower(), *_encodings(bytes.fromhex(text))}
    return forms


def _encodings(raw: bytes) -> set[str]:
    alone = base64.b64encode(raw).decode().rstrip("=")
    forms = {raw.hex(), raw.hex().upper(), alone, alone.replace("+", "-").replace("/", "_")}
    for shift in range(3):
        # Inside a longer base64 text a value starts at one of three positions; the characters that
        # it shares with its neighbours are left out (RFC 4648 section 4).
        first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms.add(encode(bytes(shift) + raw).decode()[first:last])
    return forms
