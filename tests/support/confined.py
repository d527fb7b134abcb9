"""Run a program under the system call filter and memory rules of a unit, where no systemd does it.

Run: ``python -m tests.support.confined RULES.json PROGRAM ARGUMENT…``; the rules are what
:func:`rules` has read from a unit.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

_ALLOW: Final = 0x7FFF0000  # <seccomp.h>
_ERRNO: Final = 0x00050000
_EQUAL: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38  # <linux/prctl.h>
_PR_SET_MDWE: Final = 65
_NO_EXECUTABLE_GAIN: Final = 1


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


@cache
def _members(group: str) -> frozenset[str]:
    """The calls of a group such as ``@system-service``, groups within it included."""
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, timeout=30, check=True
    )
    found: set[str] = set()
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word and not word.startswith("#"):
            found |= _members(word) if word.startswith("@") else {word}
    return frozenset(found)


def _calls(words: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(_members(word) if word.startswith("@") else {word} for word in words))


def rules(service: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Read what is enforced here from the section ``[Service]`` of a unit.

    Args:
        service: Its settings, each with all its values in order.
    """
    allowed: frozenset[str] = frozenset()
    for value in service["SystemCallFilter"]:
        allowed = allowed - _calls(value[1:].split()) if value[0] == "~" else allowed | _calls(value.split())
    return {
        "calls": sorted(allowed),
        "families": service["RestrictAddressFamilies"][-1].split(),
        "no_executable_gain": service["MemoryDenyWriteExecute"] == ["yes"],
    }


def _confine(given: Mapping[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    # A kernel before 6.3 does not know it; systemd filters mmap and mprotect there.
    if given["no_executable_gain"] and libc.prctl(_PR_SET_MDWE, _NO_EXECUTABLE_GAIN, 0, 0, 0):
        assert ctypes.get_errno() == errno.EINVAL
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    context = library.seccomp_init(_ERRNO | errno.EPERM)
    for name in given["calls"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0 or name == "socket":  # not of this processor; see below
            continue
        assert library.seccomp_rule_add_array(context, _ALLOW, number, 0, None) == 0, name
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in given["families"]:
        same = _Comparison(0, _EQUAL, int(getattr(socket, family)), 0)
        assert library.seccomp_rule_add_array(context, _ALLOW, number, 1, ctypes.byref(same)) == 0, family
    assert library.seccomp_load(context) == 0


def forked() -> None:
    """Do the same in a process that was forked from one that has imported `orgkey`.

    What it starts is executed, so that the rules hold for that, too.
    """
    from pipeline.cli import entry
    from tests.support import forkserver

    forkserver.ENTRIES.clear()

    _confine(json.loads(Path(sys.argv[1]).read_text()))
    if Path(sys.argv[2]).name != "orgkey":
        _become_program()
    sys.argv = sys.argv[2:]
    entry.main()


def _become_program() -> NoReturn:
    """As a unit's process becomes what it starts."""
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - see above


if __name__ == "__main__":
    _confine(json.loads(Path(sys.argv[1]).read_text()))
    _become_program()
