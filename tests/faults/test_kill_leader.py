"""The leader of a real cluster is killed at each request of an escrow, before it and after it.

An escrow may ride the election out, or end with a code that says "later"; then the same command completes it.
"""

from __future__ import annotations

import pytest

from tests.faults.cluster import Cluster, reroute
from tests.faults.scene import Ended, Scene
from tests.support.balancer import When, in_front_of

CALLS = 13
"""How many requests to Vault a clean escrow makes. Whoever adds one changes this number, and has it swept."""
LATER = {20, 24, 25}


def complete(ended: Ended, scene: Scene, at: str) -> None:
    """Whatever the run ended with is true of what is stored, and running it again completes it."""
    assert ended.code in {0, *LATER}, (at, ended)
    document, begun = ended.document, scene.journalled()
    assert document.get("error", document).get("code", document.get("exit_code")) == ended.code, (at, ended)
    drilled = "drill"
    if ended.code:
        # One copy can have been out of reach in the drill that proved the other one.
        drilled = "drill-failed" if document.get("proven") else drilled
        again = scene.run(scene.escrow())
        assert (again.code, again.document["proven"]) == (0, True), (at, ended, again)
    else:
        assert document["proven"] is True
        assert document["drill"]["passed"] is True
    scene.check_whole(committed=begun, drilled=drilled)
    elsewhere = scene.run(["verify"], state=scene.directory / "another-host")
    assert elsewhere.code == 0, (at, elsewhere)
    (epoch,) = elsewhere.document["epochs"]
    assert [copy["ok"] for copy in epoch["copies"]] == [True, True]


def test_the_number_of_calls(vault_calls: list[str]) -> None:
    assert len(vault_calls) == CALLS, "\n".join(vault_calls)


@pytest.mark.parametrize("number", range(CALLS))
def test_killed_before_it_gets_the_request(
    number: int, vault_calls: list[str], cluster: Cluster, scene: Scene
) -> None:
    """The usual deployment: a load balancer finds the active server by its health. Two servers go on."""
    at = vault_calls[number]
    with in_front_of(cluster.active_port) as balancer:
        reroute(scene, cluster, vault=balancer.url)
        balancer.strike(at, "before", lambda: cluster.kill(cluster.leader()))
        ended = scene.run(scene.escrow())
        assert balancer.struck, (at, ended)
        cluster.leader()
        complete(ended, scene, at)


@pytest.mark.parametrize("number", range(CALLS))
def test_killed_before_its_answer_arrives(
    number: int, vault_calls: list[str], cluster: Cluster, scene: Scene
) -> None:
    """The configuration has the address of one standby, which forwards. The killed server comes back."""
    at = vault_calls[number]
    (standby, *_) = cluster.followers()
    with in_front_of(lambda: standby.port) as balancer:
        reroute(scene, cluster, vault=balancer.url)
        balancer.strike(at, "after", lambda: cluster.kill(cluster.leader()))
        ended = scene.run(scene.escrow())
        assert balancer.struck, (at, ended)
        cluster.await_whole()
        complete(ended, scene, at)


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_checked_can_fail(when: When, vault_calls: list[str], cluster: Cluster, scene: Scene) -> None:
    with in_front_of(cluster.active_port) as balancer:
        reroute(scene, cluster, vault=balancer.url)
        balancer.strike("GET /v1/never #1", when, lambda: None)
        ended = scene.run([*scene.escrow(), "--no-drill"])
        assert not balancer.struck
        assert ended.code == 0
        with pytest.raises(AssertionError):
            complete(ended, scene, "never")
