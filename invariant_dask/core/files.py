"""Input files as values: what a user writes, and what it becomes once its content is known.

Nothing here touches a disk; hashing and reading are the store's business.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from invariant_dask.core.digest import BlobId


@dataclass(frozen=True, slots=True)
class File:
    """A file as a parameter; its identity is its *content*, not its name or date.

    Parameters
    ----------
    path : str or os.PathLike
        A local path or any fsspec URL.
    suffix : bool
        Let the op see the file name's suffix (`.jpg`); it then becomes part of the identity.

    Examples
    --------
    >>> File("photos/a.jpg").location
    'photos/a.jpg'
    """

    path: str | os.PathLike[str]
    suffix: bool = False

    @property
    def location(self) -> str:
        """The path or URL as text."""
        return os.fsdecode(self.path)

    @property
    def visible_suffix(self) -> str | None:
        """What the op may know of the name: the lower-case suffix, or nothing."""
        if not self.suffix:
            return None
        name = self.location
        if "://" in name:
            # In a chain such as zip://a.png::file:///b.zip, the first URL names the content.
            name = next(part for part in name.split("::") if "://" in part)
            if name.startswith(("http://", "https://")):
                name = urlsplit(name).path  # a query is no part of the name, and may be a secret
        return os.path.splitext(name)[1].lower()  # noqa: PTH122


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file whose content was hashed: length in bytes, tree hash, and where it was seen."""

    length: int
    blob: BlobId
    suffix: str | None
    location: str
