"""From the storage form of a value to its identity form, without making the value.

Whoever verifies an artifact needs its hash and nothing else: walking over the bytes is cheaper than
decoding and encoding again, and does not copy large arrays.
"""

from __future__ import annotations

from invariant_dask.core.cbor import (
    TAG_FIELDS,
    TAG_FILE,
    TAG_STREAM,
    TAG_TUPLE,
    tagged,
)
from invariant_dask.core.encode import MAX_DEPTH, descriptor_of
from invariant_dask.core.reader import Reader

_FILE_IDENTITY = tagged(TAG_FILE, 3)
_DEEPEST = MAX_DEPTH + 8  # a tag, or a part of a leaf, may be a level of its own


class _StreamError(Exception):
    """A value says itself what its hash is."""


def identity_of(storage: bytes) -> bytes | None:
    """Return the identity form of what a storage form holds; None if only the value can tell.

    Parameters
    ----------
    storage
        The storage form. It is not checked that it is canonical: who compares the hash of what
        comes out knows that it is what was encoded, or nothing at all.

    Raises
    ------
    EncodingError
        If it is cut off, or nested too deeply to be one.
    """
    walk = _Walk(storage)
    try:
        identity = walk.item(0)
    except _StreamError:
        return None
    if walk.at != len(storage):
        walk.fail("trailing bytes")
    return identity


class _Walk(Reader):
    def item(self, depth: int) -> bytes:
        """Step over an item, and return its identity form."""
        if depth > _DEEPEST:
            self.fail("nested too deeply")
        start = self.at
        major, number = self.head()
        if major in {2, 3}:
            self.take(number)
        elif major == 4:
            return self.items(start, number, depth)
        elif major == 5:
            return self.pairs(start, number, depth)
        elif major == 6:
            return self.tagged(start, number, depth)
        return self.data[start : self.at]

    def items(self, start: int, count: int, depth: int) -> bytes:
        """Return the identity form of an array, whose own head begins at `start`."""
        parts = [self.data[start : self.at]]
        parts += [descriptor_of(self.item(depth + 1)) for _ in range(self.plausible(count))]
        return b"".join(parts)

    def pairs(self, start: int, count: int, depth: int) -> bytes:
        parts = [self.data[start : self.at]]
        for _ in range(self.plausible(count)):
            parts.append(self.item(depth + 1))
            parts.append(descriptor_of(self.item(depth + 1)))
        return b"".join(parts)

    def tagged(self, start: int, tag: int, depth: int) -> bytes:
        if tag == TAG_TUPLE:
            major, count = self.head()
            if major != 4:
                self.fail("expected the array of a tuple")
            return self.items(start, count, depth)
        if tag == TAG_FIELDS:
            self.array_of(3)
            self.string(), self.string()
            named = self.data[start : self.at]
            return named + descriptor_of(self.item(depth + 1))
        if tag == TAG_FILE:
            self.array_of(4)
            inside = self.at
            for _ in range(3):
                self.item(depth + 1)
            identity = _FILE_IDENTITY + self.data[inside : self.at]
            self.item(depth + 1)  # where the file was
            return identity
        if tag == TAG_STREAM:
            raise _StreamError
        self.skip(depth)
        return self.data[start : self.at]

    def skip(self, depth: int) -> None:
        """Step over what enters an identity as it is."""
        if depth > _DEEPEST:
            self.fail("nested too deeply")
        major, number = self.head()
        if major in {2, 3}:
            self.take(number)
        elif major in {4, 5}:
            for _ in range(self.plausible(number * (major - 3))):
                self.skip(depth + 1)
        elif major == 6:
            self.skip(depth + 1)

    def plausible(self, count: int) -> int:
        """Return a number of items, if so many can follow."""
        if count > len(self.data) - self.at:
            self.fail(f"{count} items declared in {len(self.data) - self.at} bytes")
        return count
