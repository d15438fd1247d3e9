"""How a chain travels to other processes: by references to those of its tiers that can.

A tier in the memory of one process stays behind. A folder that the other process does not see is
replaced by one of its own, if a shared tier lies behind it; the last tier that is written and not
private has to be seen by all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from invariant_dask.store.base import StoreRef
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.late import LateStore
from invariant_dask.store.tiers import Tier, WritePolicy
from invariant_dask.store.trust import Terms
from invariant_dask.store.wrapping import WrappedRef


class TierRef(NamedTuple):
    """Names a tier of a chain."""

    ref: StoreRef
    write: WritePolicy
    name: str
    required: bool
    """Whether it must be the same place everywhere."""
    private: bool
    """Whether it is another place everywhere."""
    folder: str = ""
    """Where to have a place of one's own, if the tier is a folder."""
    size_limit: int | None = None
    """The most bytes to keep there."""


@dataclass(frozen=True, slots=True)
class ChainRef(StoreRef):
    """Names a chain, with proofs for each tier that is shared."""

    tiers: tuple[TierRef, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        self.show()
        # Shown as far as possible by now: one tier that is away must not keep the others here.
        tiers = tuple(tier._replace(ref=_silent(tier.ref)) for tier in self.tiers)
        return _received, (self.kind, self.url, self.token, self.terms, tiers)


def _received(
    kind: str, url: str, token: str, terms: Terms, tiers: tuple[TierRef, ...]
) -> ChainRef:
    return ChainRef(kind, url, token, terms, tiers=tiers)


def _silent(ref: StoreRef) -> StoreRef:
    return ref.silent() if isinstance(ref, WrappedRef) else replace(ref, live=None)


def tier_ref(tier: Tier, *, last: bool) -> TierRef:
    """Return the reference to a tier.

    Parameters
    ----------
    tier
        The tier.
    last
        Whether it is the last one that is written and not private.
    """
    required = last or tier.private is False
    folder, limit = "", None
    store = tier.store.inner if isinstance(tier.store, LateStore) else tier.store
    if isinstance(store, DiskStore) and not required:
        folder, limit = store.url, store.size_limit
    return TierRef(
        tier.store.ref(), tier.write, tier.name, required, bool(tier.private), folder, limit
    )
