"""Tell whose share somebody brought, by the commitments of the records that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.errors import WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding
from pipeline.custody.shares import commitments, slip39
from pipeline.custody.shares.commitments import Place
from pipeline.custody.shares.manifest_section import CustodySection, PathEntry, ShareEntry


@dataclass(frozen=True)
class KnownRecord:
    """A record that a share may belong to.

    Attributes:
        epoch: The name of its epoch.
        section: Its custody section, from an authentic manifest.
        binding: Fingerprint and record id.
    """

    epoch: str
    section: CustodySection
    binding: Binding


@dataclass(frozen=True)
class ShareOrigin:
    """Where a share belongs.

    Attributes:
        known: The record.
        path: The custody path.
        share: What the manifest says of it; ``label`` tells whose it is.
    """

    known: KnownRecord
    path: PathEntry
    share: ShareEntry

    @property
    def place(self) -> Place:
        """Where it stands, for people."""
        return place_of(self.path, self.share, self.known.binding)


def place_of(entry: PathEntry, share: ShareEntry, binding: Binding) -> Place:
    """Where a share of the manifest belongs."""
    return Place(binding.record_id, entry.name, share.holder, share.index)


def identify(words: Secret, known: Sequence[KnownRecord]) -> ShareOrigin | None:
    """Find the share that was committed to.

    Args:
        words: A share as a person or a holder gave it.
        known: The records in question, the one that is meant first.

    Returns:
        Where it belongs; ``None`` when no record here knows it.

    Raises:
        WrongShare: It is not a share at all.
    """
    words = slip39.normalise(words)
    for item in known:
        for entry in item.section.paths:
            for share in entry.shares:
                place = place_of(entry, share, item.binding)
                if commitments.verify(share.commitment, share.salt, place, words):
                    return ShareOrigin(item, entry, share)
    return None


def require(
    words: Secret, wanted: KnownRecord, path: str, others: Sequence[KnownRecord] = (), *, what: str
) -> ShareOrigin:
    """Identify a share that is meant for one path of one record, or say why it is not that.

    Args:
        words: The share.
        wanted: The record that is meant.
        path: The path that is meant.
        others: Other records of the same key, to name the epoch that a share is really of.
        what: What errors call the share, for example ``the share given as number 2``.

    Raises:
        WrongShare: It is damaged, or of another path or another epoch; said which.
    """
    try:
        found = identify(words, [wanted, *others])
    except WrongShare as error:
        raise WrongShare(f"{what}: {error.message}", hint=error.hint) from None
    if found is None:
        damage = slip39.damage(words)
        if damage:
            raise WrongShare(
                f"{what} is damaged: {damage}",
                hint="compare it word by word with the original; nothing is lost, bring it again",
            )
        raise WrongShare(
            f"{what} is whole, but does not belong to {wanted.epoch}: it is of another epoch or key",
            hint="`orgkey list` shows the epochs, --epoch takes another; "
            "the newest share that a custodian got is the one that counts",
        )
    if found.known is not wanted:
        raise WrongShare(
            f"{what} is of another epoch, {found.known.epoch} ({found.place}), not of {wanted.epoch}",
            hint=f"bring the share of {wanted.epoch}, or take that epoch with --epoch {found.known.epoch}",
        )
    if found.path.name != path:
        raise WrongShare(
            f"{what} belongs to {found.place}, not to path {path}",
            hint=f"restore with --via {found.path.name}, or leave this share out",
        )
    return found
