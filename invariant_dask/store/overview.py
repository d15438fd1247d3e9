"""What is in a store, for people: numbers, lists, one artifact with all that leads to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from invariant_dask.core.digest import BlobId
from invariant_dask.core.manifest import CODE_OP
from invariant_dask.errors import ArtifactNotFoundError, SpecError
from invariant_dask.store.about import About
from invariant_dask.store.base import Store
from invariant_dask.store.budget import Budget, read_budget
from invariant_dask.store.keeper import SeenEntry
from invariant_dask.store.naming import names_digest, parse_digest
from invariant_dask.store.notes import keeper_of, pins_of, read_roots, sound_entries
from invariant_dask.store.record import PlannedEntry, Record
from invariant_dask.store.signers import Signer, signer_of

_CLAIMS = 1000
"""How many planned entries are looked at, of those that may lead to a record."""


@dataclass
class OfOp:
    """What there is of one op."""

    records: int = 0
    size: int = 0
    """Bytes of the records and of the blobs that they name; what several name counts for each."""
    used: int = 0
    """When any of it was last used."""


@dataclass
class Overview:
    """What there is in a store."""

    records: int = 0
    planned: int = 0
    blobs: int = 0
    unnamed: int = 0
    """Blobs that no record names."""
    damaged: int = 0
    signed: int = 0
    """Records that carry a signature; whose, and whether it holds, is not looked at."""
    lost: int = 0
    """Records of which a blob is gone."""
    size: int = 0
    """Bytes of entries and blobs."""
    size_of_unnamed: int = 0
    aside: int = 0
    """Damaged things that were set aside."""
    size_of_aside: int = 0
    pins: int = 0
    runs: int = 0
    """Runs that rely on something here now."""
    budget: Budget = field(default_factory=Budget)
    ops: dict[str, OfOp] = field(default_factory=dict)
    codes: OfOp = field(default_factory=OfOp)
    """How the code of ops read, kept to explain reruns; not among the records of ops."""


def overview(store: Store) -> Overview:
    """Return what there is in a store in a folder or bucket."""
    keeper = keeper_of(store)
    blobs = {seen.blob: seen.size for seen in keeper.blobs() if seen.is_there}
    told = Overview(blobs=len(blobs), size=sum(blobs.values()))
    named: set[BlobId] = set()
    ops: defaultdict[str, OfOp] = defaultdict(OfOp)
    for entry in keeper.entries():
        told.size += entry.size
        told.damaged += entry.damaged
        if entry.target is not None:
            told.planned += 1
        elif not entry.damaged:
            is_code = entry.op == CODE_OP
            told.records += not is_code
            told.signed += entry.signed and not is_code
            told.lost += not blobs.keys() >= set(entry.blobs)
            named.update(entry.blobs)
            of_op = told.codes if is_code else ops[entry.op]
            of_op.records += 1
            of_op.size += entry.size + sum(blobs.get(blob, 0) for blob in entry.blobs)
            of_op.used = max(of_op.used, entry.used)
    told.ops = dict(sorted(ops.items()))
    told.unnamed = len(blobs.keys() - named)
    told.size_of_unnamed = sum(blobs[blob] for blob in blobs.keys() - named)
    aside = keeper.aside()
    told.aside, told.size_of_aside = len(aside), sum(seen.size for seen in aside)
    told.pins = len(pins_of(keeper))
    told.runs = read_roots(keeper, keeper.now()).runs
    told.budget = read_budget(keeper)
    return told


class Listed(NamedTuple):
    """A record in a list."""

    digest: bytes
    op: str
    size: int
    """Bytes of the record and of the blobs that it names."""
    created: int
    used: int
    planned: tuple[bytes, ...]
    """The planned digests that lead to it."""


def list_records(store: Store, op: str = "") -> list[Listed]:
    """Return the records of ops whose name starts with `op`, the last used first.

    How the code of ops read is listed only if it is asked for by its whole name.
    """
    keeper = keeper_of(store)
    sizes = {seen.blob: seen.size for seen in keeper.blobs()}
    records: list[SeenEntry] = []
    claims: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for entry in keeper.entries():
        if entry.target is not None:
            claims[entry.target].append(entry.digest)
        elif entry.op == CODE_OP and op != CODE_OP:
            continue
        elif not entry.damaged and entry.op.startswith(op):
            records.append(entry)
    records.sort(key=lambda entry: (-entry.used, entry.digest))
    return [
        Listed(
            entry.digest, entry.op, entry.size + sum(sizes.get(blob, 0) for blob in entry.blobs),
            entry.created, entry.used, tuple(sorted(claims.get(entry.digest, ()))),
        )
        for entry in records
    ]  # fmt: skip


class Input(NamedTuple):
    """What an op was given by another node."""

    planned: bytes
    hash: bytes
    op: str
    """Empty, as is the node, if what made it is not stored here any more."""
    node: str


class Shown(NamedTuple):
    """An artifact with all that is known of it."""

    record: Record
    asked: PlannedEntry | None
    """The planned entry that was asked for, if it was one."""
    missing: tuple[BlobId, ...]
    files: tuple[Path, ...]
    """Files of its blobs on this machine."""
    is_pinned: bool
    claim: PlannedEntry | None = None
    """The planned entry that was asked for, or else the latest one that leads to the record."""
    inputs: tuple[Input, ...] = ()
    """What the claim says that went in; a record alone tells of values, not where they are from."""
    signer: Signer | None = None
    claim_signer: Signer | None = None


def show(store: Store, digest: bytes | str) -> Shown:
    """Return what is known of the artifact under a planned or resolved digest.

    Parameters
    ----------
    store
        A store in a folder or bucket.
    digest
        Raw, in hexadecimal, as a Dask key, or the first digits of one if no other starts so.

    Raises
    ------
    ArtifactNotFoundError
        If nothing is stored there.
    SpecError
        If several digests start so.
    TrustError
        If it is signed, and the keys that this user trusts cannot be read.
    """
    raw = complete(store, digest)
    keeper = keeper_of(store)
    rows, entries = _followed(store, [raw])
    asked = entries.get(raw)
    planned = asked if isinstance(asked, PlannedEntry) else None
    record = entries.get(planned.resolved) if planned is not None else asked
    if not isinstance(record, Record):
        raise ArtifactNotFoundError(digest=raw.hex(), store=store.url)
    claim = planned
    if claim is None:
        claims = keeper.claims_on(raw, record.about.op)[:_CLAIMS]
        more, found = _followed(store, claims)
        rows |= more
        leading = (found.get(each) for each in claims)
        claim = max(
            (each for each in leading if isinstance(each, PlannedEntry) and each.resolved == raw),
            key=lambda each: each.created, default=None,
        )  # fmt: skip
    there = store._has_blobs(record.parts)  # noqa: SLF001
    files = (keeper.path_of(blob) for blob, _ in record.parts if blob in there)
    pinned = {pin.digest for pin in pins_of(keeper)}
    trust = store.terms.trust
    return Shown(
        record, planned,
        tuple(blob for blob, _ in record.parts if blob not in there),
        tuple(path for path in files if path is not None),
        not pinned.isdisjoint({raw, record.resolved}),
        claim,
        () if claim is None else _inputs(store, claim),
        signer_of(trust, record.resolved, rows[record.resolved], record.signature),
        None if claim is None
        else signer_of(trust, claim.planned, rows[claim.planned], claim.signature),
    )  # fmt: skip


def _followed(
    store: Store, digests: Sequence[bytes]
) -> tuple[dict[bytes, bytes], dict[bytes, Record | PlannedEntry]]:
    """Return entries and those that they point to, as bytes and read."""
    rows = dict(store._read_entries(digests))  # noqa: SLF001
    entries = sound_entries(store, rows)
    targets = {each.resolved for each in entries.values() if isinstance(each, PlannedEntry)}
    if further := targets.difference(entries):
        more = store._read_entries(list(further))  # noqa: SLF001
        rows |= more
        entries |= sound_entries(store, more)
    return rows, entries


def _inputs(store: Store, claim: PlannedEntry) -> tuple[Input, ...]:
    _, entries = _followed(store, [planned for planned, _ in claim.inputs])
    inputs = []
    for planned, given in claim.inputs:
        about = _about(entries, planned)
        inputs.append(Input(planned, given, about.op, about.node))
    return tuple(inputs)


def _about(entries: Mapping[bytes, Record | PlannedEntry], digest: bytes) -> About:
    entry = entries.get(digest)
    record = entries.get(entry.resolved) if isinstance(entry, PlannedEntry) else entry
    return record.about if isinstance(record, Record) else About("")


class Pinned(NamedTuple):
    """A pin, and what of."""

    digest: bytes
    by: str
    reason: str
    since: int
    op: str
    """Empty, as is the node, if nothing is stored there any more."""
    node: str


def pinned(store: Store) -> list[Pinned]:
    """Return all pins with the op and node of what is pinned, the latest last."""
    found = sorted(pins_of(keeper_of(store)), key=lambda pin: (pin.since, pin.digest))
    _, entries = _followed(store, [pin.digest for pin in found])
    told = []
    for pin in found:
        about = _about(entries, pin.digest)
        told.append(Pinned(*pin, about.op, about.node))
    return told


def complete(store: Store, digest: bytes | str) -> bytes:
    """Return a digest of which perhaps only the first digits are given."""
    if not isinstance(digest, str) or names_digest(digest):
        return parse_digest(digest)
    start = digest.lower()
    if len(start) < 4 or start.strip("0123456789abcdef"):
        msg = f"{digest!r} is no digest: give 64 hexadecimal digits, or at least the first 4"
        raise SpecError(msg)
    found = {e.digest for e in keeper_of(store).entries() if e.digest.hex().startswith(start)}
    if not found:
        raise ArtifactNotFoundError(digest=digest, store=store.url)
    if len(found) > 1:
        few = ", ".join(sorted(each.hex()[: len(start) + 6] for each in found)[:3])
        raise SpecError(f"{len(found)} digests start with {digest}: {few}; give more digits")
    return found.pop()
