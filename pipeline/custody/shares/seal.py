"""Seal an escrow passphrase: split it for every path, encrypt every share, open what machines hold.

Nothing leaves here before every path was put together again and gave the same passphrase.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.core.concurrency import overlap
from pipeline.core.errors import IntegrityProblem, UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Holder, SealedShare
from pipeline.custody.shares import commitments, slip39, witness
from pipeline.custody.shares.commitments import Place
from pipeline.custody.shares.manifest_section import CustodySection, PathEntry, ShareEntry, member_name
from pipeline.custody.shares.paths import Path, PathNeed, describe
from pipeline.custody.shares.slip39 import Split


@dataclass(frozen=True)
class SealedCustody:
    """What custody adds to a record.

    Attributes:
        members: The sealed shares, by the names of the record's members.
        section: The manifest's ``custody`` section.
    """

    members: Mapping[str, bytes]
    section: CustodySection


@dataclass(frozen=True)
class _Sealed:
    """One holder's sealed shares on one path."""

    path: Path
    need: PathNeed
    words: tuple[Secret, ...]
    shares: tuple[SealedShare, ...]


def seal(
    raw: Secret,
    paths: Sequence[Path],
    holders: Mapping[str, Holder],
    openers: Mapping[str, Holder],
    binding: Binding,
) -> SealedCustody:
    """Split and seal an escrow passphrase, and prove that what was sealed opens.

    Args:
        raw: The escrow passphrase, 32 bytes.
        paths: The custody paths; each gets a split of its own.
        holders: Who seals, by name: the writer's identity.
        openers: Who opens the machines' shares again, by name: the driller's identity.
        binding: What every share is bound to.

    Returns:
        The record's members and the manifest's section.

    Raises:
        UsageProblem: The plan cannot be carried out, or an opener is missing.
        WrongShare: What a holder opened is not what it was given to seal.
        IntegrityProblem: A path does not give the passphrase back, or a holder sealed too few shares.
        Unreachable, Denied, DeadlinePassed: A holder does not answer, or refuses.
    """
    if not paths or len({path.name for path in paths}) != len(paths):
        raise UsageProblem(
            "the custody paths need names of their own", hint="configure at least one [path.*]"
        )
    descriptions = describe(holders, (need.holder for path in paths for need in path.needs))
    splits = _split(raw, paths)
    parts = [(path, need, splits[path.name].shares[need.holder]) for path in paths for need in path.needs]
    for path in paths:
        _prove(raw, path, splits[path.name])
    sealed: list[_Sealed] = []
    for paper in (False, True):  # nothing is printed before all else is sealed, and opens
        group = [part for part in parts if (holders[part[1].holder].kind == "paper") == paper]
        sealed += overlap([partial(_seal_one, *part, holders[part[1].holder], binding) for part in group])
        if not paper:
            _open_again(sealed, holders, openers, binding)
    order = [(path.name, need.holder) for path, need, _ in parts]
    sealed.sort(key=lambda part: order.index((part.path.name, part.need.holder)))

    entries: list[PathEntry] = []
    members: dict[str, bytes] = {}
    for path in sorted(paths, key=lambda item: item.name):
        shares = {
            _entry(part, words, share, binding, codes=not holders[part.need.holder].unattended): share.data
            for part in sealed
            if part.path.name == path.name
            for words, share in zip(part.words, part.shares, strict=True)
        }
        entries.append(PathEntry(path.name, splits[path.name].identifier, path.needs, tuple(shares)))
        members |= {entry.member: data for entry, data in shares.items()}
    section = CustodySection(descriptions, tuple(entries), witness.public_pem(raw, binding.record_id))
    # What was written must be readable by the reader that every later run uses.
    return SealedCustody(members, CustodySection.from_json(section.to_json()))


def _split(raw: Secret, paths: Sequence[Path]) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for path in paths:
        splits[path.name] = slip39.split(raw, path, {split.identifier for split in splits.values()})
    return splits


def _seal_one(
    path: Path, need: PathNeed, words: tuple[Secret, ...], holder: Holder, binding: Binding
) -> _Sealed:
    shares = tuple(sorted(holder.seal(words, binding), key=lambda share: share.index))
    if [share.index for share in shares] != list(range(1, need.size + 1)):
        raise IntegrityProblem(
            f"holder {need.holder} sealed {len(shares)} of {need.size} shares",
            hint="nothing was written; this is a defect of the holder, please report it",
        )
    return _Sealed(path, need, words, shares)


def _open_again(
    sealed: Sequence[_Sealed],
    holders: Mapping[str, Holder],
    openers: Mapping[str, Holder],
    binding: Binding,
) -> None:
    """Open every machine's share under the driller's identity and compare; people's shares stay closed."""
    machines = [part for part in sealed if holders[part.need.holder].unattended]
    missing = sorted({part.need.holder for part in machines} - set(openers))
    if missing:
        raise UsageProblem(
            f"nobody opens the shares of holder {', '.join(missing)} again",
            hint="give [identity.driller] a login for it; a share that was never opened counts for nothing",
        )

    def one(part: _Sealed, share: SealedShare, expected: Secret) -> None:
        if slip39.normalise(openers[part.need.holder].open(share, binding)) != expected:
            raise WrongShare(
                f"holder {part.need.holder} opened another share than it sealed (path {part.path.name})",
                hint="nothing was written; look at the holder's key with `orgkey doctor`",
            )

    overlap(
        [
            partial(one, part, share, words)
            for part in machines
            for share, words in zip(part.shares, part.words, strict=True)
        ]
    )


def _prove(raw: Secret, path: Path, split: Split) -> None:
    """Put a path together, in as many ways as it takes until every share has taken part."""
    slack = max(need.size - need.threshold for need in path.needs)
    for start in range(slack + 1):  # a window slides over each group
        chosen: list[Secret] = []
        for need in path.needs:
            first = min(start, need.size - need.threshold)
            chosen += split.shares[need.holder][first : first + need.threshold]
        if slip39.combine(chosen) != raw:
            raise IntegrityProblem(
                f"custody path {path.name} does not give the escrow passphrase back",
                hint="nothing was written; run the escrow again, and report it if it happens twice",
            )


def _entry(part: _Sealed, words: Secret, share: SealedShare, binding: Binding, *, codes: bool) -> ShareEntry:
    place = Place(binding.record_id, part.path.name, part.need.holder, share.index)
    salt = secrets.token_hex(commitments.SALT_BYTES)
    return ShareEntry(
        holder=part.need.holder,
        index=share.index,
        label=share.label,
        member=member_name(part.path.name, part.need.holder, share.index, part.need.size, share.suffix),
        salt=salt,
        commitment=commitments.commitment(salt, place, words),
        checks=commitments.code_hashes(salt, place, words) if codes else (),
    )
