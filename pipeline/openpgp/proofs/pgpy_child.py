"""The child process in which PGPy works; talks over stdin and stdout.

A request and its answer are one line of JSON each; bytes in it are base64. The process
ends when its standard input does. It learns the passphrase with a request and forgets it with the answer.
"""

from __future__ import annotations

import base64
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeAlias

from pipeline.core.host_limits import exhaustion

Request: TypeAlias = Mapping[str, Any]
Outcome: TypeAlias = tuple[bool | None, str, str | None]
"""Whether it was done, why not, and what was made: :class:`pipeline.openpgp.proofs.interface.Outcome`."""

EXHAUSTED: Final = 75
"""Exit status (EX_TEMPFAIL of sysexits.h) when the host has no room, memory or descriptors left."""
_CERTIFICATIONS: Final = range(0x10, 0x14)
_DOCUMENT: Final = 0x00


def main() -> None:
    """Answer requests until there are no more."""
    from pipeline.core.hardening import harden

    harden()
    warnings.simplefilter("ignore")
    operations = {"make": make, "check": check, "sign": sign}
    try:
        unfit = _prepare()
        for line in sys.stdin.buffer:
            request = json.loads(line)
            found = {"unfit": unfit} if unfit else _answer(operations[request["op"]], request)
            sys.stdout.buffer.write(json.dumps(found).encode() + b"\n")
            sys.stdout.buffer.flush()
    except Exception as error:
        if exhaustion(error, "run PGPy") is None:
            raise
        sys.exit(EXHAUSTED)


def _answer(operation: Callable[[Request], dict[str, Any]], request: Request) -> dict[str, Any]:
    try:
        return operation(request)
    except BaseException as error:  # pyo3 lets a panic of Rust's out as one
        if exhaustion(error, "run PGPy") is not None:
            raise
        return {"unfit": _told(error)}


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:300]


def _prepare() -> str:
    """Import PGPy before the first request, and see whether it works here.

    Returns:
        Why it does not; empty when it does.
    """
    try:
        _restore_retired()
        _spare_a_check()
        _do_without_preferences()
        _show_known_answer()
    except MemoryError:
        raise
    except BaseException as error:
        return f"it does not work here: {_told(error)}"
    return ""


def _restore_retired() -> None:
    """Put back where PGPy 0.6.0 looks for them what `cryptography` is moving to its attic.

    Known there since release 43 (TripleDES) and 47 (Camellia, CFB); announced as removed from the old places.
    """
    from importlib import import_module

    for module, names in (("algorithms", ("TripleDES", "Camellia")), ("modes", ("CFB",))):
        place = import_module(f"cryptography.hazmat.primitives.ciphers.{module}")
        for name in names:
            if not hasattr(place, name):
                attic = import_module(f"cryptography.hazmat.decrepit.ciphers.{module}")
                setattr(place, name, getattr(attic, name))


def _show_known_answer() -> None:
    """Open, decrypt and verify what is known: an implementation that computes wrongly must not judge."""
    import pgpy
    from cryptography.hazmat.primitives import hashes

    from pipeline.openpgp.proofs import known_answer

    key = pgpy.PGPKey.from_blob(known_answer.SECRET)[0]
    signature = pgpy.PGPSignature.from_blob(known_answer.SIGNATURE)
    with key.unlock(known_answer.PASSPHRASE):
        content = bytes(key.decrypt(pgpy.PGPMessage.from_blob(known_answer.MESSAGE)).message)
    good = key._key.verify(signature.hashdata(known_answer.ANSWER), signature.__sig__, hashes.SHA256())
    if content != known_answer.ANSWER or good is not True:
        raise ValueError("it does not find the known answer")


def _do_without_preferences() -> None:
    """Let PGPy work with keys whose user ids have no self-signature that it finds, such as one of version 3.

    It asks that signature for preferences of ciphers and digests, which are named here anyway.
    """
    from types import SimpleNamespace

    from pgpy.pgp import PGPUID

    silent = SimpleNamespace(hashprefs=(), cipherprefs=(), compprefs=(), key_flags=frozenset())
    find = PGPUID.selfsig.fget
    PGPUID.selfsig = property(lambda user: find(user) or silent)


def _spare_a_check() -> None:
    """Take a costly check out of PGPy.

    It hands the numbers of an RSA key to `cryptography` anew for every operation, which tests its
    primes each time: 0.3 s for 4096 bits. Whether the numbers fit was judged when the key was read, and
    whatever is made with them is verified by another implementation.
    """
    from pgpy.packet.fields import RSAPriv

    from pipeline.openpgp.format.material import rsa_private_key

    RSAPriv.__privkey__ = lambda self: rsa_private_key(*map(int, (self.n, self.e, self.d, self.p, self.q)))


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


