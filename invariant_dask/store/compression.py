"""Compress blobs with zstd where that pays; identity is of what comes out again.

A frame says how long its content is. That has to be what the record declares before anything is
allocated, so a stranger's frame cannot make a reader allocate more than the record says.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from invariant_dask.errors import IntegrityError, SpecError

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")

SAMPLE = 1 << 16
"""How many bytes at three places are tried, before the whole is compressed."""

GAIN = 0.9
"""What is not shortened to this part of its length is kept as it is."""

SMALLEST = 1024
LARGEST = 256 << 20
"""What is longer stays as it is: it is read in parts or mapped, not held in memory twice."""

LEVEL = 3

SUFFIX = ".zst"
"""What a frame's name has after that of the blob."""

HEADER = 18
"""No frame says more bytes about itself before its content begins."""

MISSING = "it is compressed, and reading it needs a library: pip install 'invariant-dask[zstd]'"

_WINDOW = 1 << 27


def is_available() -> bool:
    """Return whether the library is there."""
    try:
        import zstandard  # noqa: F401
    except ImportError:
        return False
    return True


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
    if not is_available():
        msg = "compression='zstd' needs a library: pip install 'invariant-dask[zstd]'"
        raise SpecError(msg)


def usable(compression: str | None, place: str) -> str | None:
    """Return what a process that works for a client can do of what the client asks for."""
    try:
        check_available(compression)
    except SpecError as error:
        logger.warning("%s: blobs are written uncompressed here: %s", place, error)
        return None
    return compression


def may_be_frame(length: int) -> bool:
    """Return whether content of this length may be in a frame that can be read here."""
    return 0 < length <= LARGEST and is_available()


def compress(data: Buffer) -> bytes | None:
    """Return a zstd frame, or None where that would not pay."""
    view = memoryview(data).cast("B")
    if not SMALLEST <= len(view) <= LARGEST:
        return None
    compressor = _compressor()
    if len(view) > 4 * SAMPLE:
        middle = len(view) // 2
        parts = view[:SAMPLE], view[middle : middle + SAMPLE], view[-SAMPLE:]
        if sum(len(compressor.compress(part)) for part in parts) > GAIN * 3 * SAMPLE:
            return None
    frame: bytes = compressor.compress(view)
    return frame if len(frame) <= GAIN * len(view) else None


def decompress(frame: Buffer, length: int) -> bytes:
    """Return the content of a frame, which must have exactly this length.

    Raises
    ------
    IntegrityError
        If it is damaged, or says anything else; nothing is allocated for its content then.
    """
    import zstandard

    view = memoryview(frame).cast("B")
    check_size(len(view), length)
    try:
        says = zstandard.get_frame_parameters(view)
        if says.content_size != length:
            _refuse(f"says that its content has {says.content_size} bytes", length)
        if says.window_size > max(length, _WINDOW):
            _refuse(f"wants a window of {says.window_size} bytes", length)
        content: bytes = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompress(
            view, max_output_size=length, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise IntegrityError(f"a zstd frame of {len(view)} bytes: {error}") from error
    if len(content) != length:
        _refuse(f"has {len(content)} bytes of content", length)
    return content


def check_size(size: int, length: int) -> None:
    """Refuse a frame that has not fewer bytes than its content, before it is read.

    Raises
    ------
    IntegrityError
        If that is so.
    """
    if not 0 < size <= length <= LARGEST:
        _refuse(f"has {size} bytes", length)


def _refuse(what: str, length: int) -> None:
    raise IntegrityError(f"a zstd frame {what}, and should hold {length}")


def content_length(header: bytes) -> int | None:
    """Return the length that a frame declares in its first bytes; None if it is none of ours."""
    if not is_available():
        return None
    import zstandard

    try:
        length: int = zstandard.get_frame_parameters(header).content_size
    except zstandard.ZstdError:
        return None
    return length if 0 < length <= LARGEST else None


def _compressor() -> Any:
    import zstandard

    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
