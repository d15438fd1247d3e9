"""Read the parts of canonical CBOR, strictly: what is not in its one form is refused.

The input may come from a stranger: lengths are checked against what is there.
"""

from __future__ import annotations

from invariant_dask.core.cbor import NULL, TAG_NEGATIVE_BIGNUM, TAG_POSITIVE_BIGNUM
from invariant_dask.errors import EncodingError


class Reader:
    """Bytes, and how far they are read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def fail(self, what: str) -> EncodingError:
        """Refuse the bytes at this place."""
        msg = f"not canonical at byte {self.at}: {what}"
        raise EncodingError(msg)

    def head(self) -> tuple[int, int]:
        """Read a head: its major type and its argument."""
        data, at = self.data, self.at
        if at >= len(data):
            self.fail("unexpected end")
        major, info = data[at] >> 5, data[at] & 31
        if info < 24:
            self.at = at + 1
            return major, info
        if info > 27:
            self.fail("indefinite length or reserved head")
        size = 1 << (info - 24)
        raw = data[at + 1 : at + 1 + size]
        if len(raw) < size:
            self.fail("unexpected end")
        number = int.from_bytes(raw, "big")
        if (number < 24) if size == 1 else (number >> (4 * size) == 0):
            self.fail("a number is not in its shortest form")
        self.at = at + 1 + size
        return major, number

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        raw = self.data[self.at : self.at + size]
        if len(raw) < size:
            self.fail(f"{size} bytes declared, {len(raw)} there")
        self.at += size
        return raw

    def text(self, size: int) -> str:
        """Read text of so many bytes."""
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            self.fail("text is not UTF-8")
            raise

    def array_of(self, count: int) -> None:
        """Read the head of an array of so many items."""
        if self.head() != (4, count):
            self.fail(f"expected an array of {count}")

    def integer(self) -> int:
        """Read an integer of any size."""
        # Not through `item`: bytes that nest numbers in numbers must not use up the stack.
        major, number = self.head()
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major != 6 or number not in {TAG_POSITIVE_BIGNUM, TAG_NEGATIVE_BIGNUM}:
            self.fail("expected an integer")
        return self.bignum(negative=number == TAG_NEGATIVE_BIGNUM)

    def absent(self) -> bool:
        """Step over a null, if there is one."""
        if self.data[self.at : self.at + 1] != NULL:
            return False
        self.at += 1
        return True

    def integers(self, count: int) -> list[int]:
        """Read an array of so many integers."""
        self.array_of(count)
        return [self.integer() for _ in range(count)]

    def string(self) -> str:
        """Read text with its head."""
        major, size = self.head()
        if major != 3:
            self.fail("expected text")
        return self.text(size)

    def raw(self, size: int | None = None) -> bytes:
        """Read a byte string with its head, of a given size if there is one."""
        major, length = self.head()
        if major != 2 or (size is not None and length != size):
            self.fail("expected a byte string" + (f" of {size}" if size is not None else ""))
        return self.take(length)

    def bignum(self, negative: bool) -> int:
        """Read an integer that needs more than 64 bits, behind its tag."""
        raw = self.raw()
        number = int.from_bytes(raw, "big")
        if number < 1 << 64 or raw[0] == 0:
            self.fail("a big number is not in its shortest form")
        return -1 - number if negative else number
