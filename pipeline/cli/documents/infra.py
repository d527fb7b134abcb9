"""Documents of Vault's side: `infra plan`, `infra apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.cli.documents import Document, Part
from pipeline.core.errors import Code

if TYPE_CHECKING:
    from pipeline.provision.compare import ServerChange
    from pipeline.provision.plan import ServersPlan


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

    @classmethod
    def all(cls, plan: ServersPlan) -> tuple[ServerItem, ...]:
        """The servers of a plan."""
        return tuple(
            cls.of(server, product="OpenBao" if server.openbao else "Vault") for server in plan.servers
        )


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
    diff: str | None
    surplus: tuple[str, ...]
    by_hand: str | None

    @classmethod
    def about(cls, change: ServerChange, **more: Any) -> Any:
        """The item of a change.

        Args:
            change: The change.
            more: The fields that a subclass adds.
        """
        return cls.of(change, diff=change.diff or None, by_hand=change.by_hand or None, **more)


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


class InfraPlanDocument(Document, schema="orgkey.infra-plan/1", printed_by="orgkey infra plan"):
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
    problems: tuple[FaultItem, ...]
    never: tuple[str, ...]
    exit_code: Code


class InfraApplyDocument(Document, schema="orgkey.infra-apply/1", printed_by="orgkey infra apply"):
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
