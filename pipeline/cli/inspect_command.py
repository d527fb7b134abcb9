"""`orgkey inspect`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.cli.command import KEY_CODES, Invocation, arg, command
from pipeline.cli.output import grouped, printable, spaced
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code
from pipeline.openpgp.key import inspection
from pipeline.sources.file import FileSource
from pipeline.wiring import factory


@command("orgkey inspect export.asc", KEY_CODES, takes=["export_passphrase"])
def inspect(
    call: Invocation,
    file: Path = arg("FILE", "The export; - reads standard input."),
) -> Code:
    """Say what an export is, and whether it could restore a server.

    Needs no configuration and contacts nothing. With a passphrase it also opens every secret part and
    checks it. The exit code is the verdict.
    """
    pin = factory.pinned(None, call.fingerprint)
    data = FileSource(file).fetch(Deadline(60)).data
    passphrase = call.passphrase("export", "passphrase of the export")() if call.has_passphrase else None
    document = inspection.inspect(data, pin=pin, passphrase=passphrase, now=datetime.now(UTC)).document
    call.out.emit(document, _lines(document))
    return Code(document["exit_code"])


def _lines(document: dict[str, Any]) -> list[str]:
    shown = [f"verdict      {document['verdict']} ({document['exit_code']})"]
    if document["fingerprint"]:
        shown.append(f"fingerprint  {spaced(document['fingerprint'])}")
    named = ("algorithm", "created", "expires", "layout", "protection")
    shown += [f"{name:<12} {printable(_flat(document[name]))}" for name in named if document[name]]
    shown += [f"user id      {printable(str(user_id))}" for user_id in document["user_ids"]]
    for subkey in document["subkeys"]:
        what = f"{subkey['algorithm']} {subkey['key_id']}, {_flat(subkey['usage']) or 'no usage'}"
        until = f", expires {subkey['expires']}" if subkey["expires"] else ""
        shown.append(f"subkey       {printable(what + until)}" + (", REVOKED" if subkey["revoked"] else ""))
    shown += [f"certificate  {printable(_flat(item))}" for item in document["organization_certificates"]]
    shown += [f"note         {printable(note)}" for note in document["notes"]]
    for problem in document["problems"]:
        shown += [
            "",
            f"{problem['code']} {problem['name']}: {grouped(printable(problem['message']))}",
            f"   {printable(problem['hint'])}",
        ]
    return shown


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{name} {_flat(item)}" for name, item in value.items() if item not in (None, [], "")
        )
    if isinstance(value, list):
        return "+".join(str(item) for item in value)
    return str(value)
