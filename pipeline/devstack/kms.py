"""The stack's KMS: moto's server, with key material that outlives it.

Run as ``python -m pipeline.devstack.kms``. moto encrypts with real AES-GCM, but keeps its keys in memory
only, takes every caller for everybody, and lets a disabled key work on. Here the keys are written to a
file before a call that changes them is answered, a key's policy is enforced, and a disabled key refuses.
Signatures of requests are *not* checked: this is a stand-in for trying and testing, and guards nothing.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, cast

from pipeline.core import files
from pipeline.devstack.key_policy import Call, Word, judge

SCHEMA = "orgkey.stack-kms/1"
READY = "/ready"
ACCOUNT = "123456789012"  # moto's own
# What each identity's own policy allows (policy `custody-key` in infra/aws/escrow.yaml), which counts where a
# key's policy leaves the decision to the account. The stack's root may call everything.
LOOKS = ("DescribeKey", "GetKeyRotationStatus")
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "writer": ("Encrypt", *LOOKS),
    "driller": ("Decrypt", *LOOKS),
    "auditor": LOOKS,
    "retention": (),
}
CHANGES = ("Create", "Delete", "Update", "Put", "Enable", "Disable", "Schedule", "Cancel", "Tag", "Untag")
SAVED = ("policy", "key_usage", "key_state", "description", "enabled", "key_rotation_status", "creation_date")

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Store:
    """The file that holds the keys.

    Args:
        path: The file; its directory exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._written = b""

    def load(self) -> None:
        """Give moto the keys of the file, if there is one."""
        from moto.kms.models import Alias, Key, kms_backends

        # Both are abstract on paper, and made by moto itself nevertheless.
        make_key, make_alias = cast("Any", Key), cast("Any", Alias)
        if not self._path.exists():
            return
        document = json.loads(self._path.read_bytes())
        if document.get("schema") != SCHEMA:
            sys.exit(f"{self._path} is not of the schema {SCHEMA}")
        for saved in document["keys"]:
            account, region = saved["account"], saved["region"]
            key: Any = make_key(saved["policy"], saved["key_usage"], "SYMMETRIC_DEFAULT", "", account, region)
            key.id, key.arn = saved["id"], saved["arn"]
            key.key_material = base64.b64decode(saved["material"])
            for name in SAVED:
                setattr(key, name, saved[name])
            key.deletion_date = datetime.fromisoformat(saved["deletion"]) if saved["deletion"] else None
            key.aliases = {name: make_alias(account, region, name, key) for name in saved["aliases"]}
            kms_backends[account][region].keys[key.id] = key

    def save(self) -> None:
        """Write the keys, if they have changed; on return they are on the disk."""
        with self._lock:
            data = json.dumps({"schema": SCHEMA, "keys": [_saved(key) for key in _keys()]}, indent=1).encode()
            if data != self._written:
                files.replace(self._path, data, mode=0o600)
                self._written = data


def _keys() -> Iterable[Any]:
    from moto.kms.models import kms_backends

    for account in list(kms_backends.values()):
        for backend in list(account.values()):
            yield from list(backend.keys.values())


def _saved(key: Any) -> dict[str, Any]:
    return {name: getattr(key, name) for name in SAVED} | {
        "id": key.id,
        "arn": key.arn,
        "account": key.account_id,
        "region": key.region,
        "material": base64.b64encode(key.key_material).decode(),
        "deletion": key.deletion_date.isoformat() if key.deletion_date else None,
        "aliases": sorted(key.aliases),
    }


