"""A ticket: one line that lets a crew's machine read one backup, and nothing else.

What a person may see is open: where the backup is, and what it should be. Its session key is sealed to the
crew (HPKE, RFC 9180), together with a key that authenticates the answer. The open part is bound to the sealed
one, so a ticket cannot be pointed at other bytes: it then no longer opens.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field

from pipeline.core.errors import UsageProblem
from pipeline.core.secret import Secret
from pipeline.sources.backups.crew.crew_key import CrewKey
from pipeline.sources.backups.crew.ticket_place import Count, Exact, SharedFile, StoredObject, canonical
from pipeline.sources.backups.engine import Expectations, SessionKey
from pipeline.sources.backups.message_header import MessageHeader, Protection

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import Suite

FORMAT: Final = "orgkey.ticket/1"
LONGEST: Final = 16 << 20
"""Bytes of a ticket; the public keys of signers are in it."""
LONGEST_PATTERN: Final = 2000
"""Characters of the name of an entry that is expected."""
_MAC_KEY: Final = 32

TicketId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class OpenPart(Exact):
    """What everybody who carries a ticket may see.

    Attributes:
        format: Which form of ticket this is.
        id: Of this ticket, random: its answer has it, too.
        name: What people call the backup.
        place: Where it is, and in which state.
        protection: How its integrity is protected.
        offset: Where its encrypted data begins, in bytes.
        engine: ``gpg`` leaves all to gpg.
        seconds: How long reading it may take.
        entries: Patterns of names that its archive has to hold.
        signers: Public keys that may have signed its content.
    """

    format: Literal["orgkey.ticket/1"] = FORMAT
    id: TicketId
    name: str
    place: Annotated[SharedFile | StoredObject, Field(discriminator="kind")]
    protection: Protection
    offset: Count
    engine: Literal["auto", "gpg"] = "auto"
    seconds: float = Field(gt=0, allow_inf_nan=False)
    entries: tuple[Annotated[str, Field(max_length=LONGEST_PATTERN)], ...] = ()
    signers: tuple[str, ...] = ()

    @property
    def header(self) -> MessageHeader:
        """The beginning of the message, as far as reading it takes."""
        return MessageHeader((), self.protection, self.offset, b"")

    @property
    def expected(self) -> Expectations:
        """What the backup should be."""
        return Expectations(self.entries, tuple(base64.b64decode(signer) for signer in self.signers))


class SealedPart(Exact):
    """What only the crew sees, in hexadecimal.

    Attributes:
        algorithm: OpenPGP's number of the cipher.
        key: The backup's session key.
        mac: What authenticates the answer.
    """

    algorithm: int = Field(ge=1, le=255)
    key: str = Field(pattern=r"^([0-9a-f]{2}){1,64}$", repr=False)
    mac: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)

    @property
    def session(self) -> SessionKey:
        """The session key."""
        return SessionKey(self.algorithm, Secret(bytes.fromhex(self.key)))

    @property
    def mac_key(self) -> Secret:
        """What authenticates the answer."""
        return Secret(bytes.fromhex(self.mac))


class Ticket(Exact):
    """One backup to read.

    Attributes:
        open: What everybody may see.
        sealed: What only the crew can open, in Base64.
    """

    open: OpenPart
    sealed: str

    @classmethod
    def issue(cls, part: OpenPart, session: SessionKey, crew: bytes) -> tuple[Self, Secret]:
        """Seal a session key.

        Args:
            part: The open part.
            session: The backup's session key.
            crew: The crew's public key.

        Returns:
            The ticket, and the key that authenticates its answer.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        mac = secrets.token_bytes(_MAC_KEY)
        sealed = {"algorithm": session.algorithm, "key": session.key.reveal().hex(), "mac": mac.hex()}
        ciphertext = _suite().encrypt(
            canonical(sealed), X25519PublicKey.from_public_bytes(crew), info=part.line().encode()
        )
        return cls(open=part, sealed=base64.b64encode(ciphertext).decode()), Secret(mac)

    @classmethod
    def of(cls, line: str) -> Self:
        """Read a ticket.

        Raises:
            UsageProblem: It is not one, or not in its one spelling.
        """
        ticket = cls.of_line(line, LONGEST)
        if ticket is None:
            raise UsageProblem(
                f"this is not a ticket of the form {FORMAT}",
                hint="use the same version of orgkey on all machines",
            )
        return ticket

    def unseal(self, crew_key: CrewKey) -> SealedPart:
        """Open the sealed part.

        Raises:
            UsageProblem: It is sealed to another key, or the ticket was changed.
        """
        from cryptography.exceptions import InvalidTag

        try:
            plain = _suite().decrypt(
                base64.b64decode(self.sealed, validate=True), crew_key.private, info=self.open.line().encode()
            )
            return SealedPart.model_validate_json(plain)
        except (InvalidTag, ValueError):
            raise UsageProblem(
                "the ticket does not open: it is for another crew's key, or it was changed",
                hint=f"this crew's public key is {crew_key.public}: pin it as crew_key in [readers]",
            ) from None


def _suite() -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
