"""The document of `inspect`; :mod:`pipeline.openpgp.key.inspection` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.cli.documents import Document, Part, ProblemItem
from pipeline.core.errors import Code


class SubkeyItem(Part):
    """A subkey.

    Attributes:
        fingerprint: Its fingerprint.
        key_id: Its key id.
        algorithm: For example ``RSA-4096``.
        created: When it was made.
        expires: When it expires; null for one that never does.
        usage: ``certify``, ``sign``, ``encrypt``.
        revoked: Whether it is revoked.
        protection: How its secret is protected, or null.
    """

    fingerprint: str
    key_id: str
    algorithm: str
    created: str
    expires: str | None
    usage: tuple[str, ...]
    revoked: bool
    protection: Mapping[str, Any] | None


class InspectDocument(Document, schema="orgkey.inspect/1", printed_by="orgkey inspect"):
    """What an export is.

    Attributes:
        verdict: The name of the exit code; ``ok`` for 0.
        exit_code: The first problem's code.
        fingerprint: The chosen key's; null when none was found.
        key_id: The chosen key's; null when none was found.
        user_ids: Its user ids.
        algorithm: For example ``RSA-4096``.
        created: When it was made.
        expires: When it expires; null for a key that never does.
        layout: ``single``, or ``two-block``: secret and public parts came in blocks of their own.
        protection: How the primary secret is protected: ``state``, ``cipher``, ``s2k``, ``digest``,
            ``count``, ``checksum``.
        subkeys: Its subkeys.
        organization_certificates: X.509 certificates that are attached to the key.
        problems: What is wrong, in order of precedence.
        notes: What is odd and does no harm. Look at what begins with ``warning:``, for example an expired
            Organization Certificate.
    """

    verdict: str
    exit_code: Code
    fingerprint: str | None
    key_id: str | None
    user_ids: tuple[str, ...]
    algorithm: str | None
    created: str | None
    expires: str | None
    layout: str | None
    protection: Mapping[str, Any] | None
    subkeys: tuple[SubkeyItem, ...]
    organization_certificates: tuple[Mapping[str, Any], ...]
    problems: tuple[ProblemItem, ...]
    notes: tuple[str, ...]
