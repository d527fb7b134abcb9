"""An install without the extra ``pdf``: what has to set a page says so first, and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.holders import PaperHolderConfig
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, ProgramMissing
from pipeline.core.finding import Level
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding
from pipeline.custody.holders.paper import PaperSheets
from pipeline.workflows.kit import kit
from tests.support.commandline import environment
from tests.support.inmemory import World

EXTRA = "pip install 'orgkey-escrow[pdf]'"
START = "import sys; sys.modules['typst'] = None\nfrom pipeline.cli.entry import main\nsys.exit(main())"


@pytest.fixture(autouse=True)
def _without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)


@pytest.mark.parametrize("words", [["--bundle", "report.zip"], ["--out", "report.pdf"]])
def test_a_report_with_a_pdf_ends_before_anything_is_asked(words: list[str], tmp_path: Path) -> None:
    argv = [sys.executable, "-c", START, "report", *words]
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == Code.PROGRAM_MISSING, done
    assert EXTRA in done.stderr
    assert not list(tmp_path.glob("report*"))


def test_a_kit_is_not_begun(world: World, tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing) as caught:
        kit.make(world.context, tmp_path / "kit")
    assert EXTRA in caught.value.hint
    assert not (tmp_path / "kit").exists()


def test_no_share_is_printed_and_the_doctor_says_why(tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    item = PaperHolderConfig(kind="paper", kept_by=("Ada",), print_command=("tee", str(printed)))
    sheets = PaperSheets("paper", item, deadline=Deadline(60))
    (finding,) = sheets.check()
    assert (finding.level, finding.code) == (Level.FAIL, Code.PROGRAM_MISSING)
    assert EXTRA in finding.hint
    with pytest.raises(ProgramMissing):
        sheets.seal([Secret(b"academic acid")], Binding("A" * 40, "0" * 32))
    assert not printed.exists()
