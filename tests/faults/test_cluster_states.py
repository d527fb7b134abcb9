"""A cluster whose servers are sealed, stand by, or are gone: what works on, and what is said of the rest."""

from __future__ import annotations

import pytest

from tests.faults.cluster import Cluster, reroute, wait_until
from tests.faults.scene import Ended, Scene
from tests.faults.test_kill_leader import complete
from tests.support.balancer import in_front_of

LIMITS = "copies = 2\ncall_seconds = 5\ndeadline_seconds = 60"
WRITE = "POST /v1/orgkey/data/records/PLACE/FPR/EPOCH #1"


def limit(scene: Scene) -> None:
    """Let nothing take long."""
    text = scene.config.read_text()
    assert "copies = 2" in text
    scene.config.write_text(text.replace("copies = 2", LIMITS))


def refusal(ended: Ended) -> tuple[str, str]:
    """What happened, and the hint, of a run without a result."""
    error = ended.document["error"]
    assert error["code"] == ended.code
    assert ended.err.splitlines()[-2:] == [
        f"orgkey: error: {error['message']}",
        f"orgkey: hint: {error['hint']}",
    ]
    return error["message"], error["hint"]


def test_a_standby_s_address_is_as_good_as_the_leader_s(cluster: Cluster, scene: Scene) -> None:
    standby = cluster.followers()[0]
    assert standby.health() == 429
    reroute(scene, cluster, vault=standby.address)
    assert scene.run(["doctor"]).code == 0
    complete(scene.run(scene.escrow()), scene, "standby")
    assert standby.health() in (200, 429)


@pytest.mark.parametrize("which", ["follower", "leader"])
def test_one_sealed_server_is_named_or_avoided(which: str, cluster: Cluster, scene: Scene) -> None:
    node = cluster.leader() if which == "leader" else cluster.followers()[0]
    cluster.seal(node)
    reroute(scene, cluster, vault=node.address)
    ended = scene.run(scene.escrow())
    assert ended.code == 20, ended
    happened, hint = refusal(ended)
    assert f"{node.address} is sealed" in happened
    assert "unseal" in hint
    cluster.await_writing()
    with in_front_of(cluster.active_port) as balancer:
        scene.config.write_text(scene.config.read_text().replace(node.address, balancer.url))
        ended = scene.run(scene.escrow())
        assert ended.code == 0, ended
        complete(ended, scene, f"{which} sealed")


def test_all_sealed(cluster: Cluster, scene: Scene) -> None:
    for node in cluster.nodes:
        cluster.seal(node)
    address = cluster.nodes[0].address
    reroute(scene, cluster, vault=address)
    ended = scene.run(scene.escrow())
    assert ended.code == 20, ended
    happened, hint = refusal(ended)
    assert "is sealed" in happened
    assert "unseal" in hint
    cluster.await_whole()
    complete(scene.run(scene.escrow()), scene, "all sealed")


def test_one_server_down_leaves_a_quorum(cluster: Cluster, scene: Scene) -> None:
    cluster.kill(cluster.followers()[0])
    reroute(scene, cluster, vault=cluster.leader().address)
    ended = scene.run(scene.escrow())
    assert ended.code == 0, ended
    complete(ended, scene, "one down")


def test_two_servers_down_leave_no_quorum(cluster: Cluster, scene: Scene) -> None:
    left, others = cluster.roles()
    for node in others:
        cluster.kill(node)
    wait_until(lambda: left.health() == 429)
    reroute(scene, cluster, vault=left.address)
    limit(scene)
    ended = scene.run(scene.escrow())
    assert ended.code in (20, 25), ended
    happened, hint = refusal(ended)
    assert "no leader" in happened
    assert "most of its servers" in hint
    cluster.start(next(node for node in cluster.nodes if node.process is None))
    cluster.await_writing()
    complete(scene.run(scene.escrow()), scene, "two down, one back")


def test_the_quorum_lost_at_the_write(vault_calls: list[str], cluster: Cluster, scene: Scene) -> None:
    """The leader can commit nothing more; the epoch is begun by then, and finished when one is back."""
    assert WRITE in vault_calls
    left, others = cluster.roles()
    with in_front_of(lambda: left.port) as balancer:
        reroute(scene, cluster, vault=balancer.url)
        limit(scene)
        balancer.strike(WRITE, "before", lambda: list(map(cluster.kill, others)))
        ended = scene.run(scene.escrow())
        assert balancer.struck
        assert ended.code in (20, 25), ended
        copies = {copy["target"]: copy for copy in ended.document["copies"]}
        assert copies["s3"]["verified"] is True
        assert copies["vault"]["verified"] is False
        assert ended.document["drill"] is None
        (begun,) = scene.journalled()
        cluster.start(others[0])
        cluster.await_writing()
        complete(ended, scene, WRITE)
        assert set(scene.stored()) == {begun}
