"""`orgkey lab`: a stand-in for a PGP Encryption Server."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import platformdirs
import typer

from pipeline.cli.command import WHERE, Invocation, arg, command, opt, parameter
from pipeline.cli.lazy import HelpCommand, HelpGroup
from pipeline.cli.output import printable, spaced, table
from pipeline.core import files, passphrases
from pipeline.core.errors import Code, Unprotected, UsageProblem
from pipeline.core.secret import Secret
from pipeline.devstack.lab import backup as backups
from pipeline.devstack.lab import lookup, simulated_time
from pipeline.devstack.lab.server import LabServer
from pipeline.devstack.lab.state import BackupSchedule

app = typer.Typer(
    name="lab",
    cls=HelpGroup,
    no_args_is_help=True,
    help="A stand-in for a PGP Encryption Server: not the product.",
)
user_app = typer.Typer(name="user", cls=HelpGroup, no_args_is_help=True, help="Users of the stand-in server.")
certificate_app = typer.Typer(
    name="certificate",
    cls=HelpGroup,
    no_args_is_help=True,
    help="Organization Certificates of the stand-in server.",
)
app.add_typer(user_app)
app.add_typer(certificate_app)

LARGEST: Final = 16 << 20
"""Of a keypair, in bytes."""
STAND_IN: Final = "stand-in server (not a PGP Encryption Server)"
DIRECTORY = parameter(
    "directory",
    Path | None,
    opt("--dir", "The stand-in server's state.", "DIR", envvar="ORGKEY_LAB_DIR", show_default=False),
)
IGNITION: Any = opt("--ignition-passphrase-file", "The ignition passphrase.", "FILE")
PASSPHRASE: Any = opt("--export-passphrase-file", "What protects the keypair.", "FILE")
ALGORITHM: Any = opt("--algorithm", "rsa2048, rsa3072, rsa4096, ed25519, nistp256, ...", "NAME")
DAYS: Any = opt("--days", "Lifetime; 0 for none.", "N", min=0)

Answer = tuple[str, dict[str, Any], list[str]]
"""Of a command: the name of its document, the document's fields, and what a person reads."""


def _command(
    example: str, group: typer.Typer = app, *, json: bool = True
) -> Callable[[Callable[..., Answer | None]], Callable[..., Answer | None]]:
    """Make a function a command; it gets the stand-in server. Its answer is printed, or else how that is now.

    Args:
        example: A line for its help page, without ``orgkey lab``; its first word, in a group the second,
            is the command's name.
        group: What the command belongs to.
        json: Whether it can print a document.
    """

    def decorate(function: Callable[..., Answer | None]) -> Callable[..., Answer | None]:
        @functools.wraps(function)
        def run(call: Invocation, directory: Path | None, **values: Any) -> Code:
            place = directory or platformdirs.user_state_path("orgkey-escrow") / "lab"
            server = LabServer(place)
            schema, body, lines = function(server, **values) or _about(server)
            call.out.emit({"schema": f"orgkey.lab-{schema}/1", "stand_in": True} | body, [STAND_IN, *lines])
            return Code(body.get("exit_code", Code.OK))

        shared = ("json",) if json else ()
        made = command(f"orgkey lab {example}", shared=shared, parameters=[DIRECTORY])(run)
        words = example.split()
        group.command(words[0] if group is app else words[1], cls=HelpCommand)(made)
        return function

    return decorate


def _about(server: LabServer) -> Answer:
    found = server.about()
    ignition = "asked for at boot" if found.ignition else "none"
    lines = [
        f"domain        {found.domain}",
        f"Org Key       {spaced(found.fingerprint)}",
        f"algorithm     {found.algorithm}, expires {found.expires or 'never'}",
        f"its time      {found.now}",
        f"booted        {'yes' if found.booted else 'NO: its keys are locked'}",
        f"ignition      passphrase {ignition}",
        f"live          {'yes' if found.live else 'no'}, {found.users} users",
        f"certificates  {', '.join(map(printable, found.certificates)) or 'none'}",
    ]
    return "status", asdict(found) | {"certificates": list(found.certificates)}, lines


def _secret(kind: str, prompt: str, file: Path | None, *, confirm: bool = False) -> Secret:
    names = f"--{kind}-passphrase-file"
    return passphrases.from_options(prompt, file=file, confirm=confirm, option_names=names)()


