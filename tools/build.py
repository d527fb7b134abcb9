"""Programs that only tests run, built as the servers are. Run: ``python -m tools.build``."""

from __future__ import annotations

from pathlib import Path

from pipeline.devstack.build import ensure
from pipeline.devstack.programs import Program
from pipeline.devstack.progress import reporter

KUSTOMIZE = Program(
    name="kustomize",
    label="kustomize",
    version="5.8.2",
    commands=("kustomize",),
    package="sigs.k8s.io/kustomize/kustomize/v5",
    stamp="sigs.k8s.io/kustomize/api/provenance.version=kustomize/v5.8.2",
    minutes=1,
    directory=Path(__file__).parent / "kustomize",
)

if __name__ == "__main__":
    print(ensure(KUSTOMIZE, reporter()))
