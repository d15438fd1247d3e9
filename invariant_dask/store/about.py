"""What explains a record and is no part of any identity, and how it becomes bytes."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from invariant_dask.errors import IntegrityError

# Time taken, time of creation, length of node; then node, and what many records have in common:
# lengths of op, run, writer, code, and the four. How parameters were written may
# follow, after its length.
_ABOUT_HEAD = Struct(">QQI")
_YEAR_9999 = 253_370_764_800 * 10**9
_COMMON_HEAD = Struct(">IIII")
_TAIL_HEAD = Struct(">I")


class About(NamedTuple):
    """What explains a record and is no part of any identity."""

    op: str
    node: str = ""
    run: str = ""
    writer: str = ""
    nanoseconds: int = 0
    """How long the op took."""
    created: int = 0
    """Nanoseconds since 1970."""
    code: str = ""
    """Fingerprint of the op's code, where its identity is a declared version."""
    written: str = ""
    """How parameters were written, where that is not what the manifest says."""

    def to_bytes(self) -> bytes:
        """Return the encoding."""
        op, node, run, writer, nanoseconds, created, code, written = self
        name = node.encode(errors="backslashreplace")
        head = _ABOUT_HEAD.pack(nanoseconds, created, len(name))
        known = head + name + _common(op, run, writer, code)
        if not written:
            return known
        tail = written.encode(errors="backslashreplace")
        return known + _TAIL_HEAD.pack(len(tail)) + tail

    def facts(self) -> list[tuple[str, str]]:
        """Return what there is to read for people."""
        made = ""
        if 0 < self.created < _YEAR_9999:
            made = f"{datetime.fromtimestamp(self.created // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"
        took = f"{self.nanoseconds / 1e9:.3g} s" if self.nanoseconds else ""
        named = (("node", self.node), ("took", took), ("made", made), ("by", self.writer))
        return [*named, ("run", self.run)]

    @classmethod
    def from_bytes(cls, data: bytes) -> About:
        """Decode what `to_bytes` wrote.

        Raises
        ------
        IntegrityError
            If it is anything else.
        """
        try:
            nanoseconds, created, length = _ABOUT_HEAD.unpack_from(data)
            start = _ABOUT_HEAD.size
            at = start + length
            node = data[start:at].decode()
            lengths = _COMMON_HEAD.unpack_from(data, at)
            texts, at = [], at + _COMMON_HEAD.size
            for length in lengths:
                texts.append(data[at : at + length].decode())
                at += length
            written = ""
            if at < len(data):  # few records say how parameters were written
                (length,) = _TAIL_HEAD.unpack_from(data, at)
                start = at + _TAIL_HEAD.size
                at = start + length
                written = data[start:at].decode()
        except (struct.error, UnicodeDecodeError) as error:
            raise IntegrityError(f"what explains a record is not readable: {error}") from None
        if at != len(data):
            raise IntegrityError("what explains a record is cut off, or more follows it")
        op, run, writer, code = texts
        return cls(op, node, run, writer, nanoseconds, created, code, written)


@lru_cache(maxsize=1024)
def _common(*texts: str) -> bytes:
    encoded = [text.encode(errors="backslashreplace") for text in texts]
    return b"".join((_COMMON_HEAD.pack(*map(len, encoded)), *encoded))
