"""The control mapping: what catalogues ask for, in this program's words, and what a report has for it.

A row names a control and the judgement of its subject. Numbers marked ``check`` were read in secondary
sources: compare them with your own copy of the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from pipeline.report import judging, judging_keys
from pipeline.report.facts import Facts
from pipeline.report.judging import Judgement
from pipeline.report.model import Answer, Control, Report, Support

NIST: Final = "NIST SP 800-53 Rev. 5"
KEYS: Final = "NIST SP 800-57 Part 1 Rev. 5"
PCI: Final = "PCI DSS 4.0.1"
ISO: Final = "ISO/IEC 27001:2022"
SOC: Final = "SOC 2"
HIPAA: Final = "HIPAA Security Rule"
DORA: Final = "DORA, Regulation (EU) 2022/2554"
DORA_RTS: Final = "Delegated Regulation (EU) 2024/1774"
NIS2: Final = "NIS2, Implementing Regulation (EU) 2024/2690"

_WHEN: Final = {
    PCI: "only if the key protects account data",
    SOC: "only if the criteria are in the scope of the report",
    HIPAA: "only if the key protects electronic protected health information",
    DORA: "only for financial entities and their providers",
    DORA_RTS: "only for financial entities and their providers",
    NIS2: "only for the kinds of digital services and infrastructure that the regulation names",
}


class Row(NamedTuple):
    """One control.

    Attributes:
        id: Its number in the catalogue.
        catalogue: The catalogue's name.
        asks: What it asks for, in own words.
        judge: Looks at the facts.
        check: Whether the number was read in secondary sources.
    """

    id: str
    catalogue: str
    asks: str
    judge: Callable[[Facts], Judgement]
    check: bool = False


ROWS: Final = (
    Row("CP-4", NIST, "test the contingency plan, review results, correct what failed", judging.corrected),
    Row("CP-6", NIST, "keep backups at an alternate site", judging.elsewhere),
    Row("CP-9", NIST, "back up on a schedule, and protect the copies", judging.backups),
    Row("CP-9(1)", NIST, "test that backups are reliable and whole, at a set frequency", judging.tested),
    Row("CP-9(2)", NIST, "restore a sample of backups when contingency plans are tested", judging.sampled),
    Row("CP-9(3)", NIST, "keep critical copies apart from the system", judging.elsewhere),
    Row("CP-9(7)", NIST, "have two people authorise the destruction of backups", judging.destruction, True),
    Row("CP-9(8)", NIST, "protect backups cryptographically", judging_keys.protected),
    Row("SC-12", NIST, "establish and manage cryptographic keys", judging_keys.inventory),
    Row("SC-12(1)", NIST, "stay able to work when a holder of keys is lost", judging_keys.holder_lost),
    Row("SC-13", NIST, "choose the kinds of cryptography, and use them", judging_keys.algorithms),
    Row("SC-28", NIST, "protect information at rest", judging_keys.protected),
    Row("AU-9(3)", NIST, "protect the integrity of logs cryptographically", judging.integrity),
    Row("AU-10", NIST, "make it impossible to deny what was done", judging.repudiation),
    Row("AC-3(2)", NIST, "have two people authorise what matters most", judging_keys.dual, True),
    Row("AC-5", NIST, "separate duties", judging_keys.separated),
    Row("§ 8.2.2", KEYS, "decide by kind of key whether it is backed up", judging_keys.decided, True),
    Row("§ 8.3.1", KEYS, "archive keys as long as what they protect is needed", judging_keys.archived, True),
    Row("3.6.1.2", PCI, "store keys encrypted, or as shares", judging_keys.protected, True),
    Row("3.6.1.3", PCI, "give as few custodians as possible access", judging_keys.custodians_few, True),
    Row("3.6.1.4", PCI, "keep keys in as few places as possible", judging.places, True),
    Row("3.7.1", PCI, "generate strong keys", judging_keys.generated, True),
    Row("3.7.2", PCI, "distribute keys securely", judging_keys.distributed, True),
    Row("3.7.3", PCI, "store keys securely", judging_keys.protected, True),
    Row("3.7.4", PCI, "change keys at the end of their cryptoperiod", judging_keys.cryptoperiod, True),
    Row("3.7.5", PCI, "retire or replace keys that are weak or out of use", judging_keys.retired, True),
    Row("3.7.6", PCI, "handle keys by hand under split knowledge and dual control", judging_keys.dual, True),
    Row("3.7.7", PCI, "prevent the substitution of keys", judging_keys.substituted, True),
    Row("3.7.8", PCI, "have custodians acknowledge their duties", judging_keys.acknowledged, True),
    Row("12.3.3", PCI, "keep an inventory of ciphers, reviewed every year", judging_keys.algorithms, True),
    Row("A.5.30", ISO, "be ready to continue, with recovery times that are tested", judging.ready, True),
    Row("A.5.33", ISO, "protect records against loss and falsification", judging.records, True),
    Row("A.8.13", ISO, "keep backups, and test them regularly", judging.tested, True),
    Row("A.8.24", ISO, "have rules for cryptography and keys, and follow them", judging_keys.inventory, True),
    Row("A1.2", SOC, "run and watch backups and recovery infrastructure", judging.backups, True),
    Row("A1.3", SOC, "test that recovery is whole and complete", judging.complete, True),
    Row("CC6.1", SOC, "restrict access to what is protected", judging_keys.separated, True),
    Row("164.308(a)(7)(ii)(A)", HIPAA, "keep exact copies that can be retrieved", judging.exact_copies, True),
    Row("164.308(a)(7)(ii)(B)", HIPAA, "be able to restore what was lost", judging.ready, True),
    Row("164.308(a)(7)(ii)(D)", HIPAA, "test contingency plans (addressable)", judging.corrected, True),
    Row("Art. 11", DORA, "test continuity and recovery plans at least yearly", judging.yearly, True),
    Row("Art. 12", DORA, "restore backups on systems apart from the source", judging.separate, True),
    Row("Art. 7", DORA_RTS, "manage keys for life, replace lost ones", judging_keys.lifecycle, True),
    Row("4.2.2", NIS2, "keep whole backup copies apart from the system", judging.elsewhere, True),
    Row("4.2.3", NIS2, "check the integrity of backup copies regularly", judging.exact_copies, True),
    Row("4.2.6", NIS2, "test recovery regularly, correct what failed", judging.corrected, True),
    Row("9.2(c)", NIS2, "back up keys, recover lost ones, log what is done", judging_keys.lifecycle, True),
)  # fmt: skip

_OF_LEDGER: Final = (judging.integrity, judging.repudiation)
"""What is judged by the ledger alone, whoever does not answer."""


def controls(report: Report) -> tuple[Control, ...]:
    """Say for each control how far the report has evidence.

    Args:
        report: The report; its own ``controls`` are not looked at.
    """
    facts = Facts(report)
    return tuple(_control(row, facts) for row in ROWS)


def _control(row: Row, facts: Facts) -> Control:
    told = facts.report.verdict
    found = row.judge(facts)
    if told.answer is Answer.UNKNOWN and not facts.good and row.judge not in _OF_LEDGER:
        # What could not be looked at is no evidence, neither for nor against.
        found = Judgement(Support.UNKNOWN, "What is stored could not be looked at.")
    return Control(
        row.id,
        row.catalogue,
        row.asks,
        found.support,
        found.says,
        _WHEN.get(row.catalogue, ""),
        row.check,
        found.evidence,
    )
