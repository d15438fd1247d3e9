"""What state each node of a run is in, in a few bytes each: a run may have a million of them.

Nodes are known by a hash of their id that differs from process to process, so nobody can make two
ids collide on purpose. A table takes no more than `LIMIT` nodes.
"""

from __future__ import annotations

from array import array

SHARDS = 64
"""Tables grow one by one, so that none of the times this takes is long."""

LIMIT = 2_000_000
"""The most nodes of one run that are told apart."""

_FIRST = 16


class StateTable:
    """Small positive numbers by the ids of nodes, in 12 bytes for each of at most twice as many."""

    __slots__ = ("_shards", "full")

    def __init__(self) -> None:
        self._shards = [_Shard() for _ in range(SHARDS)]
        self.full = False
        """Whether something found no place."""

    def get(self, node: str) -> int:
        """Return the number of a node, 0 if it has none."""
        key = hash(node) & 0xFFFF_FFFF_FFFF_FFFF
        return self._shards[key % SHARDS].get(key // SHARDS)

    def set(self, node: str, value: int) -> None:
        """Give a node a number; this does nothing but set `full` if there is no place left."""
        key = hash(node) & 0xFFFF_FFFF_FFFF_FFFF
        if not self._shards[key % SHARDS].set(key // SHARDS, value):
            self.full = True


class _Shard:
    """Open addressing; a slot is free if its value is 0."""

    __slots__ = ("_keys", "_mask", "_used", "_values")

    def __init__(self) -> None:
        self._make(_FIRST)

    def _make(self, slots: int) -> None:
        self._mask, self._used = slots - 1, 0
        self._keys, self._values = array("Q", bytes(8 * slots)), array("I", bytes(4 * slots))

    def _slot(self, key: int) -> int:
        keys, values, mask = self._keys, self._values, self._mask
        slot = key & mask
        while values[slot] and keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def get(self, key: int) -> int:
        return self._values[self._slot(key)]

    def set(self, key: int, value: int) -> bool:
        slot = self._slot(key)
        if not self._values[slot]:
            if self._used >= LIMIT // SHARDS:
                return False
            self._used += 1
            if 3 * self._used > 2 * self._mask:
                self._grow()
                self._used += 1
                slot = self._slot(key)
        self._keys[slot], self._values[slot] = key, value
        return True

    def _grow(self) -> None:
        keys, values, used = self._keys, self._values, self._used - 1
        self._make(2 * len(keys))
        for key, value in zip(keys, values, strict=True):
            if value:
                slot = self._slot(key)
                self._keys[slot], self._values[slot] = key, value
        self._used = used
