"""What posture says of random plans, a recovery of the real shares shows."""

from __future__ import annotations

from itertools import chain, combinations
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import NotEnoughShares
from pipeline.custody.shares.recover import recover
from pipeline.posture.model import Model, Posture, Requirement, Thing
from tests.unit.custody.test_custody_recover import Escrowed

if TYPE_CHECKING:
    from tests.support.plans import Plans

SIZES = {"vault": 1, "aws": 1, "board": 3, "ops": 2}
Member = tuple[str, int]
MEMBERS: tuple[Member, ...] = tuple(
    (holder, index) for holder, size in SIZES.items() for index in range(1, size + 1)
)


@st.composite
def needs(draw: st.DrawFn) -> dict[str, int]:
    holders = draw(st.lists(st.sampled_from(list(SIZES)), min_size=1, max_size=3, unique=True))
    return {name: 1 if SIZES[name] == 1 else draw(st.integers(2, SIZES[name])) for name in holders}


def thing(member: Member) -> Thing:
    name = f"{member[0]} {member[1]}"
    return Thing(name, frozenset({name}))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ways=st.lists(needs(), min_size=1, max_size=3))
def test_exactly_the_sets_that_posture_names_recover(ways: list[dict[str, int]], plans: Plans) -> None:
    named = {f"path-{number}": way for number, way in enumerate(ways)}
    used = {holder for way in ways for holder in way}
    done = Escrowed(plans.of({name: SIZES[name] for name in used}, named))
    model = Model(
        tuple(
            tuple(
                Requirement(count, tuple(thing((holder, i)) for i in range(1, SIZES[holder] + 1)))
                for holder, count in way.items()
            )
            for way in ways
        ),
        (Thing("copy", frozenset({"anybody"})),),
    )
    found = Posture((model,))
    reconstruct, fatal = found.reconstruct.sets(), found.fatal_losses.sets()
    members = [member for member in MEMBERS if member[0] in used]
    subsets = chain.from_iterable(combinations(members, count) for count in range(len(members) + 1))
    for chosen in subsets:
        here = {thing(member).label for member in chosen} | {"anybody"}
        gone = {thing(member).label for member in members if member not in chosen}
        works = any(recovers(done, path, chosen) for path in named)
        assert works == any(item <= here for item in reconstruct), (ways, chosen)
        assert works != any(item <= gone for item in fatal), (ways, chosen)


def recovers(done: Escrowed, path: str, chosen: tuple[Member, ...]) -> bool:
    """Whether these members' real shares give the escrow passphrase on a path."""
    wanted = {need.holder for need in done.sealed.section.path(path).needs}
    words = [done.words(path, holder, index) for holder, index in chosen if holder in wanted]
    try:
        raw = recover(done.sealed.section, done.sealed.members, path, {}, done.binding, words)
    except NotEnoughShares:
        return False
    assert raw == done.raw
    return True
