"""Verify a ledger: a folder of chains, against what others say of them. Needs no server, and writes nothing.

A chain alone shows that nothing before its last entry was changed. That nothing was cut off its end, and that
it was not written anew as a whole, only a claim from elsewhere shows: a head, a certificate, a mirror.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import LedgerBroken, LocalFilesProblem
from pipeline.core.files import os_errors
from pipeline.evidence.ledger import entry as entries
from pipeline.evidence.ledger.entry import START, Head, Malformed
from pipeline.evidence.ledger.store import BEFORE_HOSTS, NAME, read_entry
from pipeline.storage.ledger_mirror import HOST, name_of

FORKS: Final = "forks"
"""Where 0.1 kept the entries that lost their numbers to another host's."""
_SHOWN: Final = 3


@dataclass(frozen=True)
class Claim:
    """What something outside the folder says of one entry.

    Attributes:
        number: Which entry.
        digests: One of these is its SHA-256; a mirror may hold several documents under a number.
        what: Who says so, in words.
        follows: For an entry beyond a chain's end: what it follows, by digest. It counts only where that is
            the chain's last entry; ``None`` counts always.
        host: Of whose chain; ``None`` where that is not known, and the digest decides.
        asked: Whether a chain here has to have it, whatever that is called.
    """

    number: int
    digests: frozenset[str]
    what: str
    follows: frozenset[str] | None = None
    host: str | None = None
    asked: bool = False


