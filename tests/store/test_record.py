"""Entries are canonical, and whatever disagrees with its key is refused."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import BlobId, PlannedDigest, ResolvedDigest, blob_id
from invariant_dask.core.encode import INLINE_LIMIT, encode, stable_hash
from invariant_dask.errors import IntegrityError, SpecError
from invariant_dask.store.about import About
from invariant_dask.store.keys import SigningKey
from invariant_dask.store.naming import parse_digest
from invariant_dask.store.record import (
    PlannedEntry,
    Record,
    check_artifact,
    join_inputs,
    parse_entry,
    sign_entry,
)
from invariant_dask.testing import sample_manifest

ABOUT = About("sample:op", "node", "run", "writer", 12, 34)


def record_of(value: object, **params: object) -> Record:
    encoded = encode(value)
    manifest = sample_manifest(**params)
    blobs = tuple(sorted((blob, len(data)) for blob, data in encoded.blobs.items()))
    inline = len(encoded.storage) <= INLINE_LIMIT
    return Record(
        ResolvedDigest(manifests.digest(manifest)), manifest, encoded.descriptor,
        type(value).__name__, encoded.size, encoded.storage if inline else None,
        None if inline else (blob_id(encoded.storage), len(encoded.storage)),
        blobs, ABOUT.to_bytes(),
    )  # fmt: skip


INPUTS = (
    (PlannedDigest(b"a" * 32), stable_hash(2)),
    (PlannedDigest(b"b" * 32), stable_hash(3)),
)
ENTRY = PlannedEntry(
    PlannedDigest(b"p" * 32), ResolvedDigest(b"r" * 32), stable_hash(1),
    join_inputs(INPUTS),
    "writer", 99,
)  # fmt: skip

VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(value=VALUES, params=st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_record_comes_back_from_its_bytes(value: object, params: dict[str, int]) -> None:
    encoded = record_of(value)
    manifest = manifests.assemble(encode([1]).identity, [])
    resolved = ResolvedDigest(manifests.digest(manifest))
    record = encoded._replace(manifest=manifest, resolved=resolved)
    assert Record.from_bytes(record.resolved, record.to_bytes()) == record


@pytest.mark.parametrize(
    "value", [b"x" * 40_000, list(range(30_000)), [*range(30_000), b"x" * 40_000, b"y" * 40_000]]
)
def test_record_with_blobs_comes_back_from_its_bytes(value: object) -> None:
    record = record_of(value)
    back = Record.from_bytes(record.resolved, record.to_bytes())
    assert back == record
    assert sum(length for _, length in back.parts) + len(back.storage or b"") == back.size


@given(
    about=st.builds(
        About, op=st.text(), node=st.text(), run=st.text(), writer=st.text(),
        nanoseconds=st.integers(0, 2**62), created=st.integers(0, 2**62),
    )
)  # fmt: skip
def test_about_comes_back_from_its_bytes(about: About) -> None:
    assert About.from_bytes(about.to_bytes()) == about


def test_planned_entry_comes_back_from_its_bytes() -> None:
    assert parse_entry(ENTRY.planned, ENTRY.to_bytes()) == ENTRY
    assert ENTRY.inputs == INPUTS
    bare = ENTRY._replace(joined=b"")
    assert parse_entry(bare.planned, bare.to_bytes()) == bare


def test_every_flipped_bit_is_noticed() -> None:
    record = record_of([1, "a"])
    for digest, data in (
        (record.resolved, record.to_bytes()), (ENTRY.planned, ENTRY.to_bytes()),
    ):  # fmt: skip
        for at in range(len(data)):
            for bit in (1, 0x80):
                bad = data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]
                with pytest.raises(IntegrityError):
                    parse_entry(digest, bad)


def test_every_truncation_and_extension_is_noticed() -> None:
    record = record_of([1, "a"])
    data = record.to_bytes()
    for size in range(len(data)):
        with pytest.raises(IntegrityError):
            parse_entry(record.resolved, data[:size])
    with pytest.raises(IntegrityError):
        parse_entry(record.resolved, data + b"\0")


def test_entry_under_another_digest_is_refused() -> None:
    record, other = record_of(1, n=1), record_of(1, n=2)
    with pytest.raises(IntegrityError, match="checksum"):
        Record.from_bytes(other.resolved, record.to_bytes())
    with pytest.raises(IntegrityError, match="checksum"):
        PlannedEntry.from_bytes(b"q" * 32, ENTRY.to_bytes())


def test_planned_entry_is_no_record() -> None:
    with pytest.raises(IntegrityError, match="kind"):
        Record.from_bytes(ENTRY.planned, ENTRY.to_bytes())
    record = record_of(1)
    with pytest.raises(IntegrityError, match="kind"):
        PlannedEntry.from_bytes(record.resolved, record.to_bytes())


SMALL, LARGE = record_of([1]), record_of([b"x" * 40_000, b"y" * 40_000])


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (SMALL._replace(manifest=sample_manifest(n=9)), "another digest"),
        (SMALL._replace(descriptor=b"x" * 129), "descriptor"),
        (SMALL._replace(descriptor=b""), "descriptor"),
        (SMALL._replace(size=7), "size"),
        (SMALL._replace(storage=None), "storage form"),
        (SMALL._replace(storage=b"x" * 32_769, size=32_769), "too long"),
        (LARGE._replace(blobs=LARGE.blobs[::-1]), "order"),
        (LARGE._replace(blobs=LARGE.blobs[:1] * 2), "repeated"),
        (LARGE._replace(blobs=((LARGE.blobs[0][0], 5),)), "no blob"),
        (LARGE._replace(storage=None, storage_blob=(BlobId(b"b" * 32), 10)), "no blob"),
    ],
)
def test_record_that_contradicts_itself_is_refused(forged: Record, message: str) -> None:
    # The checksum holds: this is what somebody else's careless or malicious writer stores.
    with pytest.raises(IntegrityError, match=message):
        Record.from_bytes(forged.resolved, forged.to_bytes())


def test_planned_entry_that_points_to_itself_is_refused() -> None:
    forged = ENTRY._replace(resolved=ResolvedDigest(ENTRY.planned))
    with pytest.raises(IntegrityError, match="points to itself"):
        parse_entry(forged.planned, forged.to_bytes())


def test_damaged_explanation_is_refused_when_it_is_read() -> None:
    for damaged in (ABOUT.to_bytes() + b"\0", ABOUT.to_bytes()[:-1], b"", b"\xff" * 40):
        with pytest.raises(IntegrityError):
            About.from_bytes(damaged)


def test_artifact_is_checked_without_decoding_where_hashing_is_enough() -> None:
    value = [b"x" * 40_000, b"x" * 40_000, "text"]
    encoded, record = encode(value), record_of(value)
    check_artifact(record, encoded.storage, encoded.blobs)
    with pytest.raises(IntegrityError):
        check_artifact(record, encode([1]).storage, encoded.blobs)


def test_artifact_with_two_forms_is_checked_by_decoding() -> None:
    value = [list(range(1000))]  # a child this long enters the identity by its hash
    encoded, record = encode(value), record_of(value)
    assert encoded.identity != encoded.storage
    check_artifact(record, encoded.storage, encoded.blobs)
    with pytest.raises(IntegrityError):
        check_artifact(record, encode([list(range(1001))]).storage, {})


def test_artifact_that_refers_to_a_blob_its_record_does_not_list_is_refused() -> None:
    value = [b"x" * 40_000, b"y" * 40_000]
    encoded, record = encode(value), record_of(value)
    with pytest.raises(IntegrityError, match="does not list"):
        check_artifact(record._replace(blobs=()), encoded.storage, {})


def test_digest_is_read_from_each_way_of_writing_it() -> None:
    raw = bytes(range(32))
    for form in (raw, raw.hex(), f"value-{raw.hex()}", f"stdlib-add-{raw.hex()}"):
        assert parse_digest(form) == raw
    for wrong in ("", "abc", raw.hex().upper(), raw.hex() + "0", b"abc", raw.hex() + "-x"):
        with pytest.raises(SpecError):
            parse_digest(wrong)


def test_entry_bytes_are_pinned() -> None:
    # A change here is a change of the layout version of every store.
    record = record_of([1, "a"], n=1)
    assert (record.to_bytes()[:32].hex(), ENTRY.to_bytes()[:32].hex()) == (
        PINNED_RECORD,
        PINNED_ENTRY,
    )


def test_signed_entries_are_pinned_and_say_what_the_page_says() -> None:
    key = SigningKey("vector", bytes(range(32)))
    record = record_of([1, "a"], n=1)
    domains = b"invariant-dask/v1/signed-record\0", b"invariant-dask/v1/signed-planned\0"
    pinned = PINNED_SIGNED_RECORD, PINNED_SIGNED_ENTRY
    for entry, digest, domain, expected in zip(
        (record, ENTRY), (record.resolved, ENTRY.planned), domains, pinned, strict=True
    ):  # fmt: skip
        plain = entry.to_bytes()
        data, signature = sign_entry(digest, plain, key.sign)
        # By hand: the public key, and what it signed.
        fields = plain[32:]
        assert data[32:] == fields + signature
        assert signature[:32] == key.public.raw
        public = Ed25519PublicKey.from_public_bytes(signature[:32])
        public.verify(signature[32:], domain + hashlib.sha256(digest + fields).digest())
        assert data[:32].hex() == expected
        assert parse_entry(digest, data) == entry._replace(signature=signature)
        assert parse_entry(digest, data).to_bytes() == data
        for size in range(1, 97):
            with pytest.raises(IntegrityError):
                parse_entry(digest, data[:-size])


PINNED_SIGNED_RECORD = "30822065d8c0972824ba667f80bd8f6ac74082ed5e36f3ed9e7674e0bbe35249"
PINNED_SIGNED_ENTRY = "c7037f1224289e23dff823720850638fef3c347c34f7f708245edfd5265ea622"
PINNED_RECORD = "4a23b91d5c24af6d5b4c4d615341247d7b8ceb9f8125425ebf8a450ac1cd9dd0"
PINNED_ENTRY = "a0916859dd1f9a482dcd128f4b9bd599cc8adb8cf592cf3f766dc013a1c1af28"
