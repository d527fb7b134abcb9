"""Writes docs/reference/permissions.md from the data that the permission tests run, and Vault's policies.

Run as ``python -m tools.make_permissions``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.provision.files import IDENTITIES as HAVE_LOGIN
from tools.permissions import AT_VAULT, IDENTITIES, Identity, Operation, aws, vault

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "permissions.md"
_BLOCK = re.compile(r'^path "(.+)" \{\n  capabilities = \[(.+)\]\n\}$', re.MULTILINE)
_VALUE = re.compile(r"\$\{(\w+)\}")
POLICIES = PAGE.parents[2] / "infra" / "vault" / "policies"
HEAD = """\
# Permissions

<!-- Written by `python -m tools.make_permissions` from tools/permissions and infra/vault/policies. -->

Which identity may do what. The policies in `infra/vault/` and `infra/aws/` say it to the servers; the test
suite runs every cell against real ones: each refused call beside the same call by somebody who may, so that a
server that is down cannot pass. ● may, · is refused, (·) is refused by the policy, but untested here: no
server of the test suite knows what the policy asks for. The planner has a login at Vault only, what extends
retentions none there.
"""
GROUPS = (
    ("Vault: records and the ledger's heads (KV v2)", vault.KV, AT_VAULT),
    ("Vault: shares (Transit)", vault.TRANSIT, AT_VAULT),
    ("Vault: administration", vault.SYSTEM, AT_VAULT),
    ("S3", aws.S3, IDENTITIES),
    ("KMS", aws.KMS, IDENTITIES),
)


def _paths() -> Iterator[str]:
    """Each path of the policies for Vault, with what each identity may do there."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(POLICIES.rglob("*.hcl")):
        text = file.read_text()
        blocks = _BLOCK.findall(text)
        if len(blocks) != text.count("{\n"):
            raise ValueError(f"{file} has a block with more than capabilities")
        for path, may in blocks:
            for identity in HAVE_LOGIN if file.parent == POLICIES else (file.parent.name,):
                found.setdefault(_VALUE.sub(r"<\1>", path), {})[identity] = may.replace('"', "")
    yield f"| path | {' | '.join(HAVE_LOGIN)} |"
    yield f"|---|{'---|' * len(HAVE_LOGIN)}"
    for path, may_do in sorted(found.items()):
        yield f"| `{path}` | {' | '.join(may_do.get(identity, '·') for identity in HAVE_LOGIN)} |"


def _table(operations: tuple[Operation, ...], identities: tuple[Identity, ...]) -> Iterator[str]:
    yield f"| operation | call | {' | '.join(identities)} | |"
    yield f"|---|---|{':-:|' * len(identities)}---|"
    for item in operations:
        cells = " | ".join(_cell(item, identity) for identity in identities)
        yield f"| {item.what} | `{item.call}` | {cells} | {item.why} |"


def _cell(item: Operation, identity: Identity) -> str:
    cell = "●" if identity in item.allowed else "·"
    return f"({cell})" if identity in item.untested else cell


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, operations, identities in GROUPS:
        parts += ["", f"## {title}", "", *_table(operations, identities)]
    parts += ["", "## Vault: all that the policies name", "", *_paths()]
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
