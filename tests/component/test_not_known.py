"""What is not known is said to be not known: no answer is not "nothing", and no limit is not "in time"."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta

import pytest
from pypdf import PdfReader

from pipeline.cli import list_command, report_command, status_text
from pipeline.cli.documents.stored import ListDocument
from pipeline.core.errors import Code
from pipeline.monitoring.status import status
from pipeline.record.verify import Record
from pipeline.report import model
from pipeline.report.build import BuildResult, build
from pipeline.report.formats import csv, html, oscal, pdf
from pipeline.report.model import Restorability, Support
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.inmemory import World, denied, slot_of, unreachable

SILENT = [("find", unreachable), ("find", denied), ("get", unreachable), ("get", denied)]


@pytest.fixture
def proven(world: World) -> Record:
    """An epoch that the ledger tells of, drilled a moment ago."""
    made = world.store(world.mint())
    copies = {name: {"location": name, "version": "1"} for name in world.targets}
    world.enter("escrow", {"epoch": made.epoch, "copies": copies})
    assert drill(world.context, DrillRequest()).code is Code.OK
    return made


def silence(world: World, call: str, make: object) -> None:
    for name, target in world.targets.items():
        target.failures[call] = make(f"target {name}")  # type: ignore[operator]  # one of two functions


def forms(found: BuildResult) -> dict[str, str]:
    """The report in every format, as text."""
    return {
        "html": html.render(found.report).decode(),
        "csv": csv.claims(found.report).decode(),
        "oscal": oscal.render(found.report).decode(),
        "json": model.render(found.report).decode(),
        "text": "\n".join(report_command._lines(found.report, [])),
    }


@pytest.mark.parametrize(("call", "make"), SILENT)
def test_where_nobody_answers_the_status_tells_what_this_host_knows(
    world: World, proven: Record, call: str, make: object
) -> None:
    silence(world, call, make)
    found = status(world.context)
    assert found.code in (Code.UNREACHABLE, Code.DENIED)
    said = "\n".join(status_text.lines(found))
    assert "nothing authentic" not in said
    assert "no target has" not in said
    assert f"epoch {proven.epoch}, proven " in said
    assert "copies at a, b, c" in said
    assert "BAD" not in said
    assert found.unknown


def paper(found: BuildResult) -> str:
    """The PDF's text."""
    pages = PdfReader(io.BytesIO(pdf.render(found.report))).pages
    return " ".join(page.extract_text() for page in pages).replace("\n", " ")


def test_where_nobody_answers_the_verdict_is_unknown_in_every_format(world: World, proven: Record) -> None:
    silence(world, "find", unreachable)
    found = build(world.context)
    assert found.report.verdict.answer is Restorability.UNKNOWN
    assert found.code in (Code.UNREACHABLE, Code.DENIED)
    assert found.report.verdict.proven_at is not None
    for name, said in (*forms(found).items(), ("pdf", paper(found))):
        lines = " ".join(said.split())
        assert "unknown" in lines.lower(), name
        assert proven.epoch in lines.replace("\u200b", ""), name
        for false in ("nothing authentic", "othing is stored", "nobody</dd>", "from nowhere", "by nobody"):
            assert lines.count(false) == 0, (name, false)
    judged = {control.id: control.support for control in found.report.controls}
    assert judged["CP-9"] is Support.UNKNOWN
    assert judged["AU-9(3)"] is Support.PARTIAL, "the ledger is here, whoever is silent"


def test_one_silent_target_leaves_the_others_and_is_told_once(world: World, proven: Record) -> None:
    world.targets["a"].failures["find"] = unreachable("target a, list: the server")
    world.holders["vault"].failures["describe"] = unreachable("holder vault, read its key: the server")
    found = status(world.context)
    told = [line for line in found.broken if "the server" in line]
    assert len(told) == 1
    assert told[0].startswith("target a and holder vault cannot be reached: ")
    assert told[0].endswith("the server does not answer; look at its network")
    assert not any("orgkey repair" in line for line in found.broken)
    said = "\n".join(status_text.lines(found))
    assert "UNREACHABLE" in said
    assert not found.unknown


def test_a_sealed_copy_is_not_called_bad(world: World, proven: Record) -> None:
    world.targets["a"].failures["get"] = unreachable("it is sealed, and")
    found = status(world.context)
    assert found.epoch is not None
    assert status_text.copy_state(found.epoch.copies[0]) == "UNREACHABLE (sealed)"


