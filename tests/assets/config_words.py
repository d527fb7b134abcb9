"""Words about each setting of the configuration, for docs/reference/config.md."""

from __future__ import annotations

_VAULT_PLACE = {
    "address": "The server's address, without a path. Use `https` for anything but this host.",
    "namespace": "A namespace of HashiCorp Vault Enterprise or OpenBao.",
    "ca_file": "PEM file of the authority that signed the server's certificate; else the system's.",
    "unsealed_by": "The parties that control the server's auto-unseal, for posture. Left out: those that "
    "control something at AWS, where the server says that AWS KMS unseals it.",
}
_AWS_PLACE = {
    "region": "The AWS region.",
    "endpoint_url": "Another server that speaks the protocol; left out for AWS.",
    "ca_file": _VAULT_PLACE["ca_file"],
}
_PARTY = {
    "domain": "Failure domain: what is lost together. Copies count by distinct domains. "
    "Left out: a domain of its own.",
    "controlled_by": "The parties that can read, write, use or wipe it. "
    "Posture is computed from these names.",
}

# Model -> setting -> words. The order of models is the order of the page.
WORDS: dict[str, dict[str, str]] = {
    "Key": {
        "fingerprint": "The pin: the Org Key's 40-digit fingerprint. Spaces and colons are allowed.",
        "former": "Fingerprints of earlier Org Keys that old backups still need; listed and verified too.",
        "live": "Where the server's live public key is: a file, or `hkp://`, `hkps://`, `ldap://`, "
        "`ldaps://`. The pin decides what is taken of it.",
        "live_ca_file": "PEM file of the authority that signed the key server's certificate; else the "
        "system's.",
        "auto_refresh": "Let `orgkey watch` refresh the escrow when the live key has renewed itself.",
    },
    "Source": {
        "kind": "Where the export comes from; see "
        "[sources](../how-to.md#take-the-export-from-somewhere-else).",
        "path": "`file`: the file. `inbox`: the folder. `gnupg`: the `GNUPGHOME`, or left out for gpg's own.",
        "command": "`command`: program and arguments. No shell is involved.",
        "settle_seconds": "`inbox`: how long a file must stand still before it counts as written.",
        "timeout_seconds": "`command` and `gnupg`: how long the program may take.",
        "max_bytes": "The most that an export may have.",
        "passphrase_file": "File with the export's passphrase; excludes `passphrase_command`.",
        "passphrase_command": "Command that prints the export's passphrase.",
    },
    "VaultTarget": {
        **_PARTY,
        **_VAULT_PLACE,
        "kind": "A KV version 2 mount of HashiCorp Vault or OpenBao.",
        "mount": "The KV mount.",
        "prefix": "Path below the mount.",
    },
    "S3Target": {
        **_PARTY,
        **_AWS_PLACE,
        "kind": "A bucket, versioned, with Object Lock where it has it.",
        "bucket": "The bucket.",
        "prefix": "Start of every object's key.",
        "path_style": "Put the bucket into the path of the address; most servers other than AWS want it.",
        "expected_bucket_owner": "Account that must own the bucket (12 digits on AWS). "
        "Sent with every request.",
        "lock_mode": "Object Lock mode of every record. Left out: none is asked for. "
        "`COMPLIANCE` cannot be shortened or lifted by anyone.",
        "lock_days": "Length of the retention. Goes together with `lock_mode`.",
        "kms_key_id": "Key for server-side encryption (SSE-KMS). "
        "Whoever restores then needs `kms:Decrypt` on it.",
    },
    "DirectoryTarget": {
        **_PARTY,
        "kind": "A mounted disk or share.",
        "path": "The directory; it must exist.",
    },
    "TransitHolder": {
        **_PARTY,
        **_VAULT_PLACE,
        "kind": "A Transit key of HashiCorp Vault or OpenBao.",
        "mount": "The Transit mount.",
        "key": "The key: type `aes256-gcm96`, derived, not exportable, no plaintext backup, "
        "deletion not allowed.",
    },
    "KmsHolder": {
        **_PARTY,
        **_AWS_PLACE,
        "kind": "A symmetric KMS key.",
        "key_id": "ARN, key id, or `alias/NAME`. The record keeps the ARN.",
    },
    "OpenpgpHolder": {
        "kind": "A group of custodians: people, each with a share encrypted to their OpenPGP certificate.",
        "members": "2 to 16 custodians. An item is the fingerprint of a certificate's primary key, or a "
        "table of the next section. Pinned here and nowhere else.",
        "certificates": "File, or folder of `.asc`, `.gpg`, `.pgp` or `.key` files, with their certificates. "
        "What lies there for nobody in `members` is never used.",
    },
    "Custodian": {
        "fingerprint": "Of the certificate's primary key, 40 digits.",
        "subkey": "Pins the key that shares are encrypted to. Left out: the newest that can encrypt.",
        "name": "What the custodian is called. Left out: the certificate's first user id.",
        "contact": "How to reach the custodian, for the recovery kit.",
    },
    "PaperHolder": {
        "kind": "Sheets of paper in sealed envelopes, printed at escrow and stored nowhere.",
        "kept_by": "Who keeps each sheet, 1 to 16; each is a party.",
        "print_command": "Program and arguments; it gets one PDF for each sheet on its standard input. "
        "No shell is involved.",
        "timeout_seconds": "How long the program may take for one sheet.",
    },
    "PathConfig": {
        "needs": "The holders; all of them are needed. An item is a name, or a table "
        "`{ holder, threshold }`; a machine's threshold is 1, a group's 2 or more.",
    },
    "Identity": {
        "vault": "Login for every Vault target and holder: a table of the next section.",
        "aws": "Login for every AWS target and holder: a table of the section after it.",
        "at": "Logins for single targets or holders, by name: `[identity.writer.at.vault-us]`.",
    },
    "VaultIdentity": {
        "role_id_file": "File with the AppRole's role id. Goes together with `secret_id_file`.",
        "secret_id_file": "File with the AppRole's secret id.",
        "token_file": "File with a token, in place of an AppRole.",
        "mount": "Mount of the AppRole auth method.",
    },
    "AwsIdentity": {
        "profile": "Profile in `~/.aws`, or in `credentials_file` where that is given.",
        "credentials_file": "File in the format of `~/.aws/credentials`; profile `default` unless another "
        "is named. `~/.aws` is then not read.",
    },
    "BackupPlace": {
        "location": "A folder, a file, or `s3://bucket/prefix`. Hidden files are left out.",
        "ignore": 'File names that are no backups, as a shell has them: `["*.log"]`.',
        **_AWS_PLACE,
        "path_style": "Put the bucket into the path of the address; most servers other than AWS want it.",
        "expected_bucket_owner": "Account that must own the bucket (12 digits on AWS).",
    },
    "Policy": {
        "copies": "Distinct failure domains that must hold a verified copy. All committed: exit 0. "
        "At least this many: 24. Fewer: the code of the cause.",
        "accept_single_party": "Accept a plan under which one party can reconstruct the key alone.",
        "accept_single_loss": "Accept, in `orgkey doctor`, that one loss can make every restore impossible.",
        "single_implementation": "Accept proofs by one OpenPGP implementation where the others "
        "do not support the key.",
        "call_seconds": "Time for one request.",
        "deadline_seconds": "Time for the whole run.",
        "backup_seconds": "Time for reading backups to their end, which is as long as they are large.",
        "max_lock_days": "Upper limit for `lock_days`, against a slip of the keyboard.",
        "max_age_days": "`orgkey status` breaks the gate when the latest epoch is older.",
        "max_drill_age_days": "`orgkey status` breaks the gate when the last drill is older.",
        "max_check_in_age_days": "`orgkey status` breaks the gate when a custodian's last check-in is older.",
        "certificate_warning_days": "How long before a certificate of a custodian expires `orgkey doctor` "
        "warns.",
    },
}

