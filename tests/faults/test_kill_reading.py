"""A drill or a restore that is killed leaves no half of anything behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pipeline.core.secret import Secret
from pipeline.openpgp.format import armor
from pipeline.openpgp.key import rewrap
from tests.faults.scene import FINGERPRINT, NEW_PASSPHRASE, Scene

TRYING = [
    f"{call} out/.restored.asc.HEX.orgkey-tmp #{time}" for time in (1, 2) for call in ("open", "unlink")
]
"""Where a restore tries its place, the second time for the key's size, before shares are opened."""
WRITING = {
    "open out/.restored.asc.HEX.orgkey-tmp #3": False,
    "link out/restored.asc #1": False,
    "unlink out/.restored.asc.HEX.orgkey-tmp #3": True,
    "open state/FPR/ledger/HOST/.000000003.json.HEX.orgkey-tmp #1": True,
    "link state/FPR/ledger/HOST/000000003.json #1": True,
    "unlink state/FPR/ledger/HOST/.000000003.json.HEX.orgkey-tmp #1": True,
    "exit #1": True,
}
"""The points of a restore from the writing of its file on, and whether the file is there by then."""
DRILLING = {
    "holder open vault #1",
    "start gpg --quick-sign-key #1",
    "link state/FPR/certificates/EPOCH-drilled-TIME-HEX.json #1",
    "replace state/FPR/journal/EPOCH/proven.json #1",
    "exit #1",
}


def opens(path: Path) -> bool:
    """Whether a file is the whole key under the new passphrase."""
    assert path.stat().st_mode & 0o777 == 0o600
    opened = rewrap.unlock(armor.dearmor(path.read_bytes()), Secret(NEW_PASSPHRASE))
    return opened.fingerprint == FINGERPRINT


def test_a_killed_restore(scene: Scene) -> None:
    out = scene.directory / "out" / "restored.asc"
    assert scene.run(scene.escrow()).code == 0
    scene.trace.unlink()
    assert scene.run(scene.restore(out)).code == 0
    reached = scene.trace.read_text().splitlines()
    before = reached[: reached.index("holder open vault #1")]
    assert [point for point in before if " out/" in point] == TRYING
    assert reached[reached.index(next(iter(WRITING))) :] == list(WRITING), "a restore writes in this order"
    assert opens(out)

    for point, there in {**dict.fromkeys(TRYING, False), **WRITING}.items():
        if "ledger" in point and "link state" not in point:
            continue  # the sweep of the escrow has them
        out.unlink(missing_ok=True)
        killed = scene.run(scene.restore(out), at=point.replace("000000003", _next_entry(scene)))
        assert killed.code == -signal.SIGKILL, (point, killed)
        assert out.exists() is there, point
        again = scene.run(scene.restore(out))
        assert again.code == (3 if there else 0), (point, again)
        assert opens(out), point
        if not there:
            assert list(out.parent.iterdir()) == [out], "the next one that writes there tidies up"
    out.unlink()
    assert scene.run(scene.restore(out)).code == 0
    scene.check_nothing_lingers()
    assert scene.context().ledger.entries()


def _next_entry(scene: Scene) -> str:
    return f"{scene.context().ledger.head().sequence + 1:09d}"


@pytest.mark.parametrize("point", sorted(DRILLING))
def test_a_killed_drill(point: str, scene: Scene) -> None:
    assert scene.run([*scene.escrow(), "--no-drill"]).code == 0
    scene.trace.unlink()
    killed = scene.run(["drill"], at=point)
    assert killed.code == -signal.SIGKILL, (point, killed, scene.points())
    again = scene.run(["drill"])
    assert again.code == 0, again
    assert again.document["passed"]
    scene.check_whole()
