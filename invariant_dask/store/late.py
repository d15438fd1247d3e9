"""A store that cannot be reached when its chain is opened; each use tries again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

from invariant_dask.store.base import Store, StoreRef
from invariant_dask.store.null import NullStore
from invariant_dask.store.trust import Terms
from invariant_dask.store.wrapping import Wrapper

P = ParamSpec("P")
T = TypeVar("T")


class LateStore(Wrapper):
    """A store that is opened when it is first used, and can be.

    Parameters
    ----------
    url
        What names it.
    terms
        On what terms it is used.
    opener
        Opens it, or raises what a store raises that cannot be used.
    ref
        The reference that it is opened from, if it is; otherwise it has none until it is open.
    how
        What tells the place apart beside its URL: namespace, endpoint, credentials. Never shown.
    """

    kind = "late"

    def __init__(
        self, url: str, terms: Terms, opener: Callable[[], Store], ref: StoreRef | None = None,
        how: Hashable = None,
    ) -> None:  # fmt: skip
        super().__init__(NullStore(terms))
        self.key = url, terms, how
        """What is the same for two that open the same place in the same way."""
        self._url = url
        self._opener = opener
        self._ref = ref
        self._is_open = False

    def _open(self) -> Store:
        if not self._is_open:
            self.inner = self._opener()
            self.has_generation = self.inner.has_generation
            self._judge.hand_over(self.inner._judge)  # noqa: SLF001
            self._judge = self.inner._judge  # noqa: SLF001
            self._is_open = True
        return self.inner

    def _call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        opened: Callable[P, T] = getattr(self._open(), method.__name__)
        return opened(*args, **kwargs)

    def make_sure(self) -> None:
        self._open()

    @property
    def is_named(self) -> bool:
        """Whether other processes can be told of it by now."""
        return self._is_open or self._ref is not None

    @property
    def url(self) -> str:
        """What names the store."""
        return self._url

    @property
    def place(self) -> str:
        """That of the store, as far as it is known."""
        return self.inner.place if self._is_open else self._url

    def ref(self) -> StoreRef:
        return self._ref if self._ref is not None else self._open().ref()
