"""Words about each setting of the configuration, for docs/reference/config.md."""

from __future__ import annotations

_REACHED = {
    "ca_file": "PEM file of the authority that signed the server's certificate. Left out: the public "
    "authorities of the Python package certifi, not the system's. `system`: those that OpenSSL finds on this "
    "host, or in `SSL_CERT_FILE` and `SSL_CERT_DIR`.",
    "proxy": "The proxy on the way, `http://proxy.example.com:3128`; `none` for no proxy. Goes before "
    "`HTTPS_PROXY` and `NO_PROXY`, which count where it is left out.",
    "proxy_file": "File with the proxy's address, where that holds a user and a password.",
}
_CLIENT = {
    "client_cert_file": "PEM file of the certificate that is shown to a server which asks for one (mutual "
    "TLS). Goes together with `client_key_file`.",
    "client_key_file": "PEM file of its key, without a passphrase.",
}
_VAULT_PLACE = {
    **_REACHED,
    **_CLIENT,
    "address": "The server's address, without a path. Use `https` for anything but this host.",
    "namespace": "A namespace of HashiCorp Vault Enterprise or OpenBao.",
    "unsealed_by": "The parties that control the server's auto-unseal, for posture. Left out: those that "
    "control something at AWS, where the server says that AWS KMS unseals it.",
}
_AWS_PLACE = {
    "region": "The AWS region.",
    "endpoint_url": "Another server that speaks the protocol; left out for AWS.",
    **_REACHED,
}
_PATH_STYLE = (
    "`true`: put the bucket into the path of the address. `false`: into the host name. Left out: the host "
    "name at AWS, the path where `endpoint_url` is given."
)
_PARTY = {
    "domain": "Failure domain: what is lost together. Copies count by distinct domains. "
    "Left out: a domain of its own.",
    "controlled_by": "The parties that can read, write, use or wipe it. "
    "Posture is computed from these names.",
}

