"""What the table of answers says of answers that were met in the field, each played to a session."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.config.identities import AwsIdentity, VaultIdentity
from pipeline.config.places import AwsPlace, S3TargetConfig, VaultPlace
from pipeline.core.clock import Deadline
from pipeline.core.errors import Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.core.retry import SilentServers
from pipeline.providers import failures, unanswered
from pipeline.providers.aws.errors import facts
from pipeline.providers.aws.session import AwsSession
from pipeline.providers.unanswered import Route
from pipeline.providers.vault.session import VaultSession
from pipeline.storage.s3.backend import S3Backend
from pipeline.storage.s3.bucket import Bucket
from pipeline.storage.s3.rights import WRITE, probe
from pipeline.storage.s3.trial import CONDITION
from tests.support.reporter import Lines
from tests.support.scripted_server import Answer, Asked, ScriptedServer

QUOTA = 'request path "transit/decrypt": rate limit quota exceeded'
FULL = "Storage backend has reached its minimum free drive threshold."
IMPLIES = "A header you provided implies functionality that is not implemented."
MFA = {"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "d0c9eec7"}}}
WRAPPED = {"auth": None, "wrap_info": {"token": "hvs.wrap", "ttl": 300}}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "VAULT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def vault(url: str, tmp_path: Path, refusals: dict[object, Denied] | None = None) -> VaultSession:
    (tmp_path / "role").write_text("role")
    (tmp_path / "secret").write_text("secret-id")
    ids = VaultIdentity(role_id_file=str(tmp_path / "role"), secret_id_file=str(tmp_path / "secret"))
    place = VaultPlace(address=url)
    return VaultSession(place, ids, call_seconds=3, deadline=Deadline(30), role="driller", refusals=refusals)


def aws(url: str, tmp_path: Path) -> AwsSession:
    (tmp_path / "keys").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = not-secret\n")
    identity = AwsIdentity(credentials_file=str(tmp_path / "keys"))
    return AwsSession(
        AwsPlace(endpoint_url=url), identity, call_seconds=3, deadline=Deadline(30), role="writer",
    )  # fmt: skip


def told(*errors: str) -> bytes:
    return json.dumps({"errors": list(errors)}).encode()


def xml(code: str, message: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def logged_in(uses: int = 0) -> Answer:
    auth = {"client_token": "s.x", "lease_duration": 3600, "renewable": True, "num_uses": uses}
    return Answer(body=json.dumps({"auth": auth}).encode())


@pytest.mark.parametrize(
    ("status", "body", "kind", "again", "said", "hint"),
    [
        (429, told(QUOTA), Unreachable, True, "limits how often", "quota"),
        (429, told("lease count quota exceeded"), Unreachable, True, "limits how often", "quota"),
        (400, told("Upgrading from non-versioned to versioned data. This backend will be unavailable for a "
                   "brief period and will resume service shortly."), Unreachable, True, "upgraded", "later"),
        (500, told("write /vault/data: no space left on device"), Unreachable, True, "is full", "make room"),
        (507, told("insufficient storage"), Unreachable, True, "is full", "make room"),
        (403, told("permission denied"), Denied, None, "refuses", "policy"),
    ],
)  # fmt: skip
def test_vault(
    status: int,
    body: bytes,
    kind: type[OrgkeyError],
    again: bool | None,
    said: str,
    hint: str,
    tmp_path: Path,
) -> None:
    def script(asked: Asked) -> Answer:
        return logged_in() if "login" in asked.path else Answer(status, body)

    with ScriptedServer(script) as server, pytest.raises(kind, match=said) as raised:
        vault(server.url, tmp_path).write("orgkey/data/x", {}, "write")
    assert getattr(raised.value, "again", None) is again
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("status", "body", "kind", "again", "said", "hint"),
    [
        (507, xml("XMinioStorageFull", FULL), Unreachable, True, "is full", "make room"),
        (507, b"", Unreachable, True, "is full", "make room"),
        (403, xml("QuotaExceeded"), Unreachable, True, "is full", "quota"),
        (400, xml("InvalidRequest", "the bucket is full"), Unreachable, True, "is full", "make room"),
        (501, xml("NotImplemented", IMPLIES), UsageProblem, None, "does not know", "If-None-Match"),
        (400, xml("InvalidRequest", "Bucket is missing Object Lock Configuration"), UsageProblem, None,
         "has no Object Lock", "take lock_mode out"),
        (503, xml("SlowDown"), Unreachable, True, "cannot serve now", "later"),
        (400, xml("KMS.DisabledException"), Unreachable, False, "disabled", "enable-key"),
        (500, b"<html><body>oops</body></html>", Unreachable, True, "cannot serve now", "later"),
    ],
)  # fmt: skip
def test_s3(
    status: int,
    body: bytes,
    kind: type[OrgkeyError],
    again: bool | None,
    said: str,
    hint: str,
    tmp_path: Path,
) -> None:
    def put(client: Any) -> object:
        return client.put_object(Bucket="b", Key="k.tar", Body=b"x", IfNoneMatch="*")

    answer = Answer(status, body, content_type="application/xml")
    with ScriptedServer(lambda _: answer) as server, pytest.raises(kind, match=said) as raised:
        aws(server.url, tmp_path).call(put, "s3", "write")
    assert getattr(raised.value, "again", None) is again
    assert hint in raised.value.hint
    assert "oops" not in raised.value.message


@pytest.mark.parametrize(
    ("state", "first"),
    [("is pending deletion", "cancel its deletion"), ("is disabled", "enable it")],
)
def test_what_can_be_had_back_is_named_first(state: str, first: str, tmp_path: Path) -> None:
    body = json.dumps({"__type": "KMSInvalidStateException", "message": f"arn:x {state}."}).encode()
    answer = Answer(400, body, content_type="application/x-amz-json-1.1")
    with ScriptedServer(lambda _: answer) as server, pytest.raises(Unreachable) as raised:
        aws(server.url, tmp_path).call(lambda kms: kms.decrypt(KeyId="k", CiphertextBlob=b"x"), "kms", "open")
    assert raised.value.hint.startswith(first)
    assert not raised.value.again


@pytest.mark.parametrize(("answer", "said"), [(MFA, "needs a second factor"), (WRAPPED, "login wrapped")])
def test_a_login_that_asks_for_more(answer: dict[str, Any], said: str, tmp_path: Path) -> None:
    body = json.dumps(answer).encode()
    with (
        ScriptedServer(lambda _: Answer(body=body)) as server,
        pytest.raises(Denied, match=said),
    ):
        vault(server.url, tmp_path).read("x", "look")


def test_a_token_of_few_uses_is_named(tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        return logged_in(uses=2) if "login" in asked.path else Answer(403, told("permission denied"))

    with ScriptedServer(script) as server:
        session = vault(server.url, tmp_path)
        with pytest.raises(Denied):
            session.read("x", "look")
        with pytest.raises(Denied, match="used 2 times only"):
            raise session.login.worn_out("look")


def test_a_refused_login_is_made_once_in_a_run(tmp_path: Path) -> None:
    """Five of them lock a role; the hint knows that."""
    with ScriptedServer(lambda _: Answer(400, told("invalid role or secret ID"))) as server:
        refusals: dict[object, Denied] = {}
        for what in ("target vault, read", "holder vault, open", "ledger"):
            for _ in range(2):
                with pytest.raises(
                    Denied, match=f"^{what}: vault at .* refuses the driller's AppRole"
                ) as raised:
                    vault(server.url, tmp_path, refusals).read("x", what)
                assert "vault read sys/locked-users" in raised.value.hint
        assert len(server.asked) == 1


def test_a_refused_login_is_made_once_in_a_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has refusals of its own, and files of its own with the same role id and secret id."""
    words = tmp_path / "words"
    words.mkdir()
    monkeypatch.setattr(SilentServers, "folder", words)
    with ScriptedServer(lambda _: Answer(400, told("invalid role or secret ID"))) as server:
        for name in ("one", "two", "three"):
            (tmp_path / name).mkdir()
            with pytest.raises(Denied, match=r"^look: vault at .* refuses the driller's AppRole") as raised:
                vault(server.url, tmp_path / name, {}).read("x", "look")
            assert "vault read sys/locked-users" in raised.value.hint
        assert len(server.asked) == 1
        (word,) = words.iterdir()
        assert b"secret-id" not in word.read_bytes()
        monkeypatch.setattr(SilentServers, "folder", None)
        with pytest.raises(Denied):
            vault(server.url, tmp_path / "one", {}).read("x", "look")
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    "words", [QUOTA, "no space left on device", "Upgrading from non-versioned to versioned"]
)
def test_a_login_at_a_server_that_is_full_or_busy_is_no_refusal(words: str, tmp_path: Path) -> None:
    """No word against the secret id, and nothing is remembered of it."""
    with ScriptedServer(lambda _: Answer(400, told(words))) as server:
        refusals: dict[object, Denied] = {}
        with pytest.raises(Unreachable) as raised:
            vault(server.url, tmp_path, refusals).read("x", "look")
    assert raised.value.again
    assert "secret id" not in raised.value.hint
    assert refusals == {}


