"""Golden vectors: what was hashed once is hashed alike for ever, by us and by others.

Vectors are only ever added: whoever changes one breaks every store that is out there. A second,
tiny implementation of FORMAT.md checks that the page, and not just our encoder, gives these bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cacheable_values, same, text
from vectors import names, reference

from invariant_dask.core.decode import decode, verify
from invariant_dask.core.encode import encode, stable_hash
from invariant_dask.core.manifest import render_value
from invariant_dask.errors import IntegrityError

FOLDER = Path(names.__file__).parent
PATH = FOLDER / "values.json"
VECTORS = {vector["name"]: vector for vector in json.loads(PATH.read_text())}


@pytest.fixture(autouse=True)
def _types_of_vectors() -> None:
    names.bind()  # another test may have emptied the table


def value_of(name: str) -> Any:
    return names.evaluate(VECTORS[name]["value"])


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name) -> None:
    vector = VECTORS[name]
    encoded = encode(value_of(name))
    assert encoded.identity.hex() == vector["identity"]
    assert encoded.storage.hex() == vector.get("storage", vector["identity"])
    assert encoded.hash.hex() == vector["hash"]


@pytest.mark.parametrize("name", VECTORS)
def test_vector_comes_back(name) -> None:
    value = value_of(name)
    encoded = encode(value)
    again = decode(encoded.storage, fetch=lambda blob, _length: encoded.blobs[blob])
    assert same(again, value)


# How many there were at some time, and what they were. Add a line when adding vectors; a line that
# is here stays as it is.
GENERATIONS = {
    "values.json": [
        (111, "91f13c18dbf1b49bf9d80d6e23562255ee2f97df29d830c21cf4ce191d6e824c"),
        (138, "d8ce2af65c4c3fba6e744b8f3ee6c4eb97387e32ae84704f174624fcec204177"),
    ],
}


@pytest.mark.parametrize(
    ("name", "count", "digest"),
    [(name, *line) for name, lines in GENERATIONS.items() for line in lines],
)
def test_vectors_are_only_ever_added(name, count, digest) -> None:
    first = json.loads((FOLDER / name).read_text())[:count]
    assert hashlib.sha256(json.dumps(first).encode()).hexdigest() == digest


def test_every_vector_is_in_a_generation_and_has_a_name_and_hash_of_its_own() -> None:
    stored = json.loads(PATH.read_text())
    assert len(stored) == GENERATIONS["values.json"][-1][0]
    assert len({vector["name"] for vector in stored}) == len(stored)
    assert len({vector["hash"] for vector in stored}) == len(stored)


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_can_be_shown(name) -> None:
    # Identity forms, with hashes where values were, are what `explain` has to read.
    assert repr(render_value(encode(value_of(name)).identity))


@pytest.mark.parametrize("name", [name for name in VECTORS if len(VECTORS[name]["identity"]) < 300])
def test_every_other_byte_in_a_vector_is_refused_or_is_another_value(name) -> None:
    encoded = encode(value_of(name))

    def fetch(blob, _length):
        if blob not in encoded.blobs:
            raise IntegrityError("not at hand")
        return encoded.blobs[blob]

    for at in range(min(len(encoded.storage), 150)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            changed = bytearray(encoded.storage)
            changed[at] ^= flip
            try:
                value = decode(bytes(changed), fetch=fetch)
            except IntegrityError:
                continue
            again = encode(value)
            assert again.storage == bytes(changed)
            # Of a file, where it was seen is no part of the hash; all else is.
            if "FileContent" not in VECTORS[name]["value"]:
                assert again.hash != encoded.hash
                with pytest.raises(IntegrityError):
                    verify(bytes(changed), encoded.hash, fetch=fetch)


# --- a second implementation, from FORMAT.md alone ------------------------------------------------


def assert_agrees(value: Any) -> None:
    encoded, other = encode(value), names.for_reference(value)
    assert encoded.identity == reference.identity(other)
    assert encoded.storage == reference.storage(other)
    assert encoded.hash == reference.stable_hash(other)
    assert all(blob == reference.blob_id(data) for blob, data in encoded.blobs.items())


@pytest.mark.parametrize("name", VECTORS)
def test_another_implementation_gives_the_same_bytes(name) -> None:
    assert_agrees(value_of(name))


@given(cacheable_values())
def test_another_implementation_gives_the_same_bytes_for_any_value(value) -> None:
    assert_agrees(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | text | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(text, inner),
        max_leaves=20,
    )
)
def test_plain_data_is_stored_as_canonical_cbor(value) -> None:
    assert encode(value).storage == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize("name", VECTORS)
def test_another_library_reads_both_forms(name) -> None:
    for form in (encode(value_of(name)).identity, encode(value_of(name)).storage):
        again = cbor2.loads(form, tag_hook=lambda *args, **_: args, max_depth=1000)
        assert again is not None or name == "none"


# --- the boundaries -------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "collapsed"), [(126, False), (127, True)])
def test_a_child_above_128_bytes_is_replaced_by_its_hash(size, collapsed) -> None:
    item = b"x" * size  # and a head of two bytes
    identity = encode([item]).identity
    assert len(encode(item).identity) == size + 2
    if collapsed:
        assert identity == b"\x81" + bytes.fromhex("d9bea85820") + stable_hash(item)
    else:
        assert identity == b"\x81" + encode(item).identity


@pytest.mark.parametrize(("size", "count"), [(32768, 0), (32769, 1)])
def test_a_buffer_above_32_kib_becomes_a_blob(size, count) -> None:
    for value in (bytes(size), np.zeros(size, np.uint8)):
        encoded = encode(value)
        assert list(encoded.blobs.values()) == [bytes(size)] * count
        assert (len(encoded.storage) < 100) == bool(count)


def test_the_hash_of_a_list_depends_on_the_hashes_of_its_items_alone() -> None:
    items = ["a" * 500, np.arange(50_000), {"k": b"z" * 200}]
    head = bytes.fromhex("d9bea85820")
    expected = b"\x83" + b"".join(head + stable_hash(item) for item in items[:1])
    array, mapping = encode(items[1]), encode(items[2])
    assert len(array.identity) <= 128
    expected += array.identity + mapping.descriptor
    assert encode(items).identity == expected