@dataclass(frozen=True)
class VerifiedChain:
    """What was found of one host's chain.

    Attributes:
        host: The host-id.
        entries: How many sound entries it begins with.
        head: The last of them.
        anchored_to: The newest entry that a claim from elsewhere vouches for; 0 when none does.
        anchored_by: Who, in words.
        first_bad: The first entry that is not sound, or missing.
        problem: What is wrong with it, in words.
    """

    host: str
    entries: int
    head: Head
    anchored_to: int
    anchored_by: str | None
    first_bad: int | None
    problem: str | None

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the chain."""
        return self.problem is None

    @property
    def unauthenticated(self) -> int:
        """How many of the sound entries nothing outside vouches for."""
        return self.entries - self.anchored_to


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
        folder: Which.
        fingerprint: Whose ledger it is; ``None`` where no entry says so.
        chains: Of each host.
        problem: What is claimed that no chain has, in words.
        notes: What else a reader should know.
    """

    folder: Path
    fingerprint: str | None
    chains: tuple[VerifiedChain, ...]
    problem: str | None
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the ledger."""
        return self.problem is None and all(chain.ok for chain in self.chains)


@dataclass
class _Walk:
    """A chain as far as it holds; ``moved`` has what 0.1 wrote again behind a fork, by its first digest."""

    host: str
    fingerprint: str | None
    digests: list[str] = field(default_factory=lambda: [START.digest.hex])
    first_bad: int | None = None
    problem: str | None = None
    moved: dict[str, dict[str, Any]] = field(default_factory=dict)
    anchored_to: int = 0
    anchored_by: str | None = None

    @property
    def last(self) -> int:
        return len(self.digests) - 1

    def stop(self, number: int, problem: str) -> None:
        self.first_bad, self.problem = number, problem
        del self.digests[number:]

    def has(self, claim: Claim) -> bool:
        """Whether a claim vouches for the chain; then the newest is kept."""
        if claim.number > self.last or self.digests[claim.number] not in claim.digests:
            return False
        if claim.number > self.anchored_to:
            self.anchored_to, self.anchored_by = claim.number, claim.what
        return True

    def found(self) -> VerifiedChain:
        head = Head(self.last, Digest("sha256", self.digests[-1]))
        anchored = min(self.anchored_to, self.last)
        return VerifiedChain(
            self.host, self.last, head, anchored, self.anchored_by, self.first_bad, self.problem
        )


def verify(
    folder: Path, claims: Iterable[Claim] = (), fingerprint: str | None = None, *, absent: bool = False
) -> Verified:
    """Verify the ledger in a folder.

    Args:
        folder: The folder of the chains, the one that holds it as ``ledger``, or that of a single chain.
        claims: What others say of the entries.
        fingerprint: Whose ledger it should be; else that of the first entry.
        absent: Whether no folder counts as an empty one.

    Raises:
        LocalFilesProblem: The folder cannot be read, or holds no ledger.
    """
    place, chains, notes = (folder, {}, []) if absent and not folder.exists() else _look(folder)
    said = _by_number(claims)
    walks = []
    for host, paths in chains.items():
        walk = _Walk(host, fingerprint)
        _follow(walk, paths, said, fingerprint)
        fingerprint = fingerprint or walk.fingerprint
        walks.append(walk)
    problem = _weigh(walks, [claim for number in sorted(said) for claim in said[number]], place, notes)
    return Verified(place, fingerprint, tuple(walk.found() for walk in walks), problem, tuple(notes))


def _look(folder: Path) -> tuple[Path, dict[str, dict[int, Path]], list[str]]:
    """The entries of each host by number, and what else lies there."""
    names = _listed(folder)
    if not any(NAME.fullmatch(name) or HOST.fullmatch(name) for name in names) and "ledger" in names:
        folder = folder / "ledger"
        names = _listed(folder)
    chains: dict[str, dict[int, Path]] = {}
    odd: list[str] = []
    flat = _numbered(folder, names)
    if flat or HOST.fullmatch(folder.name):
        chains[folder.name if HOST.fullmatch(folder.name) else BEFORE_HOSTS] = flat
    for name in sorted(names):
        if HOST.fullmatch(name) and (folder / name).is_dir():
            below = _listed(folder / name)
            odd += [f"{name}/{one}" for one in sorted(below) if not _sound(one) and not _ours(one)]
            chains[name] = _numbered(folder / name, below)
        elif not _sound(name) and not _ours(name):
            odd.append(name)
    if not any(chains.values()) and odd:
        raise LocalFilesProblem(
            f"{folder} holds no ledger entry", hint="name the folder with 000000001.json and so on"
        )
    shown = ", ".join(map(repr, odd[:_SHOWN])) + (", …" if len(odd) > _SHOWN else "")
    return folder, chains, [f"{len(odd)} other files are left alone: {shown}"] if odd else []


def _numbered(folder: Path, names: Iterable[str]) -> dict[int, Path]:
    return dict(sorted((int(name.removesuffix(".json")), folder / name) for name in names if _sound(name)))


def _sound(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and name == name_of(int(name[:-5])) and int(name[:-5]) > 0


def _ours(name: str) -> bool:
    return name in ("host-id", FORKS) or (name.startswith(".") and name.endswith(".orgkey-tmp"))


def _listed(folder: Path) -> list[str]:
    hint = "name the folder with 000000001.json and so on, and check its permissions"
    with os_errors(f"cannot read the folder {folder}", hint=hint):
        return [path.name for path in folder.iterdir()]


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
            entry = entries.parse(data, number, fingerprint)
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
            walk.moved[str(origin.get("sha256"))] = entry
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
            follows = entries.parse(read_entry(after), number + 1)["previous"]
        except (LedgerBroken, LocalFilesProblem, Malformed):
            follows = ""
    this, before = (
        [claim for claim in said.get(which, ()) if claim.host in (None, walk.host)]
        for which in (number, number - 1)
    )
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


def _weigh(walks: list[_Walk], claims: list[Claim], folder: Path, notes: list[str]) -> str | None:
    """Hold the claims against the chains.

    Returns:
        The first claim that no chain bears out and that is of no chain in particular, in words.
    """
    by_host = {walk.host: walk for walk in walks}
    problem = None
    strangers: dict[tuple[str, str], None] = {}
    for claim in claims:
        mine = by_host.get(claim.host or "")
        if mine is None and (claim.host is None or claim.asked) and len(walks) == 1:
            mine = walks[0]
        # Under another host-id, the same digest is the same entry, and vouches all the same.
        if sum(walk.has(claim) for walk in walks):
            continue
        if mine is not None and mine.host == BEFORE_HOSTS and _gave_way(mine, claim, folder):
            notes.append(
                f"entry {claim.number}, which {claim.what} names, gave way in a fork of 0.1 and stands "
                "elsewhere now: it vouches for nothing"
            )
        elif mine is not None:
            _contradicted(mine, claim)
        elif claim.host is not None and not claim.asked:
            strangers[claim.what, claim.host] = None
        elif any(_gave_way(walk, claim, folder) for walk in walks if walk.host == BEFORE_HOSTS):
            notes.append(f"entry {claim.number}, which {claim.what} names, gave way in a fork of 0.1")
        else:
            problem = problem or f"{claim.what} names an entry {claim.number} that no host has here"
    notes += [
        f"{what} has a chain of host {host}, which is not here: `orgkey ledger sync` copies it"
        for what, host in strangers
    ]
    return problem


def _contradicted(walk: _Walk, claim: Claim) -> None:
    """Something outside names another entry than the chain has, or one that it lacks."""
    number = claim.number
    if number <= walk.last and not claim.digests:
        walk.stop(number, f"entry {number} is not at {claim.what}, which has later ones")
    elif number <= walk.last:
        since = f", or one since entry {walk.anchored_to}" if number > walk.anchored_to + 1 else ""
        walk.stop(number, f"entry {number}{since} was rewritten: {claim.what} names another")
    elif walk.problem is None:
        if claim.follows is not None and (number != walk.last + 1 or walk.digests[-1] not in claim.follows):
            return
        walk.stop(walk.last + 1, f"entry {walk.last + 1} is missing: {claim.what} names entry {number}")


def _gave_way(walk: _Walk, claim: Claim, folder: Path) -> bool:
    """Whether a claimed entry of 0.1 lost its number in a fork, and the chain says again what it said."""
    for digest in claim.digests:
        again = walk.moved.get(digest)
        path = folder / FORKS / f"{claim.number:09d}-{digest[:16]}.json"
        if again is None or not path.is_file():
            continue
        try:
            data = read_entry(path)
            old = entries.parse(data, claim.number, walk.fingerprint)
        except (LedgerBroken, LocalFilesProblem, Malformed):
            continue
        if sha256(data).hex == digest and entries.sense(old) == entries.sense(again):
            return True
    return False
