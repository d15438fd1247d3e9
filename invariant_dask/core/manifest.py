"""Manifests: the canonical dictionary of all that a node's result depends on.

A manifest is the CBOR array `[op identity, {parameter: descriptor}]`, with a third item for nodes
that must not meet any other. Its domain-separated SHA-256 is a planned digest while placeholders
stand in it, and the resolved digest once none do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from invariant_dask.core import cbor, scalars
from invariant_dask.core import encode as enc
from invariant_dask.core.decode import Hashed, PlannedRef, _Decoder, _no_blobs
from invariant_dask.core.digest import (
    DOMAIN_BUNDLE,
    DOMAIN_MANIFEST,
    BlobId,
    PlannedDigest,
    sha256,
)
from invariant_dask.core.files import FileContent

CODE_OP = "invariant:code"
"""The op of manifests under which stores keep how the code of ops reads; no op may have it."""

NONCE_SIZE = 16
"""Bytes drawn anew for each run, to keep ephemeral nodes apart."""


def assemble(op: bytes, fields: Iterable[tuple[bytes, bytes]], private: bytes = b"") -> bytes:
    """Return the manifest of an op identity and parameters, both encoded.

    Parameters
    ----------
    op
        The identity form of the op's identity.
    fields
        Encoded name and descriptor of each parameter, in canonical order of the names.
    private
        The encoded third item, for nodes that must not meet any other.
    """
    parts = [key + descriptor for key, descriptor in fields]
    head = b"\x83" if private else b"\x82"
    return head + op + cbor.head(5, len(parts)) + b"".join(parts) + private


def digest(manifest: bytes) -> bytes:
    """Return the digest of a manifest; its type is for the caller to say."""
    return sha256(DOMAIN_MANIFEST + manifest).digest()


def bundle_digest(outputs: Iterable[tuple[str, PlannedDigest]]) -> bytes:
    """Return the digest that names several outputs together."""
    joined = enc.encode([[name, planned] for name, planned in sorted(outputs)]).identity
    return sha256(DOMAIN_BUNDLE + joined).digest()


def private_item(node: str, nonce: bytes) -> bytes:
    """Return the third item of the manifest of a node that must not meet any other."""
    return (
        cbor.tagged(cbor.TAG_PRIVATE, 2)
        + scalars.encode_str(node)
        + cbor.head(2, len(nonce))
        + nonce
    )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest taken apart, to be explained: encoded op identity, encoded parameters."""

    op: bytes
    params: Mapping[str, bytes]

    @property
    def op_value(self) -> list[Any]:
        """The op's identity: name, kind, value, distributions."""
        value = render_value(self.op)
        return value if isinstance(value, list) else [value]


def parse(manifest: bytes) -> Manifest:
    """Take a manifest apart.

    Raises
    ------
    EncodingError
        If it is not one.
    """
    reader = _Reader(manifest, _no_blobs, (), None, False)
    major, count = reader.head()
    if major != 4 or count not in {2, 3}:
        reader.fail("not a manifest")
    private = count == 3
    op = reader.span()
    major, count = reader.head()
    if major != 5:
        reader.fail("a manifest without parameters")
    params: dict[str, bytes] = {}
    last = b""
    for _ in range(min(count, len(manifest))):
        start = reader.at
        name = reader.string()
        if manifest[start : reader.at] <= last:
            reader.fail("parameters are repeated or out of order")
        last = manifest[start : reader.at]
        params[name] = reader.span()
    if private:
        reader.private()
    if reader.at != len(manifest):
        reader.fail(f"{len(manifest) - reader.at} trailing bytes")
    return Manifest(op, params)


def render_value(encoded: bytes) -> Any:
    """Return a value to show for an identity form; what is only hashed becomes `Hashed`."""
    return _Reader(encoded, _no_blobs, (), None, False).item(0)


def render(encoded: bytes) -> str:
    """Return one short line of text for an identity form."""
    text = repr(render_value(encoded))
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True, slots=True, repr=False)
class _Shown:
    """Something whose text is more telling than its bytes."""

    text: str

    def __repr__(self) -> str:
        return self.text


class _Reader(_Decoder):
    """Reads identity forms, in which parts may be present as hashes only."""

    def span(self) -> bytes:
        start = self.at
        self.item(0)
        return self.data[start : self.at]

    def private(self) -> None:
        if self.head() != (6, cbor.TAG_PRIVATE):
            self.fail("a third item that is not that of an ephemeral node")
        self.array_of(2)
        self.string()
        self.raw(NONCE_SIZE)

    def hashed(self, _depth: int) -> Hashed:
        return Hashed(self.raw(32))

    def planned(self, _depth: int) -> PlannedRef:
        return PlannedRef(self.raw(32))

    def derived(self, depth: int) -> _Shown:
        if self.head() != (4, 4):
            self.fail("a derived value that is not [kind, version, source, inputs]")
        kind, _version, source, names = (self.item(depth + 1) for _ in range(4))
        if kind != "item":
            return _Shown(str(source))
        (name,) = names
        return _Shown(name + "".join(f"[{key!r}]" for key in source))

    def shown_array(self, _depth: int) -> _Shown:
        self.array_of(3)
        dtype = self.string()
        major, ndim = self.head()
        if major != 4:
            self.fail("not an array shape")
        shape = "x".join(str(self.integer()) for _ in range(min(ndim, 64)))
        self.item(0)
        return _Shown(f"<array {dtype} {shape}>")

    def shown_blob(self, _depth: int) -> _Shown:
        self.array_of(2)
        length = self.integer()
        return _Shown(f"<{length} bytes #{self.raw(32).hex()[:8]}>")

    def shown_fields(self, depth: int) -> _Shown:
        self.array_of(3)
        name, _identity = self.string(), self.string()
        return _Shown(f"{name}({self.item(depth + 1)!r})")

    def shown_stream(self, _depth: int) -> _Shown:
        self.array_of(3)
        name, _identity = self.string(), self.string()
        return _Shown(f"<{name} #{self.raw(32).hex()[:8]}>")

    def shown_file(self, _depth: int) -> _Shown:
        self.array_of(3)
        content = FileContent(self.integer(), BlobId(self.raw(32)), None, "")
        if not self.absent():
            self.string()
        return _Shown(f"<file of {content.length} bytes #{content.blob.hex()[:8]}>")


_Reader.tags = {
    **_Decoder.tags,
    cbor.TAG_HASHED: _Reader.hashed,
    cbor.TAG_REF: _Reader.planned,
    cbor.TAG_DERIVED: _Reader.derived,
    cbor.TAG_ARRAY: _Reader.shown_array,
    cbor.TAG_BLOB: _Reader.shown_blob,
    cbor.TAG_FIELDS: _Reader.shown_fields,
    cbor.TAG_STREAM: _Reader.shown_stream,
    cbor.TAG_FILE: _Reader.shown_file,
}
