"""Compress blobs with zstd where that pays; identity is of what comes out again.

A frame says how long its content is. That has to be what the record declares before anything is
allocated, so a stranger's frame cannot make a reader allocate more than the record says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invariant_dask.errors import SpecError

if TYPE_CHECKING:
    from typing_extensions import Buffer

SAMPLE = 1 << 16
"""How many bytes at three places are tried, before the whole is compressed."""

GAIN = 0.9
"""What is not shortened to this part of its length is kept as it is."""

SMALLEST = 1024
LEVEL = 3


def check_available(compression: str | None) -> None:
    """Refuse what cannot be done here.

    Raises
    ------
    SpecError
        If there is no such compression, or its library is missing.
    """
    if compression is None:
        return
    if compression != "zstd":
        raise SpecError(f"compression={compression!r}; there are 'zstd' and None")
    try:
        import zstandard  # noqa: F401
    except ImportError:
        msg = "compression='zstd' needs a library: pip install 'invariant-dask[zstd]'"
        raise SpecError(msg) from None


def compress(data: Buffer) -> bytes | None:
    """Return a zstd frame, or None where that would not pay."""
    view = memoryview(data).cast("B")
    if len(view) < SMALLEST:
        return None
    compressor = _compressor()
    if len(view) > 4 * SAMPLE:
        middle = len(view) // 2
        parts = view[:SAMPLE], view[middle : middle + SAMPLE], view[-SAMPLE:]
        if sum(len(compressor.compress(part)) for part in parts) > GAIN * 3 * SAMPLE:
            return None
    frame: bytes = compressor.compress(view)
    return frame if len(frame) <= GAIN * len(view) else None


def decompress(frame: Buffer, length: int) -> bytes | None:
    """Return the content of a frame, or None if it is damaged or not of that length."""
    import zstandard

    view = memoryview(frame).cast("B")
    try:
        if zstandard.frame_content_size(view) != length:
            return None
        content: bytes = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(
            view, max_output_size=length, allow_extra_data=False
        )
    except zstandard.ZstdError:
        return None
    return content if len(content) == length else None


def _compressor() -> Any:
    import zstandard

    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