class Contradiction(Exception):
    """What speaks against the key; whatever else is raised says that PGPy does not take it."""


def _attempt(act: Callable[[], bytes | None]) -> Outcome:
    try:
        made = act()
    except Contradiction as error:
        return False, str(error), None
    except BaseException as error:
        if exhaustion(error, "run PGPy") is not None:
            raise
        return None, _told(error), None
    return True, "", None if made is None else _text(made)


@contextmanager
def _opened(request: Request, field: str) -> Iterator[Any]:
    """Unlock the key; a key that is not protected or has no secret at all counts as not opened."""
    from pgpy.errors import PGPDecryptionError

    key = _key(request["secret"])
    parts = [key, *key.subkeys.values()]
    if any(part.is_public or not part.is_protected for part in parts):
        raise ValueError("a secret part is missing or not protected")
    with ExitStack() as stack:
        try:
            stack.enter_context(key.unlock(_bytes(request[field])))
        except PGPDecryptionError as error:
            raise Contradiction(f"the passphrase does not open it: {error}") from error
        yield key


def make(request: Request) -> dict[str, Outcome]:
    """Open, sign, certify, encrypt, and try a wrong passphrase."""
    return {
        "fingerprint": _attempt(lambda: str(_key(request["tsk"]).fingerprint).upper().encode()),
        "negative": _attempt(lambda: _refuse(request)),
        "decrypt": _attempt(lambda: _encrypt(request)),
        **_with_key(request, sign=_sign, certify=_certify),
    }


def sign(request: Request) -> dict[str, Outcome]:
    """Make a detached signature alone."""
    return _with_key(request, sign=_sign)


def _with_key(request: Request, **uses: Callable[[Any, Request], bytes]) -> dict[str, Outcome]:
    """Open the key, and use it."""
    found: dict[str, Outcome] = {}

    def act() -> None:
        with _opened(request, "passphrase") as key:
            for name, use in uses.items():
                found[name] = _attempt(partial(use, key, request))

    opened = _attempt(act)
    return {"unlock": opened, **dict.fromkeys(uses, opened), **found}


def _refuse(request: Request) -> None:
    try:
        with _opened(request, "wrong"):
            pass
    except Contradiction:
        return
    raise Contradiction("a wrong passphrase opens the key")


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
    """Verify what others made, and decrypt the first of their messages that opens."""
    public = _key(request["public"])
    found: list[tuple[str, str, Outcome]] = []
    for one in request["exhibits"]:
        for task, act in (("sign", _verify), ("certify", _verify_uid)):
            if one[task]:
                found.append((task, one["maker"], _attempt(partial(act, public, one))))
    closed = []
    for one in request["exhibits"]:
        if one["decrypt"]:
            closed.append(("decrypt", one["maker"], _attempt(partial(_decrypt, request, one))))
            if closed[-1][2][0]:
                closed = closed[-1:]
                break
    return {"found": [*found, *closed]}


def _verify(public: Any, exhibit: Request) -> None:
    import pgpy

    signature = pgpy.PGPSignature.from_blob(_bytes(exhibit["sign"]))
    if int(signature.type) != _DOCUMENT:
        raise Contradiction("not a signature over a document")
    _demand(public, signature, _bytes(exhibit["nonce"]))


def _verify_uid(public: Any, exhibit: Request) -> None:
    user = _key(exhibit["certify"])
    identity = next(one for one in user.userids if str(one._uid.uid) == exhibit["user_id"])
    ours = [one for one in identity.__sig__ if one.signer == public.fingerprint.keyid]
    if not ours:
        raise Contradiction("there is no certification by this key")
    for one in ours:
        if int(one.type) not in _CERTIFICATIONS:
            raise Contradiction("not a certification")
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
        raise Contradiction(f"made by another key, {signature.signer}")
    digest = getattr(hashes, signature.hash_algorithm.name)()
    if maker._key.verify(signature.hashdata(subject), signature.__sig__, digest) is not True:
        raise Contradiction("the signature is bad")


def _decrypt(request: Request, exhibit: Request) -> bytes:
    import pgpy

    message = pgpy.PGPMessage.from_blob(_bytes(exhibit["decrypt"]))
    with _opened(request, "passphrase") as key:
        content = key.decrypt(message).message
    return content.encode() if isinstance(content, str) else bytes(content)


if __name__ == "__main__":
    main()
