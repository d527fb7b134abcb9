from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.cli import ceremony_prompt, drill_command, shares
from pipeline.cli.documents.escrow import DrillDocument
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, NotEnoughShares, OrgkeyError, UsageProblem, WrongShare
from pipeline.core.proof import Proof
from pipeline.core.secret import Secret
from pipeline.evidence.ledger.drill_results import Result
from pipeline.monitoring.status import status
from pipeline.record.verify import Record
from pipeline.unseal import ceremony
from pipeline.unseal.ceremony import Ask, Brought, GatheredShares, Gathering, UnsealRequest
from pipeline.unseal.unseal import unseal
from pipeline.workflows.drill import Drill, DrillRequest, drill
from tests.support import people
from tests.support.inmemory import MemoryEstate, World, denied
from tests.support.people import FINGERPRINTS
from tests.support.withpeople import machines_words, people_world

MACHINES = frozenset({"vault", "aws"})


@dataclass(frozen=True)
class Scene:
    """Two epochs of one key, made once.

    Attributes:
        world: Who opens them.
        old: The earlier one.
        new: The later one.
    """

    world: World
    old: Record
    new: Record

    def gather(
        self,
        *given: Brought,
        path: str = "custodians",
        ask: Ask | None = None,
        others: Sequence[Record] = (),
    ) -> GatheredShares:
        return ceremony.gather(
            self.new,
            self.new.manifest.custody.path(path),
            MACHINES,
            UnsealRequest(None, given, ask),
            others or (self.old,),
        )

    def of(self, *names: str, path: str = "custodians", epoch: Record | None = None) -> list[Brought]:
        """Shares, each in a file of its owner's name."""
        record = epoch or self.new
        return [Brought(people.words(name, record, path), f"the share in {name}.txt") for name in names]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    world = people_world(tmp_path_factory.mktemp("ceremony"))
    return Scene(world, world.mint(), world.mint(later=60))


@pytest.fixture
def world(tmp_path: Path, scene: Scene) -> World:
    """A host with an empty state, whose targets hold both epochs."""
    fresh = people_world(tmp_path / "host")
    fresh.holders = dict(scene.world.holders)
    for name in MACHINES:
        fresh.holders[name].failures = {}
    fresh.store(scene.old)
    fresh.store(scene.new)
    return fresh


def never(gathering: Gathering) -> None:
    raise AssertionError("nobody is asked")


def bringing(scene: Scene, *names: str) -> Ask:
    """People who are there and bring their shares of the path that is asked for."""

    def ask(gathering: Gathering) -> None:
        for item in scene.of(*names, path=gathering.path.name, epoch=gathering.record):
            gathering.add(item.words, item.what)

    return ask


# -- what is gathered --------------------------------------------------------------------------------


def test_enough_shares_are_enough_and_say_whose_they_are(scene: Scene) -> None:
    done = scene.gather(*scene.of("erin", "alice", "carol"), ask=never)
    assert [person.share.label for person in done.people] == [
        FINGERPRINTS[name] for name in ("alice", "carol", "erin")
    ]
    assert done.people[0].name.startswith("Alice Custodian")
    assert done.dual_control is True


def test_people_are_asked_for_what_the_files_lack(scene: Scene) -> None:
    done = scene.gather(*scene.of("bob"), ask=bringing(scene, "dave", "erin"))
    assert len(done.shares) == 3
    assert done.seconds > 0


def test_too_few_are_counted_and_only_the_absent_are_named(scene: Scene) -> None:
    with pytest.raises(NotEnoughShares, match="2 of the 3 shares needed of holder custodians") as caught:
        scene.gather(*scene.of("alice", "bob"), ask=lambda gathering: None)
    assert "Carol Custodian" in caught.value.hint
    assert "Bob Custodian" not in caught.value.hint


def test_a_duplicate_is_named_by_both_files_and_counts_once(scene: Scene) -> None:
    again = Brought(people.words("alice", scene.new), "the share in copy.txt")
    with pytest.raises(NotEnoughShares, match=r"copy\.txt is the same as the share in alice\.txt, Alice"):
        scene.gather(*scene.of("alice", "bob"), again)
    assert len(scene.gather(*scene.of("alice", "bob", "erin"), again).shares) == 3


