"""Sizes and ages as people write and read them."""

from __future__ import annotations

import re

from invariant_dask.errors import SpecError

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)
_SPANS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}
_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdwy])?\s*", re.IGNORECASE)


def parse_size(text: int | str | None, what: str = "size_limit") -> int | None:
    """Return a number of bytes given as such or as text, such as `10GB` or `512 MiB`.

    Raises
    ------
    SpecError
        If it is neither; `what` is what it is called there.
    """
    if text is None or (type(text) is int and text > 0):
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        number, unit, binary = match.groups()
        factor = _UNITS[unit.upper()]
        if binary:
            factor = {1000: 2**10, 1000**2: 2**20, 1000**3: 2**30, 1000**4: 2**40}.get(factor, 1)
        size = _times(number, factor)
        if size > 0:
            return size
    msg = f"{what}={text!r} is not a positive number of bytes, nor text such as '10GB'"
    raise SpecError(msg)


def parse_age(text: float | str | None, what: str = "max_age") -> int | None:
    """Return nanoseconds of an age given in seconds or as text, such as `30d` or `12h`.

    Raises
    ------
    SpecError
        If it is neither; `what` is what it is called there.
    """
    if text is None:
        return None
    if isinstance(text, int | float) and type(text) is not bool and 0 <= text < float("inf"):
        return int(text * SECOND)
    match = _AGE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        msg = f"{what}={text!r} is not a number of seconds, nor text such as '30d' or '12h'"
        raise SpecError(msg)
    return _times(match[1], _SPANS[(match[2] or "s").lower()])


def _times(number: str, factor: int) -> int:
    whole, _, part = number.partition(".")
    return int(whole) * factor + (int(part) * factor // 10 ** len(part) if part else 0)


def size_text(size: float) -> str:
    """Return a number of bytes for people, such as `1.5 GB`."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.95 or unit == "TB":
            break
    return f"{size:.1f} {unit}"


def age_text(nanoseconds: int) -> str:
    """Return an age for people, such as `3 d`."""
    for name, unit in (("y", 365 * DAY), ("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if nanoseconds >= 2 * unit:
            return f"{nanoseconds // unit} {name}"
    return f"{max(0, nanoseconds) // SECOND} s"


def seconds_text(nanoseconds: int) -> str:
    """Return how long something took for people, such as `29 us` or `1.5 s`."""
    for unit, name in ((SECOND, "s"), (10**6, "ms"), (10**3, "us")):
        if nanoseconds >= unit:
            number = nanoseconds / unit
            return f"{number:.1f} {name}" if number < 10 else f"{number:.0f} {name}"
    return f"{nanoseconds} ns"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things for people, such as `1 blob` or `2 blobs`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
