"""Operations of S3 and KMS, and which identity may do which.

How each is called is in tests/e2e/aws_calls.py, by the same name.
"""

from __future__ import annotations

from tools.permissions import IDENTITIES, Operation, by

ALL = by(*IDENTITIES)
NO_SERVER = "untested here: versitygw does not have the call; no statement of the policy allows it"

S3: tuple[Operation, ...] = (
    Operation("s3-make-record", "make a record", "s3:PutObject, If-None-Match", by("writer")),
    Operation(
        "s3-make-locked",
        "make a record with a retention of its own",
        "s3:PutObject, s3:PutObjectRetention",
        by("writer"),
    ),
    Operation(
        "s3-overwrite",
        "put a newer version over a record",
        "s3:PutObject, unconditional",
        why="for the writer untested here: AWS refuses it by the condition `s3:if-none-match`, which "
        "versitygw does not know; what it wrote would count for nothing",
        untested=by("writer"),
    ),
    Operation("s3-put-outside", "write outside the prefix", "s3:PutObject"),
    Operation("s3-read-record", "read a record", "s3:GetObjectVersion", by("writer", "driller")),
    Operation("s3-head-record", "see a record's metadata", "s3:GetObject, HEAD", by("writer", "driller")),
    Operation(
        "s3-attributes",
        "see a record's attributes",
        "s3:GetObjectAttributes",
        why="the same right as reading on AWS",
    ),
    Operation("s3-read-outside", "read outside the prefix", "s3:GetObject"),
    Operation("s3-list", "list versions", "s3:ListBucketVersions", ALL),
    Operation("s3-see-retention", "see a version's retention", "s3:GetObjectRetention", ALL),
    Operation("s3-write-ledger", "write an entry of the ledger", "s3:PutObject", by("writer")),
    Operation(
        "s3-read-ledger", "read an entry of the ledger", "s3:GetObject", by("writer", "driller", "auditor")
    ),
    Operation("s3-hide", "hide a record behind a delete marker", "s3:DeleteObject"),
    Operation("s3-delete-version", "delete a version", "s3:DeleteObjectVersion"),
    Operation(
        "s3-delete-locked",
        "delete a locked version, bypassing GOVERNANCE",
        "s3:DeleteObjectVersion, s3:BypassGovernanceRetention",
    ),
    Operation(
        "s3-extend",
        "extend a retention",
        "s3:PutObjectRetention",
        by("writer", "retention"),
        why="the writer, too: S3 has no narrower right to lock what one writes",
    ),
    Operation(
        "s3-extend-ledger",
        "extend the retention of an entry of the ledger",
        "s3:PutObjectRetention",
        by("writer", "retention"),
        why="as above",
    ),
    Operation("s3-shorten", "shorten a retention", "s3:PutObjectRetention, s3:BypassGovernanceRetention"),
    Operation("s3-hold", "set a legal hold", "s3:PutObjectLegalHold"),
    Operation("s3-tag", "tag a record", "s3:PutObjectTagging"),
    Operation("s3-see-versioning", "see the bucket's versioning", "s3:GetBucketVersioning", ALL),
    Operation("s3-see-lock", "see the bucket's lock", "s3:GetBucketObjectLockConfiguration", ALL),
    Operation("s3-see-policy", "see the bucket's policy", "s3:GetBucketPolicy", by("auditor")),
    Operation("s3-see-public", "see whether the bucket is public", "s3:GetBucketPolicyStatus", by("auditor")),
    Operation("s3-set-policy", "change the bucket's policy", "s3:PutBucketPolicy"),
    Operation("s3-drop-policy", "remove the bucket's policy", "s3:DeleteBucketPolicy"),
    Operation("s3-set-versioning", "change the bucket's versioning", "s3:PutBucketVersioning"),
    Operation("s3-set-lock", "change the bucket's lock", "s3:PutBucketObjectLockConfiguration"),
    Operation("s3-set-owner", "change the bucket's ownership", "s3:PutBucketOwnershipControls"),
    Operation(
        "s3-set-lifecycle",
        "let objects expire",
        "s3:PutLifecycleConfiguration",
        why=NO_SERVER,
        untested=ALL,
    ),
    Operation(
        "s3-set-encryption",
        "change the bucket's encryption",
        "s3:PutEncryptionConfiguration",
        why=NO_SERVER,
        untested=ALL,
    ),
    Operation("s3-delete-bucket", "delete the bucket", "s3:DeleteBucket"),
)
KMS: tuple[Operation, ...] = (
    Operation("kms-encrypt", "seal a share", "kms:Encrypt", by("writer")),
    Operation(
        "kms-encrypt-unbound",
        "seal what is bound to no record",
        "kms:Encrypt",
        why="the key's policy wants the context's keys `fingerprint` and `record_id`",
    ),
    Operation("kms-decrypt", "open a share", "kms:Decrypt", by("driller")),
    Operation("kms-decrypt-unbound", "open what is bound to no record", "kms:Decrypt", why="as above"),
    Operation("kms-data-key", "make a data key", "kms:GenerateDataKey"),
    Operation("kms-re-encrypt", "encrypt a share anew", "kms:ReEncryptFrom, kms:ReEncryptTo"),
    Operation("kms-describe", "see the key's state", "kms:DescribeKey", by("writer", "driller", "auditor")),
    Operation(
        "kms-see-rotation",
        "see the key's rotation",
        "kms:GetKeyRotationStatus",
        by("writer", "driller", "auditor"),
    ),
    Operation(
        "kms-see-policy",
        "see the key's policy",
        "kms:GetKeyPolicy",
        why="AWS answers only the key's own account",
    ),
    Operation("kms-set-policy", "change the key's policy", "kms:PutKeyPolicy"),
    Operation("kms-grant", "grant the key's use", "kms:CreateGrant"),
    Operation("kms-disable", "disable the key", "kms:DisableKey"),
    Operation("kms-delete", "schedule the key's deletion", "kms:ScheduleKeyDeletion"),
    Operation("kms-stop-rotation", "stop the key's rotation", "kms:DisableKeyRotation"),
    Operation("kms-alias", "give the key another name", "kms:CreateAlias"),
)
