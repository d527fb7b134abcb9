"""A Transit key of Vault or OpenBao as holder of a share.

The key is derived: the context (fingerprint and record id) is part of the key that encrypts, so a share
of another record does not open. Encrypting under a mistyped name would *create* a key where the policy
grants ``create``, so the key is always read first.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipeline.core.errors import Code, Denied, NotEnoughShares, OrgkeyError, Unreachable, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, SealedShare
from pipeline.custody.holders.machine import Machine, way
from pipeline.providers.text import one_line
from pipeline.providers.vault import rights as vault_rights
from pipeline.providers.vault.answers import VaultRefusal, not_vault, take

if TYPE_CHECKING:
    from pipeline.config.holders import TransitHolderConfig
    from pipeline.providers.vault.client import VaultClient
    from pipeline.providers.vault.session import VaultSession

# What can be done to a key, with it, and to get it out, beyond encrypt and decrypt.
_CHANGES = ("config", "rotate", "trim", "import", "import_version", "soft-delete", "soft-delete-restore")
_USES = ("datakey/plaintext", "datakey/wrapped", "rewrap", "restore")
_LEAKS = ("export/encryption-key", "backup", "byok-export/orgkey-doctor")
_DELETED, _DELETABLE = "deleted, but can be restored", "open to deletion"
_FAULTS: Final = {
    "exportable": "exportable",
    "allow_plaintext_backup": "open to plaintext backup",
    "deletion_allowed": _DELETABLE,
    "soft_deleted": _DELETED,
    "imported_key": "imported from outside, where its maker has it",
}
"""What must not be said of a key, and what it means."""
_ANEW: Final = (
    "make a new key: type aes256-gcm96, derived, not exportable, no plaintext backup, deletion not allowed"
)
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


class TransitKeyHolder(Machine[TransitKey]):
    """Seals a share to a Transit key and opens it again.

    Args:
        name: The holder's name.
        settings: Where the key is.
        session: The login.
    """

    kind = "vault-transit"
    suffix = "transit"

    def __init__(self, name: str, settings: TransitHolderConfig, session: VaultSession) -> None:
        super().__init__(name)
        self._settings = settings
        self._session = session
        self._mount = settings.mount.strip("/")
        self._path = f"{self._mount}/keys/{settings.key}"

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
            "mount": self._mount,
            "key": place.key,
            "key_version": self._sound.version,
            **way(place),
        }

    def _encrypt(self, plaintext: bytes, binding: Binding) -> bytes:
        # The version is named: what describe() said is what is used, also while the key is being rotated.
        body = {"plaintext": base64.b64encode(plaintext).decode(), "key_version": self._sound.version}
        what = f"{self.what}, seal"
        ciphertext = self._session.call(
            lambda client: self._use(client, "encrypt", binding, body, what, "ciphertext"), what
        )
        return f"{ciphertext}\n".encode()

    def _use(
        self,
        client: VaultClient,
        verb: str,
        binding: Binding,
        body: Mapping[str, object],
        what: str,
        name: str,
    ) -> str:
        """Have the key used, and take a text out of the answer.

        Raises:
            Unreachable: It is not there: what answers is not a Vault.
        """
        body = {**body, "context": binding.transit_context()}
        answer = client.post(f"{self._mount}/{verb}/{self._settings.key}", body)
        value: str = take(answer, what, "data", name, kind=str)
        if not value:
            raise not_vault(what, f"data.{name}")
        return value

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """Decrypt the share.

        Raises:
            WrongShare: It is damaged, or bound to another record or key.
            Denied: This identity may not decrypt, or the key no longer opens what is this old.
            NotEnoughShares: There is no such key.
            Unreachable, DeadlinePassed: The server does not answer.
        """
        ciphertext = sealed.data.decode("ascii", "replace").strip()
        if not ciphertext.isascii() or not ciphertext.startswith("vault:v"):
            raise self._damaged("it is not a Transit ciphertext")
        what = f"{self.what}, open"

        def decrypt(client: VaultClient) -> str:
            try:
                return self._use(client, "decrypt", binding, {"ciphertext": ciphertext}, what, "plaintext")
            except VaultRefusal as error:
                translated = self._refused(error.answer.words) if error.status == 400 else None
                if translated is None:
                    raise
                raise translated from None

        plaintext = self._session.call(decrypt, what)
        try:
            return Secret(base64.b64decode(plaintext, validate=True))
        except binascii.Error:
            raise self._damaged("the server returned something else than base64") from None

    def check(self) -> list[Finding]:
        """The key's settings, and what this identity may do with it."""
        findings: list[Finding] = []
        try:
            findings.append(self._judged(self._read()))
        except OrgkeyError as error:
            # A driller need not read the key's settings; a writer must.
            if not isinstance(error, Denied) or self._session.role == "writer":
                findings.append(self._failed(error))
            if not isinstance(error, Denied) and not (isinstance(error, Unreachable) and not error.again):
                return findings  # only beside an odd answer are the rights still worth a question
        try:
            findings += self._permitted()
        except OrgkeyError as error:
            findings.append(self._failed(error))
        return findings

    def _judged(self, facts: TransitKey) -> Finding:
        key = self._settings.key
        if facts.faults:
            told = f"its Transit key {key} is {', '.join(facts.faults)}"
            return Finding(Level.FAIL, self.what, told, self._remedy(facts), Code.USAGE)
        if facts.oldest > 1:
            told = f"its min_decryption_version is {facts.oldest}: records sealed with an older version "
            told += "of the key no longer open"
            hint = "lower it to 1, unless every epoch that you keep is newer"
            return Finding(Level.WARN, self.what, told, hint)
        return Finding(Level.OK, self.what, f"Transit key {key}, version {facts.version}")

    def _permitted(self) -> list[Finding]:
        """Compare the identity's capabilities with what its role needs."""
        role, mount, key, keys = self._session.role, self._mount, self._settings.key, self._path
        encrypt, decrypt = f"{mount}/encrypt/{key}", f"{mount}/decrypt/{key}"
        changes = [keys, *(f"{keys}/{verb}" for verb in _CHANGES)]
        changes += [f"{mount}/{verb}/{key}" for verb in _USES]
        leaks = [f"{mount}/{verb}/{key}" for verb in _LEAKS]
        more = vault_rights.becoming(self._session)
        granted = self._session.capabilities([encrypt, decrypt, *changes, *leaks, *more], self.what)
        root = "root" in granted[keys]
        mine = None if root else {"writer": encrypt, "auditor": None}.get(role, decrypt)
        findings = [] if root else vault_rights.judge(self._session, more, granted)
        surplus = ["everything, being root"] if root else []
        if not root:
            spare = {encrypt: {"create", "update"}, decrypt: {"create", "update"}}
            if mine is not None:
                spare[mine] = {"create"}
            for word in ("create", "update"):
                surplus += [f"{word} on {path}" for path in spare if word in spare[path] & granted[path]]
            for path in (*changes, *leaks):
                extra = granted[path] - ({"read", "list"} if path in changes else set())
                surplus += [f"{name} on {path}" for name in sorted(extra)]
        if mine is not None and "update" not in granted[mine]:
            told = f"the {role} lacks update on {mine}"
            findings.append(Finding(Level.FAIL, self.what, told, "add it to the role's policy", Code.DENIED))
        if surplus:
            needs = [f"update on {mine}"] * (mine is not None) + [f"read on {keys}"] * (mine != decrypt)
            told = f"the {role} may do more than it needs: {'; '.join(surplus)}"
            hint = f"take it out of the role's policy; the {role} needs {' and '.join(needs)}"
            findings.append(Finding(Level.FAIL, self.what, told, hint, Code.USAGE))
        return findings or [Finding(Level.OK, self.what, f"the {role} may do what it needs, and no more")]

    def _accept(self, facts: TransitKey) -> None:
        if facts.faults:
            told = f"{self.what}: Transit key {self._settings.key} is {', '.join(facts.faults)}"
            raise UsageProblem(told, hint=self._remedy(facts))

    def _remedy(self, facts: TransitKey) -> str:
        """What to do about its faults: first what brings old shares back."""
        if _DELETED in facts.faults:
            return f"restore it, its shares open again: {self._restore}; or else {_ANEW}"
        if facts.faults == (_DELETABLE,):
            forbid = self._settings.command("write", f"{self._path}/config", "deletion_allowed=false")
            return f"forbid its deletion: {forbid}"
        return _ANEW

    @property
    def _restore(self) -> str:
        return self._settings.command("write -f", f"{self._path}/soft-delete-restore")

    def _read(self) -> TransitKey:
        place = self._settings
        what = f"{self.what}, read its key {place.key}"
        make = place.command("write -f", self._path, "derived=true")

        def read(client: VaultClient) -> TransitKey:
            try:
                return judge(take(client.get(self._path), what, "data", kind=Mapping))
            except VaultRefusal as error:
                if error.status != 404:
                    raise
                raise UsageProblem(
                    f"{self.what}: vault at {place.address} has no Transit key {place.key} "
                    f"under {place.mount}",
                    hint="correct mount and key; if shares are sealed to it already, restore it from a "
                    "backup of vault or the key; before the first escrow let an administrator make it: "
                    + make,
                ) from None

        return self._session.call(read, what)

    def _refused(self, said: str) -> OrgkeyError | None:
        """Translate the server's word on a ciphertext; ``None`` when it is about something else."""
        if "too old" in said:
            return Denied(
                f"{self.what}: its key's min_decryption_version was raised above the version that "
                "sealed this share",
                hint=f"let an administrator lower min_decryption_version of {self._path}",
            )
        if "soft" in said and "delete" in said:
            return NotEnoughShares(
                f"{self.what}: its Transit key {self._path} is {_DELETED} ({one_line(said)})",
                hint=f"let an administrator restore it: {self._restore}",
            )
        if "encryption key not found" in said:
            restore = self._settings.command("write", f"{self._mount}/restore/{self._settings.key}")
            return NotEnoughShares(
                f"{self.what}: there is no Transit key {self._settings.key} under {self._settings.mount}",
                hint="correct mount and key; if it was deleted, restore it from a backup of vault or the key "
                f"({restore} backup=…), or take another path",
            )
        return self._damaged() if any(sign in said for sign in _DAMAGED) else None


def judge(data: Mapping[str, Any]) -> TransitKey:
    """Judge what the server says of a key (``GET <mount>/keys/<key>``)."""
    faults = [] if data.get("derived") else ["not derived"]
    if not data.get("supports_encryption") or not data.get("supports_decryption"):
        faults.append("not for encryption")
    faults += [fault for name, fault in _FAULTS.items() if data.get(name)]
    return TransitKey(
        int(data["latest_version"]), int(data.get("min_decryption_version") or 1), tuple(faults)
    )
