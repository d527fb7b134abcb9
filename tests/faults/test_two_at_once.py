"""Two escrows of one key at once: on one host the second is turned away, on two hosts both are whole."""

from __future__ import annotations

import shutil

from pipeline.archive.catalog import EpochState
from pipeline.archive.run import KeyScope
from tests.faults.scene import Ended, Scene

HOLD = "rename state/FPR/journal/EPOCH #1"
"""A record is minted by now, and nothing is stored yet: the other run cannot know of it."""


def documents(scene: Scene, command: str, state: str) -> dict[str, dict[str, object]]:
    """What a listing command says of each epoch."""
    ended = scene.run([command], state=scene.directory / state)
    return {epoch["epoch"]: epoch for epoch in ended.document["epochs"]}


def test_on_one_host(scene: Scene) -> None:
    first = scene.start(scene.escrow(), at=HOLD, do="hold")
    scene.await_held(first)
    second = scene.run(scene.escrow())
    assert second.code == 50, second
    assert second.document["error"]["name"] == "locked"
    assert len(second.err.splitlines()) == 2
    assert scene.stored() == {}
    scene.release()
    ended = scene.end(first)
    assert ended.code == 0, ended
    record = scene.check_whole()
    third = scene.run(scene.escrow())
    assert (third.code, third.document["epoch"], third.document["already"]) == (0, record.epoch, True)


def test_the_lock_falls_with_its_holder(scene: Scene) -> None:
    first = scene.start(scene.escrow(), at=HOLD, do="hold")
    scene.await_held(first)
    first.kill()
    scene.end(first)
    assert scene.run(scene.escrow()).code == 0
    scene.check_whole()


def test_on_two_hosts(scene: Scene) -> None:
    """Each has a state directory of its own; neither saw the other's record when it minted its own."""
    here, there = scene.directory / "here", scene.directory / "there"
    first = scene.start(scene.escrow(), at=HOLD, do="hold", state=here)
    scene.await_held(first)
    second = scene.run(scene.escrow(), state=there)
    scene.release()
    ended: list[Ended] = [scene.end(first), second]
    assert [one.code for one in ended] == [0, 0], ended
    epochs = {str(one.document["epoch"]) for one in ended}
    assert len(epochs) == 2

    stored = scene.stored()
    assert set(stored) == epochs
    for copies in stored.values():
        assert set(copies) == {"vault", "s3"}
        assert copies["vault"] == copies["s3"]
    for state in ("here", "there"):
        assert set(documents(scene, "list", state)) == epochs
        verified = documents(scene, "verify", state)
        assert set(verified) == epochs
        assert all(copy["ok"] for epoch in verified.values() for copy in epoch["copies"])  # type: ignore[attr-defined]
        scene.check_nothing_lingers(scene.directory / state)
    # Each host has proven its own; both count, and either is restored when asked for.
    for context, own in ((scene.context(here), ended[0]), (scene.context(there), ended[1])):
        states = states_of(context)
        assert states[str(own.document["epoch"])] in (EpochState.PROVEN, EpochState.SUPERSEDED)
        assert set(states) == epochs
        assert EpochState.WRITTEN not in states.values()
    for number, epoch in enumerate(sorted(epochs)):
        out = scene.directory / "out" / f"{number}.asc"
        assert scene.run([*scene.restore(out), "--epoch", epoch], state=here).code == 0
        assert out.is_file()
    shutil.rmtree(scene.directory / "out")
    status = scene.run(["status"], state=there)
    assert status.document["epoch"] in epochs, status


def states_of(context: KeyScope) -> dict[str, EpochState]:
    """The state of every stored epoch, as one host sees it."""
    survey = context.archive("driller").catalog()
    return {epoch.name: epoch.state for epoch in survey.epochs}