@_command("setup example.com --algorithm ed25519")
def setup(
    server: LabServer,
    domain: str = arg("DOMAIN", "What the Org Key is named after."),
    algorithm: str | None = ALGORITHM,
    days: int | None = DAYS,
    ignition_passphrase_file: Path | None = IGNITION,
) -> None:
    """Run the stand-in's Setup Assistant: one Org Key, named after the domain.

    With an ignition passphrase, every boot asks for it.
    """
    ignition = None
    if ignition_passphrase_file is not None:
        ignition = _secret("ignition", "new ignition passphrase", ignition_passphrase_file)
    days = 365 if days is None else days
    server.setup(domain, algorithm=algorithm or "rsa4096", days=days, ignition=ignition)


@_command("status")
def status(server: LabServer) -> Answer:
    """Say what the stand-in server is now."""
    return _about(server)


@_command("regenerate")
def regenerate(server: LabServer, algorithm: str | None = ALGORITHM, days: int | None = DAYS) -> None:
    """Make another Org Key in the stand-in, with other settings.

    Refused once the server has users or is live, as the vendor's article says.
    """
    server.regenerate(algorithm=algorithm, days=days)


@_command("go-live")
def go_live(server: LabServer) -> None:
    """Say that the stand-in server is in use."""
    server.go_live()


@_command("user add Alice alice@example.com", user_app)
def add_user(
    server: LabServer,
    name: str = arg("NAME", "The user's name."),
    mail: str = arg("MAIL", "Its address."),
) -> Answer:
    """Make a user's key in the stand-in, and sign it with the Org Key."""
    user = server.add_user(name, mail)
    body = {"fingerprint": user.fingerprint, "user_id": user.user_id}
    return "user", body, [f"{printable(user.user_id)}: {spaced(user.fingerprint)}"]


@_command("user list", user_app)
def list_users(server: LabServer) -> Answer:
    """List the stand-in's users, and whether the present Org Key's signature on each verifies."""
    found = server.users()
    rows = [(printable(user.user_id), user.fingerprint, "good" if good else "BAD") for user, good in found]
    code = Code.OK if all(good for _, good in found) else Code.INTEGRITY
    users = [
        {"user_id": user.user_id, "fingerprint": user.fingerprint, "signed": good} for user, good in found
    ]
    return "users", {"users": users, "exit_code": int(code)}, table(("user", "key", "signed"), rows)


@_command("export keypair --out export.asc")
def export(
    server: LabServer,
    what: str = arg("public|keypair", "Which part."),
    out: Path = opt("--out", "A file, or a folder: named by Key ID.", "PATH", WHERE),
    export_passphrase_file: Path | None = PASSPHRASE,
    without_passphrase: bool = opt("--without-passphrase", "Leave the keypair unprotected, once confirmed."),
    yes: bool = opt("--yes", "Confirm that."),
) -> Answer:
    """Export the stand-in's Org Key as the product does: public, or the keypair in two blocks."""
    if what == "public":
        data = server.export_public()
    elif what != "keypair":
        raise UsageProblem(f"{what} cannot be exported", hint="public or keypair")
    elif without_passphrase:
        if not (yes or _confirmed()):
            raise Unprotected(
                "a keypair is not exported without a passphrase",
                hint="give one; or, if it must be, --without-passphrase, and confirm it",
            )
        data = server.export_keypair(None)
    else:
        data = server.export_keypair(
            _secret("export", "passphrase of the export", export_passphrase_file, confirm=True)
        )
    path = out / server.export_name if out.is_dir() else out
    files.write_new(path, data)
    return "export", {"path": str(path), "fingerprint": server.fingerprint}, [f"exported to {path}"]


def _confirmed() -> bool:
    question = "Anybody who reads the file has the Org Key. Export it without a passphrase?"
    return passphrases.answerable() and typer.confirm(question, err=True)


@_command("certificate add web-mail", certificate_app)
def add_certificate(
    server: LabServer,
    subject: str = arg("NAME", "Its common name."),
    days: int = opt("--days", "Its validity; it never renews itself.", "N", default=365),
) -> Answer:
    """Attach an Organization Certificate to the stand-in's Org Key."""
    server.add_certificate(subject, days)
    return _certificates(server)


@_command("certificate list", certificate_app)
def list_certificates(server: LabServer) -> Answer:
    """List the stand-in's Organization Certificates."""
    return _certificates(server)


@_command("certificate remove 1", certificate_app)
def remove_certificate(server: LabServer, number: int = arg("NUMBER", "Its number in the list.")) -> Answer:
    """Take an Organization Certificate off the stand-in's Org Key."""
    server.remove_certificate(number)
    return _certificates(server)


