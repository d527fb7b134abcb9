"""Writes what is generated of `infra/terraform`: the modules for AWS, and the Vault module's settings.

Run as ``python -m tools.make_terraform``. The source of the first are the templates of `infra/aws`, that of
the second is `infra/vault/settings.toml`. The Vault module reads its policies from `infra/vault` itself.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.provision.fields import seconds
from pipeline.provision.files import IDENTITIES, Files
from tools.terraform import aws

MODULES = Path(__file__).parents[1] / "infra" / "terraform"


def vault_settings() -> str:
    """`infra/vault/settings.toml` as OpenTofu can read it, with lengths of time in seconds."""
    settings = Files().settings
    kv = settings.kv.model_dump()
    return (
        json.dumps(
            {
                "kv": kv | {"delete_version_after": seconds(kv["delete_version_after"])},
                "transit": settings.transit.model_dump(),
                "login": settings.login.model_dump(),
                "roles": {identity: settings.role_of(identity) for identity in IDENTITIES},
                "audit": settings.audit.model_dump(),
            },
            indent=2,
        )
        + "\n"
    )


def files() -> dict[str, str]:
    """The text of each generated file, by its path below `infra/terraform`."""
    return {f"aws/{name}": text for name, text in aws.files().items()} | {
        "vault/settings.json": vault_settings()
    }


if __name__ == "__main__":
    for name, text in files().items():
        path = MODULES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