def correct_moto() -> None:
    """Make moto refuse what AWS refuses: use of a disabled key; and keys that could not be kept."""
    from moto.core.exceptions import JsonRESTError
    from moto.kms.models import KmsBackend

    create, encrypt, decrypt = KmsBackend.create_key, KmsBackend.encrypt, KmsBackend.decrypt

    def usable(backend: Any, name: str) -> None:
        key = backend.keys[backend.any_id_to_key_id(name)]
        if key.key_state == "Disabled":
            raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
        if key.key_state != "Enabled":
            raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")

    def checked_create(self: Any, policy: Any, key_usage: Any, key_spec: Any, *rest: Any, **more: Any) -> Any:
        if key_spec not in (None, "", "SYMMETRIC_DEFAULT"):
            raise JsonRESTError("UnsupportedOperationException", "this KMS keeps symmetric keys only")
        return create(self, policy, key_usage, key_spec, *rest, **more)

    def checked_encrypt(self: Any, key_id: str, *rest: Any, **more: Any) -> Any:
        usable(self, key_id)
        return encrypt(self, key_id, *rest, **more)

    def checked_decrypt(self: Any, *rest: Any, **more: Any) -> Any:
        plaintext, arn = decrypt(self, *rest, **more)
        usable(self, arn)
        return plaintext, arn

    def by_id(method: Callable[..., Any]) -> Callable[..., Any]:
        # moto looks some of its keys up by id only, where AWS takes the ARN or an alias as well.
        return lambda self, key_id, *rest: method(self, self.any_id_to_key_id(key_id), *rest)

    for name in ("enable_key", "disable_key", "cancel_key_deletion", "schedule_key_deletion"):
        setattr(KmsBackend, name, by_id(getattr(KmsBackend, name)))
    checks = {"create_key": checked_create, "encrypt": checked_encrypt, "decrypt": checked_decrypt}
    for name, checked in checks.items():
        setattr(KmsBackend, name, checked)


class Gate:
    """What stands before moto: who may call what, and nothing answered that is not kept.

    Args:
        app: moto's application.
        store: Where keys are kept.
        callers: Access key id to the identities that have it, several where an outside S3 knows one key only;
            ``root`` may call everything.
    """

    def __init__(self, app: Wsgi, store: Store, callers: Mapping[str, list[str]]) -> None:
        self._app = app
        self._store = store
        self._callers = callers

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        if path == READY:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ready\n"]
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if path != "/" or not self._may(environ.get("HTTP_AUTHORIZATION", ""), action, body):
            # moto's own interface (/moto-api) could reset the keys: there is none here.
            told = {"__type": "AccessDeniedException", "message": f"not authorized to perform kms:{action}"}
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps(told).encode()]
        answer = self._app(environ, start_response)
        if action.startswith(CHANGES):
            self._store.save()
        return answer

    def _may(self, authorization: str, action: str, body: bytes) -> bool:
        match = re.search(r"Credential=([^/]+)/", authorization)
        identities = self._callers.get(match[1], []) if match else []
        return any(_identity_may(identity, action, body) for identity in identities)


def _identity_may(identity: str, action: str, body: bytes) -> bool:
    if identity == "root":
        return True
    own = action in ALLOWED.get(identity, ())
    try:
        asked = json.loads(body or b"{}")
        policy = _policy_of(asked)
        if policy is None:  # no such key, or a call that is about none: moto answers that
            return own
        call = Call(role_arn(identity), f"kms:{action}", asked.get("EncryptionContext") or {})
        said = judge(policy, call)
    except (ValueError, KeyError, AttributeError, TypeError):
        return False  # a request or a policy that cannot be read allows nothing
    return said is Word.ALLOWED or (said is Word.DELEGATED and own)


def role_arn(identity: str) -> str:
    """What an identity is called in the policy of a key."""
    return f"arn:aws:iam::{ACCOUNT}:role/orgkey-{identity}"


def _policy_of(asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The policy of the key that a request names, or that made its ciphertext; ``None`` for no such key."""
    name = asked.get("KeyId")
    if name is None and "CiphertextBlob" in asked:
        # The key's id is how moto's ciphertexts begin.
        name = base64.b64decode(asked["CiphertextBlob"])[:36].decode()
    if name is None:
        return None
    for key in _keys():
        if name in (key.id, key.arn) or any(
            name in (alias, f"{key.arn.partition(':key/')[0]}:{alias}") for alias in key.aliases
        ):
            policy: Mapping[str, Any] = json.loads(key.policy)
            return policy
    return None


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="the stack's KMS")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=Path, required=True, help="the file that keeps the keys")
    parser.add_argument("--callers", type=Path, required=True, help="JSON: access key id to identities")
    options = parser.parse_args()

    def end(*_: object) -> NoReturn:
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request

    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import make_server

    correct_moto()
    store = Store(options.keys)
    store.load()
    gate = Gate(create_backend_app("kms"), store, json.loads(options.callers.read_bytes()))
    make_server("127.0.0.1", options.port, gate, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
