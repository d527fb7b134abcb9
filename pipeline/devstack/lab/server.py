"""The stand-in server's story: set up, users, exports, renewals, reboots.

Each behaviour is one that the vendor's articles and guides document; docs/lab.md says which, and where this
stand-in is simpler than the product.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from pipeline.core import files
from pipeline.core.clock import Clock, SystemClock, stamp
from pipeline.core.errors import Conflict, NotPinned, Stale, UsageProblem, WrongPassphrase
from pipeline.core.secret import Secret
from pipeline.devstack.lab import keywork
from pipeline.devstack.lab.state import LabData, LabState, OrganizationCertificateEntry, User
from pipeline.openpgp.format.protection import ESCROW_COUNT_OCTET
from pipeline.openpgp.gnupg.driver import GnuPGRefused
from pipeline.openpgp.key import rewrap
from pipeline.openpgp.key.rewrap import UnlockedKey

DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class About:
    """What the stand-in server says of itself.

    Attributes:
        domain: Whose it is.
        fingerprint: The Org Key's.
        algorithm: Its algorithm.
        expires: When it ends; ``None`` for never.
        now: The server's own time.
        booted: Whether its keys can be used.
        ignition: Whether an ignition passphrase is asked for at boot.
        live: Whether it went live.
        users: How many there are.
        certificates: Subjects of its Organization Certificates.
    """

    domain: str
    fingerprint: str
    algorithm: str
    expires: str | None
    now: str
    booted: bool
    ignition: bool
    live: bool
    users: int
    certificates: tuple[str, ...]


class LabServer:
    """A stand-in for a PGP Encryption Server.

    Args:
        directory: Its whole state.
        clock: Real time.
    """

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self.state = LabState(directory, clock or SystemClock())
        self._ignition = self.state.keys / "disk-key.ignition"

    # -- set up -------------------------------------------------------------------------------------

    def setup(
        self, domain: str, *, algorithm: str = "rsa4096", days: int = 365, ignition: Secret | None = None
    ) -> About:
        """Run the Setup Assistant: make the one Org Key, named after the domain.

        Args:
            domain: For example ``example.com``.
            algorithm: One of :data:`pipeline.devstack.lab.keywork.ALGORITHMS`.
            days: The Org Key's lifetime; 0 for none.
            ignition: Asked for at every boot from now on.

        Raises:
            LocalFilesProblem: Something is in the directory.
            UsageProblem: It is not a domain.
        """
        if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", domain):
            raise UsageProblem(f"{domain} is not a domain", hint="for example example.com")
        with self.making(), ExitStack() as stack:
            data = LabData(domain=domain, algorithm=algorithm, days=days, id=secrets.token_hex(8))
            self.state.write(data)
            stack.callback(self.reboot)
            disk = Secret(secrets.token_hex(32).encode())
            self._remember(disk)
            self._new_key(disk)
            if ignition is None:
                files.replace(self.state.keys / "disk-key", disk.reveal())
            else:
                self._write_ignition(disk, ignition)
            stack.pop_all()
        return self.about()

    @contextmanager
    def making(self) -> Iterator[None]:
        """Make the server's directory; nothing is left of it after an error.

        Raises:
            LocalFilesProblem: Something is in the directory.
        """
        self.state.create()
        try:
            yield
            self.state.finish()
        except BaseException:
            shutil.rmtree(self.state.directory, ignore_errors=True)
            raise

    def regenerate(self, *, algorithm: str | None = None, days: int | None = None) -> About:
        """Make another Org Key with other settings: only before anybody relies on this one.

        Raises:
            Conflict: There are users, or the server is live.
        """
        data = self.state.data
        if data.live or data.users:
            raise Conflict(
                "the Org Key cannot be regenerated: the server is live, or has user keys, which it signed",
                hint="the article allows it only before live deployment; set up another stand-in to try it",
            )
        disk = self._disk_key()
        self.state.change(algorithm=algorithm or data.algorithm, days=data.days if days is None else days)
        self._new_key(disk)
        return self.about()

    def go_live(self) -> None:
        """Say that the server is in use."""
        self.state.change(live=True)

    def about(self) -> About:
        """What it is now."""
        data, ends = self.state.data, keywork.expires(self.public())
        return About(
            domain=data.domain,
            fingerprint=data.fingerprint,
            algorithm=data.algorithm,
            expires=stamp(ends) if ends else None,
            now=stamp(self.state.now()),
            booted=self._booted() is not None,
            ignition=self._ignition.exists(),
            live=data.live,
            users=len(data.users),
            certificates=tuple(each.subject for each in data.certificates),
        )

    # -- users --------------------------------------------------------------------------------------

    def add_user(self, name: str, mail: str) -> User:
        """Make a user's key, and sign it with the Org Key.

        Raises:
            Conflict: There is such a user.
        """
        if any(user.mail == mail for user in self.state.data.users):
            raise Conflict(f"{mail} is a user already", hint="choose another address")
        if not re.fullmatch(r"[^<>\x00-\x1f]+", name) or not re.fullmatch(r"[^<>\s@]+@[^<>\s@]+", mail):
            raise UsageProblem(
                "that is not a name and address", hint='for example "Ada Lovelace" ada@example.com'
            )
        disk = self._disk_key()
        tsk = keywork.make(f"{name} <{mail}>", "ed25519", 0, disk, self.state.now())
        key = rewrap.unlock(tsk, disk)
        user = User(fingerprint=key.fingerprint, name=name, mail=mail)
        with keywork.gpg(self.state.now()) as gpg:
            gpg.import_keys(self._tsk(), {self.fingerprint: True})
            gpg.import_keys(tsk, {user.fingerprint: True})
            public = gpg.certify(user.fingerprint, user.user_id, self.fingerprint, disk)
        folder = self.state.keys / "users"
        files.replace(folder / f"{user.fingerprint}.public", public)
        files.replace(folder / f"{user.fingerprint}.secret", tsk)
        known = (*self.state.data.users, user)
        self.state.change(users=tuple(sorted(known, key=lambda each: each.mail)))
        return user

    def users(self) -> list[tuple[User, bool]]:
        """All users, and whether the present Org Key's signature on each verifies."""
        public, now = self.public(), self.state.now()
        return [
            (user, keywork.certifies(public, self.user_key(user), user.fingerprint, user.user_id, now))
            for user in self.state.data.users
        ]

    def user_key(self, user: User) -> bytes:
        """A user's public key, binary."""
        return (self.state.keys / "users" / f"{user.fingerprint}.public").read_bytes()

    # -- the Org Key --------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """The Org Key's."""
        return self.state.data.fingerprint

    def public(self) -> bytes:
        """The Org Key's public part without Organization Certificates, binary."""
        _ = self.state.data  # it says so where no server is
        return (self.state.keys / "org.public").read_bytes()

    def export_public(self) -> bytes:
        """What *Export Public Key* gives."""
        return keywork.export_public(self._key(), self._certificates())

    def export_keypair(self, passphrase: Secret | None) -> bytes:
        """What *Export Keypair* gives.

        Args:
            passphrase: Protects it; ``None`` only after a person insisted.
        """
        return keywork.export_keypair(self._key(), self._certificates(), passphrase)

    @property
    def export_name(self) -> str:
        """What the product calls the file: by the Key ID."""
        return f"0x{self.fingerprint[-8:]}.asc"

    def add_certificate(self, subject: str, days: int) -> None:
        """Attach another Organization Certificate to the Org Key."""
        packets, ends = keywork.organization_certificate(subject, days, self.state.now())
        known = self.certificates()
        number = max((each.number for each in known), default=0) + 1
        entry = OrganizationCertificateEntry(
            number=number, subject=subject, not_after=stamp(ends), packets=packets.hex()
        )
        self.state.change(certificates=(*known, entry))

    def certificates(self) -> tuple[OrganizationCertificateEntry, ...]:
        """Those that are attached to the Org Key; none ever renews itself."""
        return self.state.data.certificates

    def remove_certificate(self, number: int) -> None:
        """Take one off.

        Raises:
            UsageProblem: There is no such number.
        """
        left = tuple(each for each in self.certificates() if each.number != number)
        if left == self.certificates():
            raise UsageProblem(f"there is no certificate {number}", hint="`orgkey lab certificate list`")
        self.state.change(certificates=left)

    def renew(self) -> bool:
        """Renew the Org Key, when that is due: same key, same settings, a later end."""
        ends, now, data = keywork.expires(self.public()), self.state.now(), self.state.data
        if ends is None or now < ends - data.renew_days * DAY:
            return False
        disk = self._disk_key()
        tsk = keywork.renew(self._tsk(), data.fingerprint, data.days, disk, now)
        self._keep(rewrap.unlock(tsk, disk), tsk)
        return True

    # -- booting ------------------------------------------------------------------------------------

    def reboot(self) -> None:
        """Forget what opens the disk."""
        (self._room / "disk-key").unlink(missing_ok=True)
        with suppress(OSError):
            self._room.rmdir()

    def boot(
        self,
        ignition: Secret | None = None,
        *,
        keypair: bytes | None = None,
        passphrase: Secret | None = None,
    ) -> None:
        """Open the disk: by the ignition passphrase, or by the Org Key where that is lost.

        Args:
            ignition: The ignition passphrase.
            keypair: The Org Key's keypair.
            passphrase: What protects it.

        Raises:
            WrongPassphrase: The ignition passphrase is not the one.
            NotPinned: The keypair is another key's.
            UsageProblem: Nothing was given, and something is needed.
        """
        if keypair is not None:
            key = rewrap.load(
                keypair, passphrase or Secret(b""), pin=self.fingerprint,
                accept=frozenset({"expired", "certificates", "unprotected"}), now=self.state.now(),
            )  # fmt: skip
            self._remember(self.open_disk_key(key))
        elif not self._ignition.exists():
            self._remember(Secret((self.state.keys / "disk-key").read_bytes()))
        elif ignition is None:
            raise UsageProblem(
                "the stand-in server asks for its ignition passphrase",
                hint="give --ignition-passphrase-file; or, where it is lost, --keypair",
            )
        else:
            with keywork.gpg(self.state.now()) as gpg:
                try:
                    self._remember(Secret(gpg.decrypt(self._ignition.read_bytes(), ignition)))
                except GnuPGRefused as error:
                    raise WrongPassphrase(
                        "that is not the ignition passphrase", hint="where it is lost, boot with --keypair"
                    ) from error

    def open_disk_key(self, key: UnlockedKey) -> Secret:
        """Open the disk's key with the Org Key.

        Raises:
            NotPinned: It is not encrypted to this key.
        """
        inner = Secret(secrets.token_hex(32).encode())
        with keywork.gpg(self.state.now()) as gpg:
            tsk = key.protect(inner, s2k_count_octet=ESCROW_COUNT_OCTET)
            gpg.import_keys(tsk, {key.fingerprint: True})
            try:
                return Secret(gpg.decrypt((self.state.keys / "disk-key.org").read_bytes(), inner))
            except GnuPGRefused as error:
                raise NotPinned(
                    "this Org Key does not open the disk", hint="it takes the key that the server has"
                ) from error

    # -- inside -------------------------------------------------------------------------------------

    @property
    def _room(self) -> Path:
        return files.memory_root() / f"orgkey-lab-{self.state.data.id}"

    def _booted(self) -> Secret | None:
        place = self._room / "disk-key"
        if not place.exists():
            return None
        files.private_directory(self._room)  # nobody else's
        return Secret(place.read_bytes())

    def _disk_key(self) -> Secret:
        found = self._booted()
        if found is None and not self._ignition.exists():
            self.boot()
            found = self._booted()
        if found is None:
            raise Stale("the stand-in server is not booted: its keys are locked", hint="`orgkey lab boot`")
        return found

    def _remember(self, disk: Secret) -> None:
        files.replace(files.private_directory(self._room) / "disk-key", disk.reveal())

    def _write_ignition(self, disk: Secret, ignition: Secret) -> None:
        words = ("--symmetric", "--cipher-algo", "AES256")
        with keywork.gpg(self.state.now()) as gpg:
            locked = gpg.call(*words, stdin=disk.reveal(), passphrase=ignition)
            files.replace(self._ignition, gpg.demand("lock the disk", locked).output)

    def _new_key(self, disk: Secret) -> None:
        data = self.state.data
        user_id = f"{data.domain} Organization Key <keys@{data.domain}>"
        tsk = keywork.make(user_id, data.algorithm, data.days, disk, self.state.now())
        key = rewrap.unlock(tsk, disk)
        self._keep(key, tsk)
        with keywork.gpg(self.state.now()) as gpg:
            gpg.import_keys(key.public, {key.fingerprint: False})
            files.replace(self.state.keys / "disk-key.org", gpg.encrypt(disk.reveal(), key.fingerprint))

    def _keep(self, key: UnlockedKey, tsk: bytes) -> None:
        files.replace(self.state.keys / "org.secret", tsk)
        files.replace(self.state.keys / "org.public", key.public)
        self.state.change(fingerprint=key.fingerprint)

    def _tsk(self) -> bytes:
        return (self.state.keys / "org.secret").read_bytes()

    def _key(self) -> UnlockedKey:
        return rewrap.unlock(self._tsk(), self._disk_key())

    def _certificates(self) -> bytes:
        return bytes.fromhex("".join(each.packets for each in self.certificates()))

    def adopt(self, key: UnlockedKey, disk: Secret) -> None:
        """Take the Org Key of a restored server."""
        self._keep(key, key.protect(disk, s2k_count_octet=ESCROW_COUNT_OCTET))
        self._remember(disk)
        if not self._ignition.exists():  # it boots by itself, and the backup has no disk key in the clear
            files.replace(self.state.keys / "disk-key", disk.reveal())
