"""SLIP-39: the escrow passphrase as words, split over the holders of one path.

One group per holder, all groups needed; a machine's group is 1 of 1, a group of people m of n. Empty
SLIP-39 passphrase, extendable, iteration exponent 0: a share carries 256 bits, stretching adds nothing,
and ``shamir recover`` needs no flag. See https://github.com/satoshilabs/slips/blob/master/slip-0039.md.

The library is not hardened against side channels: secrets are split and joined only on hosts that
hold the key at that moment anyway.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from pipeline.core import typed_text
from pipeline.core.errors import NotEnoughShares, UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.shares.passphrase import SIZE
from pipeline.custody.shares.paths import Path, check_need

IDENTIFIERS = 1 << 15
WORDS = 33
"""Words of a share of 256 bits: 4 of parameters, 26 of value, 3 of checksum."""
_NEARLY: Final = 20
"""So many words of the list are meant as a share."""

_HINT = "use the shares of one path of one record, each as it was handed out"


@dataclass(frozen=True, slots=True)
class Split:
    """One path's split.

    Attributes:
        identifier: The SLIP-39 identifier, 15 bits; it tells splits apart.
        shares: Each holder's shares (mnemonics), in the order of its members.
    """

    identifier: int
    shares: Mapping[str, tuple[Secret, ...]]


def normalise(words: Secret) -> Secret:
    """Write a share in the one form that is sealed and committed to.

    Args:
        words: A mnemonic as a person or a holder gave it: any case, any white space.

    Returns:
        Lower case, single spaces, ASCII, no newline.

    Raises:
        WrongShare: It holds other things than words.
    """
    found = typed_text.words(words.reveal()).split()
    if not found or not all(re.fullmatch(r"[a-z]+", word) for word in found):
        raise WrongShare("this is not a SLIP-39 share", hint=f"a share is {WORDS} English words")
    return Secret(" ".join(found))


def split(raw: Secret, path: Path, taken: Collection[int]) -> Split:
    """Split an escrow passphrase over the holders of one path.

    Args:
        raw: The escrow passphrase, 32 bytes.
        path: The path.
        taken: Identifiers of the record's other splits: two splits with one identifier could be mixed
            up without notice until their digest fails.

    Returns:
        The shares, under an identifier that is not taken.

    Raises:
        UsageProblem: The path cannot be expressed in SLIP-39.
    """
    from shamir_mnemonic import shamir

    for need in path.needs:
        check_need(path.name, need)
    if len(raw) != SIZE or not 1 <= len(path.needs) <= 16:
        raise UsageProblem(
            f"path {path.name} cannot be split",
            hint="a path has 1 to 16 holders, an escrow passphrase 32 bytes",
        )
    identifier = secrets.randbelow(IDENTIFIERS)
    while identifier in taken:  # a record has a handful of splits
        identifier = secrets.randbelow(IDENTIFIERS)
    encrypted = shamir.EncryptedMasterSecret.from_master_secret(
        raw.reveal(), b"", identifier, extendable=True, iteration_exponent=0
    )
    groups = shamir.split_ems(
        len(path.needs), [(need.threshold, need.size) for need in path.needs], encrypted
    )
    return Split(
        identifier,
        {
            need.holder: tuple(Secret(share.mnemonic()) for share in group)
            for need, group in zip(path.needs, groups, strict=True)
        },
    )


def combine(words: Sequence[Secret]) -> Secret:
    """Put an escrow passphrase together again.

    More shares of a group than needed, and the same share twice, are fine. The caller has checked each
    share against its commitment: a foreign share of a 1-of-1 group gives another secret, not an error.

    Args:
        words: Shares of one split, in any order.

    Returns:
        The 32 raw bytes.

    Raises:
        NotEnoughShares: Shares are missing.
        WrongShare: A share is damaged, or they belong to different splits.
    """
    from shamir_mnemonic.recovery import RecoveryState
    from shamir_mnemonic.share import Share
    from shamir_mnemonic.utils import MnemonicError

    try:
        shares = {Share.from_mnemonic(normalise(item).text()) for item in words}
    except MnemonicError as error:
        damaged = next((found for item in words if (found := damage(item))), _kind(error))
        raise WrongShare(f"a share is damaged: {damaged}", hint=_HINT) from None
    state = RecoveryState()
    try:
        for share in shares:
            if not state.matches(share):
                raise WrongShare("the shares belong to different splits", hint=_HINT)
            state.add_share(share)
        if not state.is_complete():
            needed = max((share.group_threshold for share in shares), default=1)
            raise NotEnoughShares(
                f"shares of {state.groups_complete()} of {needed} holders are there",
                hint="give the missing holders' shares too",
            )
        raw = state.recover(b"")
    except MnemonicError:
        raise WrongShare("the shares do not fit together", hint=_HINT) from None
    if len(raw) != SIZE:
        raise WrongShare("the shares are not those of an escrow passphrase", hint=_HINT)
    return Secret(raw)


def damage(words: Secret) -> str | None:
    """Say what is wrong with a share in itself; its checksum finds every three wrong words.

    Args:
        words: One share.

    Returns:
        In words, without the share's own; ``None`` for a share that is whole, of whatever split.

    Raises:
        WrongShare: It holds other things than words.
    """
    from shamir_mnemonic.share import Share
    from shamir_mnemonic.utils import MnemonicError

    text = normalise(words).text()
    if wrong := unknown(text.split()):
        return wrong
    try:
        Share.from_mnemonic(text)
    except MnemonicError as error:
        return _kind(error)
    return None


def whole(words: Sequence[str]) -> list[Sequence[str]]:
    """Find shares among other words, by their checksums.

    Args:
        words: A text, in lower case.

    Returns:
        The words of each share that is whole, and of one beside it that is damaged those that may be its;
        nothing where none is whole.
    """
    from shamir_mnemonic.wordlist import WORDLIST

    known = frozenset(WORDLIST)
    found: list[Sequence[str]] = []
    any_whole = False
    for listed, group in groupby(words, known.__contains__):
        run = list(group) if listed else []
        start = left = 0
        while start + WORDS <= len(run):
            piece = run[start : start + WORDS]
            if damage(Secret(" ".join(piece))) is not None:
                start += 1
                continue
            found += [run[left:start]] * (start - left >= _NEARLY) + [piece]
            start = left = start + WORDS
            any_whole = True
        found += [run[left:]] * (len(run) - left >= _NEARLY)
    return found if any_whole else []


def meant(words: Sequence[str]) -> bool:
    """Whether so many of some words are in the list that they are meant as a share."""
    from shamir_mnemonic.wordlist import WORDLIST

    known = frozenset(WORDLIST)
    return sum(word in known for word in words) >= _NEARLY


def unknown(words: Sequence[str]) -> str | None:
    """Say which words are none of SLIP-39's, by their places; ``None`` when all are.

    Args:
        words: The beginning of a share, or all of it, in lower case.
    """
    from shamir_mnemonic.wordlist import WORDLIST

    known = frozenset(WORDLIST)
    wrong = [str(place) for place, word in enumerate(words, 1) if word not in known]
    if not wrong:
        return None
    of = f" of {len(words)}" if len(words) >= WORDS else ""
    places = f"word {wrong[0]}" if len(wrong) == 1 else f"words {', '.join(wrong[:-1])} and {wrong[-1]}"
    return f"a word is not in the list: {places}{of}"


def _kind(error: Exception) -> str:
    # It quotes words of the share: it stays here, and is read only up to them.
    return (
        "words are missing"
        if str(error).startswith("Invalid mnemonic length")
        else "its checksum does not fit"
    )
