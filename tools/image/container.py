"""Containers by runc, as an engine or a kubelet would make them: user, mounts, limits, system calls."""

from __future__ import annotations

import json
import os
import platform
import resource
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.image.buildah import Image

RUNTIME = "runc"
# Which calls a container may make by default: that of docker, podman and Kubernetes' RuntimeDefault.
SECCOMP = Path("/usr/share/containers/seccomp.json")
SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Mount:
    """Something that is mounted.

    Attributes:
        target: Where in the container.
        source: A file or folder of the host; ``None`` for memory.
        read_only: Whether nobody may write.
        megabytes: The most that a mount in memory holds.
        options: Whose a mount in memory is, and with which mode.
    """

    target: str
    source: Path | None = None
    read_only: bool = False
    megabytes: int = 64
    options: tuple[str, ...] = ("mode=1777",)


@dataclass(frozen=True, slots=True)
class Container:
    """What is run, and with which rights.

    Attributes:
        args: What the image's entry point is given; nothing for the image's own command.
        env: Variables besides the image's.
        mounts: What is mounted.
        user: User and group; ``None`` for the image's.
        groups: Further groups.
        read_only: Whether the root can be written.
        capabilities: Which are left.
        memory: The most memory that it may use, in bytes.
        locked: The most memory that it may lock, in bytes; ``None`` for the runtime's default.
        entrypoint: Another entry point than the image's.
        hostname: What the host is called inside.
    """

    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    user: tuple[int, int] | None = None
    groups: tuple[int, ...] = ()
    read_only: bool = True
    capabilities: tuple[str, ...] = ()
    memory: int | None = None
    locked: int | None = None
    entrypoint: tuple[str, ...] | None = None
    hostname: str = "orgkey"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended.

    Attributes:
        code: Its exit code.
        out: What it printed on standard output.
        err: What it printed on standard error.
    """

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}{self.err}"


def run(image: Image, container: Container, *, seconds: float = SECONDS) -> Ended:
    """Run a container to its end.

    Raises:
        subprocess.TimeoutExpired: It did not end; it is killed then.
    """
    with started(image, container) as (_, child):
        out, err = child.communicate(timeout=seconds)
    return Ended(child.returncode, out, err)


@contextmanager
def started(image: Image, container: Container) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start a container; its name and the process that ends with it. Gone when the context ends."""
    name = f"orgkey-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        bundle, state = Path(folder), str(Path(folder) / "state")
        subprocess.run([RUNTIME, "spec", "--bundle", folder], check=True)
        base = json.loads((bundle / "config.json").read_text())
        seccomp = filtered(json.loads(SECCOMP.read_text()), platform.machine())
        (bundle / "config.json").write_text(json.dumps(config(base, image, container, seccomp)))
        child = subprocess.Popen(
            [RUNTIME, "--root", state, "run", "--bundle", folder, name], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield f"{state}:{name}", child
        finally:
            subprocess.run(
                [RUNTIME, "--root", state, "delete", "--force", name], check=False, capture_output=True
            )
            child.kill()
            child.wait()


def send(handle: str, signal: str) -> None:
    """Send a signal to a container's first process, as an engine does to stop it."""
    state, _, name = handle.rpartition(":")
    subprocess.run([RUNTIME, "--root", state, "kill", name, signal], check=True)


def config(
    base: Mapping[str, Any], image: Image, container: Container, seccomp: Mapping[str, Any]
) -> dict[str, Any]:
    """The runtime's configuration of a container.

    Args:
        base: What `runc spec` writes.
        image: What is run.
        container: And how.
        seccomp: The filter of system calls.
    """
    told = json.loads(json.dumps(base))  # a copy
    uid, gid = container.user or image.user
    entry = image.entrypoint if container.entrypoint is None else container.entrypoint
    variables = dict(item.split("=", 1) for item in image.env) | dict(container.env)
    told["process"] |= {
        "terminal": False,
        "args": [*entry, *(container.args or image.command)],
        "env": [f"{name}={value}" for name, value in variables.items()],
        "user": {"uid": uid, "gid": gid, "additionalGids": list(container.groups)},
        "cwd": "/",
        "noNewPrivileges": True,
        "capabilities": {
            name: list(container.capabilities)
            for name in ("bounding", "effective", "permitted", "inheritable")
        },
    }
    limits = {"RLIMIT_CORE": 0}
    if container.locked is not None:
        # No more than this host lets root have.
        most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        limits["RLIMIT_MEMLOCK"] = container.locked if most == resource.RLIM_INFINITY else most
    told["process"]["rlimits"] = [{"type": name, "hard": most, "soft": most} for name, most in limits.items()]
    told["hostname"] = container.hostname
    told["root"] = {"path": str(image.root), "readonly": container.read_only}
    own = {mount.target for mount in container.mounts}
    told["mounts"] = [item for item in told["mounts"] if item["destination"] not in own]
    told["mounts"] += map(_mounted, container.mounts)
    # The host's network: the servers listen on loopback.
    told["linux"]["namespaces"] = [item for item in told["linux"]["namespaces"] if item["type"] != "network"]
    told["linux"]["seccomp"] = dict(seccomp)
    if container.memory is not None:
        told["linux"]["resources"]["memory"] = {"limit": container.memory}
    return told  # type: ignore[no-any-return]  # JSON is anything


def _mounted(mount: Mount) -> dict[str, Any]:
    options = ["nosuid", "nodev", *(["ro"] if mount.read_only else [])]
    if mount.source is None:
        told = {"type": "tmpfs", "source": "tmpfs"}
        options += [*mount.options, f"size={mount.megabytes}m"]
    else:
        told = {"type": "bind", "source": str(mount.source)}
        options.append("rbind")
    return {"destination": mount.target, **told, "options": options}


def filtered(profile: Mapping[str, Any], machine: str) -> dict[str, Any]:
    """The filter of system calls that a container without capabilities has.

    Args:
        profile: The profile as engines share it: with rules for some architectures and capabilities.
        machine: The host's architecture.
    """
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    mapped = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}[arch]
    rules = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if includes.get("caps") or arch in excludes.get("arches", ()):
            continue
        if includes.get("arches") and arch not in includes["arches"]:
            continue
        kept = {name: rule[name] for name in ("names", "action", "args", "errnoRet") if rule.get(name)}
        rules.append(kept)
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
        "architectures": [
            name
            for item in profile["archMap"]
            if item["architecture"] == mapped
            for name in (mapped, *(item.get("subArchitectures") or ()))
        ],
        "syscalls": rules,
    }


def of_compose(service: Mapping[str, Any], args: tuple[str, ...], folders: Mapping[str, Path]) -> Container:
    """A service of a compose file as a container.

    Args:
        service: The service.
        args: What is run.
        folders: What the file mounts, by what stands before the colon: where it is here.
    """
    mounts = [Mount(target) for target in service["tmpfs"]]
    for volume in service["volumes"]:
        source, target, *rest = volume.split(":")
        mounts.append(Mount(target, folders[source], read_only=rest == ["ro"]))
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    return Container(
        args,
        env=service["environment"],
        mounts=tuple(mounts),
        read_only=service["read_only"],
        locked=2**63 - 1 if service["ulimits"]["memlock"] == -1 else service["ulimits"]["memlock"],
    )


def hand_over(path: Path, uid: int) -> None:
    """Give a folder and all below it to a user."""
    for item in (path, *path.rglob("*")):
        os.chown(item, uid, uid, follow_symlinks=False)


def fresh(path: Path) -> Path:
    """An empty folder in place of whatever was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
