"""Amounts as people read them: times, counts, shares of a whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 253_402_300_799 * 10**9  # the end of the year 9999


def seconds_text(seconds: float) -> str:
    """Return a time span for people, such as `1.20 s` or `2 h 05 min`."""
    if seconds < 0:
        return f"-{seconds_text(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400:,} d {whole % 86400 // 3600} h"


def span_text(nanoseconds: int) -> str:
    """Return a time span given in nanoseconds."""
    return seconds_text(nanoseconds / 1e9)


def moment_text(nanoseconds: int) -> str:
    """Return a moment, given in nanoseconds since 1970, in UTC; nothing if nobody told it."""
    if not 0 < nanoseconds <= _LAST:
        return ""
    moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def count_text(count: int, what: str, many: str = "") -> str:
    """Return a number of things, such as `1 node` or `2,000 nodes`."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def share_text(part: float, whole: float) -> str:
    """Return a part of a whole in percent."""
    if whole <= 0:
        return ""
    return "less than 1%" if 0 < part / whole < 0.005 else f"{100 * part / whole:.0f}%"
