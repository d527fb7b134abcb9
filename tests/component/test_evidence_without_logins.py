"""A server may repeat in its answer what it was sent: no evidence and no report has a login in it."""

from __future__ import annotations

import base64
import json

from pipeline.cli import nagios
from pipeline.core import log
from pipeline.core.errors import Code, Denied
from pipeline.core.secret import Secret
from pipeline.monitoring.status import status
from pipeline.report import model
from pipeline.report.build import build
from pipeline.report.formats import csv, html, oscal
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.inmemory import World

TOKEN = "hvs.CAESIJ-repeated-by-a-server"


def test_what_a_server_repeats_is_in_no_file(world: World) -> None:
    log.redact_login(Secret(TOKEN))
    world.store(world.mint())
    refused = Denied(f"it refuses the token {TOKEN}", hint=f"{TOKEN} is not a good one")
    world.targets["a"].failures["get"] = refused
    assert drill(world.context, DrillRequest()).code is Code.DENIED
    world.holders["aws"].failures["describe"] = refused
    found = build(world.context)
    assert any("it refuses the token" in gap for gap in found.report.verdict.gaps)
    files = [render(found.report) for render in (html.render, csv.claims, oscal.render, model.render)]
    files += [*csv.tables(found.report).values(), found.posture or b""]
    files += [path.read_bytes() for path in world.root.rglob("*") if path.is_file()]
    (path,) = (world.context.root / "certificates").glob("*.json")
    (item,) = json.loads(path.read_bytes())["predicate"]["configuration"]
    content = base64.b64decode(item["content"])
    assert b"it refuses the token" in content
    assert not [data for data in (*files, content) if TOKEN.encode() in data]
    judged = status(world.context)
    assert TOKEN not in nagios.of_status(judged, world.config.policy)
    assert TOKEN not in nagios.line(Code.DENIED, f"{refused.message}; {refused.hint}")
