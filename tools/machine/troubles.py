"""What goes wrong at night: which units try again, which wait for a person, and what the dead man hears."""

from __future__ import annotations

from pipeline.core.errors import Code
from tools.machine.estate import Estate, Server
from tools.machine.jobs import drop_in, passes, remove, service
from tools.machine.nspawn import Machine
from tools.schedule.jobs import DRILL, VERIFY

NO_CREDENTIALS = 243  # systemd.exec(5), EXIT_CREDENTIALS
SOON = 3  # seconds between two tries here: ten minutes would be too long to watch


def server_down(machine: Machine, estate: Estate) -> None:
    """S3 stops, for good and for a moment."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    transcript.chapter(
        "S3 is down: a job is tried again as often as its unit says, then waits for its next turn"
    )
    unit = service("drill")
    told = machine.type(
        f"systemctl show {unit} -p Restart -p RestartUSec -p StartLimitBurst -p StartLimitIntervalUSec"
    )
    transcript.check(
        f"StartLimitBurst={DRILL.tries}\n" in told and "RestartUSec=10min\n" in told,
        "every ten minutes, four times",
        told,
    )
    transcript.done(f"the ten minutes are made {SOON} s")
    for template in ("orgkey-drill@.service", "orgkey-verify@.service", "orgkey@.service"):
        drop_in(machine, template, "soon", f"[Service]\nRestartSec={SOON}\n")
    estate.stack.stop_member("s3")
    transcript.done("S3 is stopped")
    begun = len(server.heard())
    machine.type(f"systemctl start --no-block {unit}")
    transcript.until("the unit has given up", lambda: _state(machine, unit) == ("failed", "failed"), 180)
    heard = [path for path in server.heard()[begun:] if path.startswith("/drill")]
    code = int(machine.show(unit, "ExecMainStatus")["ExecMainStatus"])
    transcript.check(code and Code(code).retry, f"it ended with {code}, which is worth another try")
    transcript.check(
        heard == ["/drill/start", f"/drill/{code}"] * DRILL.tries,
        f"{DRILL.tries} starts and as many failures were heard, and no success", heard,
    )  # fmt: skip
    machine.type(f"systemctl status --no-pager --lines=4 {unit}", code=3)
    estate.stack.start_member("s3")
    transcript.done("S3 is started again")
    machine.type(f"systemctl reset-failed {unit}")
    passes(machine, server, DRILL)

    transcript.chapter("S3 comes back between two tries")
    unit = service("verify")
    estate.stack.stop_member("s3")
    transcript.done("S3 is stopped")
    begun = len(server.heard())
    machine.type(f"systemctl start --no-block {unit}")
    transcript.until("a try has failed", lambda: _ends(server, begun, "verify"))
    estate.stack.start_member("s3")
    transcript.done("S3 is started again")
    transcript.until("a later try succeeds by itself", lambda: "/verify" in server.heard()[begun:])
    transcript.until("the unit is content", lambda: _state(machine, unit) == ("inactive", "dead"))
    transcript.check(machine.show(unit, "Result")["Result"] == "success", "its result is a success")


def needs_a_person(machine: Machine, estate: Estate) -> None:
    """Mistakes that no second try mends."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    transcript.chapter("The configuration pins another key: nobody tries again")
    server.configure(machine, fingerprint="0" * 40)
    _fails_for_good(machine, server, service("drill"), "drill")
    machine.put("/etc/orgkey/pgp1.toml", b"[key\n")
    transcript.done("the configuration is broken altogether")
    _fails_for_good(machine, server, "orgkey@pgp1.service", "watch")
    server.configure(machine)
    machine.type("systemctl reset-failed 'orgkey*'; systemctl start orgkey@pgp1.service")

    transcript.chapter(
        "A folder of credentials is missing: the job does not start, and the dead man hears nothing"
    )
    machine.type("mv /etc/orgkey/credentials/pgp1/alarms /root/moved")
    begun = len(server.heard())
    unit = service("verify")
    machine.type(f"systemctl reset-failed {unit}")  # else it is refused for its many starts
    machine.type(f"systemctl start {unit}", code=1)
    told = machine.type(f"systemctl show {unit} -p ExecMainStatus -p ActiveState -p SubState")
    transcript.check(f"ExecMainStatus={NO_CREDENTIALS}\n" in told, "systemd has no credentials for it", told)
    machine.type(f"journalctl --no-pager -o cat -n 3 -u {unit}")
    transcript.check(
        "/verify/start" not in server.heard()[begun:], "no ping was heard: the dead man will call"
    )
    machine.type(
        f"mv /root/moved /etc/orgkey/credentials/pgp1/alarms; systemctl stop {unit}; systemctl reset-failed"
    )
    passes(machine, server, VERIFY)

    transcript.chapter("An export with another passphrase is dropped: tried once, shown, and not tried again")
    for template in ("orgkey-drill@.service", "orgkey-verify@.service", "orgkey@.service"):
        remove(machine, template, "soon")
    drop_in(
        machine, "orgkey@.service", "often",
        "[Service]\nExecStart=\n"
        "ExecStart=/opt/orgkey/bin/orgkey watch --config /etc/orgkey/%i.toml --every 2\n",
    )  # fmt: skip
    place = "/etc/orgkey/credentials/pgp1/export/passphrase"
    machine.put(place, b"not the passphrase of it\n", 0o600)
    transcript.done("the passphrase is replaced by a wrong one")
    machine.type("install -m 600 -o orgkey /root/pgp1/keypair.asc /srv/orgkey/pgp1/inbox/")
    machine.type("systemctl restart orgkey@pgp1")
    begun = len(server.heard())
    wrong = f"/watch/{int(Code.WRONG_PASSPHRASE)}"
    transcript.until(
        "three rounds say that the passphrase is wrong", lambda: server.heard()[begun:].count(wrong) >= 3
    )
    machine.type("journalctl --no-pager -o cat -u orgkey@pgp1 -n 8")
    machine.put(place, (server.host.credentials()["export_passphrase"]), 0o600)
    transcript.done("the right passphrase is put back")
    machine.type("systemctl restart orgkey@pgp1")
    begun = len(server.heard())
    transcript.until(
        "a round is good again, and the export is gone", lambda: "/watch" in server.heard()[begun:], 120
    )
    machine.type("ls -A /srv/orgkey/pgp1/inbox")
    remove(machine, "orgkey@.service", "often")


def _fails_for_good(machine: Machine, server: Server, unit: str, job: str) -> None:
    transcript, begun = machine.transcript, len(server.heard())
    machine.type(f"systemctl restart {unit}", code=None)
    transcript.until(f"{unit} has failed", lambda: _state(machine, unit) == ("failed", "failed"))
    told = machine.show(unit, "ExecMainStatus", "NRestarts")
    code = Code(int(told["ExecMainStatus"]))
    transcript.check(not code.retry and told["NRestarts"] == "0", f"with {int(code)}, and no other try", told)
    heard = [path for path in server.heard()[begun:] if path.startswith(f"/{job}")]
    transcript.check(f"/{job}" not in heard, "no success was heard", heard)
    transcript.answered(f"heard: {' '.join(heard)}")


def _state(machine: Machine, unit: str) -> tuple[str, str]:
    told = machine.show(unit, "ActiveState", "SubState")
    return told["ActiveState"], told["SubState"]


def _ends(server: Server, begun: int, job: str) -> list[str]:
    return [
        path for path in server.heard()[begun:] if path.startswith(f"/{job}/") and not path.endswith("start")
    ]
