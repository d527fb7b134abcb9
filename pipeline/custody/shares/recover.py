"""Recover an escrow passphrase from a record along one custody path.

Every share is checked against its commitment before it is used: a foreign share of a 1-of-1 group would
give another passphrase without any error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from pipeline.core.concurrency import overlap
from pipeline.core.errors import IntegrityProblem, NotEnoughShares, OrgkeyError, WrongShare, first_of
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Holder, SealedShare
from pipeline.custody.shares import commitments, slip39, witness
from pipeline.custody.shares.identify import KnownRecord, place_of, require
from pipeline.custody.shares.manifest_section import CustodySection, PathEntry, ShareEntry
from pipeline.custody.shares.paths import PathNeed


def recover(
    section: CustodySection,
    members: Mapping[str, bytes],
    path: str,
    openers: Mapping[str, Holder],
    binding: Binding,
    extra_shares: Sequence[Secret] = (),
) -> Secret:
    """Open what can be opened on one path and put the escrow passphrase together.

    Args:
        section: The custody section of an authentic manifest.
        members: The record's members.
        path: The path's name.
        openers: Who opens shares on this host, by the holder's name.
        binding: The record that the shares are bound to.
        extra_shares: Words that people brought; each is told by its commitment where it belongs.

    Returns:
        The escrow passphrase, 32 raw bytes; it is the one whose witness key the manifest names.

    Raises:
        UsageProblem: The record has no such path.
        WrongShare: A share is damaged, foreign or of another place; holder, path and index are named.
        NotEnoughShares: Shares are missing; the holder is named.
        Unreachable, Denied, DeadlinePassed: A holder that is needed does not answer, or refuses.
        IntegrityProblem: The record is not whole.
    """
    entry = section.path(path)
    brought = _place(section, entry, binding, extra_shares)
    found = overlap(
        [
            partial(_satisfy, entry, need, members, openers.get(need.holder), binding, brought)
            for need in entry.needs
        ]
    )
    missing = [line for _, line in found if line]
    if missing:
        raise NotEnoughShares(
            f"custody path {path}: " + "; ".join(missing),
            hint="log in to that holder, bring its shares with --share FILE, or take another path with --via",
        )
    raw = slip39.combine([words for part, _ in found for words in part])
    if witness.public_pem(raw, binding.record_id) != section.witness:
        raise IntegrityProblem(
            f"custody path {path} gives another passphrase than the one that was escrowed",
            hint="take another path with --via, or another copy with --from",
        )
    return raw


def _place(
    section: CustodySection, entry: PathEntry, binding: Binding, extra_shares: Sequence[Secret]
) -> dict[tuple[str, int], Secret]:
    """Find out by the commitments whose shares people brought."""
    wanted = KnownRecord("this record", section, binding)
    brought: dict[tuple[str, int], Secret] = {}
    for number, given in enumerate(extra_shares, 1):
        found = require(given, wanted, entry.name, what=f"the share given as number {number}")
        brought[found.share.holder, found.share.index] = slip39.normalise(given)
    return brought


def _satisfy(
    entry: PathEntry,
    need: PathNeed,
    members: Mapping[str, bytes],
    opener: Holder | None,
    binding: Binding,
    brought: Mapping[tuple[str, int], Secret],
) -> tuple[list[Secret], str]:
    """Get one holder's shares.

    Returns:
        As many shares as are needed, and no text; or those that there are, and what is missing.
    """
    shares = entry.shares_of(need.holder)
    words = [brought[share.holder, share.index] for share in shares if (share.holder, share.index) in brought]
    failures: list[OrgkeyError] = []
    for share in shares:
        if len(words) >= need.threshold or opener is None:
            break
        if (share.holder, share.index) in brought:
            continue
        opened = isolated(
            partial(open_share, entry, share, members, opener, binding), f"holder {need.holder}"
        )
        if not isinstance(opened, OrgkeyError):
            words.append(opened)
        elif need.size == 1 or not isinstance(opened, NotEnoughShares):
            # A machine says why; of custodians, another's secret key may be here.
            failures.append(opened)
    if len(words) >= need.threshold:
        return words[: need.threshold], ""
    if failures and len(words) + len(failures) >= need.threshold:
        code = first_of(error.code for error in failures)
        raise next(error for error in failures if error.code is code)
    if need.size == 1:
        return words, f"holder {need.holder}: its share is missing"
    return words, f"{len(words)} of the {need.threshold} shares needed of holder {need.holder} are there"


def open_share(
    entry: PathEntry, share: ShareEntry, members: Mapping[str, bytes], opener: Holder, binding: Binding
) -> Secret:
    """Open one sealed share and check it against its commitment.

    Args:
        entry: The path that it belongs to.
        share: What the manifest says of it.
        members: The record's members.
        opener: Who opens it.
        binding: The record that it is bound to.

    Returns:
        Its words.

    Raises:
        WrongShare: It is damaged, or another share; it is named.
        IntegrityProblem: The record has no such member.
        NotEnoughShares, Unreachable, Denied, DeadlinePassed: As the holder says.
    """
    place = place_of(entry, share, binding)
    if share.member not in members:
        raise IntegrityProblem(
            f"the record lacks its member {share.member}", hint="take another copy with --from"
        )
    sealed = SealedShare(share.index, share.suffix, members[share.member], share.label)
    try:
        words = slip39.normalise(opener.open(sealed, binding))
        right = commitments.verify(share.commitment, share.salt, place, words)
    except WrongShare as error:
        raise WrongShare(f"{place}: {error.message}", hint=error.hint) from error
    if not right:
        raise WrongShare(
            f"{place}: what the holder opened does not match its commitment",
            hint="it is another record's, path's or holder's share; take another copy with --from",
        )
    return words
