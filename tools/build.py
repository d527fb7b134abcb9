"""Programs that only tests and tools run, built as the servers are.

Run ``python -m tools.build`` for what the tests need, ``python -m tools.build tofu nfpm`` for others.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.devstack.build import ensure
from pipeline.devstack.programs import Program
from pipeline.devstack.progress import reporter

_TOOLS = Path(__file__).parent
KUSTOMIZE = Program(
    name="kustomize",
    label="kustomize",
    version="5.8.2",
    commands=("kustomize",),
    package="sigs.k8s.io/kustomize/kustomize/v5",
    stamp="sigs.k8s.io/kustomize/api/provenance.version=kustomize/v5.8.2",
    minutes=1,
    directory=_TOOLS / "kustomize",
)
TOFU = Program(
    name="tofu",
    label="OpenTofu",
    version="1.12.6",
    commands=("tofu",),
    package="github.com/opentofu/opentofu/cmd/tofu",
    stamp="github.com/opentofu/opentofu/version.dev=no",
    minutes=8,
    ask="version",
    directory=_TOOLS / "terraform",
)
NFPM = Program(
    name="nfpm",
    label="nfpm",
    version="2.45.2",
    commands=("nfpm",),
    package="github.com/goreleaser/nfpm/v2/cmd/nfpm",
    stamp="main.version=v2.45.2",
    minutes=1,
    directory=_TOOLS / "packages",
)
_BY_NAME = {program.name: program for program in (KUSTOMIZE, TOFU, NFPM)}

if __name__ == "__main__":
    for name in sys.argv[1:] or ["kustomize"]:
        print(ensure(_BY_NAME[name], reporter()))
