"""The stack's KMS: moto's server, with key material that outlives it.

Run as ``python -m pipeline.devstack.kms PORT KEYS CALLERS``. moto encrypts with real AES-GCM, but keeps its
keys in memory only, takes every caller for everybody, and lets a disabled key work on. Here the keys are
written to a file before a call that changes them is answered, a key's policy is enforced, and a disabled key
refuses. Signatures of requests are *not* checked: this is a stand-in for trying, and guards nothing.
"""

from __future__ import annotations

import base64
import gc
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
from typing import Any, cast

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
BY_ID = ("EnableKey", "DisableKey", "CancelKeyDeletion", "ScheduleKeyDeletion")
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


class Gate:
    """What stands before moto: who may call what, and nothing answered that is not kept.

    It also refuses what AWS refuses and moto does not: the use of a key that is not enabled; and keys that
    could not be kept.

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
        if environ.get("PATH_INFO", "") == READY:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ready\n"]
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            asked = json.loads(body or b"{}")
            key = _key_of(asked)
            refusal = self._refusal(environ, action, asked, key)
        except (ValueError, KeyError, AttributeError, TypeError):
            # A request or a policy that cannot be read allows nothing.
            asked, key, refusal = {}, None, _not_authorized(action)
        if refusal is not None:
            told = {"__type": refusal[0], "message": refusal[1]}
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps(told).encode()]
        if key is not None and action in BY_ID:
            # moto looks some of its keys up by id only, where AWS takes the ARN or an alias as well.
            body = json.dumps(asked | {"KeyId": key.id}).encode()
            environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        answer = self._app(environ, start_response)
        if action.startswith(CHANGES):
            self._store.save()
        return answer

    def _refusal(
        self, environ: Mapping[str, Any], action: str, asked: Mapping[str, Any], key: Any
    ) -> tuple[str, str] | None:
        match = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        identities = self._callers.get(match[1], []) if match else []
        may = any(_may(identity, action, asked, key) for identity in identities)
        if environ.get("PATH_INFO", "") != "/" or not may:
            return _not_authorized(
                action
            )  # also moto's own interface (/moto-api), which could reset the keys
        if action == "CreateKey" and asked.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
            return "UnsupportedOperationException", "this KMS keeps symmetric keys only"
        if action not in ("Encrypt", "Decrypt") or key is None or key.key_state == "Enabled":
            return None
        if key.key_state == "Disabled":
            return "DisabledException", f"{key.arn} is disabled."
        return "KMSInvalidStateException", f"{key.arn} is pending deletion."


def _not_authorized(action: str) -> tuple[str, str]:
    return "AccessDeniedException", f"not authorized to perform kms:{action}"


def _may(identity: str, action: str, asked: Mapping[str, Any], key: Any) -> bool:
    own = action in ALLOWED.get(identity, ())
    if identity == "root" or key is None:  # no such key, or a call that is about none: moto answers that
        return own or identity == "root"
    call = Call(role_arn(identity), f"kms:{action}", asked.get("EncryptionContext") or {})
    said = judge(json.loads(key.policy), call)
    return said is Word.ALLOWED or (said is Word.DELEGATED and own)


def role_arn(identity: str) -> str:
    """What an identity is called in the policy of a key."""
    return f"arn:aws:iam::{ACCOUNT}:role/orgkey-{identity}"


def _key_of(asked: Mapping[str, Any]) -> Any:
    """The key that a request names, or that made its ciphertext; ``None`` for no such key."""
    name = asked.get("KeyId")
    if name is None and "CiphertextBlob" in asked:
        # The key's id is how moto's ciphertexts begin.
        name = base64.b64decode(asked["CiphertextBlob"])[:36].decode()
    for key in _keys():
        here = key.arn.partition(":key/")[0]
        if name in (key.id, key.arn, *key.aliases, *(f"{here}:{alias}" for alias in key.aliases)):
            return key
    return None


def main(port: str, keys: str, callers: str) -> None:
    """Serve until SIGTERM.

    Args:
        port: On loopback.
        keys: The file that keeps the keys.
        callers: A file in JSON: access key id to identities.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    gc.disable()  # imports make much and throw little away

    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import make_server

    store = Store(Path(keys))
    store.load()
    gate = Gate(create_backend_app("kms"), store, json.loads(Path(callers).read_bytes()))
    gc.freeze()
    gc.enable()
    make_server("127.0.0.1", int(port), gate, threaded=True).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
