"""The child process in which PGPy works; run as a file, talks in frames over stdin and stdout.

A frame is four bytes of length, big-endian, and a JSON document; bytes in it are base64. The process
ends when its standard input does. It learns the passphrase with a request and forgets it with the answer.
"""

from __future__ import annotations

import base64
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

Request: TypeAlias = Mapping[str, Any]
Outcome: TypeAlias = tuple[str, str]

_CERTIFICATIONS: Final = range(0x10, 0x14)
_DOCUMENT: Final = 0x00


def main() -> None:
    """Answer requests until there are no more."""
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    from pipeline.harden import harden

    harden()
    warnings.simplefilter("ignore")
    _prepare()
    operations = {"make": make, "check": check, "resign": resign, "sign": sign}
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while len(head := stdin.read(4)) == 4:
        request = json.loads(stdin.read(int.from_bytes(head, "big")))
        answer = json.dumps(operations[request["op"]](request)).encode()
        stdout.write(len(answer).to_bytes(4, "big") + answer)
        stdout.flush()


def _prepare() -> None:
    """Import PGPy before the first request, and take a costly check out of it.

    PGPy hands the numbers of an RSA key to `cryptography` anew for every operation, which tests its
    primes each time: 0.3 s for 4096 bits. Whether the numbers fit was judged when the key was read, and
    whatever is made with them is verified by another implementation.
    """
    import pgpy  # noqa: F401 - ahead of the first request
    from cryptography.hazmat.primitives.asymmetric import rsa
    from pgpy.packet.fields import RSAPriv

    def private_key(self: Any) -> rsa.RSAPrivateKey:
        numbers = rsa.RSAPrivateNumbers(
            int(self.p),
            int(self.q),
            int(self.d),
            rsa.rsa_crt_dmp1(int(self.d), int(self.p)),
            rsa.rsa_crt_dmq1(int(self.d), int(self.q)),
            rsa.rsa_crt_iqmp(int(self.p), int(self.q)),
            rsa.RSAPublicNumbers(int(self.e), int(self.n)),
        )
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)

    RSAPriv.__privkey__ = private_key


def _key(data: str) -> Any:
    import pgpy

    return pgpy.PGPKey.from_blob(_bytes(data))[0]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _part(key: Any, fingerprint: str) -> Any:
    """The primary key or the subkey of that fingerprint."""
    parts = [key, *key.subkeys.values()]
    return next(part for part in parts if str(part.fingerprint) == fingerprint)


def _attempt(act: Callable[[], bytes | None]) -> Outcome:
    try:
        made = act()
    except Exception as error:
        return "failure", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:300]
    return ("done", "") if made is None else ("product", _text(made))


@contextmanager
def _opened(request: Request, field: str) -> Iterator[Any]:
    """Unlock the key; a key that is not protected or has no secret at all counts as not opened."""
    key = _key(request["secret"])
    parts = [key, *key.subkeys.values()]
    if any(part.is_public or not part.is_protected for part in parts):
        raise ValueError("a secret part is missing or not protected")
    with key.unlock(_bytes(request[field])):
        yield key


def make(request: Request) -> dict[str, Any]:
    """Open, sign, certify, encrypt, and try a wrong passphrase."""
    return {
        "fingerprint": _attempt(lambda: str(_key(request["tsk"]).fingerprint).upper().encode()),
        "negative": _attempt(lambda: _refuse(request)),
        "message": _attempt(lambda: _encrypt(request)),
        **_with_key(request),
    }


def _with_key(request: Request) -> dict[str, Outcome]:
    try:
        with _opened(request, "passphrase") as key:
            return {
                "unlock": ("done", ""),
                "sign": _attempt(lambda: _sign(key, request)),
                "certify": _attempt(lambda: _certify(key, request)),
            }
    except Exception as error:
        failure = ("failure", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:300])
        return dict.fromkeys(("unlock", "sign", "certify"), failure)


def _refuse(request: Request) -> None:
    from pgpy.errors import PGPDecryptionError

    try:
        with _opened(request, "wrong"):
            pass
    except PGPDecryptionError:
        return
    raise ValueError("a wrong passphrase opens the key")


def _sign(key: Any, request: Request) -> bytes:
    from pgpy import PGPKey

    # The undecorated method: PGPy's own choice of a key ignores revocations and lasts at the last subkey.
    part = _part(key, request["signing"])
    moment = request.get("moment")
    created = None if moment is None else datetime.fromtimestamp(moment, UTC)
    return bytes(PGPKey.sign.__wrapped__(part, _bytes(request["nonce"]), hash=_digest(part), created=created))


def _digest(key: Any) -> Any:
    """SHA-256, or SHA-512 for curves that gpg does not accept a shorter digest with."""
    from pgpy.constants import HashAlgorithm, PubKeyAlgorithm

    wide = key.key_algorithm is PubKeyAlgorithm.ECDSA and key.key_size.key_size > 256
    return HashAlgorithm.SHA512 if wide else HashAlgorithm.SHA256


