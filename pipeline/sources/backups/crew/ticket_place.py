"""Where a ticket's backup lies, and in which state, for another machine to find it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_FILE: Final = "file://"
Count = Annotated[int, Field(ge=0, lt=1 << 53)]
"""A number that every reader of JSON reads alike (RFC 8785 section 3.2.2.3)."""


def canonical(document: Any) -> bytes:
    """The one spelling of a document (RFC 8785)."""
    import rfc8785

    return rfc8785.dumps(document)


class Exact(BaseModel):
    """A document of which nothing is converted, left out or added."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def line(self) -> str:
        """The document as it is sent, without a line break."""
        return canonical(self.model_dump(mode="json")).decode()

    @classmethod
    def of_line(cls, line: str, longest: int) -> Self | None:
        """Read a document that is sent; ``None`` where the line is too long, or not its one spelling.

        Args:
            line: The line.
            longest: How many characters it may have.
        """
        if len(line) > longest:
            return None
        try:
            document = cls.model_validate_json(line)
        except ValidationError:
            return None
        return document if document.line() == line.strip() else None


class SharedFile(Exact):
    """A file that the issuer and the crew see under the same path.

    Attributes:
        uri: Its path, as ``file:///srv/backups/one.pgp``; bytes that are not plain are escaped.
        state: What tells that it was changed: inode, size and times, as its source has them. The number of
            its device is not among them: it is another on each machine that has mounted a share.
    """

    kind: Literal["file"] = "file"
    uri: str = Field(pattern=r"^file:///")
    state: str

    @classmethod
    def of(cls, path: Path, state: str) -> SharedFile:
        """Describe a file."""
        return cls(uri=path.absolute().as_uri(), state=state)

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(os.fsdecode(unquote_to_bytes(self.uri.removeprefix(_FILE))))


class StoredObject(Exact):
    """An object in a bucket.

    Attributes:
        bucket: The bucket's name.
        owner: The account that it has to belong to.
        key: The object's key.
        version: Its VersionId, where the bucket has versions.
        region: The bucket's region.
        endpoint: The service's address, where it is not AWS.
        path_style: Whether the bucket's name stands in the path.
        size: Its length in bytes.
        etag: Its tag.
    """

    kind: Literal["s3"] = "s3"
    bucket: str
    owner: str | None = None
    key: str
    version: str | None = None
    region: str
    endpoint: str | None = None
    path_style: bool | None = None
    size: Count
    etag: str
