"""Stores around a store: whatever passes between the verified part and the bytes goes by here.

What is looked up through a wrapper is verified by the wrapper, so a wrapper that changes, delays
or refuses what the wrapped store does is treated like any other place.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from invariant_dask.cards import Card
from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import Encoded
from invariant_dask.errors import SpecError, StoreUnavailableError
from invariant_dask.store.backend import Missed, StoreStats
from invariant_dask.store.base import Store, StoreRef, openers, register_live
from invariant_dask.store.keeper import Keeper
from invariant_dask.store.record import EntryRow

if TYPE_CHECKING:
    from typing_extensions import Buffer

P = ParamSpec("P")
T = TypeVar("T")


class Wrapper(Store):
    """Passes everything on to the bytes of another store; `_call` is where to come between."""

    kind = "wrapper"

    def __init__(self, inner: Store) -> None:
        super().__init__(inner.terms)
        self._judge = inner._judge  # noqa: SLF001  what this process published is taken through both
        self.inner = inner
        self.leases = inner.leases
        self.has_generation = inner.has_generation
        self._identity = uuid.uuid4().hex[:16]

    def _call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the wrapped store; its name is `method.__name__`."""
        return method(*args, **kwargs)

    def _options(self) -> dict[str, Any]:
        """Return the keyword arguments that make the same wrapper in another process."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    def _card(self) -> Card:
        inner = self.inner._card()  # noqa: SLF001  the same class
        return replace(inner, title=f"{type(self).__name__} of {inner.title}")

    @property
    def url(self) -> str:
        """That of the wrapped store."""
        return self.inner.url

    @property
    def place(self) -> str:
        """That of the wrapped store."""
        return self.inner.place

    @property
    def is_process_local(self) -> bool:
        """That of the wrapped store."""
        return self.inner.is_process_local

    @property
    def may_damage_on_the_way(self) -> bool:
        """That of the wrapped store."""
        return self.inner.may_damage_on_the_way

    @property
    def local_folder(self) -> Path | None:
        """That of the wrapped store."""
        return self.inner.local_folder

    @property
    def stats(self) -> StoreStats:
        """What was done through the wrapper, and what had to make room within."""
        return replace(super().stats, evicted=self.inner.stats.evicted)

    @property
    def puts(self) -> int:
        """What was published through the wrapper or past it."""
        return super().puts + self.inner.puts

    @property
    def removals(self) -> int:
        """What was removed through the wrapper or past it."""
        return super().removals + self.inner.removals

    def reset_stats(self) -> None:
        super().reset_stats()
        self.inner.reset_stats()

    def note_loss(self, digest: bytes, reason: str) -> None:
        self.inner.note_loss(digest, reason)

    def _reason(self, digest: bytes) -> str:
        return super()._reason(digest) or self.inner._reason(digest)  # noqa: SLF001

    def _forget_reasons(self, digests: Collection[bytes]) -> None:
        super()._forget_reasons(digests)
        self.inner._forget_reasons(digests)  # noqa: SLF001

    def encode(self, value: object) -> Encoded:
        return self.inner.encode(value)

    def grouping(self) -> AbstractContextManager[None]:
        return self.inner.grouping()

    def barrier(self) -> tuple[Missed, ...]:
        return self.inner.barrier()

    def missed(self) -> Missed | None:
        return self.inner.missed()

    def keeper(self) -> Keeper | None:
        return self.inner.keeper()

    def make_sure(self) -> None:
        self.inner.make_sure()

    def close(self) -> None:
        self.inner.close()

    def generation(self) -> int | None:
        return self._call(self.inner.generation)

    def ref(self) -> StoreRef:
        settings = tuple(sorted(self._options().items()))
        ref = WrappedRef(
            self.kind, self.url, self._token(), self.terms, self,
            inner=self.inner.ref(), settings=settings, wrapper=type(self),
        )  # fmt: skip
        register_live(ref.token, self)
        return ref

    def _token(self) -> str:
        return f"{self._identity}-{self.inner._token()}"  # noqa: SLF001

    def _show_token(self) -> None:
        self._call(self.inner._show_token)  # noqa: SLF001

    def _read_entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return self._call(self.inner._read_entries, digests)  # noqa: SLF001

    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:
        return self._call(self.inner._write_entries, rows)  # noqa: SLF001

    def _delete_entries(self, digests: Sequence[bytes]) -> int:
        return self._call(self.inner._delete_entries, digests)  # noqa: SLF001

    def _delete_op(self, op: str) -> int:
        return self._call(self.inner._delete_op, op)  # noqa: SLF001

    def _recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:
        return self._call(self.inner._recent, op, limit)  # noqa: SLF001

    def _read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        return self._call(self.inner._read_blob, blob, length)  # noqa: SLF001

    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        self._call(self.inner._write_blobs, blobs)  # noqa: SLF001

    def _has_blobs(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:
        return self._call(self.inner._has_blobs, blobs)  # noqa: SLF001

    def _why_unread(self, blob: BlobId) -> str:
        return self.inner._why_unread(blob)  # noqa: SLF001

    def _length_of_blob(self, blob: BlobId) -> int | None:
        return self._call(self.inner._length_of_blob, blob)  # noqa: SLF001

    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:
        self._call(self.inner._quarantine_entry, digest, data)  # noqa: SLF001

    def _quarantine_blob(self, blob: BlobId) -> None:
        self._call(self.inner._quarantine_blob, blob)  # noqa: SLF001

    def _keep_report(self, name: bytes, what: str, report: Mapping[str, str]) -> None:
        self._call(self.inner._keep_report, name, what, report)  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class WrappedRef(StoreRef):
    """Names a wrapper, by the reference of what it wraps and by its own options."""

    inner: StoreRef | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    wrapper: type[Wrapper] | None = None
    """Travels along so that its module is imported, and its opener known."""

    def silent(self) -> WrappedRef:
        """Return the same, to be sent without showing the token again."""
        inner = self.inner
        assert inner is not None
        inner = inner.silent() if isinstance(inner, WrappedRef) else replace(inner, live=None)
        return replace(self, live=None, inner=inner)

    def __reduce__(self) -> tuple[Any, ...]:
        self.show()
        return _received, (
            self.kind, self.url, self.token, self.terms, self.inner, self.settings, self.wrapper,
        )  # fmt: skip


def _received(*fields: Any) -> WrappedRef:
    kind, url, token, terms, inner, settings, wrapper = fields
    return WrappedRef(kind, url, token, terms, inner=inner, settings=settings, wrapper=wrapper)


def opens_as(wrapper: Callable[..., Wrapper]) -> Callable[[StoreRef], Store]:
    """Return an opener of references to wrappers of a class, for `openers`."""

    def open_wrapped(ref: StoreRef) -> Store:
        assert isinstance(ref, WrappedRef)
        assert ref.inner is not None
        inner = ref.inner.open()
        key = ref.kind, inner, ref.settings
        with _opened_lock:
            store = _opened.get(key)
            if store is None:
                store = _opened[key] = wrapper(inner, **dict(ref.settings))
        return store

    return open_wrapped


# The wrappers of this process that were opened from references; they stay open between tasks.
_opened: dict[tuple[Any, ...], Store] = {}
_opened_lock = threading.Lock()


def _after_fork() -> None:
    global _opened_lock  # noqa: PLW0603  a thread that the child does not have may hold it
    _opened_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class ReadOnly(Wrapper):
    """What another store holds, without ever changing it.

    Parameters
    ----------
    inner
        The store to read. Of a chain, make the tiers read-only that must not change.

    Raises
    ------
    SpecError
        If the store is a chain.

    Notes
    -----
    As with `NullStore`, publishing returns a record and keeps nothing. Damaged entries and blobs
    count as absent and stay where they are. To let other processes check that they see the same
    place, a token is still written, where the wrapped store has such.
    """

    kind = "read-only"

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        if inner.kind == "chain":
            raise SpecError(
                "a chain is made of tiers: give those that must not change write='read-only'"
            )
        self.leases = False

    def keeper(self) -> Keeper | None:
        return None  # who looks after a place, or takes a lease there, writes

    def encode(self, value: object) -> Encoded:
        # Not in the way of the wrapped store, which may write while it encodes.
        return Store.encode(self, value)

    def grouping(self) -> AbstractContextManager[None]:
        return Store.grouping(self)

    @property
    def local_folder(self) -> Path | None:
        """None: nothing is written there."""
        return None

    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:  # noqa: ARG002
        return True

    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        pass

    def _delete_entries(self, digests: Sequence[bytes]) -> int:
        if self._read_entries(digests):
            self._refuse("forgotten")
        return 0

    def _delete_op(self, op: str) -> int:
        if self._recent(op, 1):
            self._refuse("forgotten")
        return 0

    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:  # noqa: ARG002
        self._refuse("set aside")

    def _quarantine_blob(self, blob: BlobId) -> None:  # noqa: ARG002
        self._refuse("set aside")

    def _refuse(self, what: str) -> None:
        msg = (
            f"{self.url} is read-only: nothing in it can be {what}; open the store itself for that"
        )
        raise StoreUnavailableError(msg)


openers[ReadOnly.kind] = opens_as(ReadOnly)
