"""What the file LAYOUT of a store says, wherever it is kept."""

from __future__ import annotations

import json

from invariant_dask._version import __version__
from invariant_dask.errors import StoreLayoutError


def describe_layout(version: int, **more: str) -> str:
    """Return the content of LAYOUT for a store of this layout version."""
    return json.dumps({"layout": version, "made_by": f"invariant-dask {__version__}", **more})


def check_layout_version(place: object, content: str | bytes, known: int, cure: str) -> None:
    """Refuse a store of another layout.

    Parameters
    ----------
    place
        What to call the store.
    content
        What its LAYOUT holds.
    known
        The only layout version that can be used.
    cure
        What to use instead, such as `another folder`.

    Raises
    ------
    StoreLayoutError
        If it is another version, or not readable.
    """
    try:
        version = json.loads(content)["layout"]
    except (ValueError, TypeError, KeyError) as error:
        msg = f"LAYOUT of {place} is not readable as a store's; use {cure}"
        raise StoreLayoutError(msg) from error
    if version != known:
        msg = (
            f"store {place} has layout version {version}, and this invariant-dask {__version__} "
            f"knows version {known}; use the version that made it, or {cure}"
        )
        raise StoreLayoutError(msg)
