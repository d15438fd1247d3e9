"""The names that golden vectors are written with, for both implementations of the format."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from vectors import reference

from invariant_dask.core import types
from invariant_dask.core.digest import BlobId
from invariant_dask.core.files import FileContent


@dataclass(frozen=True)
class Size:
    """A fields type."""

    width: int
    note: str = ""


class Series:
    """A stream type."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self.numbers == other.numbers

    __hash__ = None

    @property
    def data(self) -> bytes:
        return ",".join(map(str, self.numbers)).encode()

    def get_stable_hash(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def to_stream(self, stream: BinaryIO) -> None:
        stream.write(self.data)

    @classmethod
    def from_stream(cls, stream: BinaryIO) -> Series:
        return cls([int(part) for part in stream.read().split(b",")])


def bind() -> None:
    """Register both types."""
    take_apart, put_together = (
        (lambda size: {"width": size.width, "note": size.note}),
        (lambda fields: Size(**fields)),
    )
    types.bind(types.TypeBinding(Size, "vectors.Size", "1", take_apart, put_together))
    types.bind(types.TypeBinding(Series, "vectors.Series", "2"))


NAMESPACE = {
    "D": Decimal, "F": Fraction, "dt": dt, "np": np, "FileContent": FileContent, "BlobId": BlobId,
    "Size": Size, "Series": Series, "Upstream": reference.Upstream,
}  # fmt: skip


def evaluate(text: str) -> Any:
    """Return the value that a vector describes."""
    return eval(text, dict(NAMESPACE))


def for_reference(value: Any) -> Any:
    """Return a value in the terms of the second implementation."""
    match value:
        case list() | tuple():
            return type(value)(map(for_reference, value))
        case dict():
            return {key: for_reference(item) for key, item in value.items()}
        case Size():
            fields = {"width": value.width, "note": value.note}
            return reference.Fields("vectors.Size", "1", for_reference(fields))
        case Series():
            own = bytes.fromhex(value.get_stable_hash())
            return reference.Stream("vectors.Series", "2", own, value.data)
        case FileContent():
            return reference.InputFile(value.length, value.blob, value.suffix, value.location)
    return value


bind()