def test_a_share_of_another_path_is_named(scene: Scene) -> None:
    with pytest.raises(WrongShare, match=r"the share in bob.txt belongs to path mixed"):
        scene.gather(*scene.of("alice"), *scene.of("bob", path="mixed"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda words: people.mistyped(words, 9), "its checksum does not fit"),
        (lambda words: words[:-1], "words are missing"),
        (lambda words: [*words[:5], "orgkey", *words[6:]], "a word is not in the list"),
        (lambda words: ["<html>"], "this is not a SLIP-39 share"),
    ],
)
def test_a_damaged_share_is_named_by_its_file_and_never_quoted(
    scene: Scene, change: object, named: str
) -> None:
    assert callable(change)
    words = people.words("bob", scene.new).text().split()
    bad = Brought(Secret(" ".join(change(words))), "the share in bob.txt")
    with pytest.raises(WrongShare, match=rf"the share in bob\.txt.*{named}") as caught:
        scene.gather(*scene.of("alice"), bad, ask=never)
    assert " ".join(words[:6]) not in caught.value.message + caught.value.hint


def test_a_share_of_another_epoch_is_named_with_that_epoch(scene: Scene) -> None:
    with pytest.raises(WrongShare, match=f"is of another epoch, {scene.old.epoch}"):
        scene.gather(*scene.of("alice", epoch=scene.old))


def test_a_machines_share_brought_by_hand_is_nobodys(scene: Scene) -> None:
    words = machines_words(scene.world, scene.new, "mixed", "vault")
    gathering = Gathering(scene.new, scene.new.manifest.custody.path("mixed"), MACHINES)
    gathering.add(words, "vault's")
    for item in scene.of("alice", path="mixed"):
        gathering.add(item.words, item.what)
    assert [person.share.label for person in gathering.present] == [FINGERPRINTS["alice"]]
    assert GatheredShares(gathering.shares, gathering.present).dual_control is False


def test_nothing_secret_shows(scene: Scene) -> None:
    (item,) = scene.of("alice")
    done = scene.gather(*scene.of("alice", "bob", "erin"))
    for shown in (
        repr(item),
        repr(done),
        repr(UnsealRequest(shares=(item,))),
        repr(DrillRequest(unseal=UnsealRequest(shares=(item,)))),
    ):
        assert item.words.text() not in shown


# -- which path is taken -----------------------------------------------------------------------------


def opened(world: World, record: Record, way: UnsealRequest) -> str:
    return unseal(record, MemoryEstate(world), way).path


def test_machines_open_it_while_they_can_and_nobody_is_asked(world: World, scene: Scene) -> None:
    assert opened(world, scene.new, UnsealRequest(ask=never)) == "unattended"


def test_shares_say_which_path_is_meant(world: World, scene: Scene) -> None:
    assert (
        opened(world, scene.new, UnsealRequest(shares=tuple(scene.of("alice", "bob", "erin"))))
        == "custodians"
    )
    assert (
        opened(world, scene.new, UnsealRequest(shares=tuple(scene.of("erin", "dave", path="mixed"))))
        == "mixed"
    )


def test_a_share_of_no_path_is_named_by_its_file(world: World, scene: Scene) -> None:
    for words in ("not a share at all", "<html>"):
        with pytest.raises(WrongShare, match=r"the share in junk\.txt"):
            opened(world, scene.new, UnsealRequest(shares=(Brought(Secret(words), "the share in junk.txt"),)))


def test_the_only_path_of_people_is_offered_when_no_machine_opens_it(tmp_path: Path) -> None:
    world = people_world(tmp_path / "alone", more="")
    record = world.mint()
    world.holders["aws"].failures["open"] = denied("holder aws")
    seen: list[Gathering] = []

    def ask(gathering: Gathering) -> None:
        seen.append(gathering)
        for name in ("alice", "bob", "carol"):
            gathering.add(people.words(name, record), name)

    assert opened(world, record, UnsealRequest(ask=ask)) == "custodians"
    assert "unattended: " in seen[0].because[0]
    with pytest.raises(OrgkeyError) as caught:
        opened(world, record, UnsealRequest(ask=lambda gathering: None))
    assert "unattended: " in caught.value.message
    assert "custodians: " in caught.value.message


