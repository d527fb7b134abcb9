"""What a command is to make anew is looked at first, with one answer everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.custody.custodians import many_keys
from pipeline.custody.custodians.challenge import Challenge, ChallengedShare
from tests.support.commandline import orgkey
from tests.support.configtext import GOOD, PIN

MANY = ("custody", "check", "--challenge", "{challenges}", "--out")
COMMANDS: dict[str, tuple[str, ...]] = {
    "restore": ("restore", "--config", "{config}", "--out"),
    "report": ("report", "--config", "{config}", "--out"),
    "report-bundle": ("report", "--config", "{config}", "--bundle"),
    "init": ("init", "--no-input", "--fingerprint", PIN, "--out"),
    "custody-check": MANY,
    "custody-kit": ("custody", "kit", "--config", "{config}", "--out"),
    "fleet-status": ("fleet", "status", "--configs", "{config}", "--page"),
    "fleet-report": ("fleet", "report", "--configs", "{config}", "--out"),
}


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """A configuration, and a challenge for many keys; what is beyond them is never reached."""
    config, challenges = tmp_path / "orgkey.toml", tmp_path / "challenges.json"
    config.write_text(GOOD)
    config.chmod(0o600)
    share = ChallengedShare("p", "h", 1, "0" * 32, "0" * 64, 0, "0" * 64, "sealed")
    challenges.write_bytes(many_keys.together({"one": Challenge(PIN, "e", "0" * 32, PIN, "Bob", (share,))}))
    return {"config": str(config), "challenges": str(challenges)}


@pytest.mark.parametrize("what", ["a folder", "a link that leads nowhere", "in a folder that is read-only"])
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_asked_for_what_cannot_be_made(
    tmp_path: Path, given: dict[str, str], name: str, what: str
) -> None:
    path, elsewhere = tmp_path / "new.html", tmp_path / "elsewhere"
    if what == "a folder":
        path.mkdir()
    elif what == "a link that leads nowhere":
        path.symlink_to(elsewhere)
    else:
        path = Path("/sys/kernel/new.html")
    words = [word.format(**given) for word in COMMANDS[name]]
    happened, hint = orgkey(tmp_path, *words, str(path), expect=3).error
    if what == "in a folder that is read-only":
        assert happened.startswith(f"cannot write {path}: ")
    else:
        assert happened == f"{path} exists already"
        assert "nothing is ever overwritten" in hint
    assert not elsewhere.exists()
    assert not path.is_file()


@pytest.mark.parametrize("words", [("custody", "challenge", "--config"), ("fleet", "challenge", "--configs")])
def test_challenges_need_a_folder(tmp_path: Path, given: dict[str, str], words: tuple[str, ...]) -> None:
    happened, _ = orgkey(tmp_path, *words, given["config"], "--out", "nowhere", expect=3).error
    assert happened == "nowhere is not a folder"
