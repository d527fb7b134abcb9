"""A Transit key of Vault or OpenBao as holder of a share.

The key is derived: the context (fingerprint and record id) is part of the key that encrypts, so a share
of another record does not open. Encrypting under a mistyped name would *create* a key where the policy
grants ``create``, so the key is always read first.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import Code, Denied, OrgkeyError, Unreachable, UsageProblem, WrongShare
from pipeline.core.finding import Finding, Level
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, SealedShare
from pipeline.custody.shares.way import way
from pipeline.providers.text import one_line
from pipeline.providers.vault import rights as vault_rights
from pipeline.providers.vault.answers import VaultRefusal, not_vault, take

if TYPE_CHECKING:
    from pipeline import config
    from pipeline.providers.vault.client import VaultClient
    from pipeline.providers.vault.session import VaultSession

SUFFIX = "transit"
# What can be done to a key, with it, and to get it out, beyond encrypt and decrypt.
_CHANGES = ("config", "rotate", "trim", "import", "import_version", "soft-delete", "soft-delete-restore")
_USES = ("datakey/plaintext", "datakey/wrapped", "rewrap", "restore")
_LEAKS = ("export/encryption-key", "backup", "byok-export/orgkey-doctor")
_DELETED, _DELETABLE = "deleted, but can be restored", "open to deletion"
_DAMAGED = (
    "message authentication failed",
    "invalid ciphertext",
    "version is too new",
    "unable to decrypt",
    "illegal base64",
)


@dataclass(frozen=True, slots=True)
class TransitKey:
    """What the server says of a Transit key.

    Attributes:
        version: The latest version, which encrypts.
        oldest: The oldest version that still decrypts (``min_decryption_version``).
        faults: Why it cannot hold a share; empty when it can.
    """

    version: int
    oldest: int
    faults: tuple[str, ...]


class TransitKeyHolder:
    """Seals a share to a Transit key and opens it again.

    Args:
        name: The holder's name.
        settings: Where the key is.
        session: The login.
    """

    kind = "vault-transit"
    unattended = True
    size = 1

    def __init__(self, name: str, settings: config.TransitHolderConfig, session: VaultSession) -> None:
        self.name = name
        self._settings = settings
        self._session = session
        self._facts: TransitKey | None = None

    def describe(self) -> Coordinates:
        """Address, namespace, mount, key and its present version.

        Raises:
            UsageProblem: There is no such key, or it cannot be trusted with a share.
            Unreachable, Denied, DeadlinePassed: The server does not answer, or refuses.
        """
        place = self._settings
        return {
            "address": place.address,
            "namespace": place.namespace,
            "mount": place.mount.strip("/"),
            "key": place.key,
            "key_version": self._sound().version,
            **way(place),
        }

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """Encrypt the one share.

        Raises:
            UsageProblem: There is no such key, or it cannot be trusted with a share.
            Unreachable, Denied, DeadlinePassed: The server does not answer, or refuses.
        """
        if len(shares) != 1:
            raise UsageProblem(
                f"holder {self.name} takes one share, not {len(shares)}", hint="a machine is 1 of 1"
            )
        # The version is named: what describe() said is what is used, also while the key is being rotated.
        version = self._sound().version
        plaintext = base64.b64encode(shares[0].reveal()).decode()

        what = f"holder {self.name}, seal"

        def encrypt(client: VaultClient) -> str:
            body = {"plaintext": plaintext, "context": binding.transit_context(), "key_version": version}
            return taken(client.post(self._api("encrypt"), body), what, "ciphertext")

        ciphertext = self._session.call(encrypt, what)
        return [SealedShare(1, SUFFIX, f"{ciphertext}\n".encode(), self.name)]

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """Decrypt the share.

        Raises:
            WrongShare: It is damaged, or bound to another record or key.
            Denied: This identity may not decrypt, or the key no longer opens what is this old.
            UsageProblem: There is no such key.
            Unreachable, DeadlinePassed: The server does not answer.
        """
        try:
            ciphertext = sealed.data.decode("ascii").strip()
        except UnicodeDecodeError:
            ciphertext = ""
        if not ciphertext.startswith("vault:v"):
            raise self._damaged("it is not a Transit ciphertext")

        what = f"holder {self.name}, open"

        def decrypt(client: VaultClient) -> str:
            body = {"ciphertext": ciphertext, "context": binding.transit_context()}
            try:
                answer = client.post(self._api("decrypt"), body)
            except VaultRefusal as error:
                translated = self._refused(error.answer.words) if error.status == 400 else None
                if translated is None:
                    raise
                raise translated from None
            return taken(answer, what, "plaintext")

        plaintext = self._session.call(decrypt, what)
        try:
            return Secret(base64.b64decode(plaintext, validate=True))
        except binascii.Error:
            raise self._damaged("the server returned something else than base64") from None

    def check(self) -> list[Finding]:
        """The key's settings, and what this identity may do with it."""
        subject = f"holder {self.name}"
        findings: list[Finding] = []
        try:
            facts = self._read()
        except Denied as error:
            # A driller need not read the key's settings; a writer must.
            if self._session.role == "writer":
                findings.append(Finding(Level.FAIL, subject, error.message, error.hint, error.code))
        except OrgkeyError as error:
            findings.append(Finding(Level.FAIL, subject, error.message, error.hint, error.code))
            if not (isinstance(error, Unreachable) and not error.again):
                return findings  # only beside an odd answer are the rights still worth a question
        else:
            findings += self._judged(facts)
        try:
            findings += self._permitted()
        except OrgkeyError as error:
            findings.append(Finding(Level.FAIL, subject, error.message, error.hint, error.code))
        return findings

    def _judged(self, facts: TransitKey) -> list[Finding]:
        subject = f"holder {self.name}"
        if facts.faults:
            told = f"its Transit key {self._settings.key} is {', '.join(facts.faults)}"
            return [Finding(Level.FAIL, subject, told, self._remedy(facts), Code.USAGE)]
        if facts.oldest > 1:
            return [
                Finding(
                    Level.WARN,
                    subject,
                    f"its min_decryption_version is {facts.oldest}: records sealed with an older version "
                    "of the key no longer open",
                    "lower it to 1, unless every epoch that you keep is newer",
                )
            ]
        return [Finding(Level.OK, subject, f"Transit key {self._settings.key}, version {facts.version}")]

    def _permitted(self) -> list[Finding]:
        """Compare the identity's capabilities with what its role needs."""
        role, mount, key = self._session.role, self._settings.mount.strip("/"), self._settings.key
        subject = f"holder {self.name}"
        encrypt, decrypt, keys = f"{mount}/encrypt/{key}", f"{mount}/decrypt/{key}", f"{mount}/keys/{key}"
        changes = [keys, *(f"{keys}/{verb}" for verb in _CHANGES)]
        changes += [f"{mount}/{verb}/{key}" for verb in _USES]
        leaks = [f"{mount}/{verb}/{key}" for verb in _LEAKS]
        more = vault_rights.becoming(self._session)
        granted = self._session.capabilities([encrypt, decrypt, *changes, *leaks, *more], subject)
        if "root" in granted[keys]:
            surplus, mine = ["everything, being root"], None
        else:
            mine = {"writer": encrypt, "auditor": None}.get(role, decrypt)
            surplus = [f"create on {path}" for path in (encrypt, decrypt) if "create" in granted[path]]
            surplus += [
                f"update on {path}"
                for path in (encrypt, decrypt)
                if path != mine and "update" in granted[path]
            ]
            surplus += [
                f"{name} on {path}" for path in changes for name in sorted(granted[path] - {"read", "list"})
            ]
            surplus += [f"{name} on {path}" for path in leaks for name in sorted(granted[path])]
        findings = [] if "root" in granted[keys] else vault_rights.judge(self._session, more, granted)
        if mine is not None and "update" not in granted[mine]:
            findings.append(
                Finding(
                    Level.FAIL,
                    subject,
                    f"the {role} lacks update on {mine}",
                    "add it to the role's policy",
                    Code.DENIED,
                )
            )
        if surplus:
            needs = " and ".join(
                ([f"update on {mine}"] if mine else []) + ([f"read on {keys}"] if mine != decrypt else [])
            )
            findings.append(
                Finding(
                    Level.FAIL,
                    subject,
                    f"the {role} may do more than it needs: {'; '.join(surplus)}",
                    f"take it out of the role's policy; the {role} needs {needs}",
                    Code.USAGE,
                )
            )
        return findings or [Finding(Level.OK, subject, f"the {role} may do what it needs, and no more")]

    def _sound(self) -> TransitKey:
        """The key's facts, read once; refused when it cannot be trusted with a share."""
        if self._facts is None:
            facts = self._read()
            if facts.faults:
                raise UsageProblem(
                    f"holder {self.name}: Transit key {self._settings.key} is {', '.join(facts.faults)}",
                    hint=self._remedy(facts),
                )
            self._facts = facts
        return self._facts

    def _remedy(self, facts: TransitKey) -> str:
        """What to do about its faults: first what brings old shares back."""
        key = self._api("keys")
        anew = (
            "make a new key: type aes256-gcm96, derived, not exportable, no plaintext backup, "
            "deletion not allowed"
        )
        if _DELETED in facts.faults:
            return (
                f"restore it, its shares open again: vault write -f {key}/soft-delete-restore; or else {anew}"
            )
        if facts.faults == (_DELETABLE,):
            return f"forbid its deletion: vault write {key}/config deletion_allowed=false"
        return anew

    def _read(self) -> TransitKey:
        place = self._settings

        what = f"holder {self.name}, read its key {place.key}"

        def read(client: VaultClient) -> TransitKey:
            try:
                return judge(take(client.get(self._api("keys")), what, "data", kind=Mapping))
            except VaultRefusal as error:
                if error.status != 404:
                    raise
                raise UsageProblem(
                    f"holder {self.name}: vault at {place.address} has no Transit key {place.key} "
                    f"under {place.mount}",
                    hint="correct mount and key; if shares are sealed to it already, restore it from a "
                    "backup of vault or the key; before the first escrow let an administrator make it: "
                    f"vault write -f {place.mount}/keys/{place.key} derived=true",
                ) from None

        return self._session.call(read, what)

    def _api(self, verb: str) -> str:
        return f"{self._settings.mount.strip('/')}/{verb}/{self._settings.key}"

    def _refused(self, said: str) -> OrgkeyError | None:
        """Translate the server's word on a ciphertext; ``None`` when it is about something else."""
        if "too old" in said:
            return Denied(
                f"holder {self.name}: its key's min_decryption_version was raised above the version that "
                "sealed this share",
                hint="let an administrator lower min_decryption_version of "
                f"{self._settings.mount}/keys/{self._settings.key}",
            )
        key = self._api("keys")
        if "soft" in said and "delete" in said:
            return UsageProblem(
                f"holder {self.name}: its Transit key {key} is {_DELETED} ({one_line(said)})",
                hint=f"let an administrator restore it: vault write -f {key}/soft-delete-restore",
            )
        if "encryption key not found" in said:
            return UsageProblem(
                f"holder {self.name}: there is no Transit key {self._settings.key} "
                f"under {self._settings.mount}",
                hint="correct mount and key; if it was deleted, restore it from a backup of vault or the key "
                f"(vault write {key.replace('/keys/', '/restore/')} backup=…), or take another path",
            )
        if any(sign in said for sign in _DAMAGED):
            return self._damaged("the ciphertext is damaged, or of another record or key")
        return None

    def _damaged(self, why: str) -> WrongShare:
        return WrongShare(
            f"holder {self.name} cannot open its share: {why}",
            hint="take another copy with --from, or another path with --via",
        )


def taken(answer: Any, what: str, name: str) -> str:
    """Take a text out of an answer.

    Raises:
        Unreachable: It is not there: what answers is not a Vault.
    """
    value: str = take(answer, what, "data", name, kind=str)
    if not value:
        raise not_vault(what, f"data.{name}")
    return value


def judge(data: Mapping[str, Any]) -> TransitKey:
    """Judge what the server says of a key (``GET <mount>/keys/<key>``)."""
    faults = []
    if not data.get("derived"):
        faults.append("not derived")
    if not data.get("supports_encryption") or not data.get("supports_decryption"):
        faults.append("not for encryption")
    for name, fault in (
        ("exportable", "exportable"),
        ("allow_plaintext_backup", "open to plaintext backup"),
        ("deletion_allowed", _DELETABLE),
        ("soft_deleted", _DELETED),
        ("imported_key", "imported from outside, where its maker has it"),
    ):
        if data.get(name):
            faults.append(fault)
    return TransitKey(
        int(data["latest_version"]), int(data.get("min_decryption_version") or 1), tuple(faults)
    )