def test_no_is_only_said_where_all_was_looked_at(world: World, proven: Record) -> None:
    for name in "abc":
        world.targets[name].places.clear()
    assert build(world.context).report.verdict.answer is Restorability.NO
    world.targets["c"].failures["find"] = denied("c")
    assert build(world.context).report.verdict.answer is Restorability.UNKNOWN
    world.targets["c"].failures.clear()
    world.store(proven, "a")
    world.targets["a"].damage(slot_of(proven))
    assert build(world.context).report.verdict.answer is Restorability.NO
    world.targets["b"].failures["find"] = unreachable("b")
    assert build(world.context).report.verdict.answer is Restorability.UNKNOWN


def test_a_fresh_host_that_knows_nothing_says_so(world: World) -> None:
    silence(world, "find", unreachable)
    found = build(world.context)
    for name, said in (*forms(found).items(), ("pdf", paper(found))):
        assert "never proven" not in said, name
    assert "proven     not known" in forms(found)["text"]
    assert "Last proven not known" in " ".join(re.sub("<[^>]*>", " ", forms(found)["html"]).split())
    assert "not known not known" in paper(found)
    assert any("this host's ledger does not name an epoch" in line for line in status(world.context).broken)


# -- ages without a limit -----------------------------------------------------------------------------


def test_an_age_without_a_limit_is_named(world: World, proven: Record) -> None:
    found = status(world.context)
    assert (found.code, found.broken) == (Code.OK, ())
    assert found.warned == ("no limit for the age of a drill: set policy.max_drill_age_days",)
    assert "no limit for the age of a drill" in "\n".join(status_text.lines(found))
    world.policy = "max_drill_age_days = 8\n"
    assert status(world.context).warned == ()


def test_a_drill_of_another_time_is_no_plain_yes(world: World, proven: Record) -> None:
    world.clock.shift = timedelta(days=900)
    found = build(world.context)
    assert found.report.verdict.answer is Restorability.GAPS
    assert "last proven 900 days ago" in found.report.verdict.sentence
    said = forms(found)
    assert "\N{EN DASH}" in said["html"].split("missed")[0][-40:]
    assert "\N{EN DASH} missed" in said["text"]
    assert json.loads(said["json"])["drill_interval_days"] is None
    cp4 = next(control for control in found.report.controls if control.id == "CP-4")
    assert "none can be missed" in cp4.says
    assert "0 test restores missed" not in said["csv"]
    world.policy = "max_drill_age_days = 8\n"
    assert status(world.context).code is Code.STALE
    assert build(world.context).report.missed_text == "1"


# -- list and verify -------------------------------------------------------------------------------


def listed(world: World) -> str:
    context = world.context
    surveys = context.catalogs()
    known = list_command.last_known(context, surveys)
    assert set(ListDocument.about(surveys, known).last_known) == set(known)
    return "\n".join(list_command.lines(context, surveys, known))


@pytest.mark.parametrize("make", [unreachable, denied])
def test_a_list_that_nobody_answered_says_so_and_what_was_last_known(
    world: World, proven: Record, make: object
) -> None:
    silence(world, "find", make)
    said = listed(world)
    assert "UNKNOWN: no target could be asked" in said
    assert f"epoch {proven.epoch}, proven " in said
    assert "copies at a, b, c" in said
    assert "nothing is stored" not in said


def test_a_list_of_an_epoch_that_was_not_read_says_so(world: World, proven: Record) -> None:
    silence(world, "get", unreachable)
    said = listed(world)
    assert f"UNKNOWN: epoch {proven.epoch} is listed, but could not be read" in said
    assert "UNREACHABLE" in said
    assert "BAD" not in said


def test_a_list_that_some_answered_claims_nothing_of_the_others(world: World) -> None:
    world.targets["a"].failures["find"] = unreachable("a")
    assert "UNKNOWN: a could not be asked; nothing is stored at b and c" in listed(world)
    assert "this host's ledger does not name an epoch" in listed(world)
    world.targets["a"].failures.clear()
    assert "nothing is stored" in listed(world)
    world.store(world.mint(), "b")
    world.targets["a"].failures["find"] = unreachable("a")
    said = listed(world)
    assert "a could not be asked: there may be more" in said
    assert "hint: `orgkey repair` copies it there from a good copy" in said
