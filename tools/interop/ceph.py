"""Ceph's S3 gateway on one node, until this is ended: ``python -m tools.interop.ceph ROOT PORT KEY SECRET``.

One monitor, one store in memory, one gateway, from Debian's packages unpacked below ROOT; in a mount
namespace of its own, with which what they write is gone.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from pathlib import Path

HOME = "/var/lib/orgkey"
SECONDS = 60
CONFIGURATION = """[global]
fsid = {fsid}
mon host = v2:127.0.0.1:3300/0
mon initial members = a
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {home}
log file = {home}/$name.log
admin socket = {home}/$name.asok
crash dir = {home}
mon allow pool size one = true
osd pool default size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd objectstore = memstore
memstore device bytes = 1073741824
osd class load list = *
osd class default list = *
mon data = {home}/mon
osd data = {home}/osd
rgw data = {home}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
"""


def main(root: str, port: str, access: str, secret: str) -> None:
    """Start it, and stay until SIGTERM.

    Args:
        root: Where the packages are unpacked.
        port: The gateway's port on 127.0.0.1.
        access: The access key of its one user.
        secret: The secret key.
    """
    place = Path(root)
    home = place / HOME.lstrip("/")
    home.mkdir(parents=True, exist_ok=True)
    for argv in (
        ("mount", "-t", "tmpfs", "tmpfs", str(home)),
        ("mount", "--rbind", "/dev", str(place / "dev")),
        ("mount", "--rbind", "/proc", str(place / "proc")),
    ):
        subprocess.run(argv, check=True, timeout=SECONDS)
    for name in ("mon", "osd", "rgw"):
        (home / name).mkdir()
    (home / "ceph.conf").write_text(CONFIGURATION.format(fsid=uuid.uuid4(), home=HOME, port=port))

    def inside(program: str, *words: str) -> list[str]:
        return ["chroot", root, f"/usr/bin/{program}", "-c", f"{HOME}/ceph.conf", *words]

    def run(program: str, *words: str) -> None:
        subprocess.run(inside(program, *words), check=True, timeout=SECONDS, stdout=subprocess.DEVNULL)

    started: list[subprocess.Popen[bytes]] = []
    # As an exception, so that what is started is ended, wherever the signal comes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        store = str(uuid.uuid4())
        run("ceph-mon", "--mkfs", "-i", "a")
        started.append(subprocess.Popen(inside("ceph-mon", "-f", "-i", "a")))
        run("ceph", "osd", "new", store)
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
        started.append(subprocess.Popen(inside("ceph-osd", "-f", "-i", "0")))
        user = ("--uid=orgkey", "--display-name=orgkey", f"--access-key={access}", f"--secret={secret}")
        run("radosgw-admin", "user", "create", *user)
        # The gateway asks for authentication of its own accord, whatever the file says.
        plain = ("--auth_client_required=none", "--ms_mon_client_mode=crc")
        started.append(subprocess.Popen(inside("radosgw", "-f", "-n", "client.rgw", *plain)))
        started[-1].wait()
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
