"""Keep what is in memory in memory: no core dumps, not dumpable, locked where allowed, umask 077.

Called first thing in ``main``. Nothing here fails a run: what could not be had is reported by
:func:`state` and :func:`check`, which `doctor` prints.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, TypedDict

from pipeline.core.finding import Finding, Level

PR_GET_DUMPABLE: Final = 3  # <linux/prctl.h>
PR_SET_DUMPABLE: Final = 4
MCL_CURRENT: Final = 1  # <asm-generic/mman.h>
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
CAP_IPC_LOCK: Final = 14  # <linux/capability.h>

_PROC_STATUS: Final = Path("/proc/self/status")
_PROC_SWAPS: Final = Path("/proc/swaps")


class MemoryProtection(TypedDict):
    """What protects this process's memory; ``None`` where the system does not tell.

    ``locked_bytes`` is how much of the address space is locked, ``swap`` the active swap areas by name.
    """

    core_limit_bytes: int | None
    dumpable: bool | None
    locked_bytes: int | None
    swap: list[str] | None


def harden() -> None:
    """Protect this process's memory and the files that it will write. Never fails.

    Children inherit the core limit and the umask; they become dumpable again by their own exec, so
    programs that hold secrets (gpg does) have to protect themselves.
    """
    os.umask(0o077)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A core limit of 0 does not stop a pipe in core_pattern (core(5)); not being dumpable does.
        _libc_call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
        _lock_memory()


def _lock_memory() -> None:
    """Lock present and future pages, once they are touched, where no limit stands in the way.

    Under a finite RLIMIT_MEMLOCK, MCL_FUTURE would make a later, innocent allocation fail: then
    nothing is locked, and `doctor` says so.
    """
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    if may_lock():
        _libc_call("mlockall", MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)


def may_lock() -> bool:
    """Whether this process may lock as much memory as it likes."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return True
    capabilities = _status_field("CapEff")
    return capabilities is not None and bool(int(capabilities, 16) >> CAP_IPC_LOCK & 1)


def state() -> MemoryProtection:
    """Read how this process and host stand, from the kernel rather than from what was asked for."""
    core_limit, _ = resource.getrlimit(resource.RLIMIT_CORE)
    locked = _status_field("VmLck")
    dumpable = _libc_call("prctl", PR_GET_DUMPABLE, 0, 0, 0, 0) if sys.platform == "linux" else None
    areas = _read(_PROC_SWAPS)
    return MemoryProtection(
        core_limit_bytes=None if core_limit == resource.RLIM_INFINITY else core_limit,
        dumpable=None if dumpable is None or dumpable < 0 else dumpable == 1,
        locked_bytes=None if locked is None else int(locked.split()[0]) * 1024,
        swap=None if areas is None else [line.split()[0] for line in areas.splitlines()[1:] if line.strip()],
    )


def check() -> list[Finding]:
    """Say what `doctor` should know about this host's memory. Never raises."""
    now = state()
    return [_core_finding(now), _swap_finding(now)]


def _core_finding(now: MemoryProtection) -> Finding:
    if now["core_limit_bytes"] == 0 and not now["dumpable"]:
        return Finding(Level.OK, "core dumps", "off for this program")
    return Finding(
        Level.WARN,
        "core dumps",
        "a crash of this program could leave a core dump",
        "set LimitCORE=0 in the unit, or `ulimit -c 0`",
    )


def _swap_finding(now: MemoryProtection) -> Finding:
    if now["swap"] is None:
        return Finding(Level.WARN, "swap", "this system does not tell whether it swaps", "check it by hand")
    if not now["swap"]:
        return Finding(Level.OK, "swap", "off")
    areas = ", ".join(now["swap"])
    if now["locked_bytes"]:
        return Finding(Level.OK, "swap", f"on ({areas}), but this program's memory is locked")
    return Finding(
        Level.WARN,
        "swap",
        f"on ({areas}), and this program's memory cannot be locked: secrets may reach the disk",
        "encrypt the swap or turn it off; or allow locking: LimitMEMLOCK=infinity, or the "
        "capability CAP_IPC_LOCK",
    )


def _libc_call(name: str, *arguments: int) -> int | None:
    """Call the C library.

    Returns:
        The call's result, or ``None`` where the library has no such function.
    """
    import ctypes

    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return None
    return int(function(*(ctypes.c_ulong(item) for item in arguments)))


def _status_field(name: str) -> str | None:
    for line in (_read(_PROC_STATUS) or "").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