def test_one_login_for_each_role_and_run(tmp_path: Path) -> None:
    from pipeline.wiring import factory as wiring

    def script(asked: Asked) -> Answer:
        if "login" in asked.path:
            return logged_in()
        mount = {"data": {"type": "kv", "options": {"version": "2"}}}
        return Answer(body=json.dumps(mount).encode()) if "mounts" in asked.path else Answer(404, told())

    (tmp_path / "role").write_text("role")
    (tmp_path / "secret").write_text("secret-id")
    with ScriptedServer(script) as server:
        place = {"address": server.url, "controlled_by": ["team"]}
        config = Config.model_validate(
            {
                "key": {"fingerprint": "A" * 40},
                "identity": {
                    "driller": {
                        "vault": {
                            "role_id_file": str(tmp_path / "role"),
                            "secret_id_file": str(tmp_path / "secret"),
                        }
                    }
                },
                "target": {"vault": {"kind": "vault", "mount": "orgkey", "prefix": "r", **place}},
                "holder": {"vault": {"kind": "vault-transit", "mount": "transit", "key": "k", **place}},
                "path": {"unattended": {"needs": ["vault"]}},
                "policy": {"copies": 1, "accept_single_party": True, "accept_single_loss": True},
            }
        )
        context = wiring.context(config, fingerprint=None, state_dir=tmp_path, reporter=Lines())
        for _ in range(3):
            assert context.backends("driller").targets()["vault"].find("A" * 40) == []
        assert [asked.path for asked in server.asked if "login" in asked.path] == ["/v1/auth/approle/login"]