# Model -> setting -> words. The order of models is the order of the page.
WORDS: dict[str, dict[str, str]] = {
    "KeyConfig": {
        "fingerprint": "The pin: the Org Key's 40-digit fingerprint. Spaces and colons are allowed.",
        "name": "What you call this server, for example `pgp-berlin`: a label of the metrics. Up to 64 "
        "letters, digits, spaces and `_ . @ : + -`.",
        "former": "Fingerprints of earlier Org Keys that old backups still need; listed, verified and "
        "drilled too.",
        "live": "Where the server's live public key is: a file, or `hkp://`, `hkps://`, `ldap://`, "
        "`ldaps://`; of a cluster a list with the place of each node. The pin decides what is taken of it.",
        "live_ca_file": "PEM file of the authority that signed the key server's certificate; else the "
        "system's.",
        "auto_refresh": "Let `orgkey watch` refresh the escrow when the live key has renewed itself.",
    },
    "SourceConfig": {
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
    "VaultTargetConfig": {
        **_PARTY,
        **_VAULT_PLACE,
        "kind": "A KV version 2 mount of HashiCorp Vault or OpenBao.",
        "mount": "The KV mount.",
        "prefix": "Path below the mount.",
    },
    "S3TargetConfig": {
        **_PARTY,
        **_AWS_PLACE,
        "kind": "A bucket, versioned, with Object Lock where it has it.",
        "bucket": "The bucket.",
        "prefix": "Start of every object's key.",
        "path_style": _PATH_STYLE,
        "expected_bucket_owner": "Account that must own the bucket (12 digits on AWS). "
        "Sent with every request.",
        "lock_mode": "Object Lock mode of every record. Left out: none is asked for. "
        "`COMPLIANCE` cannot be shortened or lifted by anyone.",
        "replicated": "Say `true` where the bucket has a replication rule, or is filled by one: `list`, "
        "`verify`, `status` and `doctor` then show each record's replication, for one more request each.",
        "lock_days": "Length of the retention. Goes together with `lock_mode`.",
        "kms_key_id": "Key for server-side encryption (SSE-KMS). "
        "Whoever restores then needs `kms:Decrypt` on it.",
    },
    "DirectoryTargetConfig": {
        **_PARTY,
        "kind": "A mounted disk or share.",
        "path": "The directory; it must exist.",
    },
    "TransitHolderConfig": {
        **_PARTY,
        **_VAULT_PLACE,
        "kind": "A Transit key of HashiCorp Vault or OpenBao.",
        "mount": "The Transit mount.",
        "key": "The key: type `aes256-gcm96`, derived, not exportable, no plaintext backup, "
        "deletion not allowed.",
    },
    "KmsHolderConfig": {
        **_PARTY,
        **_AWS_PLACE,
        "kind": "A symmetric KMS key.",
        "key_id": "ARN, key id, or `alias/NAME`; of another account's key the ARN. The record keeps the ARN. "
        "`region` is the ARN's where it is left out.",
    },
    "OpenpgpHolderConfig": {
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
    "PaperHolderConfig": {
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
    "IdentityConfig": {
        "vault": "Login for every Vault target and holder: a table of the next section.",
        "aws": "Login for every AWS target and holder: a table of the section after it.",
        "at": "Logins for single targets or holders, by name: `[identity.writer.at.vault-us]`.",
    },
    "VaultIdentity": {
        "method": "How: `approle`, `token`, `kubernetes`, `jwt`, `cert` or `aws`. May be left out where the "
        "other settings say it; `kubernetes`, `jwt` and `aws` have to be named.",
        "role_id_file": "`approle`: file with the role id. Goes together with `secret_id_file`.",
        "secret_id_file": "`approle`: file with the secret id.",
        "token_file": "`token`: file with a token.",
        "role": "`kubernetes`, `jwt`, `aws`: the role of the auth method. `cert`: its certificate role; left "
        "out: whichever fits.",
        "jwt_file": "`jwt`: file with the JSON web token. `kubernetes`: the same, left out for the pod's own "
        "service account. Read anew at each login, since such tokens are renewed.",
        "client_cert_file": "`cert`: PEM file of the certificate. It is also shown in place of a target's or "
        "holder's own.",
        "client_key_file": "`cert`: PEM file of its key, without a passphrase.",
        "region": "`aws`: region whose STS the server asks; left out: the global one, `sts.amazonaws.com`.",
        "server_id": "`aws`: the server's `iam_server_id_header_value`, which is signed as the header "
        "`X-Vault-AWS-IAM-Server-ID`: what one server gets, no other takes.",
        "profile": "`aws`: profile whose credentials sign the login; left out: AWS's own chain.",
        "credentials_file": "`aws`: file in the format of `~/.aws/credentials`.",
        "config_file": "`aws`: file in the format of `~/.aws/config`.",
        "mount": "Mount of the auth method; named as the method, if left out.",
    },
    "AwsIdentity": {
        "profile": "Profile in `~/.aws`, or in the files that are named; else `default`. Its settings "
        "(`role_arn`, `web_identity_token_file`, `sso_session`, `credential_process`) say how to log in.",
        "credentials_file": "File in the format of `~/.aws/credentials`.",
        "config_file": "File in the format of `~/.aws/config`. Where one of the two files is named, nothing "
        "else is read: not `~/.aws`, no keys from the environment.",
    },
    "BackupPlace": {
        "location": "A folder, a file, or `s3://bucket/prefix`: the object of that name, else all below "
        "`prefix/`. Hidden files are left out.",
        "expect": "Patterns as a shell has them; each must fit the name of an entry of the archive inside, "
        "else the backup is incomplete (24).",
        "signers": "Files with public keys: besides the Org Key's, a signature by one of them inside a "
        "backup proves who made it.",
        "same_name": "Whether the server writes each backup under the name of the last one: other bytes "
        "there are then expected.",
        "max_shrink_percent": "By how much a backup may be smaller, in bytes or entries, than the verified "
        "one before it whose name differs in numbers alone.",
        "ignore": 'File names that are not backups, as a shell has them: `["*.log"]`.',
        **_AWS_PLACE,
        "path_style": _PATH_STYLE,
        "expected_bucket_owner": "Account that must own the bucket (12 digits on AWS).",
    },
    "ReadersSection": {
        "engine": "`local`: this machine alone. `dask`: the workers of a scheduler; needs the extra `dask`. "
        "`folder`: whoever takes tickets from a folder, such as a Kubernetes Indexed Job.",
        "crew_key": "The crew's public key, to which tickets are sealed, as `orgkey backups crew init` "
        "shows it.",
        "scheduler": "`dask`: the scheduler's address, `tls://dask.example.com:8786`.",
        "ca_file": "`dask`: PEM file of the authority that signed the certificates of scheduler, workers and "
        "this machine.",
        "cert_file": "`dask`: PEM file of this machine's certificate.",
        "key_file": "`dask`: PEM file of its key, without a passphrase.",
        "folder": "`folder`: the folder, of one run at a time: `tickets/N.json` is taken, `answers/N.json` "
        "is what `orgkey backups read --output` writes.",
        "recheck_percent": "How many of the crew's readings this machine repeats, chosen when all answers "
        "are in; one at least.",
    },
    "Certificates": {
        "timestamp": "Address of a time-stamp authority (RFC 3161), `https://` or `http://`. Left out: none.",
        "timestamp_ca_file": "PEM file of the authority's CA; a time-stamp by anybody else is not kept.",
        "timestamp_tls_ca_file": "PEM file of the authority that signed its web server's certificate; else "
        "the system's.",
        "timestamp_seconds": "How long a drill waits for the time-stamp.",
    },
    "Notify": {
        "urls_file": "File with the addresses of services as apprise has them, one a line; lines with `#` "
        "are comments. They hold secrets. Needs the extra `notify`.",
        "urls_command": "Command that prints those addresses.",
        "command": "Program and arguments; gets one [document](json.md#notifications-orgkeynotification1) on "
        "its standard input. No shell is involved.",
        "on": "What is told: `failure`, `recovery`, `overdue`.",
        "timeout_seconds": "How long the services, and the command, may take.",
        "repeat_hours": "After how long the same failure, or the same overdue rule, is told again.",
    },
    "Ping": {
        "url_file": "File with the address that the service gives for the job. Who has it can report in the "
        "job's place.",
        "url_command": "Command that prints it.",
    },
    "LedgerSection": {
        "mirrors": "Names of targets of kind `s3` or `directory` that get every entry, locked as records "
        "are. The same order on every host: where two hosts wrote apart, the first mirror decides.",
        "heads": "Names of targets of kind `vault` that get the number and digest of the last entry.",
    },
    "Policy": {
        "copies": "Distinct failure domains that must hold a verified copy. All committed: exit 0. "
        "At least this many: 24. Fewer: the code of the cause.",
        "accept_single_party": "Accept a plan under which one party can reconstruct the key alone.",
        "accept_single_loss": "Accept, in `orgkey doctor`, that one loss can make every restore impossible.",
        "single_implementation": "Accept proofs by one OpenPGP implementation where the others "
        "do not support the key.",
        "call_seconds": "Time for one request and its answer; each MiB of a large one has it anew.",
        "deadline_seconds": "Time for the whole run.",
        "backup_seconds": "Time for reading backups to their end, which is as long as they are large.",
        "max_lock_days": "Upper limit for `lock_days`, against a slip of the keyboard.",
        "max_age_days": "`orgkey status` breaks the gate when the latest epoch is older.",
        "max_drill_age_days": "`orgkey status` breaks the gate when the last drill is older.",
        "max_copy_drill_age_days": "`orgkey status` breaks the gate when a copy of the latest epoch was not "
        "restored within so many days.",
        "max_path_drill_age_days": "The same for each custody path, those of people included.",
        "known_false": "Epochs whose false records were looked into: they break the gate no longer, and "
        "`orgkey verify` still names them.",
        "min_retention_days": "`orgkey status` breaks the gate when a locked copy has less retention left.",
        "rto_seconds": "The objective for the recovery time: how long a test restore may take, from the "
        "stored copy to a proven key.",
        "max_backup_age_days": "`orgkey status` breaks the gate when the newest backup is older.",
        "max_backup_verify_age_days": "`orgkey status` breaks the gate when a backup was not read to its "
        "end, as it lies there now, for so many days.",
        "max_newest_verify_age_days": "`orgkey status` breaks the gate when the newest backup of a place "
        "was not read to its end for so many days.",
        "known_backups": "SHA-256 of backups that are replaced, shrunk or older than expected, and that "
        "somebody has found in order: they break the gate no longer.",
        "max_check_in_age_days": "`orgkey status` breaks the gate when a custodian's last check-in is older.",
        "certificate_warning_days": "How long before a certificate expires `orgkey doctor` warns: a "
        "custodian's, a server's, or a client certificate of ours.",
    },
}

TITLES: dict[str, tuple[str, str]] = {
    "KeyConfig": (
        "`[key]`",
        "Which Org Key is meant. Without it, give `--fingerprint`, or confirm it on a terminal.",
    ),
    "SourceConfig": (
        "`[source]`",
        "Where `orgkey escrow` takes the export from when no file is named. Optional.",
    ),
    "VaultTargetConfig": (
        '`[target.NAME]`, `kind = "vault"`',
        "A place that holds records. At least one target is needed.",
    ),
    "S3TargetConfig": ('`[target.NAME]`, `kind = "s3"`', "A place that holds records."),
    "DirectoryTargetConfig": ('`[target.NAME]`, `kind = "directory"`', "A place that holds records."),
    "TransitHolderConfig": (
        '`[holder.NAME]`, `kind = "vault-transit"`',
        "Opens one share. At least one holder is needed.",
    ),
    "KmsHolderConfig": ('`[holder.NAME]`, `kind = "aws-kms"`', "Opens one share."),
    "OpenpgpHolderConfig": ('`[holder.NAME]`, `kind = "openpgp"`', "Custodians: people who open shares."),
    "Custodian": ("An item of `members`", "One custodian, where more than a fingerprint is said."),
    "PaperHolderConfig": ('`[holder.NAME]`, `kind = "paper"`', "Shares on paper."),
    "PathConfig": (
        "`[path.NAME]`",
        "A custody path: holders that together suffice. Several paths are alternatives.",
    ),
    "IdentityConfig": (
        "`[identity.writer]`, `[identity.driller]`, `[identity.auditor]`, `[identity.retention]`, "
        "`[identity.administrator]`",
        "Logins. The writer writes records and seals shares; the driller reads records and opens shares; the "
        "auditor sees listings, retention and the ledger; retention extends retentions, the administrator "
        "sets servers up. Without a driller, drills and restores log in as the writer; without an "
        "auditor, the driller looks. Where none fits, Vault's `VAULT_TOKEN` or `~/.vault-token` and AWS's "
        "usual chain are used.",
    ),
    "VaultIdentity": (
        "`[identity.ROLE.vault]`",
        "Exactly one way to log in; see [logins](../logins.md).",
    ),
    "AwsIdentity": (
        "`[identity.ROLE.aws]`",
        "A profile, in AWS's own files or in others; see [logins](../logins.md). Without either, AWS's usual "
        "chain.",
    ),
    "BackupPlace": (
        "`[backups.NAME]`",
        "Where the server's own backups arrive, for `orgkey backups` and `orgkey status`. The driller's "
        "login reads them. Optional.",
    ),
    "ReadersSection": (
        "`[readers]`",
        "Other machines that read backups for `orgkey backups verify`, by tickets: they get neither the Org "
        "Key nor a login. Optional.",
    ),
    "Certificates": ("`[certificate]`", "The time of drill certificates, told by a third party. Optional."),
    "Notify": (
        "`[notify]`",
        "Who is told when a job fails, works again, or finds something overdue; see "
        "[notifications](../how-to.md#notifications). Optional.",
    ),
    "Ping": (
        "`[ping.JOB]`",
        "A service with a clock of its own, which misses the job that does not report; see [the dead-man "
        "ping](../how-to.md#the-dead-man-ping). Jobs: `escrow`, `drill`, `verify`, `status`, `repair`, "
        "`retain`, `refresh`, `rotate`, `report`, `backups` (`orgkey backups verify`) and `watch`. Optional.",
    ),
    "LedgerSection": (
        "`[ledger]`",
        "Where the ledger is mirrored to. The writer's login writes, the driller's reads. Optional: without "
        "it the ledger is on this host only.",
    ),
    "Policy": ("`[policy]`", "What counts as enough. Optional."),
}