TITLES: dict[str, tuple[str, str]] = {
    "Key": (
        "`[key]`",
        "Which Org Key is meant. Without it, give `--fingerprint`, or confirm it on a terminal.",
    ),
    "Source": ("`[source]`", "Where `orgkey escrow` takes the export from when no file is named. Optional."),
    "VaultTarget": (
        '`[target.NAME]`, `kind = "vault"`',
        "A place that holds records. At least one target is needed.",
    ),
    "S3Target": ('`[target.NAME]`, `kind = "s3"`', "A place that holds records."),
    "DirectoryTarget": ('`[target.NAME]`, `kind = "directory"`', "A place that holds records."),
    "TransitHolder": (
        '`[holder.NAME]`, `kind = "vault-transit"`',
        "Opens one share. At least one holder is needed.",
    ),
    "KmsHolder": ('`[holder.NAME]`, `kind = "aws-kms"`', "Opens one share."),
    "OpenpgpHolder": ('`[holder.NAME]`, `kind = "openpgp"`', "Custodians: people who open shares."),
    "Custodian": ("An item of `members`", "One custodian, where more than a fingerprint is said."),
    "PaperHolder": ('`[holder.NAME]`, `kind = "paper"`', "Shares on paper."),
    "PathConfig": (
        "`[path.NAME]`",
        "A custody path: holders that together suffice. Several paths are alternatives.",
    ),
    "Identity": (
        "`[identity.writer]`, `[identity.driller]`",
        "The two logins. The writer writes records and seals shares; the driller reads records and opens "
        "shares. Without a driller, drills and restores log in as the writer. Without either, Vault's "
        "`VAULT_TOKEN` or `~/.vault-token` and AWS's usual chain are used.",
    ),
    "VaultIdentity": ("`[identity.ROLE.vault]`", "An AppRole, or a token."),
    "AwsIdentity": (
        "`[identity.ROLE.aws]`",
        "A profile, or keys in a file. Without either, AWS's usual chain.",
    ),
    "BackupPlace": (
        "`[backups.NAME]`",
        "Where the server's own backups arrive, for `orgkey backups` and `orgkey status`. The driller's "
        "login reads them. Optional.",
    ),
    "Policy": ("`[policy]`", "What counts as enough. Optional."),
}
