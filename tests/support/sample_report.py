"""Reports that no server was needed for: a good one, one with everything wrong, and a year with gaps."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pipeline.report.backup_facts import BackupFacts
from pipeline.report.custody_facts import CustodianFacts, CustodyFacts
from pipeline.report.drill_facts import Cell, DrillFacts, Missed, ProofState
from pipeline.report.ledger_facts import LedgerChange, LedgerFacts, VaultSide
from pipeline.report.model import (
    CopyFacts,
    EpochFacts,
    EvidenceItem,
    OrgKeyFacts,
    PathFacts,
    Report,
    ReportVerdict,
    Restorability,
    RuleFacts,
)

VAULT = "https://vault.example.com:8200"
NOW = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)
EPOCH = "20260105T090000Z-4b078819"
OLDER = "20250105T090000Z-1f2e3d4c"
PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 60" role="img" aria-label="custody">'
    '<rect x="10" y="10" width="120" height="40" fill="none" stroke="#888"/>'
    '<text x="20" y="35" font-size="12">holder vault</text></svg>'
)
IMPLEMENTATIONS = ("gnupg", "pgpy", "sequoia")
STAGES = (("fetch", 0.02), ("recover", 0.11), ("prove", 0.29), ("total", 0.42))


def digest(text: str) -> str:
    """Some digest."""
    return hashlib.sha256(text.encode()).hexdigest()


def good() -> Report:
    """Everything is as it should be: two copies, two paths, weekly drills over half a year."""
    drills = tuple(
        DrillFacts(
            NOW - timedelta(days=7 * week, hours=2),
            EPOCH,
            copy,
            "unattended",
            True,
            0.42 + 0.01 * (week % 5),
            STAGES,
            (),
            IMPLEMENTATIONS,
            True,
            (f"L{100 - week}",),
        )
        for week in range(20, -1, -1)
        for copy in ("vault-eu", "s3-us")
    )
    ceremony = DrillFacts(
        NOW - timedelta(days=40),
        EPOCH,
        "vault-eu",
        "custodians",
        True,
        1.9,
        (*STAGES[:3], ("gather", 610.0), ("total", 1.9)),
        (),
        IMPLEMENTATIONS,
        True,
        ("L60",),
    )
    return Report(
        generated=NOW,
        host="escrow-1.example.com",
        run="5a1b2c3d4e5f6a7b",
        program="orgkey-escrow 1.0.0rc1",
        since=NOW - timedelta(days=365),
        previous=NOW - timedelta(days=31),
        drill_interval_days=7.0,
        verdict=ReportVerdict(
            Restorability.YES,
            "The Org Key can be restored today from 2 of 2 copies by 2 of 2 custody paths.",
            ("vault-eu", "s3-us"),
            ("unattended", "custodians"),
            True,
            NOW - timedelta(hours=2),
            1.9,
            3600.0,
            (),
            ("R1", "L100"),
        ),
        key=OrgKeyFacts(
            "168D2FDFB68356104358FCD69D799B1DD8376100",
            ("acme.example Organization Key <keys@acme.example>",),
            "RSA-4096",
            NOW - timedelta(days=500),
            NOW + timedelta(days=230),
            (
                ("168D2FDFB68356104358FCD69D799B1DD8376100", "RSA-4096", "certify, sign"),
                ("99AA2FDFB68356104358FCD69D799B1DD8370001", "RSA-4096", "encrypt"),
            ),
            "same",
            None,
            "ahead: about 2026-12-17",
        ),
        epoch=EpochFacts(
            EPOCH,
            "proven",
            NOW - timedelta(days=147),
            "4b078819" + "0" * 24,
            digest("record"),
            ("AES-256, iterated-salted SHA-256", "escrow passphrase of 256 random bits, split with SLIP-39"),
            ((OLDER, "superseded"),),
        ),
        copies=(
            CopyFacts(
                "vault-eu",
                "vault",
                "dc-frankfurt",
                ("vault-admins",),
                f"https://vault.example.com:8200/orgkey/records/168D2FDFB68356104358FCD69D799B1DD8376100/{EPOCH}",
                "1",
                True,
                None,
                digest("record"),
                None,
                None,
                ("R1",),
            ),
            CopyFacts(
                "s3-us",
                "s3",
                "aws-us-east-1",
                ("aws-admins",),
                f"s3://example-orgkey/orgkey/168D2FDFB68356104358FCD69D799B1DD8376100/{EPOCH}.tar",
                "01M86G7KXG8WV504FJJB2H73NJ",
                True,
                None,
                digest("record"),
                NOW + timedelta(days=800),
                "COMPLIANCE",
                ("R1",),
            ),
        ),
        paths=(
            PathFacts("unattended", ("holder vault", "holder aws"), False),
            PathFacts("custodians", ("3 of 5 custodians",), True),
        ),
        matrix=(
            Cell(
                "vault-eu",
                "unattended",
                ProofState.PROVEN,
                NOW - timedelta(hours=2),
                NOW - timedelta(hours=2),
                0.42,
                None,
                ("L100", "C1"),
            ),
            Cell(
                "s3-us",
                "unattended",
                ProofState.PROVEN,
                NOW - timedelta(hours=2),
                NOW - timedelta(hours=2),
                0.44,
                None,
                ("L100", "C1"),
            ),
            Cell(
                "vault-eu",
                "custodians",
                ProofState.PROVEN,
                NOW - timedelta(days=40),
                NOW - timedelta(days=40),
                1.9,
                None,
                ("L60",),
            ),
            Cell("s3-us", "custodians", ProofState.NEVER, None, None, None, None),
        ),
        drills=tuple(sorted((*drills, ceremony), key=lambda drill: drill.at)),
        missed=(),
        backups=(
            BackupFacts(
                "s3://acme-backups/backup-20260531.pgp",
                2_700_000_000,
                ("9D799B1DD8376100",),
                EPOCH,
                True,
                None,
                NOW - timedelta(days=1),
                ("L99",),
            ),
        ),
        custody=CustodyFacts(
            ("vault-admins and aws-admins", "any 3 of 5 custodians, and one of vault-admins, aws-admins"),
            ("domain dc-frankfurt and any 3 of 5 custodians",),
            (),
            (),
            (f"{OLDER}: the same parties; its last locked copy can be deleted on 2028-01-05",),
            (),
            (),
            PICTURE,
            ("P1",),
        ),
        custodians=tuple(
            CustodianFacts(
                name,
                digest(name)[:40].upper(),
                "custodians",
                NOW - timedelta(days=age),
                age * 86400.0,
                False,
                (f"L{70 + age}",),
            )
            for name, age in (
                ("Alice Archer", 3),
                ("Bob Baker", 4),
                ("Carol Chen", 9),
                ("Dave Diaz", 5),
                ("Erin Eze", 6),
            )
        ),
        changes=(
            LedgerChange(
                NOW - timedelta(days=20), "custody-kit", "recovery kits were printed", False, ("L80",)
            ),
            LedgerChange(
                NOW - timedelta(days=12),
                "verify",
                "2 copies of 2 epochs were read: all good",
                False,
                ("L85",),
            ),
        ),
        rules=(
            RuleFacts("copies", True, "good copies stand in 2 failure domains, policy.copies asks for 2"),
            RuleFacts("max_drill_age_days", True, "the last drill is 0.1 days old, the limit is 7"),
        ),
        not_covered=(
            "The copy at s3-us was never restored by path custodians.",
            "A test restore decrypts and signs with the key; it does not install it on a server.",
        ),
        ledger=LedgerFacts(100, digest("head"), True, None, 100, "the mirror at s3-us", 0),
        vault=VaultSide(NOW - timedelta(hours=3), (VAULT,), (), False, ("L7",)),
        evidence=(
            EvidenceItem("R1", "record", f"the record of epoch {EPOCH}", digest("record"), None),
            EvidenceItem(
                "C1",
                "certificate",
                "the drill of 2026-06-01 06:00",
                digest("certificate"),
                f"certificates/{EPOCH}-drilled-20260601T060000Z-aabbcc.json",
            ),
            EvidenceItem("P1", "computed", "custody posture", digest("posture"), "posture.json"),
            *(
                EvidenceItem(
                    f"L{number}",
                    "ledger entry",
                    f"ledger entry {number}",
                    digest(f"L{number}"),
                    f"ledger/{number:09d}.json",
                )
                for number in range(1, 101)
            ),
        ),
    )


def bad() -> Report:
    """Vault does not answer, the bucket's copy was altered, a backup has no key, a share is overdue."""
    fine = good()
    gaps = (
        "vault-eu: the server does not answer (time-out after 10 s)",
        "s3-us: version 01M86G7KXG8WV504FJJB2H73NJ: a member does not fit the manifest's digest",
        "no copy can be restored today",
        "backup s3://acme-backups/backup-20260531.pgp: no escrowed key opens it: it is for 1122334455667788",
        "the live key is another key: new backups are not covered by this escrow",
        "custodian Bob Baker (custodians) last checked in 400.0 days ago",
    )
    vault, bucket = fine.copies
    failed = DrillFacts(
        NOW - timedelta(hours=1),
        EPOCH,
        "s3-us",
        "unattended",
        False,
        None,
        (("fetch", 0.4),),
        ("digest: the copy is not whole", "authentic: a member does not fit"),
        (),
        None,
        ("L101",),
    )
    return replace(
        fine,
        verdict=ReportVerdict(
            Restorability.NO,
            "The Org Key cannot be restored today: no copy is good.",
            (),
            (),
            False,
            NOW - timedelta(days=9),
            None,
            3600.0,
            gaps,
            ("L101",),
        ),
        key=replace(fine.key, live="replaced", live_reason="another key under its name", renewal=None),
        copies=(
            replace(vault, ok=False, version=None, sha256=None, problem="the server does not answer"),
            replace(bucket, ok=False, problem="a member does not fit the manifest's digest"),
        ),
        matrix=tuple(
            replace(
                cell,
                state=ProofState.UNREADABLE if cell.copy == "vault-eu" else ProofState.FAILED,
                problem="the copy is not good",
            )
            for cell in fine.matrix
        ),
        drills=(*fine.drills[:-4], failed),
        missed=(Missed(NOW - timedelta(days=2), None, 2.0),),
        backups=(
            replace(
                fine.backups[0],
                key_ids=("1122334455667788",),
                epoch=None,
                proven=False,
                problem="no escrowed key opens it",
                verified_at=None,
            ),
        ),
        custodians=(
            fine.custodians[0],
            replace(fine.custodians[1], overdue=True, age_seconds=400 * 86400.0),
            *fine.custodians[2:],
        ),
        changes=(
            *fine.changes,
            LedgerChange(
                NOW - timedelta(hours=1),
                "escrow-failed",
                "unreachable: vault-eu does not answer",
                True,
                ("L101",),
            ),
        ),
        rules=tuple(RuleFacts(f"rule-{number}", False, text) for number, text in enumerate(gaps)),
        ledger=replace(fine.ledger, anchored_to=60, anchor="a certificate", waiting=41),
        vault=VaultSide(
            NOW - timedelta(hours=3), (VAULT,), ("sys/policies/acl/orgkey-writer differs",), True, ("L7",)
        ),
    )