LISTING = b"<ListVersionsResult><Name>b</Name><IsTruncated>false</IsTruncated></ListVersionsResult>"


def test_doctor_names_what_the_server_lacks(tmp_path: Path) -> None:
    """Before anything is written: the one write that is tried cannot be stored by its checksum."""

    def script(asked: Asked) -> Answer:
        if asked.method == "PUT":
            return Answer(501, xml("NotImplemented", IMPLIES), content_type="application/xml")
        body = LISTING if "versions" in asked.path else xml("NoSuchKey")
        return Answer(200 if "versions" in asked.path else 404, body, content_type="application/xml")

    with ScriptedServer(script) as server:
        place = S3TargetConfig(
            kind="s3", bucket="b", endpoint_url=server.url, prefix="r", controlled_by=("x",)
        )
        findings = S3Backend("s3", place, aws(server.url, tmp_path)).check()
        puts = [asked for asked in server.asked if asked.method == "PUT"]
    assert any(finding.code == 2 and "If-None-Match" in finding.hint for finding in findings), findings
    assert all(asked.headers.get("x-amz-checksum-sha256") for asked in puts)


def test_doctor_stores_no_more_where_checksums_are_ignored(tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        body = LISTING if "versions" in asked.path else b""
        return Answer(200, body, content_type="application/xml")

    with ScriptedServer(script) as server:
        place = S3TargetConfig(
            kind="s3", bucket="b", endpoint_url=server.url, prefix="r", controlled_by=("x",)
        )
        (finding,) = S3Backend("s3", place, aws(server.url, tmp_path)).check()
        (stored,) = (asked for asked in server.asked if asked.method in ("PUT", "DELETE"))
    assert finding.code == 23
    assert "looks at no checksum: it stored s3://b/r/no-such-record-" in finding.message
    assert stored.path.partition("?")[0].removeprefix("/b/") in finding.message


def test_what_doctor_could_not_see_of_a_bucket_is_named(tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        if "versions" in asked.path:
            return Answer(200, LISTING, content_type="application/xml")
        status, code = 403, "AccessDenied"
        if asked.method == "HEAD":
            status, code = 404, "NoSuchKey"
        elif asked.method == "PUT" and asked.path.startswith("/b/r/"):
            status, code = 400, "BadDigest"
        return Answer(status, xml(code), content_type="application/xml")

    with ScriptedServer(script) as server:
        place = S3TargetConfig(
            kind="s3", bucket="b", endpoint_url=server.url, prefix="r", controlled_by=("x",)
        )
        good, _ = S3Backend("s3", place, aws(server.url, tmp_path)).check()
    assert good.message.endswith(
        "not seen: whether the bucket keeps versions, whether the bucket locks, whether the bucket is public"
    )


@pytest.mark.parametrize("status", [204, 403])
def test_what_a_question_of_doctor_stored_is_taken_back_where_that_is_permitted(
    tmp_path: Path, status: int
) -> None:
    def script(asked: Asked) -> Answer:
        if asked.method == "DELETE":
            return Answer(status, xml("AccessDenied"), content_type="application/xml")
        body = LISTING if "versions" in asked.path else b""
        return Answer(200, body, {"x-amz-version-id": "v1"}, "application/xml")

    with ScriptedServer(script) as server:
        place = S3TargetConfig(
            kind="s3", bucket="b", endpoint_url=server.url, prefix="r", controlled_by=("x",)
        )
        (finding,) = S3Backend("s3", place, aws(server.url, tmp_path)).check()
        stored, gone = (asked for asked in server.asked if asked.method in ("PUT", "DELETE"))
    assert gone.path == f"{stored.path.partition('?')[0]}?versionId=v1"
    assert finding.hint.endswith("and remove that object") == (status == 403)


def test_a_trial_names_checksums_and_conditions_that_a_server_knows_nothing_of(tmp_path: Path) -> None:
    """As Ceph's gateway up to release 18 answers: what is not known is ignored, and stored."""

    def script(asked: Asked) -> Answer:
        body = LISTING if "versions" in asked.path else b""
        return Answer(200, body, {"ETag": '"1"', "x-amz-version-id": "v1"}, "application/xml")

    with ScriptedServer(script) as server:
        place = S3TargetConfig(
            kind="s3", bucket="b", endpoint_url=server.url, prefix="r", controlled_by=("x",)
        )
        said = [
            finding.message for finding in S3Backend("s3", place, aws(server.url, tmp_path)).try_writing()
        ]
    assert [words for words in said if "knows no SHA-256 checksums" in words]
    assert [words for words in said if words.startswith(f"the server lacks {CONDITION}: ")]


@pytest.mark.parametrize(
    "words", ["Value for x-amz-checksum-sha256 header is invalid.", "Content-MD5 does not match object md5"]
)
def test_a_plain_400_that_speaks_of_a_checksum_means_that_it_was_looked_at(
    tmp_path: Path, words: str
) -> None:
    body = xml("BadRequest", words)
    with ScriptedServer(lambda _: Answer(400, body, content_type="application/xml")) as server:
        place = S3TargetConfig(kind="s3", bucket="b", endpoint_url=server.url, controlled_by=("x",))
        probe(Bucket(place, aws(server.url, tmp_path)), "look", WRITE)


def test_a_404_that_speaks_of_a_lock_means_no_lock(tmp_path: Path) -> None:
    body = xml("NotFound", "There is no Object Lock configuration for this object")
    with ScriptedServer(lambda _: Answer(404, body, content_type="application/xml")) as server:
        place = S3TargetConfig(kind="s3", bucket="b", endpoint_url=server.url, controlled_by=("x",))
        assert Bucket(place, aws(server.url, tmp_path)).retention("k", "v", "look") == (None, None)


@pytest.mark.parametrize(
    ("status", "code"),
    [(412, "PreconditionFailed"), (301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")],
)
def test_of_kms_nothing_is_said_of_buckets_or_of_what_is_stored(status: int, code: str) -> None:
    row = failures.meaning(
        failures.CallFailure("answer", "w", "kms", "driller", "endpoint_url", status, code, "no")
    )
    assert row.error is UsageProblem
    assert not re.search("bucket is|there already|orgkey list", f"{row.says} {row.hint}")


def sample(table: str) -> failures.CallFailure:
    """A failure with the facts that a table is asked with."""
    known: Mapping[str, Any]
    if table in ("connection", "proxy", "tls"):
        known = unanswered.facts(Route("https://x", AwsPlace(proxy="none"), seconds=0), "https://x", "odd")
    elif table == "aws":
        known = facts(ValueError("odd"), None, of_login=True, passes=False)
    else:
        known = dict.fromkeys(("ttl", "left", "uses"), 5)
        known |= dict.fromkeys(("address", "kind_named", "way", "why", "look"), "x")
    return failures.CallFailure(table, "w", text="odd", facts=known)


@pytest.mark.parametrize("table", failures.table())
def test_each_row_can_be_said_and_the_last_one_always_fits(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.providers.unanswered.peek", lambda *_, **__: None)
    failure = sample(table)
    for row in failures.table()[table]:
        message, hint = row.says.format_map(failure), row.hint.format_map(failure)
        assert message
        assert hint
        assert not row.when or failure[row.when] in (True, False, None)
        assert row.again or not (row.wait or row.silent)
    last = failures.table()[table][-1]
    assert not any((last.service, last.kind, last.status, last.code, last.words, last.when))
