"""Secrets: context values that are used and never shown."""

from __future__ import annotations

from typing import Any, NoReturn

from invariant_dask.errors import GraphError


class Secret:
    """A context value that enters identities as a hash only, and is never shown.

    Ops get the value itself, and so do the workers that run them. A short secret can be guessed
    from its hash by whoever tries all there are.

    Parameters
    ----------
    value
        The value: anything that a parameter may be.

    Examples
    --------
    >>> Secret("hunter2")
    Secret(...)
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        if isinstance(value, Secret):
            msg = "a Secret is made of a value, not of another Secret"
            raise GraphError(msg)
        self._value = value

    def reveal(self) -> Any:
        """Return the value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> NoReturn:
        msg = "a Secret is not pickled; hand it over as a context value"
        raise TypeError(msg)
