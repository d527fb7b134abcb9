"""Decisions of the leaves at their exact limits: each test fails when its condition is turned or left out."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.errors import Code, Unreachable
from pipeline.core.exit_codes import INSPECT_PRECEDENCE
from pipeline.core.redaction import MARK, Redactor
from pipeline.core.retry import Breaker
from pipeline.core.secret import Secret
from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.preflight import examine
from pipeline.report.summary import Summary, joined
from tests.support import certificate_writer as certificates
from tests.support import openpgp_writer as writer
from tests.support.sample_report import good, year
from tests.unit.core.test_retry import StillClock, down, failing, retrier

KEYS = Path(__file__).parents[1] / "assets" / "keys"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


# -- redaction ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret", ["tab\there\x00nul", "q\"uo'te\\d", "Stra\u00dfe\t\u2603 \U0001f511", "plain text"]
)
def test_nothing_of_an_escaped_secret_is_left(secret: str) -> None:
    """Not even its first or its last character."""
    redactor = Redactor()
    redactor.register(Secret(secret))
    raw = secret.encode()
    for spelled in (secret, repr(secret)[1:-1], repr(raw)[2:-1], json.dumps(secret)[1:-1]):
        assert redactor.clean(f"<{spelled}>") == f"<{MARK}>", spelled


@pytest.mark.parametrize("length", [8, 9, 10, 11, 12, 32])
@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_inside_base64_all_that_is_the_secret_s_alone_is_taken_out(
    encode: Callable[[bytes], bytes], length: int, before: int, after: int
) -> None:
    secret = bytes((37 * number + 251) % 256 for number in range(length))
    redactor = Redactor()
    redactor.register(Secret(secret))
    text = encode(b"\x55" * before + secret + b"\xaa" * after).decode()
    # Which of its characters hold bits of the secret and of nothing else: six bits each.
    own = [at for at in range(len(text)) if 8 * before <= 6 * at and 6 * at + 6 <= 8 * (before + length)]
    assert redactor.clean(text) == text[: own[0]] + MARK + text[own[-1] + 1 :]


# -- temporary files ---------------------------------------------------------------------------------


def test_a_temporary_file_of_another_user_is_neither_locked_nor_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".name.0123456789ab.orgkey-tmp"
    left.touch()
    mine = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: mine + 1)
        patch.setattr("fcntl.flock", lambda *_: pytest.fail("it was locked"))
        files.sweep(tmp_path)
    assert left.exists()
    left.with_name(left.name.replace("ab.", "cd.")).mkdir()
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".name.0123456789cd.orgkey-tmp"]


# -- retries -----------------------------------------------------------------------------------------


def test_only_a_server_that_says_how_long_is_waited_for_so_long() -> None:
    clock = StillClock()
    fn, _ = failing(2, down(retry_after=7.0))
    retrier(clock).call(fn, "read it")
    waits = clock.slept
    assert waits == [7.2, 7.4]
    clock = StillClock()
    fn, _ = failing(2, down())
    retrier(clock).call(fn, "read it")
    assert clock.slept == [0.2, 0.4]


@pytest.mark.parametrize(("silent", "trips"), [(True, True), (False, False)])
def test_only_silence_trips_the_breaker(silent: bool, trips: bool) -> None:
    breaker = Breaker()
    fn, calls = failing(9, down(silent=silent))
    with pytest.raises(Unreachable):
        retrier(StillClock(), breaker=breaker).call(fn, "read it")
    assert len(calls) == 5
    assert breaker.open is trips


def test_each_attempt_that_failed_is_logged_with_its_reason_and_the_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fn, _ = failing(2, down())
    with caplog.at_level(logging.INFO, "pipeline.core.retry"):
        retrier(StillClock()).call(fn, "read s3")
    assert [record.getMessage() for record in caplog.records] == [
        "read s3: attempt 1 failed (it is down), the next one in 0.2 s",
        "read s3: attempt 2 failed (it is down), the next one in 0.4 s",
    ]


# -- keys --------------------------------------------------------------------------------------------


def test_several_problems_are_told_in_their_order() -> None:
    """An unprotected key of another fingerprint that cannot encrypt: found in another order than told."""
    data = (KEYS / "certify-only-unprotected.asc").read_bytes()
    found = examine(data, pin="A" * 40, passphrase=None, now=NOW)
    codes = [problem.code for problem in found.problems]
    assert codes == [Code.NOT_PINNED, Code.INCOMPLETE, Code.UNPROTECTED]
    assert codes == [code for code in INSPECT_PRECEDENCE if code in codes]


def test_a_self_signature_without_flags_allows_what_the_algorithm_can() -> None:
    """RFC 4880 section 5.2.3.21 leaves it open; so do programs that write no flags."""
    person = certificates.Person("noflags")
    person.packets.append((writer.PUBLIC_KEY, person.primary))
    text = person.user_id.encode()
    data = b"\xb4" + len(text).to_bytes(4, "big") + text
    person.packets += [(writer.USER_ID, text), person.sign(certificates.UID, data)]
    for kind in ("x25519", "elg2048"):
        key = certificates.body(kind, kind)
        hashed = b"\x99" + len(key).to_bytes(2, "big") + key
        person.packets += [(writer.PUBLIC_SUBKEY, key), person.sign(certificates.BINDING, hashed)]
    judged = validity.judge(parsing.read_one(person.binary, "it"), certificates.NOW)
    assert judged.primary.flags == sig.CERTIFY | sig.SIGN
    assert [standing.flags for standing in judged.subkeys] == [sig.ENCRYPT, sig.ENCRYPT]
    assert all(standing.bound for standing in judged.standings)


# -- sentences of the report -------------------------------------------------------------------------


def test_a_sentence_has_no_empty_parts() -> None:
    assert joined("one", "", "two", "") == "One; two."
    assert joined("", "only") == "Only."


def test_who_can_destroy_the_copies_is_told_in_one_of_three_ways() -> None:
    ways = (
        "all copies can be deleted by ", "no party controls all copies and can delete", "no copy is good",
    )  # fmt: skip
    report = good()
    unlocked = tuple(
        replace(copy, lock_mode=None, retain_until=None, controlled_by=("one",)) for copy in report.copies
    )
    apart = tuple(replace(copy, controlled_by=(copy.target,)) for copy in unlocked)
    none = tuple(replace(copy, ok=False) for copy in report.copies)
    for copies, way in ((unlocked, ways[0]), (apart, ways[1]), (none, ways[2])):
        said = Summary(replace(report, copies=copies)).sentences["erasers"]
        assert [text in said for text in ways] == [text == way for text in ways], said


def test_what_is_still_open_is_named_where_something_is() -> None:
    for report in (good(), year()):
        summary = Summary(report)
        said = summary.sentences["open failures"]
        problems = sorted({problem for drill in summary.uncorrected for problem in drill.problems})
        assert ("still open" in said) is bool(problems), said
        assert all(problem in said for problem in problems)
    failed = replace(good().drills[0], passed=False, problems=("it did not decrypt",))
    said = Summary(replace(good(), drills=(failed,))).sentences["open failures"]
    assert said == "still open: it did not decrypt"
