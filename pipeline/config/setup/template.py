"""The configuration that `orgkey init` writes: commented, validated, never over an older one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.config import Config
from pipeline.config.setup.answers import Setup

DRILL_DAYS: Final = 8
"""A drill a week, and a day to see to one that did not run."""
PEOPLE_DAYS: Final = 190
"""People meet, or answer a challenge, twice a year."""


def render(setup: Setup, credentials: Path) -> str:
    """Write the file's text.

    Args:
        setup: Complete answers.
        credentials: The directory in which the logins' files are expected.
    """
    parts = [
        _HEAD.format(fingerprint=_toml(setup.fingerprint)),
        _source(setup),
        *_targets(setup),
        *_holders(setup),
        *_paths(setup),
        *(_identity(setup, role, credentials) for role in ("writer", "driller")),
        *_ledger(setup),
        _policy(setup),
        *([] if setup.custodians else [_CUSTODIANS]),
    ]
    return "\n".join(parts)


def write(path: Path, setup: Setup, credentials: Path) -> Config:
    """Validate the configuration and write it, mode 0600; its folder is made where it is missing.

    Args:
        path: The new file.
        setup: Complete answers.
        credentials: As for :func:`render`.

    Returns:
        What was written, as it is read.

    Raises:
        UsageProblem: An answer is not valid; nothing is written.
        LocalFilesProblem: Something is there already, or the disk refuses.
    """
    from pipeline import config
    from pipeline.core import files
    from pipeline.core.errors import LocalFilesProblem

    text = render(setup, credentials).encode()
    written = config.parse(text, str(path))
    try:
        path.absolute().parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot make {path.absolute().parent}: {error.strerror or error}",
            hint="make it as its administrator, or name another file with --out",
        ) from error
    files.write_new(path, text, mode=0o600)
    return written


def _toml(value: str | int | bool | tuple[str, ...] | None) -> str:
    import tomlkit

    return tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string()


def _table(title: str, comment: str, values: Mapping[str, str | int | bool | tuple[str, ...] | None]) -> str:
    lines = [f"# {line}" for line in comment.splitlines()]
    lines.append(f"[{title}]")
    lines += [f"{key} = {_toml(value)}" for key, value in values.items() if value not in (None, "")]
    return "\n".join(lines) + "\n"


def _source(setup: Setup) -> str:
    if setup.inbox:
        values = {"kind": "inbox", "path": setup.inbox}
        return _table("source", "Where `orgkey escrow` without a file finds the export.", values)
    return _SOURCE


def _targets(setup: Setup) -> list[str]:
    tables = []
    if setup.vault_address:
        tables.append(
            _table(
                "target.vault",
                "A KV v2 mount of Vault or OpenBao. `domain` names what fails together: two targets in one\n"
                "domain count as one copy. `controlled_by` names who can read, write or wipe it.",
                {
                    "kind": "vault",
                    **_vault(setup),
                    "mount": setup.vault_mount,
                    "prefix": setup.vault_prefix,
                    "domain": "vault",
                    "controlled_by": setup.vault_controlled_by,
                },
            )
        )
    if setup.s3_bucket:
        tables.append(
            _table(
                "target.s3",
                "A bucket. With lock_mode and lock_days every record is locked; COMPLIANCE has no way back.",
                {
                    "kind": "s3",
                    "bucket": setup.s3_bucket,
                    "prefix": setup.s3_prefix,
                    "region": setup.region,
                    "endpoint_url": setup.s3_endpoint,
                    "path_style": True if setup.s3_endpoint else None,
                    "expected_bucket_owner": setup.s3_owner,
                    "lock_mode": setup.s3_lock_mode,
                    "lock_days": setup.s3_lock_days,
                    "domain": "aws",
                    "controlled_by": setup.aws_controlled_by,
                },
            )
        )
    if setup.directory:
        tables.append(
            _table(
                "target.directory",
                "A disk or share that is mounted here.",
                {
                    "kind": "directory",
                    "path": setup.directory,
                    "domain": "directory",
                    "controlled_by": setup.directory_controlled_by,
                },
            )
        )
    return tables


def _holders(setup: Setup) -> list[str]:
    tables = []
    if setup.transit_key:
        tables.append(
            _table(
                "holder.vault",
                "A Transit key: derived, not exportable. It opens one share of the escrow passphrase.",
                {
                    "kind": "vault-transit",
                    **_vault(setup),
                    "mount": setup.transit_mount,
                    "key": setup.transit_key,
                    "controlled_by": setup.vault_controlled_by,
                },
            )
        )
    if setup.kms_key:
        tables.append(
            _table(
                "holder.aws",
                "A symmetric KMS key. It opens one share of the escrow passphrase.",
                {
                    "kind": "aws-kms",
                    "key_id": setup.kms_key,
                    "region": setup.kms_region,
                    "endpoint_url": setup.kms_endpoint,
                    "controlled_by": setup.aws_controlled_by,
                },
            )
        )
    if setup.custodians:
        tables.append(_custodians(setup))
    return tables


def _custodians(setup: Setup) -> str:
    """One line for each custodian, so that names and pinned subkeys are easy to add."""
    members = "".join(f"  {{ fingerprint = {_toml(item)} }},\n" for item in setup.custodians)
    return (
        "# People, each with a share encrypted to the certificate of this fingerprint. `certificates` only\n"
        "# supplies the files. An item may also have name, contact, and subkey, the key to encrypt to.\n"
        '[holder.custodians]\nkind = "openpgp"\n'
        f"members = [\n{members}]\ncertificates = {_toml(setup.custodian_certificates)}\n"
    )


def _vault(setup: Setup) -> dict[str, str | None]:
    return {
        "address": setup.vault_address,
        "namespace": setup.vault_namespace,
        "ca_file": setup.vault_ca_file,
    }


def _paths(setup: Setup) -> list[str]:
    tables = []
    if setup.machines():
        tables.append(
            _table(
                "path.unattended",
                "Holders that together suffice to restore, all of them needed. Several paths are "
                "alternatives.",
                {"needs": setup.machines()},
            )
        )
    if setup.custodians:
        tables.append(
            "# That many custodians suffice to restore, without any machine.\n[path.custodians]\n"
            f'needs = [{{ holder = "custodians", threshold = {setup.custodian_threshold} }}]\n'
        )
    return tables


def _identity(setup: Setup, role: str, credentials: Path) -> str:
    does = "writes records" if role == "writer" else "drills: reads records and opens shares"
    tables = []
    if setup.vault_address:
        tables.append(
            _table(
                f"identity.{role}.vault",
                f"The login that {does}. Files with mode 0600; an AppRole, or token_file instead.",
                {
                    "role_id_file": str(credentials / f"vault-{role}-role-id"),
                    "secret_id_file": str(credentials / f"vault-{role}-secret-id"),
                },
            )
        )
    if setup.s3_bucket or setup.kms_key:
        tables.append(
            _table(
                f"identity.{role}.aws",
                f"The login that {does}. A profile of ~/.aws, or credentials_file instead.",
                {"profile": f"orgkey-{role}"},
            )
        )
    return "\n".join(tables)


def _ledger(setup: Setup) -> list[str]:
    mirrors = tuple(name for name in setup.targets() if name != "vault")
    heads = tuple(name for name in setup.targets() if name == "vault")
    given = {"mirrors": mirrors, "heads": heads}
    return [
        _table(
            "ledger",
            "Where the log of what was done and what failed is mirrored to, so that it outlives this host.\n"
            "The writer's login writes it, beside the records. The same order on every host.",
            {name: value for name, value in given.items() if value},
        )
    ]


def _policy(setup: Setup) -> str:
    return _table(
        "policy",
        "copies: how many failure domains must hold a verified copy before an escrow counts. The ages:\n"
        "`orgkey status` fails when the last drill, a path's last drill or a check-in is older than that.",
        {
            "copies": min(2, len(setup.targets())),
            "max_drill_age_days": DRILL_DAYS if setup.machines() else PEOPLE_DAYS,
            "max_path_drill_age_days": PEOPLE_DAYS if setup.custodians else None,
            "max_check_in_age_days": PEOPLE_DAYS if setup.custodians else None,
            "accept_single_party": True if setup.accept_single_party else None,
            "accept_single_loss": True if setup.accept_single_loss else None,
        },
    )


_HEAD: Final = """\
# Configuration of orgkey. Check it with `orgkey config validate`, and everything behind it with
# `orgkey doctor`. It holds no secret, only the names of files and commands that do.

