"""Run: ``make machine``, or as root ``python -m tools.machine [--debian SUITE] [--keep] [PART…]``."""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import sys
import tempfile
from pathlib import Path

from tools.machine import images, nspawn, parts
from tools.machine.estate import running
from tools.machine.transcript import Transcript, Unexpected

APART = "ORGKEY_MACHINE_APART"
CLONE_NEWNET = 0x40000000  # <sched.h>
SIOCSIFFLAGS, UP_AND_RUNNING = 0x8914, 0x41  # <linux/sockios.h>, <linux/if.h>


def _apart() -> None:
    """Go on in name spaces of our own: whatever happens here, nothing of it stays mounted or running."""
    if APART in os.environ:
        return
    words = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
    ]
    os.environ[APART] = "1"
    os.execvp("unshare", [*words, sys.executable, "-m", "tools.machine", *sys.argv[1:]])  # noqa: S606


def _alone() -> None:
    """Leave the host's network: from here on there is a loopback, the machine's and ours."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network of one's own")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="make machine", description=__doc__)
    parser.add_argument(
        "--debian", default="bookworm", metavar="SUITE", help="which release; bookworm by default"
    )
    parser.add_argument(
        "parts", nargs="*", choices=[[], *parts.PARTS], metavar="PART", help=" ".join(parts.PARTS)
    )
    given = parser.parse_args()
    try:
        images.demand()
    except images.Unmet as problem:
        print(problem, file=sys.stderr)
        return 4
    _apart()
    transcript = Transcript()
    folder = Path(tempfile.mkdtemp(prefix="orgkey-machine-"))
    try:
        nspawn.prepare()
        base = images.debian(given.debian)
        packages = images.packages(base)
        images.ansible()
        chosen, dist = given.parts or list(parts.PARTS), folder / "dist"
        dist.mkdir()
        if "package" in chosen:
            images.deb(base, dist)
        _alone()
        for name in chosen:
            (folder / name).mkdir()
            with (
                running(folder / name / "estate") as estate,
                nspawn.Machine(
                    base, folder / name, transcript, {"/packages": packages, "/dist": dist}
                ) as machine,
            ):
                try:
                    parts.PARTS[name](machine, estate)
                except Unexpected:
                    print("\nThe end of the journal:", *machine.journal().splitlines()[-40:], sep="\n")
                    raise
    except (Unexpected, images.Unmet) as problem:
        print(f"\nFAILED {problem}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\nDone: {transcript.seen} things were seen to be so.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
