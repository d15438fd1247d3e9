"""`Histogram`: how often each level occurs in each channel, an artifact that writes itself.

An example of an `ICacheable`: it hashes its state and nothing else, in one fixed form.
"""

from __future__ import annotations

import hashlib
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO, Self

from invariant_dask.ops.types import cacheable

if TYPE_CHECKING:
    from collections.abc import Iterable

LEVELS = 256
CHANNELS = 3

_LAYOUT = struct.Struct(f">{CHANNELS * LEVELS}Q")


@cacheable
class Histogram:
    """How many pixels of an 8-bit picture have each level, channel by channel.

    Parameters
    ----------
    channels
        For red, green and blue: 256 counts each.
    """

    __slots__ = ("channels",)

    channels: tuple[tuple[int, ...], ...]

    def __init__(self, channels: Iterable[Iterable[int]]) -> None:
        counts = tuple(tuple(int(count) for count in channel) for channel in channels)
        if len(counts) != CHANNELS or any(len(channel) != LEVELS for channel in counts):
            msg = f"a histogram has {CHANNELS} channels of {LEVELS} counts"
            raise ValueError(msg)
        # Slots and no setter in use: written once, here.
        object.__setattr__(self, "channels", counts)

    def __setattr__(self, name: str, _value: object) -> None:
        msg = f"a Histogram cannot change ({name})"
        raise AttributeError(msg)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.channels == other.channels

    def __hash__(self) -> int:
        return hash(self.channels)

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), (self.channels,)

    def __repr__(self) -> str:
        return f"<Histogram of {self.pixels} pixels>"

    # --- what an ICacheable must do ---

    def get_stable_hash(self) -> str:
        """Return the SHA-256 of the counts in their one fixed form."""
        return hashlib.sha256(self._packed()).hexdigest()

    def to_stream(self, stream: BinaryIO) -> None:
        """Write the counts as big-endian 64-bit integers."""
        stream.write(self._packed())

    @classmethod
    def from_stream(cls, stream: BinaryIO) -> Self:
        """Read what `to_stream` wrote."""
        counts = _LAYOUT.unpack(stream.read())
        return cls(counts[i : i + LEVELS] for i in range(0, len(counts), LEVELS))

    def _packed(self) -> bytes:
        return _LAYOUT.pack(*(count for channel in self.channels for count in channel))

    # --- what it tells ---

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return sum(self.channels[0])

    def levels(self) -> tuple[int, ...]:
        """Return the counts of all channels together."""
        return tuple(sum(counts) for counts in zip(*self.channels, strict=True))

    def mean(self) -> Fraction:
        """Return the exact mean level over all channels."""
        counts = self.levels()
        return Fraction(sum(level * count for level, count in enumerate(counts)), sum(counts))

    def quantile(self, share: Fraction) -> int:
        """Return the lowest level that at least this share of the samples do not exceed."""
        counts = self.levels()
        wanted = share * sum(counts)
        seen = 0
        for level, count in enumerate(counts):
            seen += count
            if seen >= wanted and seen:
                return level
        return LEVELS - 1
