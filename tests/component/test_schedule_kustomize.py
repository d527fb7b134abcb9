"""kustomize builds the manifests of `infra/schedule/kubernetes`, and Kubernetes' schemas take them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tools import make_schedule

ROOT = make_schedule.SCHEDULE / "kubernetes"
WHOLE = ("base", "overlays/example", "overlays/csi")
PROVING = "overlays/drill-host"
BUILDS = (*WHOLE, PROVING)
KUBERNETES = ("1.31", "1.36")  # the oldest that is meant, and a recent one
CUSTOM = {"SecretProviderClass"}  # kinds that the driver brings


@pytest.fixture(scope="module")
def built(kustomize: Path) -> dict[str, list[dict[str, Any]]]:
    return {name: build(kustomize, ROOT / name) for name in BUILDS}


def build(kustomize: Path, folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [kustomize, "build", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("name", BUILDS)
def test_every_object_is_valid(built: dict[str, list[dict[str, Any]]], name: str) -> None:
    kinds = {item["kind"] for item in built[name]}
    assert kinds >= {"CronJob", "ConfigMap", "ServiceAccount"}
    assert ("Deployment" in kinds) == (name in WHOLE)
    for item in built[name]:
        if item["kind"] not in CUSTOM:
            for version in KUBERNETES:
                kubernetes_validate.validate(item, version, strict=True)