@pytest.mark.parametrize("machine", [denied("holder aws"), NotEnoughShares("not asked", hint="allow it")])
def test_of_several_paths_of_people_none_is_chosen_for_them(
    machine: OrgkeyError, world: World, scene: Scene
) -> None:
    world.holders["aws"].failures["open"] = machine
    with pytest.raises(OrgkeyError, match="custodians: it needs the shares of custodians") as caught:
        opened(world, scene.new, UnsealRequest(ask=never))
    assert "--via custodians" in caught.value.hint
    assert machine.hint in caught.value.hint, "each path is a way out"


# -- drills ------------------------------------------------------------------------------------------


def test_a_drill_with_people_names_the_epoch_of_a_wrong_share(world: World, scene: Scene) -> None:
    given = (*scene.of("alice", "bob"), *scene.of("carol", epoch=scene.old))
    done = drill(world.context, DrillRequest(unseal=UnsealRequest(path="custodians", shares=given)))
    assert done.code is Code.WRONG_SHARE
    problem = done.results[0].proofs["recover"].problem or ""
    assert f"carol.txt is of another epoch, {scene.old.epoch}" in problem


@pytest.mark.parametrize("brought", [(), ("alice",), ("alice", "bob")])
def test_giving_up_before_enough_came_is_not_held_and_fails_nothing(
    brought: tuple[str, ...], world: World, scene: Scene
) -> None:
    """The gate stays as it was, there is no time to a proven key, and the hint can help."""
    done = drill(
        world.context, DrillRequest(unseal=UnsealRequest(path="custodians", ask=bringing(scene, *brought)))
    )
    assert (done.code, done.passed, done.held) == (Code.NOT_ENOUGH_SHARES, False, False)
    assert world.events() == ["drill-not-held"]
    ((entry),) = world.context.ledger.entries()
    assert "code" not in entry.details
    rules = status(world.context).rules
    assert [rule.name for rule in rules if rule.name == "drill-failed" and not rule.ok] == []
    shown = "\n".join(drill_command.lines(done))
    assert "drill not held" in shown
    assert "RTO" not in shown
    assert "FAILED" not in shown
    assert "hint: bring more shares with --via custodians" in shown
    assert DrillDocument.about(done).held is False


def test_who_took_part_is_called_by_name(world: World, scene: Scene) -> None:
    done = drill(
        world.context,
        DrillRequest(unseal=UnsealRequest(path="custodians", ask=bringing(scene, "alice", "bob", "erin"))),
    )
    assert done.passed
    shown = "\n".join(drill_command.lines(done))
    assert "people: Alice Custodian" in shown
    assert FINGERPRINTS["alice"] not in shown


def test_a_failed_path_of_people_is_mended_by_people(world: World, scene: Scene) -> None:
    given = (*scene.of("alice", "bob"), *scene.of("carol", epoch=scene.old))
    drill(world.context, DrillRequest(unseal=UnsealRequest(path="custodians", shares=given)))
    broken = [rule for rule in status(world.context).rules if rule.name == "drill-failed"]
    assert broken
    assert all("run `orgkey drill --via custodians`" in rule.text for rule in broken)


def test_a_failed_drill_says_what_to_do_and_not_what_was_not_reached(world: World) -> None:
    world.holders["vault"].failures["open"] = denied("vault")
    shown = "\n".join(drill_command.lines(drill(world.context, DrillRequest())))
    assert "hint: look at its policy" in shown
    assert "FAILED      not reached" not in shown
    assert re.search(r"unlock +- +not reached", shown)
    assert "RTO" not in shown


