"""Operations of Vault, and which identity may do which."""

from __future__ import annotations

from tools.permissions import Operation, by

ALL = by("writer", "driller", "auditor", "planner")

KV: tuple[Operation, ...] = (
    Operation("kv-make-record", "make a record", "create data/<prefix>/<key>/<epoch>", by("writer")),
    Operation("kv-make-outside", "make an entry outside the prefix", "create data/elsewhere"),
    Operation("kv-read-record", "read a record", "read data/<prefix>/<key>/<epoch>", by("writer", "driller"),
              "the writer reads back what it wrote"),
    Operation("kv-overwrite", "write a second version over a record", "update data/…"),
    Operation("kv-patch", "change a part of a record", "patch data/…"),
    Operation("kv-delete", "delete a record's last version", "delete data/…"),
    Operation("kv-delete-versions", "delete versions", "update delete/…"),
    Operation("kv-undelete", "undo a deletion", "update undelete/…"),
    Operation("kv-destroy", "destroy versions for good", "update destroy/…"),
    Operation("kv-structure", "read a record's field names", "read subkeys/…"),
    Operation("kv-list", "list epochs", "list metadata/<prefix>/<key>", by("writer", "driller", "auditor")),
    Operation("kv-metadata-read", "see versions and what became of them", "read metadata/…",
              by("writer", "driller", "auditor")),
    Operation("kv-metadata-write", "set an entry's limits", "update metadata/…", why="it expires versions"),
    Operation("kv-metadata-delete", "remove an entry with all versions", "delete metadata/…"),
    Operation("kv-config-read", "read the mount's limits", "read config", ALL),
    Operation("kv-config-write", "set the mount's limits", "update config", why="it can expire versions"),
    Operation("head-make", "make a head of the ledger", "create data/<prefix>/<key>/ledger/head-…",
              by("writer")),
    Operation("head-read", "read a head of the ledger", "read data/<prefix>/<key>/ledger/head-…",
              by("writer", "driller", "auditor")),
    Operation("head-overwrite", "write over a head", "update data/<prefix>/<key>/ledger/head-…"),
)  # fmt: skip
TRANSIT: tuple[Operation, ...] = (
    Operation("transit-encrypt", "seal a share", "update encrypt/<key>", by("writer")),
    Operation("transit-decrypt", "open a share", "update decrypt/<key>", by("driller")),
    Operation("transit-rewrap", "seal a share anew", "update rewrap/<key>"),
    Operation("transit-datakey", "have a key made and shown", "update datakey/plaintext/<key>"),
    Operation("transit-read", "read the key's state", "read keys/<key>", ALL),
    Operation("transit-list", "list keys", "list keys"),
    Operation("transit-typo", "make a key by a mistyped name", "create encrypt/<typo>",
              why="Vault would make it without a word"),
    Operation("transit-make", "make a key", "create keys/<name>"),
    Operation("transit-rotate", "rotate the key", "update keys/<key>/rotate"),
    Operation("transit-config", "allow deletion, raise minimum versions", "update keys/<key>/config"),
    Operation("transit-trim", "remove old versions of the key", "update keys/<key>/trim"),
    Operation("transit-export", "take the key out", "read export/encryption-key/<key>",
              why="the key is not exportable; the right is refused before that"),
    Operation("transit-backup", "take a plaintext backup of the key", "read backup/<key>",
              why="the same"),
    Operation("transit-delete", "delete the key", "delete keys/<key>"),
)  # fmt: skip
SYSTEM: tuple[Operation, ...] = (
    Operation("token-lookup-self", "look at its own token", "read auth/token/lookup-self", ALL),
    Operation("capabilities-self", "ask what it may do", "update sys/capabilities-self", ALL,
              "`orgkey doctor` asks"),
    Operation("token-create", "make a token", "update auth/token/create"),
    Operation("policy-read", "read its own policy", "read sys/policies/acl/orgkey-<identity>", by("planner")),
    Operation("policy-write", "change its own policy", "update sys/policies/acl/orgkey-<identity>"),
    Operation("policy-make", "make a policy", "create sys/policies/acl/<name>"),
    Operation("role-read", "read its own role", "read auth/approle/role/orgkey-<identity>", by("planner")),
    Operation("role-write", "change its own role", "update auth/approle/role/orgkey-<identity>"),
    Operation("secret-id-make", "make a secret id of its own role",
              "update auth/approle/role/orgkey-<identity>/secret-id"),
    Operation("mount-list", "list engines", "read sys/mounts", by("planner")),
    Operation("mount-enable", "enable an engine", "create sys/mounts/<path>"),
    Operation("mount-tune", "tune the records' mount", "update sys/mounts/<mount>/tune"),
    Operation("mount-disable", "disable an engine, with all that it holds", "delete sys/mounts/<path>"),
    Operation("auth-enable", "enable another way to log in", "create sys/auth/<path>"),
    Operation("audit-list", "list audit devices", "read sys/audit", by("planner")),
    Operation("audit-disable", "disable an audit device", "delete sys/audit/<path>",
              why="OpenBao refuses everybody: its configuration decides"),
    Operation("seal", "seal the server", "update sys/seal"),
)  # fmt: skip
