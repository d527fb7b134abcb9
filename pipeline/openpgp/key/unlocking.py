"""Opening a key's secret parts with a passphrase, and telling a wrong passphrase from a damaged key."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from pipeline.core import typed_text
from pipeline.core.errors import NotAKey, OrgkeyError, WrongPassphrase
from pipeline.core.secret import Secret
from pipeline.openpgp.format.armor import DAMAGED_HINT
from pipeline.openpgp.format.material import RSA, fits, read_secret
from pipeline.openpgp.format.protection import ProtectionState, open_secret
from pipeline.openpgp.key.model import Component, TransferableKey


def candidates(passphrase: Secret) -> list[bytes]:
    """The bytes that a program may have hashed for a passphrase, the given ones first.

    OpenPGP hashes bytes, and programs have not agreed on which: composed or decomposed letters, UTF-8
    or Latin-1; and editors add to what was typed. Plain ASCII has one form only.
    """
    found: list[bytes] = []
    for raw in typed_text.readings(passphrase.reveal()):
        found.append(raw)
        if raw.isascii():
            continue
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        for form in ("NFC", "NFD"):
            changed = unicodedata.normalize(form, text)
            found.append(changed.encode())
            try:
                found.append(changed.encode("latin-1"))
            except UnicodeEncodeError:
                continue
    return list(dict.fromkeys(found))


def name_of(key: TransferableKey, index: int) -> str:
    """What messages call a component: the primary key, or a subkey by its key id."""
    return "the primary key" if index == 0 else f"the subkey {key.components[index].public.key_id}"


def open_all(
    key: TransferableKey, passphrase: Secret | None
) -> tuple[list[Secret | None], list[OrgkeyError]]:
    """Open every secret part that can be opened.

    Args:
        key: The key; parts without secret numbers here are passed over.
        passphrase: Without one, only unprotected parts are looked at.

    Returns:
        For each component its secret numbers, or none; and what is wrong.
    """
    attempts = candidates(passphrase) if passphrase is not None else []
    opened: list[Secret | None] = []
    failed: list[int] = []
    problems: list[OrgkeyError] = []
    for index, component in enumerate(key.components):
        clear: Secret | None = None
        state = component.state
        if state is ProtectionState.UNPROTECTED or (state is ProtectionState.PROTECTED and attempts):
            try:
                clear = _open(component, attempts if state is ProtectionState.PROTECTED else [b""])
                if clear is None:
                    failed.append(index)
            except OrgkeyError as error:
                what = f"{name_of(key, index)}: {error.message}"
                problems.append(type(error)(what, hint=error.hint))
        opened.append(clear)
    if failed and passphrase is not None:
        problems.append(_wrong(key, failed, opened, passphrase))
    return opened, problems


def _open(component: Component, attempts: Sequence[bytes]) -> Secret | None:
    """Open one secret part.

    Returns:
        The numbers, or nothing when no attempt opens it.

    Raises:
        NotAKey: It is damaged: unprotected with a wrong checksum, or opened but the numbers are wrong.
        Unsupported: The cipher or curve is gone from the installed libraries.
    """
    how = component.protection
    assert how is not None
    for passphrase in attempts:
        result = open_secret(how, passphrase)
        try:
            numbers = read_secret(component.public, result.clear.reveal())
        except NotAKey:
            # Garbage passes a 16-bit sum once in 65,536 times: only a digest tells that it is damage.
            if how.state is ProtectionState.UNPROTECTED or (result.sound and how.usage == 254):
                raise
            continue
        matching = fits(component.public, numbers)
        if result.sound and matching:
            return result.clear
        if result.sound:
            raise NotAKey("its secret numbers do not belong to its public ones", hint=DAMAGED_HINT)
        # Four numbers of the announced lengths, or one that fits, do not come from a wrong passphrase.
        if matching or how.state is ProtectionState.UNPROTECTED or component.public.algorithm in RSA:
            raise NotAKey("the checksum of its secret part is wrong", hint=DAMAGED_HINT)
    return None


def _wrong(
    key: TransferableKey, failed: list[int], opened: list[Secret | None], passphrase: Secret
) -> WrongPassphrase:
    names = " and ".join(name_of(key, index) for index in failed)
    message = f"the passphrase does not open {names}"
    others = [index for index, clear in enumerate(opened) if clear is not None]
    if any(key.components[index].state is ProtectionState.PROTECTED for index in others):
        message += f", though it opens {' and '.join(name_of(key, index) for index in others)}"
        hint = "the parts have different passphrases, or that part is damaged; export the key again"
    else:
        odd = typed_text.oddity(passphrase.reveal())
        hint = "check the passphrase; it is the one given at the export"
        hint += f"; of this one: {odd}" if odd else ""
    old = [key.components[index].protection for index in failed]
    if any(how is not None and how.usage != 254 for how in old):
        hint += " (or the key is damaged: its old 16-bit checksum cannot tell the two apart)"
    return WrongPassphrase(message, hint=hint)
