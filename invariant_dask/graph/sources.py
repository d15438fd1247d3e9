"""Where documents come from: the one place of this package that opens files.

A source is text with a name, a format, and the folder that its grafts lie in.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from invariant_dask.errors import DocumentError
from invariant_dask.graph.positions import Fault, place_of

MAX_SIZE = 16 * 1024 * 1024
"""Longest document that is read unless told otherwise, in bytes."""

Format = Literal["json", "yaml"]
_SUFFIXES: dict[str, Format] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_CONTENT_TYPES: dict[str, Format] = {
    "application/json": "json",
    "application/vnd.invariant.graph+json": "json",
    "application/vnd.invariant.graph+yaml": "yaml",
    "application/x-yaml": "yaml",
    "application/yaml": "yaml",
    "text/yaml": "yaml",
}


@dataclass(frozen=True)
class Source:
    """The text of a document.

    Attributes
    ----------
    text
        All of it.
    name
        What errors call it.
    format
        How to read it.
    folder
        Where the files lie that it may graft.
    identity
        What tells whether two sources are the same.
    """

    text: str
    name: str
    format: Format
    folder: Path | None = None
    identity: str = ""


def find_source(
    source: str | bytes | os.PathLike[str],
    format: str,  # noqa: A002  as in `load_document`
    name: str,
    folder: str | os.PathLike[str] | None,
    limit: int,
) -> Source:
    """Return the source that a path or text stands for.

    Raises
    ------
    DocumentError
        If there is no such file, it cannot be read, or is longer than `limit` bytes.
    """
    if format not in {"auto", "json", "yaml"}:
        raise DocumentError(f"the format is 'auto', 'json' or 'yaml', not {format!r}", source=name)
    is_text = isinstance(source, bytes) or (
        isinstance(source, str) and ("\n" in source or source.lstrip()[:1] in {"{", ""})
    )
    if not isinstance(source, str | bytes | os.PathLike):
        raise DocumentError(
            f"a document is a path, text or a mapping, not {type(source).__name__}", source=name
        )
    try:
        if not is_text:
            assert not isinstance(source, bytes)
            return _open(Path(source), format, limit)
        assert isinstance(source, str | bytes)
        text = _decode(source, limit)
        base = None if folder is None else Path(folder)
        return Source(text, name, _detect(format, "", text), base, name)
    except Fault as fault:
        line, column = fault.place or (0, 0)
        shown = name if is_text else os.fsdecode(source)
        raise DocumentError(fault.reason, source=shown, line=line, column=column) from None


def find_resource(resource: str, folder: Path | None, limit: int) -> Source:
    """Return the document that a graft names: a file beside the other, or a known resource.

    Raises
    ------
    Fault
        If there is none.
    """
    if Path(resource).is_absolute():
        raise Fault(f"{resource!r} is an absolute path; write it relative to this document")
    if folder is not None and (folder / resource).is_file():
        return _open(folder / resource, "auto", limit)
    beside = f"there is no file {resource!r} in {str(folder)!r}"
    if folder is None:
        beside = "this document is no file, so nothing lies beside it"
    try:
        registry = importlib.import_module("justmyresource").get_default_registry()
    except ImportError:
        raise Fault(f"no document {resource!r}: {beside}, and justmyresource is absent") from None
    try:
        content = registry.get_resource(resource)
    except Exception as error:  # resource packs are other people's code
        raise Fault(f"no document {resource!r}: {beside}, and {error}") from error
    return _from_registry(resource, content, limit)


def _from_registry(resource: str, content: Any, limit: int) -> Source:
    declared = getattr(content, "content_type", None)
    known = str(declared or "").partition(";")[0].strip().lower()
    format_ = _CONTENT_TYPES.get(known) or _SUFFIXES.get(Path(resource).suffix.lower())
    if format_ is None:
        raise Fault(f"{resource!r} is {declared or 'of no known type'}, not a graph document")
    text: Any = getattr(content, "text", None)
    if not isinstance(text, str):
        text = getattr(content, "data", b"")
        encoding = getattr(content, "encoding", None) or "utf-8"
        if isinstance(text, bytes) and encoding.lower() not in {"utf-8", "utf8"}:
            text = text.decode(encoding, errors="replace")
    return Source(_decode(text, limit), resource, format_, None, f"resource {resource}")


def _open(path: Path, format_: str, limit: int) -> Source:
    try:
        if not path.is_file():
            raise Fault("there is no such file; a text has several lines or starts with {")
        size = path.stat().st_size
        if size > limit:
            _refuse_size(size, limit)
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise Fault(f"cannot be read: {error}") from None
    text = _decode(data, limit)
    detected = _detect(format_, path.suffix.lower(), text)
    return Source(text, str(path), detected, path.parent, str(path.resolve()))


def _decode(data: str | bytes, limit: int) -> str:
    if len(data) > limit:
        _refuse_size(len(data), limit)
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace")
        raise Fault("not UTF-8 text", place=place_of(before, len(before))) from None


def _refuse_size(size: int, limit: int) -> None:
    raise Fault(f"{size:,} bytes are more than {limit:,}; pass max_size= to read it all the same")


def _detect(format_: str, suffix: str, text: str) -> Format:
    if format_ == "json" or format_ == "yaml":  # noqa: PLR1714  narrows the type
        return format_  # type: ignore[return-value]
    return _SUFFIXES.get(suffix) or ("json" if text.lstrip()[:1] in {"{", "["} else "yaml")
