"""What following a plan will cost, in bytes and seconds, and how that reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

_NORMAL = 1.349
"""The middle half of a normal distribution is so many standard deviations wide."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What one call of an op takes, in nanoseconds."""

    median: int
    spread: int
    """Standard deviation, as the middle half of what was seen suggests."""
    seen: int
    """How many calls that is known from."""

    @classmethod
    def of(cls, took: Sequence[int]) -> Expected | None:
        """Return what calls that took so long let expect; None if there were none."""
        if not took:
            return None
        if len(took) == 1:
            return cls(took[0], 0, 1)
        low, median, high = quantiles(took, n=4, method="inclusive")
        return cls(round(median), round((high - low) / _NORMAL), len(took))


@dataclass(frozen=True, slots=True)
class Cost:
    """What following a plan will cost."""

    seconds: float
    """Of all ops whose calls were timed before."""
    spread: float
    """Standard deviation of that, in seconds."""
    longest: float
    """Seconds of the longest chain of calls that wait for each other: no run is faster."""
    load_bytes: int
    """Bytes of stored artifacts that enter what runs."""
    untimed: tuple[str, ...]
    """Ops that were never timed, the most frequent first; they are left out of the seconds."""
    untimed_nodes: int

    def __str__(self) -> str:
        parts = []
        if self.seconds:
            parts.append(
                f"about {span(self.seconds)} of work (± {span(self.spread)}), "
                f"at least {span(self.longest)} long"
            )
        if self.untimed:
            ops = ", ".join(self.untimed[:3])
            more = f" and {len(self.untimed) - 3} more" if len(self.untimed) > 3 else ""
            count = "1 node" if self.untimed_nodes == 1 else f"{self.untimed_nodes} nodes"
            parts.append(f"{count} of ops never timed before ({ops}{more})")
        return "; ".join(parts) or "no work"


def span(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
