"""How large and how old a store may become: set once, kept by all who write.

The budget is the note `config` of a store, JSON; `collected` says when it was last kept.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from invariant_dask.errors import SpecError, StoreLayoutError
from invariant_dask.store.keeper import Keeper, SeenEntry
from invariant_dask.store.sizes import HOUR, age_text, parse_age, parse_size

logger = logging.getLogger("invariant_dask.store")

_CONFIG, _COLLECTED = "config", "collected"
_RARELY = 6 * HOUR


@dataclass(frozen=True)
class Budget:
    """What may stay in a store; None where it does not matter."""

    max_size: int | None = None
    """Bytes of all entries and blobs."""
    max_age: int | None = None
    """Nanoseconds since an artifact was last used."""
    keep_last: int | None = None
    """This many of the latest records of each op are spared. With neither a size nor an age, all
    others go."""

    @classmethod
    def of(
        cls,
        max_size: int | str | None = None,
        max_age: float | str | None = None,
        keep_last: int | None = None,
    ) -> Budget:
        """Return a budget as people write it.

        Raises
        ------
        SpecError
            If it makes no sense.
        """
        if keep_last is not None and (type(keep_last) is not int or keep_last < 0):
            raise SpecError(f"keep_last={keep_last!r} is not a number of records")
        age = parse_age(max_age)
        return cls(parse_size(max_size, "max_size"), age, keep_last)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to go but what nobody needs."""
        return self == Budget()

    def excludes(self, unused: int, size: int) -> str:
        """Return why an artifact has to go that is not spared; an empty text if it may stay.

        Parameters
        ----------
        unused
            Nanoseconds since it was last used.
        size
            Bytes of all that is still to stay, with it.
        """
        if self.max_age is not None and unused >= self.max_age:
            return f"last used {age_text(unused)} ago"
        if self.max_size is not None and size > self.max_size:
            return "used least recently, and there is too much"
        if self.keep_last is not None and self == Budget(keep_last=self.keep_last):
            return f"not among the latest {self.keep_last} of its op"
        return ""


def read_budget(keeper: Keeper) -> Budget:
    """Return the budget that was set for a store.

    Raises
    ------
    StoreLayoutError
        If it cannot be understood.
    """
    note = keeper.read_note("", _CONFIG)
    if note is None:
        return Budget()
    try:
        told = json.loads(note.data)["budget"]
        values = {name: told.get(name) for name in ("max_size", "max_age", "keep_last")}
        if any(type(v) not in {int, type(None)} or (v or 0) < 0 for v in values.values()):
            raise TypeError("not a number")  # noqa: TRY301  told below
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"the file `config` of the store is not readable: {error}; set it anew by gc --set"
        raise StoreLayoutError(msg) from error
    return Budget(**values)


def write_budget(keeper: Keeper, budget: Budget) -> None:
    """Set the budget of a store, for all who use it."""
    keeper.write_note("", _CONFIG, json.dumps({"budget": asdict(budget)}).encode())


def is_due(keeper: Keeper, budget: Budget) -> bool:
    """Return whether it is time to look whether a budget is kept, and note that somebody does."""
    if budget.is_empty:
        return False
    size = keeper.size()
    if size is not None and budget.max_size is not None and size > budget.max_size:
        return True
    if size is not None and budget.max_age is None and budget.keep_last is None:
        return False
    last = keeper.read_note("", _COLLECTED)
    if last is not None and keeper.now() - last.written < _RARELY:
        return False
    keeper.write_note("", _COLLECTED, b"")
    return True


def latest_of_each(records: Iterable[SeenEntry], number: int | None) -> set[bytes]:
    """Return the digests of so many of the latest records of each op."""
    if not number:
        return set()
    by_op: defaultdict[str, list[SeenEntry]] = defaultdict(list)
    for record in records:
        by_op[record.op].append(record)
    latest: set[bytes] = set()
    for same in by_op.values():
        same.sort(key=lambda entry: (entry.created, entry.digest), reverse=True)
        latest.update(entry.digest for entry in same[:number])
    return latest