def _certificates(server: LabServer) -> Answer:
    found = server.certificates()
    listed = [each.model_dump(include={"number", "subject", "not_after"}) for each in found]
    rows = [(str(each.number), printable(each.subject), each.not_after) for each in found]
    lines = table(("number", "subject", "not after"), rows) if rows else ["none"]
    return "certificates", {"certificates": listed}, lines


@_command("time --advance 30")
def pass_time(
    server: LabServer,
    advance: float = opt("--advance", "How many days.", "DAYS", min=0.0, default=0.0),
    renew_days: int | None = opt(
        "--renew-days", "From now on, how long before expiry it renews.", "31|1", default=None
    ),
) -> Answer:
    """Let time pass in the stand-in, day by day: it renews its key and makes its backups."""
    if renew_days is not None:
        server.state.change(renew_days=renew_days)
    done = simulated_time.advance(server, advance) if advance else simulated_time.tick(server)
    now = server.about().now
    return "time", {"now": now, "done": done}, [*done, f"its time is {now}"]


@_command("backup --to backups")
def backup(
    server: LabServer,
    to: Path | None = opt("--to", "Where to.", "DIR", WHERE),
    content: str = opt("--content", "What fills it.", "random|compressible|sparse", default="random"),
    size: int = opt("--size", "How much fills it.", "BYTES", min=0, default=0),
    container: str = opt("--container", "The archive.", "tar|tar.gz", default="tar"),
    no_compress: bool = opt("--no-compress", "Do not compress the message."),
    every: float | None = opt("--every", "From now on so often, as time passes.", "DAYS"),
) -> Answer:
    """Make a backup of the stand-in server, encrypted to its Org Key, or schedule such backups."""
    how: dict[str, Any] = {
        "content": content,
        "size": size,
        "container": container,
        "compress": not no_compress,
    }
    if every is not None:
        folder = (to or server.state.directory / "backups").absolute()
        due = BackupSchedule(days=every, to=folder, next=server.state.now(), how=how)
        server.state.change(schedule=due)
        return "schedule", {"days": every, "to": str(folder)}, [f"every {every:g} days to {folder}"]
    path = backups.make(server, to, **how)
    count = path.stat().st_size
    return "backup", {"path": str(path), "bytes": count}, [f"{path}: {count:,} bytes"]


@_command("restore backup.pgp --keypair restored.asc")
def restore(
    server: LabServer,
    backup_file: Path = arg("BACKUP", "What it is restored from."),
    keypair: Path = opt("--keypair", "The Org Key's keypair.", "FILE", WHERE),
    export_passphrase_file: Path | None = PASSPHRASE,
    large: bool = opt("--large", "The other path, for 2 GiB and more."),
) -> Answer:
    """Restore a stand-in server from its backup and the Org Key's keypair, into a new directory."""
    passphrase = _secret("export", "passphrase of the keypair", export_passphrase_file)
    place, key = server.state.directory, files.read_named(keypair, LARGEST)
    return _about(backups.restore(place, backup_file, key, passphrase, large=large))


@_command("reboot")
def reboot(server: LabServer) -> None:
    """Reboot the stand-in server: its keys are locked until it is booted."""
    server.reboot()


@_command("boot")
def boot(
    server: LabServer,
    ignition_passphrase_file: Path | None = IGNITION,
    keypair: Path | None = opt("--keypair", "The Org Key, where that passphrase is lost.", "FILE", WHERE),
    export_passphrase_file: Path | None = PASSPHRASE,
) -> None:
    """Boot the stand-in server by its ignition passphrase, or by the Org Key where that is lost."""
    if keypair is not None:
        passphrase = _secret("export", "passphrase of the keypair", export_passphrase_file)
        server.boot(keypair=files.read_named(keypair, LARGEST), passphrase=passphrase)
    elif server.about().ignition:
        server.boot(_secret("ignition", "ignition passphrase", ignition_passphrase_file))
    else:
        server.boot()


@_command("serve", json=False)
def serve(
    server: LabServer, port: int = opt("--port", "0 for any.", "N", min=0, max=65535, default=0)
) -> None:
    """Serve the stand-in's public keys over HTTP (HKP) on loopback, until a signal."""
    server.about()
    with lookup.serving(server, port) as address:
        sys.stdout.write(f"{STAND_IN}: {address}\n")
        sys.stdout.flush()
        threading.Event().wait()
