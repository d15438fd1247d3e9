"""Why look-ups were misses, for as many digests as are worth remembering."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

_REMEMBERED = 10_000

DAMAGED = "damaged: "
"""What the reason begins with where bytes are not what they should be."""


def lost(reason: str) -> str:
    """Return the reason of a miss of what was there before: it was lost, if not damaged."""
    return reason if reason.startswith(DAMAGED) else f"lost: {reason}"


class Misses:
    """The reasons of the latest misses, by digest.

    A reason stays until the digest is found again: what was set aside is absent from then on, and
    that is still why. One that was never seen has none.
    """

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        # No lock: each operation is one step for the interpreter, and a fork finds none held.
        self._reasons: OrderedDict[bytes, str] = OrderedDict()

    def note(self, digest: bytes, reason: str) -> None:
        """Remember why a digest is a miss."""
        self._reasons[digest] = reason
        if len(self._reasons) > self._most:
            self._reasons.popitem(last=False)

    def found(self, digests: Iterable[bytes]) -> None:
        """Forget the reasons of digests that are no misses any longer."""
        if self._reasons:
            for digest in digests:
                self._reasons.pop(digest, None)

    def why(self, digest: bytes) -> str:
        """Return the reason, or nothing."""
        return self._reasons.get(digest, "")
