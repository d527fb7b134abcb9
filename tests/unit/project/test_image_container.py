"""What `make image` runs is what compose.yaml says, confined as an engine would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tools.image.buildah import Image
from tools.image.container import Container, Mount, config, filtered, of_compose

ROOT = Path(__file__).parents[3]
SERVICE = yaml.safe_load((ROOT / "infra/container/compose.yaml").read_text())["services"]["orgkey"]
IMAGE = Image(
    "orgkey", Path("/root-of-it"), ("tini", "--", "orgkey"), ("--help",), ("PATH=/bin",), (10001, 10001)
)
BASE: dict[str, Any] = {
    "process": {"terminal": True, "args": ["sh"]},
    "mounts": [{"destination": "/proc", "type": "proc"}, {"destination": "/dev/shm", "type": "tmpfs"}],
    "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}], "resources": {}},
}
PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64"},
    ],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {
            "names": ["mount"],
            "action": "SCMP_ACT_ERRNO",
            "excludes": {"caps": ["CAP_SYS_ADMIN"]},
            "errnoRet": 1,
        },
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
    ],
}


def composed() -> Container:
    folders = {
        volume.split(":")[0]: Path("/here") / volume.split(":")[0].strip("/") for volume in SERVICE["volumes"]
    }
    return of_compose(SERVICE, ("drill",), folders)


def test_the_service_runs_without_any_right() -> None:
    told = config(BASE, IMAGE, composed(), filtered(PROFILE, "x86_64"))
    process = told["process"]
    assert process["args"] == ["tini", "--", "orgkey", "drill"]
    assert (process["user"]["uid"], process["user"]["gid"]) == (10001, 10001)
    assert process["noNewPrivileges"] is True
    assert set(map(tuple, process["capabilities"].values())) == {()}
    assert told["root"] == {"path": "/root-of-it", "readonly": True}
    assert {"HOME=/tmp", "PATH=/bin"} <= set(process["env"])


def test_what_the_service_mounts_takes_the_place_of_what_a_runtime_mounts() -> None:
    told = config(BASE, IMAGE, composed(), {})
    mounts = {item["destination"]: item for item in told["mounts"]}
    assert len(mounts) == len(told["mounts"])
    assert mounts["/dev/shm"]["type"] == mounts["/tmp"]["type"] == "tmpfs"
    assert "ro" in mounts["/run/credentials/orgkey"]["options"]
    assert "ro" not in mounts["/var/lib/orgkey"]["options"]
    assert [item["type"] for item in told["linux"]["namespaces"]] == ["pid"]


def test_an_image_runs_its_own_command_where_none_is_given() -> None:
    told = config(BASE, IMAGE, Container((), mounts=(Mount("/tmp"),), memory=2**20), {})
    assert told["process"]["args"][-1] == "--help"
    assert told["linux"]["resources"]["memory"] == {"limit": 2**20}
    assert BASE["process"]["args"] == ["sh"]


def test_the_filter_is_that_of_a_container_without_capabilities() -> None:
    told = filtered(PROFILE, "x86_64")
    allowed = {
        name for rule in told["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }
    assert allowed == {"read", "arch_prctl"}
    assert told["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert "arch_prctl" not in str(filtered(PROFILE, "aarch64"))


def test_compose_mounts_nothing_out_of_the_checkout() -> None:
    # What lies below infra is sent to the builder, and goes into the wheel.
    assert all(not volume.startswith(".") for volume in SERVICE["volumes"])
