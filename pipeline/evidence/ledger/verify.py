"""Verify a ledger: a folder of entries, against what others say of it. Needs no server and writes nothing.

The chain alone shows that nothing before its last entry was changed. That nothing was cut off its end, and
that it was not written anew as a whole, only a claim from elsewhere shows: a head, a certificate, a mirror.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import LedgerBroken, LocalFilesProblem
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.entry import START, Head, Malformed
from pipeline.evidence.ledger.forks import Aside
from pipeline.evidence.ledger.store import FORKS, read_entry

_NAME = re.compile(r"[0-9]{9,18}\.json", re.ASCII)
_OURS = re.compile(r"\..*\.orgkey-tmp|forks", re.ASCII)
_SHOWN: Final = 3


@dataclass(frozen=True)
class Claim:
    """What something outside the folder says of one entry.

    Attributes:
        number: Which entry.
        digests: One of these is its SHA-256; a mirror may hold several documents under a number.
        what: Who says so, in words.
        follows: For an entry beyond the folder's end: what it follows, by digest. It counts only where that
            is the folder's last entry; ``None`` counts always.
        senses: What the documents under this number say (:func:`pipeline.evidence.ledger.entry.sense`), by
            digest, where there are several.
    """

    number: int
    digests: frozenset[str]
    what: str
    follows: frozenset[str] | None = None
    senses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
        folder: Which.
        fingerprint: Whose ledger it is; ``None`` where no entry says so.
        entries: How many sound entries it begins with.
        head: The last of them.
        anchored_to: The newest entry that a claim from elsewhere vouches for; 0 when none does.
        anchored_by: Who, in words.
        first_bad: The first entry that is not sound, or missing.
        problem: What is wrong with it, in words.
        notes: What else a reader should know.
    """

    folder: Path
    fingerprint: str | None
    entries: int
    head: Head
    anchored_to: int
    anchored_by: str | None
    first_bad: int | None
    problem: str | None
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the ledger."""
        return self.problem is None

    @property
    def unauthenticated(self) -> int:
        """How many of the sound entries nothing outside vouches for."""
        return self.entries - self.anchored_to


@dataclass
class _Walk:
    """The chain as far as it holds; ``rechained`` has what stands in it again behind a fork, by origin."""

    fingerprint: str | None
    digests: list[str] = field(default_factory=lambda: [START.digest.hex])
    first_bad: int | None = None
    problem: str | None = None
    rechained: dict[str, dict[str, Any]] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)

    @property
    def last(self) -> int:
        return len(self.digests) - 1

    def stop(self, number: int, problem: str) -> None:
        self.first_bad, self.problem = number, problem
        del self.digests[number:]


def verify(
    folder: Path, claims: Iterable[Claim] = (), fingerprint: str | None = None, *, absent: bool = False
) -> Verified:
    """Verify the ledger in a folder.

    Args:
        folder: The folder, or the one that holds it as ``ledger``.
        claims: What others say of its entries.
        fingerprint: Whose ledger it should be; else that of the first entry.
        absent: Whether no folder counts as an empty one.

    Raises:
        LocalFilesProblem: The folder cannot be read, or holds no ledger.
    """
    place, paths, notes = (folder, {}, []) if absent and not folder.exists() else _look(folder)
    said = _by_number(claims)
    walk = _Walk(fingerprint)
    _follow(walk, paths, said, fingerprint)
    aside = Aside(place / FORKS, walk.rechained, walk.fingerprint)
    anchored, by = 0, None
    for number in sorted(said):
        for claim in said[number]:
            if number <= walk.last and walk.digests[number] in claim.digests:
                if _stand(walk, aside, claim, notes) and number > anchored:
                    anchored, by = number, claim.what
            elif (was := _gave_way(walk, aside, claim)) is not None:
                notes.append(was[1])
                if was[0] > anchored:
                    anchored, by = was[0], claim.what
            else:
                _contradicted(walk, claim, anchored)
    sound = Head(walk.last, Digest("sha256", walk.digests[-1]))
    anchored = min(anchored, walk.last)
    return Verified(
        place, walk.fingerprint, walk.last, sound, anchored, by, walk.first_bad, walk.problem, tuple(notes)
    )


def _look(folder: Path) -> tuple[Path, dict[int, Path], list[str]]:
    """The folder's entries by number, and what else lies there."""
    names = _listed(folder)
    if not any(_NAME.fullmatch(name) for name in names) and (folder / "ledger").is_dir():
        folder = folder / "ledger"
        names = _listed(folder)
    paths: dict[int, Path] = {}
    odd = []
    for name in sorted(names):
        if not _NAME.fullmatch(name):
            odd += [name] if not _OURS.fullmatch(name) else []
            continue
        number = int(name.removesuffix(".json"))
        if name != f"{number:09d}.json" or number == 0:
            odd.append(name)
        else:
            paths[number] = folder / name
    notes = []
    if odd:
        shown = ", ".join(map(repr, odd[:_SHOWN])) + (", …" if len(odd) > _SHOWN else "")
        notes.append(f"{len(odd)} other files are left alone: {shown}")
    if not paths and odd:
        raise LocalFilesProblem(
            f"{folder} holds no ledger entry", hint="name the folder with 000000001.json and so on"
        )
    return folder, dict(sorted(paths.items())), notes


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read the folder {folder}: {error.strerror or error}",
            hint="name the folder with 000000001.json and so on, and check its permissions",
        ) from error


