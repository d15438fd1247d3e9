"""What a fingerprint is made of: parts, and bytes with links between them."""

from __future__ import annotations

from typing import Any, TypeAlias

from invariant_dask.core.cbor import head

Path: TypeAlias = tuple[str, ...]


class Part:
    """A function or class: its content is written when the walk comes to it."""

    __slots__ = ("chunks", "label", "path", "subject")

    def __init__(self, label: str, path: Path, subject: Any) -> None:
        self.label = label
        self.path = path
        self.subject = subject
        self.chunks: Chunks = []


Chunks: TypeAlias = "list[bytes | Part]"


def items(count: int) -> bytes:
    return head(4, count)


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return head(3, len(data)) + data


def raw(data: bytes) -> bytes:
    return head(2, len(data)) + data


def below(path: Path, step: str) -> Path:
    return (*path[:-1], path[-1] + step)


def readable(chunks: Chunks) -> bytes:
    """Return chunks with links written as labels: for showing and sorting, not for identity."""
    return b"".join(c if isinstance(c, bytes) else b"\xff" + text(c.label) for c in chunks)
