"""Writes docs/reference/permissions.md from the data that the permission tests run.

Run as ``python -m tools.make_permissions``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.permissions import AT_VAULT, IDENTITIES, Identity, Operation, aws, vault

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "permissions.md"
HEAD = """\
# Permissions

<!-- Written by `python -m tools.make_permissions` from tools/permissions. Change it there. -->

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
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