[key]
# The Org Key's fingerprint. No other key is escrowed, and no record that this key has not signed is
# ever trusted: compare it with the server's, under Keys > Organization Keys.
fingerprint = {fingerprint}
# Earlier Org Keys that old backups still need:
# former = ["0000000000000000000000000000000000000000"]
# The server's public key as a file that you keep fresh, to notice when the key renews itself:
# live = "/srv/orgkey/live.asc"
"""

_SOURCE: Final = """\
# Where `orgkey escrow` without a file finds the export; without it, name a file each time.
# [source]
# kind = "inbox"                   # or "file", "gnupg", "command"
# path = "/srv/orgkey/inbox"
# passphrase_file = "/etc/orgkey/credentials/export-passphrase"
"""

_CUSTODIANS: Final = """\
# Machines can be lost together, and whoever runs this host with live drill credentials restores
# alone. A path of custodians is the way back that needs people instead: 3 of these 5, each pinned by
# the fingerprint of an OpenPGP certificate, which lies in the folder `certificates`.
# [holder.custodians]
# kind = "openpgp"
# members = [
#   "<FINGERPRINT>",
#   "<FINGERPRINT>",
#   "<FINGERPRINT>",
#   "<FINGERPRINT>",
#   { fingerprint = "<FINGERPRINT>", name = "Erin Example", contact = "+49 30 1234567" },
# ]
# certificates = "/etc/orgkey/custodians"
# [path.custodians]
# needs = [{ holder = "custodians", threshold = 3 }]
"""