def year() -> Report:
    """Drills all year, with three that were missed, of which one still is, and some that failed."""
    fine = good()
    begin = NOW - timedelta(days=364)
    drills = []
    for week in range(52):
        if week in (10, 11, 30, 51):
            continue
        for copy in ("vault-eu", "s3-us"):
            failing = week in (20, 21, 44) and copy == "s3-us"
            seconds = None if failing else 4000.0 if week == 25 else 0.5 + 0.2 * (week % 7)
            drills.append(
                DrillFacts(
                    begin + timedelta(days=7 * week),
                    EPOCH,
                    copy,
                    "unattended",
                    not failing,
                    seconds,
                    STAGES,
                    ("recover: holder aws: permission denied",) if failing else (),
                    IMPLEMENTATIONS,
                    None if seconds is None else seconds <= 3600.0,
                    (f"L{week + 1}",),
                )
            )
    missed = (
        Missed(begin + timedelta(days=70), begin + timedelta(days=84), 14.0),
        Missed(begin + timedelta(days=210), begin + timedelta(days=217), 7.0),
        Missed(begin + timedelta(days=357), None, 7.0),
    )
    gaps = (
        "a test restore has been overdue for 7.0 days",
        "in the period 3 test restores were missed, and 3 failed",
    )
    return replace(
        fine,
        drills=tuple(drills),
        missed=missed,
        verdict=replace(
            fine.verdict,
            answer=Restorability.GAPS,
            sentence="The Org Key can be restored today from 2 of 2 copies, and a test restore is overdue.",
            gaps=gaps,
            proven_at=drills[-1].at,
            rto_seconds=1.7,
        ),
    )
