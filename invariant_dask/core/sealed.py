"""Finished containers: a list and a dict that refuse to change.

An artifact may be seen by many: its caller, neighbours on the same worker, `dask.delayed`
functions. They all see the same objects, so these raise instead of changing under somebody else.
`copy.copy` and `copy.deepcopy` return plain, changeable containers. What goes round the class on
purpose, as `list.append(x, 1)` does, is not stopped.
"""

from __future__ import annotations

import copy
from typing import Any, NoReturn


def _refuse(self: object, *_args: object, **_kwargs: object) -> NoReturn:
    plain = type(self).__mro__[1].__name__
    msg = f"this {plain} is a finished artifact and cannot change; work on a copy: copy.deepcopy(x)"
    raise TypeError(msg)


class SealedList(list[Any]):
    """A list that raises TypeError on mutation; it equals a plain list with the same items."""

    __slots__ = ("_filled",)

    def __init__(self, *items: Any) -> None:
        if hasattr(self, "_filled"):
            _refuse(self)
        super().__init__(*items)
        self._filled = True

    append = extend = insert = pop = remove = clear = sort = reverse = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        # Stays sealed on another worker; the default protocol would call append.
        return SealedList, (list(self),)

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.deepcopy(item, memo) for item in self]


class SealedDict(dict[str, Any]):
    """A dict that raises TypeError on mutation; it equals a plain dict with the same items."""

    __slots__ = ("_filled",)

    def __init__(self, *items: Any, **more: Any) -> None:
        if hasattr(self, "_filled"):
            _refuse(self)
        super().__init__(*items, **more)
        self._filled = True

    pop = popitem = clear = update = setdefault = _refuse
    __setitem__ = __delitem__ = __ior__ = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return SealedDict, (dict(self),)

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: copy.deepcopy(item, memo) for key, item in self.items()}
