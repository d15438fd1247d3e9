"""On what terms a chain is used: those of its tiers, each of which judges what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from invariant_dask.store.base import Store
from invariant_dask.store.trust import ANY, Judge, Terms, Trust


def joined_terms(stores: Sequence[Store]) -> Terms:
    """Return what is taken by any of several stores."""
    trusts = [store.terms.trust for store in stores]
    keys = [trust.keys for trust in trusts if trust.keys is not None]
    joined = Trust(frozenset[bytes]().union(*keys)) if len(keys) == len(trusts) else ANY
    return Terms(joined, max(store.terms.max_artifact_size for store in stores))


def joined_policies(stores: Sequence[Store]) -> str:
    """Return the policies of several stores in a few words, or nothing if all believe anybody."""
    words = [store.terms.trust.short for store in stores]
    if len(set(words)) > 1:
        return " | ".join(words)
    return "" if stores[0].terms.trust.is_any else words[0]


class JoinedJudge(Judge):
    """Judges entries that some of several stores took.

    Parameters
    ----------
    stores
        The stores.
    """

    def __init__(self, stores: Sequence[Store], terms: Terms) -> None:
        super().__init__(terms.trust)
        self._stores = stores

    def objection(self, digest: bytes, data: bytes, signature: bytes) -> str:  # noqa: ARG002
        # The tier that an entry is from judged it already, as only it can.
        return ""

    def vouching(self) -> frozenset[bytes] | None:
        believed = [store._judge.vouching() for store in self._stores]  # noqa: SLF001
        known = [keys for keys in believed if keys is not None]
        return frozenset[bytes]().union(*known) if known else None

    def vouches(self, entries: Iterable[tuple[bytes, bytes, bytes]]) -> bool:
        # Whichever tier each is from: that one agrees.
        listed = list(entries)
        return all(store._judge.vouches(listed) for store in self._stores)  # noqa: SLF001

    def made_here(self, *entries: bytes) -> None:
        for store in self._stores:
            store._judge.made_here(*entries)  # noqa: SLF001
