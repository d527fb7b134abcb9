"""`orgkey lab`: a stand-in for a PGP Encryption Server."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.output import Output, printable, spaced, table
from pipeline.core import passphrases
from pipeline.core.errors import Code, Unprotected, UsageProblem

if TYPE_CHECKING:
    from pipeline.core.secret import Secret
    from pipeline.devstack.lab.server import About, LabServer

app = typer.Typer(
    name="lab",
    no_args_is_help=True,
    help="A stand-in for a PGP Encryption Server, for trying and testing: not the product.",
)
user_app = typer.Typer(name="user", no_args_is_help=True, help="Users of the stand-in server.")
certificate_app = typer.Typer(
    name="certificate", no_args_is_help=True, help="Organization Certificates of the stand-in server."
)
app.add_typer(user_app)
app.add_typer(certificate_app)

STAND_IN = "stand-in server (not a PGP Encryption Server)"

Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="The stand-in server's state.",
        envvar="ORGKEY_LAB_DIR",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
IgnitionFile = Annotated[
    Path | None,
    typer.Option("--ignition-passphrase-file", metavar="FILE", help="The ignition passphrase."),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--export-passphrase-file", metavar="FILE", help="What protects the keypair."),
]
Algorithm = Annotated[
    str | None,
    typer.Option("--algorithm", metavar="NAME", help="rsa2048, rsa3072, rsa4096, ed25519, nistp256, ..."),
]
Days = Annotated[int | None, typer.Option("--days", metavar="N", min=0, help="Lifetime; 0 for none.")]


def _server(directory: Path | None) -> LabServer:
    from pipeline.devstack.lab.server import LabServer

    return LabServer(_directory(directory))


def _directory(named: Path | None) -> Path:
    if named is not None:
        return named
    import platformdirs

    return platformdirs.user_state_path("orgkey-escrow") / "lab"


def _show(as_json: bool, schema: str, body: dict[str, Any], lines: list[str]) -> None:
    out = Output(json=as_json)
    out.emit({"schema": f"orgkey.lab-{schema}/1", "stand_in": True} | body, [STAND_IN, *lines])


def _about(found: About, as_json: bool) -> None:
    ignition = "asked for at boot" if found.ignition else "none"
    body = asdict(found) | {"certificates": list(found.certificates)}
    _show(
        as_json,
        "status",
        body,
        [
            f"domain        {found.domain}",
            f"Org Key       {spaced(found.fingerprint)}",
            f"algorithm     {found.algorithm}, expires {found.expires or 'never'}",
            f"its time      {found.now}",
            f"booted        {'yes' if found.booted else 'NO: its keys are locked'}",
            f"ignition      passphrase {ignition}",
            f"live          {'yes' if found.live else 'no'}, {found.users} users",
            f"certificates  {', '.join(map(printable, found.certificates)) or 'none'}",
        ],
    )


def _secret(kind: str, prompt: str, file: Path | None, *, confirm: bool = False) -> Secret:
    return passphrases.from_options(
        prompt, file=file, fd=None, command=None, confirm=confirm, option_names=f"--{kind}-passphrase-file"
    )()


@app.command()
def setup(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="What the Org Key is named after.")],
    algorithm: Algorithm = None,
    days: Days = None,
    ignition_passphrase_file: IgnitionFile = None,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Run the stand-in's Setup Assistant: one Org Key, named after the domain.

    With an ignition passphrase, every boot asks for it.
    """
    ignition = None
    if ignition_passphrase_file is not None:
        ignition = _secret("ignition", "new ignition passphrase", ignition_passphrase_file)
    server = _server(directory)
    found = server.setup(
        domain, algorithm=algorithm or "rsa4096", days=365 if days is None else days, ignition=ignition
    )
    _about(found, as_json)


@app.command()
def status(directory: Directory = None, as_json: Json = False) -> None:
    """Say what the stand-in server is now."""
    _about(_server(directory).about(), as_json)