def _certify(key: Any, request: Request) -> bytes:
    user = _key(request["user"])
    wanted = next(one for one in user.userids if str(one._uid.uid) == request["user_id"])
    wanted |= key.certify(wanted, hash=_digest(key))
    return bytes(user)


def _encrypt(request: Request) -> bytes:
    from pgpy import PGPKey, PGPMessage
    from pgpy.constants import CompressionAlgorithm, SymmetricKeyAlgorithm

    public = _key(request["public"])  # kept: a subkey refers to it weakly
    part = _part(public, request["encrypting"])
    message = PGPMessage.new(
        _bytes(request["plaintext"]), format="b", compression=CompressionAlgorithm.Uncompressed
    )
    return bytes(PGPKey.encrypt.__wrapped__(part, message, cipher=SymmetricKeyAlgorithm.AES256))


def check(request: Request) -> dict[str, Any]:
    """Verify what others made, and decrypt their messages."""
    public = _key(request["public"])
    found: dict[str, Any] = {"signatures": {}, "certifications": {}, "plaintexts": {}}
    for one in request["exhibits"]:
        if one["signature"]:
            found["signatures"][one["maker"]] = _attempt(partial(_verify, public, one))
        if one["certified"]:
            found["certifications"][one["maker"]] = _attempt(partial(_verify_uid, public, one))
        if one["message"]:
            found["plaintexts"][one["maker"]] = _attempt(partial(_decrypt, request, one))
    return found


def _verify(public: Any, exhibit: Request) -> None:
    import pgpy

    signature = pgpy.PGPSignature.from_blob(_bytes(exhibit["signature"]))
    if int(signature.type) != _DOCUMENT:
        raise ValueError("not a signature over a document")
    _demand(public, signature, _bytes(exhibit["nonce"]))


def _verify_uid(public: Any, exhibit: Request) -> None:
    user = _key(exhibit["certified"])
    identity = next(one for one in user.userids if str(one._uid.uid) == exhibit["user_id"])
    ours = [one for one in identity.__sig__ if one.signer == public.fingerprint.keyid]
    if not ours:
        raise ValueError("there is no certification by this key")
    for one in ours:
        if int(one.type) not in _CERTIFICATIONS:
            raise ValueError("not a certification")
        _demand(public, one, identity)


def _demand(public: Any, signature: Any, subject: Any) -> None:
    """Judge the mathematics alone, below PGPy's own verification.

    That one refuses a key which has expired meanwhile, knows nothing of revocations or of how subkeys
    are bound, and calls an empty list of signatures good.
    """
    from cryptography.hazmat.primitives import hashes

    parts = [public, *public.subkeys.values()]
    maker = next((part for part in parts if part.fingerprint.keyid == signature.signer), None)
    if maker is None:
        raise ValueError(f"made by another key, {signature.signer}")
    digest = getattr(hashes, signature.hash_algorithm.name)()
    if maker._key.verify(signature.hashdata(subject), signature.__sig__, digest) is not True:
        raise ValueError("the signature is bad")


def _decrypt(request: Request, exhibit: Request) -> bytes:
    import pgpy

    message = pgpy.PGPMessage.from_blob(_bytes(exhibit["message"]))
    with _opened(request, "passphrase") as key:
        content = key.decrypt(message).message
    return content.encode() if isinstance(content, str) else bytes(content)


def sign(request: Request) -> dict[str, Any]:
    """Make a detached signature alone."""
    return {"sign": _with_key_sign(request)}


def _with_key_sign(request: Request) -> Outcome:
    def act() -> bytes:
        with _opened(request, "passphrase") as key:
            return _sign(key, request)

    return _attempt(act)


def resign(request: Request) -> dict[str, Any]:
    """Sign the user ids and subkeys anew, without an end: for a copy in memory of an expired key.

    The request names user ids as text and subkeys by fingerprint, each with its key flags.
    """
    from pgpy.constants import HashAlgorithm, KeyFlags, SignatureType, SymmetricKeyAlgorithm

    def flags(number: int) -> set[Any]:
        return {flag for flag in KeyFlags if flag.value & number}

    found: dict[str, Any] = {"user_ids": {}, "subkeys": {}}
    with _opened(request, "passphrase") as key:
        for identity in key.userids:
            made = key.certify(
                identity,
                SignatureType.Positive_Cert,
                usage=flags(request["flags"]),
                hash=_digest(key),
                hashes=[HashAlgorithm.SHA256],
                ciphers=[SymmetricKeyAlgorithm.AES256],
            )
            found["user_ids"][str(identity._uid.uid)] = _text(bytes(made))
        for fingerprint, number in request["subkeys"].items():
            subkey = _part(key, fingerprint)
            signs = KeyFlags.Sign in flags(number)
            made = key.bind(subkey, usage=flags(number), hash=_digest(key), crosssign=signs)
            found["subkeys"][fingerprint] = _text(bytes(made))
    return found


if __name__ == "__main__":
    main()
