"""What `store rm` is asked to forget, and what it may not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from invariant_dask.cli.outputs import OutputError

if TYPE_CHECKING:
    from invariant_dask.store.base import Store

_DIGITS = re.compile("[0-9A-Fa-f]{4,63}")


def op_or_digest(stores: Sequence[Store], text: str) -> str | bytes | None:
    """Return the op or digest that is meant; None if nothing can be stored under it.

    Raises
    ------
    SpecError
        If several digests start so, be it in several tiers: all of them are forgotten.
    """
    from invariant_dask.errors import ArtifactNotFoundError, SpecError
    from invariant_dask.store import overview
    from invariant_dask.store.naming import names_digest, parse_digest

    if names_digest(text):
        return parse_digest(text)
    if not _DIGITS.fullmatch(text) or any(opened.recent(text, 1) for opened in stores):
        return text
    found: dict[bytes, str] = {}
    for opened in stores:
        with suppress(ArtifactNotFoundError):
            found.setdefault(overview.complete(opened, text), opened.place)
    if len(found) > 1:
        several = ", ".join(f"{digest.hex()} in {place}" for digest, place in found.items())
        raise SpecError(f"{len(found)} digests start with {text}: {several}; give more digits")
    return next(iter(found), None)


def refuse_pinned(opened: Store, found: Mapping[str, str | bytes | None]) -> None:
    """Refuse to forget anything if some of it is pinned."""
    from invariant_dask.store import upkeep

    if opened.keeper() is None:
        return
    pinned = {pin.digest for pin in upkeep.pins(opened)}
    if not pinned:
        return
    records = upkeep.list_records(opened)
    for text, meant in found.items():
        for record in records:
            names = {record.digest, *record.planned}
            held = names & pinned
            if held and (record.op == meant or meant in names):
                raise OutputError(
                    f"{text}: {min(held).hex()} is pinned, so nothing is forgotten; see store unpin"
                )