def test_why_a_proof_failed_is_told_also_where_an_implementation_agreed() -> None:
    proofs = {"sign": Proof(False, ("gnupg",), "sequoia: bad signature")}
    result = Result("20260101T000000Z-00000000", "a", "p", None, proofs, {}, Code.PROOF_FAILED)
    shown = "\n".join(drill_command.lines(Drill((result,), Code.PROOF_FAILED)))
    assert "gnupg; sequoia: bad signature" in shown


# -- at the menu -------------------------------------------------------------------------------------


class Played:
    """A terminal that answers what it was told, and keeps what it is shown."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)

    def line(self, question: str, *, seen: bool = False) -> bytes:
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


def held(scene: Scene, capsys: pytest.CaptureFixture[str], *answers: bytes) -> tuple[Gathering, str]:
    gathering = Gathering(scene.new, scene.new.manifest.custody.path("custodians"), MACHINES)
    ceremony_prompt._Ceremony(gathering, Played(*answers)).hold()  # type: ignore[arg-type]
    return gathering, capsys.readouterr().err


def test_people_keep_their_numbers_as_on_their_sheets(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    first = people.words("alice", scene.new).reveal()
    gathering, shown = held(scene, capsys, b"w", first, b"q")
    assert {number: person.share.index for number, person in gathering.numbered.items()} == {
        2: 2, 3: 3, 4: 4, 5: 5,
    }  # fmt: skip
    assert "3. Carol" in shown.rpartition("accepted: ")[2]


def test_an_answer_that_is_none_is_told(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    _, shown = held(scene, capsys, b"z", b"q")
    assert "not one of the answers" in shown


def test_a_wrong_word_is_named_by_its_place_before_the_rest_is_typed(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    words = people.words("alice", scene.new).text().split()
    words[11] = "orgkey"
    terminal = (" ".join(words[:8]).encode(), " ".join(words[8:16]).encode(), b"q")
    _, shown = held(scene, capsys, b"w", *terminal)
    assert "not accepted: a word is not in the list: word 12" in shown
    assert "orgkey" not in shown
    whole = " ".join(words).encode()
    _, shown = held(scene, capsys, b"w", whole, b"q")
    assert "word 12 of 33" in shown


@pytest.mark.parametrize("path", ["custodians", "mixed", None])
def test_a_drill_with_people_is_of_one_epoch(world: World, scene: Scene, path: str | None) -> None:
    given = () if path else tuple(scene.of("alice", "bob", "erin"))
    with pytest.raises(UsageProblem, match="of one epoch, and 2 were asked for"):
        drill(world.context, DrillRequest(epochs=None, unseal=UnsealRequest(path, given, never)))
    assert world.events() == ["drill-refused"]


# -- time --------------------------------------------------------------------------------------------


def test_a_deadline_that_servers_used_up_begins_anew_after_a_ceremony() -> None:
    deadline = Deadline(0.0)
    assert deadline.left() == 0
    object.__setattr__(deadline, "seconds", 60.0)
    deadline.renew()
    assert deadline.left() > 50
    ends = deadline.ends
    object.__setattr__(deadline, "seconds", 1.0)
    deadline.renew()
    assert deadline.ends == ends, "it is never cut short"


# -- texts with shares -------------------------------------------------------------------------------

WORDS = [f"{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(33)]
ONE = " ".join(WORDS)


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        ONE + "\r\n",
        "\n".join(WORDS),
        "\n".join(f"{number}. {word}" for number, word in enumerate(WORDS, 1)),
        "\n".join(f"{number}.{word}" for number, word in enumerate(WORDS, 1)),
        "   ".join(f"{number:2}) {word}" for number, word in enumerate(WORDS, 1)),
        "\n".join(" ".join(WORDS[start : start + 6]) for start in range(0, 33, 6)),
        "\ufeff" + ONE,
    ],
)
def test_a_share_is_read_however_a_sheet_lays_it_out(text: str) -> None:
    assert shares.split(text.encode()) == [ONE.encode()]


def test_several_shares_come_one_a_line() -> None:
    assert shares.split(f"{ONE}\n\n{ONE}\n".encode()) == [ONE.encode()] * 2
    assert shares.split(b" \n") == []
