"""The files of what is stored, for `store path`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from invariant_dask.cli.outputs import OutputError
from invariant_dask.cli.store_tiers import nearest

if TYPE_CHECKING:
    from invariant_dask.core.digest import BlobId
    from invariant_dask.store.base import Store


def files_of(stores: Sequence[Store], digest: str) -> list[str]:
    """Return the files of an artifact, or of a blob, in any of some stores.

    Raises
    ------
    ArtifactNotFoundError
        If nothing is stored under the digest.
    OutputError
        If what is stored has no file on this machine.
    """
    from invariant_dask.store import upkeep

    files = [file for opened in stores for file in _files_of_blob(opened, digest)]
    if files:
        return files
    _, record = nearest(stores, lambda opened: upkeep.show(opened, digest).record)
    # Which tier has the blobs is another matter.
    files = [file for opened in stores for blob, _ in record.parts for file in _files(opened, blob)]
    if not files:
        inside = "its bytes are in the index" if not record.parts else "none is on this machine"
        raise OutputError(f"{digest} has no file: {inside}")
    return files


def _files_of_blob(opened: Store, digest: str) -> list[str]:
    from invariant_dask.core.digest import BlobId
    from invariant_dask.store.naming import names_digest, parse_digest

    return _files(opened, BlobId(parse_digest(digest))) if names_digest(digest) else []


def _files(opened: Store, blob: BlobId) -> list[str]:
    from invariant_dask.store import upkeep

    file = upkeep.keeper_of(opened).path_of(blob)
    return [str(file)] if file is not None and file.exists() else []