def _by_number(claims: Iterable[Claim]) -> dict[int, list[Claim]]:
    found: dict[int, list[Claim]] = {}
    for claim in claims:
        if claim.number > 0:
            found.setdefault(claim.number, []).append(claim)
    return found


def _follow(
    walk: _Walk, paths: Mapping[int, Path], said: Mapping[int, list[Claim]], fingerprint: str | None
) -> None:
    """Go along the chain until it breaks."""
    for number, path in enumerate(paths.values(), start=1):
        if number not in paths:
            return walk.stop(number, f"entry {number} is missing: the next one there is {path.name}")
        try:
            data = read_entry(path)
            entry = chain.parse(data, number, fingerprint)
        except LedgerBroken:
            return walk.stop(number, f"entry {number} is not a file")
        except Malformed as error:
            return walk.stop(number, f"entry {number} {error}")
        digest = sha256(data).hex
        if entry["previous"] != walk.digests[-1]:
            return _blame(walk, number, digest, paths.get(number + 1), said)
        # Behind the chain: where the first entry was changed, it is not the second that is wrong.
        if walk.fingerprint not in (None, entry["fingerprint"]):
            return walk.stop(number, f"entry {number} is of another key than entry {number - 1}")
        walk.fingerprint = entry["fingerprint"]
        walk.digests.append(digest)
        if origin := entry.get("rechained_from"):
            walk.rechained[str(origin.get("sha256"))] = entry
    return None


def _blame(
    walk: _Walk, number: int, digest: str, after: Path | None, said: Mapping[int, list[Claim]]
) -> None:
    """Entry ``number`` does not follow the one before: say which of the two was changed, if that shows."""
    if number == 1:
        return walk.stop(1, "entry 1 follows another one: the beginning was removed")
    follows = None
    if after is not None:
        try:
            follows = chain.parse(read_entry(after), number + 1)["previous"]
        except (LedgerBroken, LocalFilesProblem, Malformed):
            follows = ""
    this, before = said.get(number, ()), said.get(number - 1, ())
    vouched = any(digest in claim.digests for claim in this)
    vouched_before = any(walk.digests[-1] in claim.digests for claim in before)
    if vouched or (before and not vouched_before) or (follows == digest and not vouched_before):
        return walk.stop(
            number - 1, f"entry {number - 1} is another than the one that entry {number} follows"
        )
    if this or vouched_before or follows is not None:
        return walk.stop(number, f"entry {number} does not follow entry {number - 1}")
    return walk.stop(
        number - 1, f"entry {number} does not follow entry {number - 1}: one of the two was changed"
    )


def _contradicted(walk: _Walk, claim: Claim, anchored: int) -> None:
    """Something outside names another entry than the folder has, or one that it lacks."""
    number = claim.number
    if number <= walk.last and not claim.digests:
        walk.stop(number, f"entry {number} is not at {claim.what}, which has later ones")
    elif number <= walk.last:
        since = f", or one since entry {anchored}" if number > anchored + 1 else ""
        walk.stop(number, f"entry {number}{since} was rewritten: {claim.what} names another")
    elif walk.problem is None:
        if claim.follows is not None and (number != walk.last + 1 or walk.digests[-1] not in claim.follows):
            return
        walk.stop(walk.last + 1, f"entry {walk.last + 1} is missing: {claim.what} names entry {number}")


def _stand(walk: _Walk, aside: Aside, claim: Claim, notes: list[str]) -> bool:
    """Whether a claim that has the chain's entry vouches for it.

    It does not where something else lies beside that entry, which no fork accounts for; nor does anything
    later from there.
    """
    mine = walk.digests[claim.number]
    odd = [one for one in claim.digests if one != mine and aside.stands(one, claim.senses.get(one)) is None]
    if odd and claim.what not in walk.doubted:
        walk.doubted.add(claim.what)
        notes.append(
            f"{claim.what} has another entry {claim.number} beside this one, which stands nowhere in this "
            "ledger: one of another host, which has still to write it again, or the one from before this "
            f"ledger was rewritten; nothing that {claim.what} has from there on is taken as an anchor"
        )
    return claim.what not in walk.doubted


def _gave_way(walk: _Walk, aside: Aside, claim: Claim) -> tuple[int, str] | None:
    """Whether a claimed entry lost its number in a fork, and it and all before it stand elsewhere.

    Returns:
        The entry up to which the claim vouches then, and what a reader should know.
    """
    for digest in claim.digests:
        number, wanted, first = claim.number, digest, 0
        while number > walk.last or wanted != walk.digests[number]:
            old = aside.get(number, wanted)
            now = aside.stands(wanted, chain.sense(old)) if old else None
            if old is None or now is None:
                break
            first = first or now
            number, wanted = number - 1, str(old["previous"])
        else:
            return number, (
                f"entry {claim.number}, which {claim.what} names, gave way in a fork and stands as entry "
                f"{first} now: it vouches for the chain up to entry {number}, before the fork"
            )
    return None
