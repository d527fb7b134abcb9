"""Documents of Vault's side: `infra plan`, `infra apply`."""

from __future__ import annotations

from typing import Any

from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code


class ServerItem(Part):
    """A server that was compared.

    Attributes:
        address: Its address.
        namespace: Its namespace, or null.
        product: ``OpenBao`` or ``Vault``.
        version: Its version.
    """

    address: str
    namespace: str | None
    product: str
    version: str


class ChangeItem(Part):
    """A difference.

    Attributes:
        server: The server.
        object: The API's path.
        field: What differs; ``exists`` where all of it is missing, ``policy`` for a policy's text.
        have: What the server has.
        want: What the files have.
        diff: A policy's unified diff, or null.
        surplus: What the server gives beyond the files, in words.
        by_hand: What to do where the API cannot, or null.
    """

    server: str
    object: str
    field: str
    have: Any
    want: Any
    diff: str | None = at("diff", default=None)
    surplus: tuple[str, ...]
    by_hand: str | None = at("by_hand", default=None)


class AppliedChangeItem(ChangeItem):
    """A difference, and what became of it.

    Attributes:
        state: ``done``, ``failed``, ``not-done`` or ``by-hand``.
        error: Why it failed, or null.
    """

    state: str
    error: str | None


class FaultItem(Part):
    """What cannot be mended.

    Attributes:
        server: The server.
        object: The API's path.
        message: What is wrong.
        hint: What to do.
    """

    server: str
    object: str
    message: str
    hint: str


class CredentialItem(Part):
    """Commands that make the files of a login.

    Attributes:
        server: The server.
        identity: Who logs in.
        folder: To be made first, mode 0700.
        role_id: Makes the role id's file.
        secret_id: Makes the secret id's file.
    """

    server: str
    identity: str
    folder: str
    role_id: str
    secret_id: str


class InfraPlanDocument(Document, printed_by="orgkey infra plan"):
    """What differs from the files of ``infra/vault``.

    Attributes:
        servers: The servers that were compared.
        changes: What differs.
        problems: What cannot be mended.
        never: What neither command ever does.
        exit_code: 42 with changes, 22 with problems.
    """

    servers: tuple[ServerItem, ...]
    changes: tuple[ChangeItem, ...]
    problems: tuple[FaultItem, ...] = at("faults")
    never: tuple[str, ...]
    exit_code: Code = at("code")


class InfraApplyDocument(Document, printed_by="orgkey infra apply"):
    """What was changed.

    Attributes:
        servers: The servers that were compared.
        changes: What differed, and what became of it.
        problems: What cannot be mended.
        left: What a second comparison showed; null when it was not made, after a failure.
        credentials: Commands that make the files of the logins.
        exit_code: As for the plan; a failure's code goes first.
    """

    servers: tuple[ServerItem, ...]
    changes: tuple[AppliedChangeItem, ...]
    problems: tuple[FaultItem, ...]
    left: tuple[ChangeItem, ...] | None
    credentials: tuple[CredentialItem, ...]
    exit_code: Code