@app.command()
def regenerate(
    algorithm: Algorithm = None, days: Days = None, directory: Directory = None, as_json: Json = False
) -> None:
    """Make another Org Key in the stand-in, with other settings.

    Refused once the server has users or is live, as the vendor's article says.
    """
    _about(_server(directory).regenerate(algorithm=algorithm, days=days), as_json)


@app.command("go-live")
def go_live(directory: Directory = None, as_json: Json = False) -> None:
    """Say that the stand-in server is in use."""
    server = _server(directory)
    server.go_live()
    _about(server.about(), as_json)


@user_app.command("add")
def add_user(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    mail: Annotated[str, typer.Argument(metavar="MAIL")],
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Make a user's key in the stand-in, and sign it with the Org Key."""
    user = _server(directory).add_user(name, mail)
    body = {"fingerprint": user.fingerprint, "user_id": user.user_id}
    _show(as_json, "user", body, [f"{printable(user.user_id)}: {spaced(user.fingerprint)}"])


@user_app.command("list")
def list_users(directory: Directory = None, as_json: Json = False) -> Code:
    """List the stand-in's users, and whether the present Org Key's signature on each verifies."""
    found = _server(directory).users()
    rows = [(printable(user.user_id), user.fingerprint, "good" if good else "BAD") for user, good in found]
    code = Code.OK if all(good for _, good in found) else Code.INTEGRITY
    users = [
        {"user_id": user.user_id, "fingerprint": user.fingerprint, "signed": good} for user, good in found
    ]
    _show(as_json, "users", {"users": users, "exit_code": int(code)}, table(("user", "key", "signed"), rows))
    return code


@app.command()
def export(
    what: Annotated[str, typer.Argument(metavar="public|keypair")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="A file, or a folder: named by Key ID.")],
    export_passphrase_file: PassphraseFile = None,
    without_passphrase: Annotated[
        bool, typer.Option("--without-passphrase", help="Leave the keypair unprotected, once confirmed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm that.")] = False,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Export the stand-in's Org Key as the product does: public, or the keypair in two blocks."""
    from pipeline.core import files

    server = _server(directory)
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
    _show(as_json, "export", {"path": str(path), "fingerprint": server.fingerprint}, [f"exported to {path}"])


def _confirmed() -> bool:
    if not passphrases.interactive():
        return False
    return typer.confirm(
        "Anybody who reads the file has the Org Key. Export it without a passphrase?", err=True
    )


@certificate_app.command("add")
def add_certificate(
    subject: Annotated[str, typer.Argument(metavar="NAME", help="Its common name.")],
    days: Annotated[
        int, typer.Option("--days", metavar="N", help="Its validity; it never renews itself.")
    ] = 365,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Attach an Organization Certificate to the stand-in's Org Key."""
    server = _server(directory)
    server.add_certificate(subject, days)
    _certificates(server, as_json)


@certificate_app.command("list")
def list_certificates(directory: Directory = None, as_json: Json = False) -> None:
    """List the stand-in's Organization Certificates."""
    _certificates(_server(directory), as_json)


@certificate_app.command("remove")
def remove_certificate(
    number: Annotated[int, typer.Argument(metavar="NUMBER")],
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Take an Organization Certificate off the stand-in's Org Key."""
    server = _server(directory)
    server.remove_certificate(number)
    _certificates(server, as_json)


def _certificates(server: LabServer, as_json: bool) -> None:
    found = server.certificates()
    body = {"certificates": [each.model_dump(include={"number", "subject", "not_after"}) for each in found]}
    rows = [(str(each.number), printable(each.subject), each.not_after) for each in found]
    _show(
        as_json, "certificates", body, table(("number", "subject", "not after"), rows) if rows else ["none"]
    )


@app.command("time")
def pass_time(
    advance: Annotated[
        float, typer.Option("--advance", metavar="DAYS", min=0.0, help="How many days.")
    ] = 0.0,
    renew_days: Annotated[
        int | None,
        typer.Option("--renew-days", metavar="31|1", help="From now on, how long before expiry it renews."),
    ] = None,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Let time pass in the stand-in, day by day: it renews its key and makes its backups."""
    from pipeline.devstack.lab import simulated_time

    server = _server(directory)
    if renew_days is not None:
        server.state.change(renew_days=renew_days)
    done = simulated_time.advance(server, advance) if advance else simulated_time.tick(server)
    about = server.about()
    _show(as_json, "time", {"now": about.now, "done": done}, [*done, f"its time is {about.now}"])


@app.command()
def backup(
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Where to.")] = None,
    content: Annotated[
        str, typer.Option("--content", metavar="random|compressible|sparse", help="What fills it.")
    ] = "random",
    size: Annotated[int, typer.Option("--size", metavar="BYTES", min=0, help="How much fills it.")] = 0,
    container: Annotated[str, typer.Option("--container", metavar="tar|tar.gz")] = "tar",
    no_compress: Annotated[bool, typer.Option("--no-compress", help="Do not compress the message.")] = False,
    every: Annotated[
        float | None, typer.Option("--every", metavar="DAYS", help="From now on so often, as time passes.")
    ] = None,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Make a backup of the stand-in server, encrypted to its Org Key, or schedule such backups."""
    from pipeline.devstack.lab import backup as backups
    from pipeline.devstack.lab.state import BackupSchedule

    server = _server(directory)
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
        _show(as_json, "schedule", {"days": every, "to": str(folder)}, [f"every {every:g} days to {folder}"])
        return
    path = backups.make(server, to, **how)
    count = path.stat().st_size
    _show(as_json, "backup", {"path": str(path), "bytes": count}, [f"{path}: {count:,} bytes"])


@app.command()
def restore(
    backup_file: Annotated[Path, typer.Argument(metavar="BACKUP")],
    keypair: Annotated[Path, typer.Option("--keypair", metavar="FILE", help="The Org Key's keypair.")],
    export_passphrase_file: PassphraseFile = None,
    large: Annotated[bool, typer.Option("--large", help="The other path, for 2 GiB and more.")] = False,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Restore a stand-in server from its backup and the Org Key's keypair, into a new directory."""
    from pipeline.devstack.lab import backup as backups

    passphrase = _secret("export", "passphrase of the keypair", export_passphrase_file)
    server = backups.restore(_directory(directory), backup_file, _read(keypair), passphrase, large=large)
    _about(server.about(), as_json)


@app.command()
def reboot(directory: Directory = None, as_json: Json = False) -> None:
    """Reboot the stand-in server: its keys are locked until it is booted."""
    server = _server(directory)
    server.reboot()
    _about(server.about(), as_json)


@app.command()
def boot(
    ignition_passphrase_file: IgnitionFile = None,
    keypair: Annotated[
        Path | None,
        typer.Option("--keypair", metavar="FILE", help="The Org Key, where that passphrase is lost."),
    ] = None,
    export_passphrase_file: PassphraseFile = None,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Boot the stand-in server by its ignition passphrase, or by the Org Key where that is lost."""
    server = _server(directory)
    if keypair is not None:
        passphrase = _secret("export", "passphrase of the keypair", export_passphrase_file)
        server.boot(keypair=_read(keypair), passphrase=passphrase)
    elif server.about().ignition:
        server.boot(_secret("ignition", "ignition passphrase", ignition_passphrase_file))
    else:
        server.boot()
    _about(server.about(), as_json)


@app.command()
def serve(
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 for any.")] = 0,
    directory: Directory = None,
) -> None:
    """Serve the stand-in's public keys over HTTP (HKP) on loopback, until a signal."""
    import threading

    from pipeline.devstack.lab import lookup

    server = _server(directory)
    server.about()
    with lookup.serving(server, port) as address:
        sys.stdout.write(f"{STAND_IN}: {address}\n")
        sys.stdout.flush()
        threading.Event().wait()


def _read(path: Path) -> bytes:
    from pipeline.core import files

    with files.os_errors(f"cannot read {path}"):
        return path.read_bytes()
