"""Decoded values cannot be changed by accident; registered types come back as they were."""

from __future__ import annotations

import copy
import mmap
import operator
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from invariant_dask.core import types
from invariant_dask.core.decode import decode
from invariant_dask.core.encode import encode, stable_hash
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import (
    IntegrityError,
    NotCacheableError,
    RegistrationError,
    UnknownTypeError,
)
from invariant_dask.ops.types import cacheable

# --- sealed containers ----------------------------------------------------------------------------


def changed_by(plain: type, name: str) -> bool:
    """Return whether some call of a method changes a plain container."""
    full = [3, 1, 2] if plain is list else {"b": 1, "a": 2}
    extra = [9] if plain is list else {"z": 9}
    for arguments in ((), (0,), ("a",), (0, 9), ("a", 9), ("z", 9), (extra,), (9,), (3,)):
        value = copy.copy(full)
        try:
            getattr(value, name)(*arguments)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            continue
        if value != full or list(value) != list(full):
            return True
    return False


# Found by trying, so that a mutator that a later Python adds is found too.
MUTATORS = [
    (sealed, name)
    for sealed, plain in ((SealedList, list), (SealedDict, dict))
    for name in dir(plain)
    if callable(getattr(plain, name)) and changed_by(plain, name)
]


def test_the_mutators_that_everybody_knows_are_among_those_found() -> None:
    names = {name for _, name in MUTATORS}
    assert names >= {
        "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "popitem",
        "update", "setdefault", "__setitem__", "__delitem__", "__iadd__", "__imul__", "__ior__",
        "__init__",
    }  # fmt: skip


@pytest.mark.parametrize(("sealed", "name"), MUTATORS, ids=lambda x: getattr(x, "__name__", x))
def test_a_mutator_raises_and_changes_nothing(sealed, name) -> None:
    value = sealed([3, 1, 2]) if sealed is SealedList else sealed({"b": 1, "a": 2})
    before = copy.copy(value)
    for arguments in ((), (0,), ("a",), (0, 9), ("a", 9), ([9],), ({"z": 9},)):
        with pytest.raises(TypeError, match=r"copy\.deepcopy"):
            getattr(value, name)(*arguments)
    assert value == before


@pytest.mark.parametrize("empty", [SealedList(), SealedDict()], ids=["list", "dict"])
def test_an_empty_container_cannot_be_filled_either(empty) -> None:
    again = pickle.loads(pickle.dumps(empty))
    for value in (empty, again):
        with pytest.raises(TypeError, match=r"copy\.deepcopy"):
            value.__init__([("a", 1)])
        assert not value


STATEMENTS = {
    "list[0] =": lambda x: operator.setitem(x["list"], 0, 9),
    "list[:] =": lambda x: operator.setitem(x["list"], slice(None), []),
    "del list[0]": lambda x: operator.delitem(x["list"], 0),
    "del list[:]": lambda x: operator.delitem(x["list"], slice(None)),
    "list +=": lambda x: operator.iadd(x["list"], [1]),
    "list *=": lambda x: operator.imul(x["list"], 2),
    "dict[k] =": lambda x: operator.setitem(x, "a", 9),
    "del dict[k]": lambda x: operator.delitem(x, "list"),
    "dict |=": lambda x: operator.ior(x, {"a": 1}),
    "update by keywords": lambda x: x.update(a=1),
    "inside of a tuple": lambda x: x["tuple"][0].append(1),
    "inside of a list": lambda x: x["list"][0].clear(),
    "new attribute": lambda x: setattr(x, "note", 1),
}


@pytest.mark.parametrize("change", STATEMENTS.values(), ids=STATEMENTS)
def test_a_decoded_value_refuses_to_change(change) -> None:
    plain = {"list": [[1], 2], "tuple": ([1], {"b": 2})}
    value = decode(encode(plain).storage, sealed=True)
    with pytest.raises((TypeError, AttributeError)):
        change(value)
    assert value == plain


def test_decoded_containers_are_plain_unless_asked() -> None:
    value = decode(encode({"a": [1]}).storage)
    value["a"].append(2)
    assert type(value) is dict
    assert value == {"a": [1, 2]}


def sealed_value():
    return decode(encode({"list": [1, {"a": ()}], "tuple": ([1],)}).storage, sealed=True)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_value_stays_sealed(protocol) -> None:
    again = pickle.loads(pickle.dumps(sealed_value(), protocol))
    assert again == sealed_value()
    kinds = (again, again["list"], again["list"][1], again["tuple"][0])
    assert [type(x) for x in kinds] == [SealedDict, SealedList, SealedDict, SealedList]


def test_a_copy_is_plain_and_can_change() -> None:
    value = sealed_value()
    deep = copy.deepcopy(value)
    kinds = (deep, deep["list"], deep["list"][1], deep["tuple"][0])
    assert [type(x) for x in kinds] == [dict, list, dict, list]
    deep["list"][1]["a"] = 5
    shallow = copy.copy(value)
    shallow["new"] = copy.copy(value["list"])
    shallow["new"].append(3)
    assert (type(shallow), type(shallow["new"]), type(shallow["list"])) == (dict, list, SealedList)
    assert value == sealed_value()


def test_sealed_equals_plain_and_hashes_alike() -> None:
    plain = {"list": [1, {"a": ()}], "tuple": ([1],)}
    assert sealed_value() == plain
    assert plain == sealed_value()
    assert encode(sealed_value()) == encode(plain)
    assert repr(sealed_value()) == repr(plain)


def test_what_only_reads_works() -> None:
    value = sealed_value()
    assert value["list"] + [2] == [1, {"a": ()}, 2]
    assert value | {"new": 1} == {**value, "new": 1}
    assert value["list"][:1] == [1]
    assert sorted(SealedList([2, 1])) == [1, 2]


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    "array",
    [np.arange(3), np.arange(10_000), np.zeros((0, 3)), np.array(5), np.array(["a", "bc"])],
    ids=["small", "blob", "empty", "0-d", "text"],
)
def test_a_decoded_array_is_read_only(array, sealed) -> None:
    encoded = encode([array])
    (again,) = decode(encoded.storage, fetch=lambda b, _: encoded.blobs[b], sealed=sealed)
    assert not again.flags.writeable
    for target in (again, again.view(), again[...]):
        with pytest.raises(ValueError, match="WRITEABLE"):
            target.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            target[...] = array
    # What lies below is no way round: bytes, seen through views that cannot be written to.
    below = again.base
    while not isinstance(below, bytes):
        assert memoryview(below).readonly
        below = below.obj if isinstance(below, memoryview) else below.base
    assert np.array_equal(again, array)


def test_an_array_over_a_mapped_file_is_read_only_too(tmp_path) -> None:
    array = np.arange(10_000)
    encoded = encode(array)
    (data,) = encoded.blobs.values()
    path = tmp_path / "blob"
    path.write_bytes(data)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    again = decode(encoded.storage, fetch=lambda _blob, _length: memoryview(mapped))
    with pytest.raises(ValueError, match="WRITEABLE"):
        again.flags.writeable = True
    assert np.array_equal(again, array)
    assert np.shares_memory(again, np.frombuffer(mapped, np.uint8))  # not a copy


def test_an_array_over_a_changeable_buffer_is_not_written_to() -> None:
    encoded = encode(np.arange(10_000))
    again = decode(encoded.storage, fetch=lambda b, _: bytearray(encoded.blobs[b]))
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 1


# --- registered types -----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _own_table() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    by_class = dict(types._by_class)
    by_name = {name: list(bindings) for name, bindings in types._by_name.items()}
    yield
    for table, before in ((types._by_class, by_class), (types._by_name, by_name)):
        table.clear()
        table.update(before)


@dataclass(frozen=True)
class Size:
    width: int
    note: str = ""


class Series:
    """An ICacheable whose stream has more than its hash is made of."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def get_stable_hash(self) -> str:
        return stable_hash(self.numbers).hex()

    def to_stream(self, stream) -> None:
        stream.write(",".join(map(str, self.numbers)).encode())

    @classmethod
    def from_stream(cls, stream):
        return cls([int(part) for part in stream.read().decode().split(",")])


def test_a_frozen_dataclass_comes_back() -> None:
    cacheable(Size, version="1")
    value = [Size(3), {"a": Size(4, note="x" * 300)}]
    encoded = encode(value)
    assert decode(encoded.storage) == value
    assert encoded.identity != encoded.storage
    assert encode(decode(encoded.storage)) == encoded
    assert stable_hash(Size(3)) != stable_hash(Size(4))
    assert stable_hash(Size(3)) != stable_hash({"width": 3, "note": ""})


@pytest.mark.parametrize("count", [3, 20_000], ids=["inline", "blob"])
def test_a_stream_comes_back(count) -> None:
    cacheable(Series, version="1")
    value = Series(list(range(count)))
    encoded = encode([value])
    (again,) = decode(encoded.storage, fetch=lambda b, _: encoded.blobs[b])
    assert type(again) is Series
    assert again.numbers == value.numbers
    assert bool(encoded.blobs) == (count > 10_000)


def test_the_identity_of_a_stream_is_its_hash_and_not_its_bytes() -> None:
    class Padded(Series):
        padding = b""

        def to_stream(self, stream) -> None:
            super().to_stream(stream)
            stream.write(self.padding)

    cacheable(Padded, name="t.Padded", version="1")
    first, second = Padded([1]), Padded([1])
    second.padding = b"  "
    assert encode(first).identity == encode(second).identity
    assert encode(first).storage != encode(second).storage


def test_a_field_that_is_refused_is_named() -> None:
    cacheable(Size, name="t.Size", version="1")
    with pytest.raises(NotCacheableError) as caught:
        encode([Size(1.5)])
    assert caught.value.path == "$[0]<t.Size>.width"


@pytest.mark.parametrize("name", ["antigravity.Thing", "nowhere.Thing", "this", "os.system"])
def test_an_unknown_name_is_an_error_and_nothing_is_imported(name) -> None:
    cacheable(Size, name=name, version="1")
    storage = encode(Size(1)).storage
    types._by_class.clear()
    types._by_name.clear()
    before = set(sys.modules)
    with pytest.raises(UnknownTypeError, match=name) as caught:
        decode(storage)
    assert caught.value.name == name
    assert set(sys.modules) == before


def test_two_versions_of_a_type_never_meet() -> None:
    cacheable(Size, name="t.Size", version="1")
    old = encode(Size(3))
    cacheable(Size, name="t.Size", version="2")
    new = encode(Size(3))
    assert old.hash != new.hash
    assert decode(new.storage) == Size(3)
    with pytest.raises(UnknownTypeError) as caught:
        decode(old.storage)
    assert caught.value.identity == "1"


def test_two_classes_of_a_name_are_told_apart_by_version() -> None:
    @dataclass(frozen=True)
    class Other:
        width: int
        note: str = ""

    cacheable(Size, name="t.Size", version="1")
    cacheable(Other, name="t.Size", version="2")
    assert encode(Size(3)).hash != encode(Other(3)).hash
    for value in (Size(3), Other(3)):
        assert type(decode(encode(value).storage)) is type(value)


def test_a_stream_that_comes_back_with_another_hash_is_refused() -> None:
    class Forgetful(Series):
        @classmethod
        def from_stream(cls, stream):
            return cls([*super().from_stream(stream).numbers, 0])

    cacheable(Forgetful, name="t.Forgetful", version="1")
    with pytest.raises(IntegrityError, match=r"t\.Forgetful came back with hash"):
        decode(encode(Forgetful([1, 2])).storage)


def test_a_stream_that_was_changed_is_refused() -> None:
    cacheable(Series, name="t.Series", version="1")
    storage = encode(Series([1, 2])).storage
    assert storage.endswith(b"1,2")
    for tail, message in ((b"1,3", "came back with hash"), (b"1,x", "refuses its stored bytes")):
        with pytest.raises(IntegrityError, match=message):
            decode(storage[:-3] + tail)


def test_fields_that_the_class_refuses_are_an_integrity_error() -> None:
    @dataclass(frozen=True)
    class Positive:
        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise ValueError("below zero")

    cacheable(Positive, name="t.Positive", version="1")
    storage = encode(Positive(1)).storage
    with pytest.raises(IntegrityError, match=r"t\.Positive refuses its stored fields: below zero"):
        decode(storage[:-1] + b"\x20")


def test_a_fields_type_is_not_read_as_a_stream_nor_the_reverse() -> None:
    cacheable(Size, name="t.Both", version="1")
    storage = encode(Size(1)).storage
    types._by_class.clear()
    types._by_name.clear()
    cacheable(Series, name="t.Both", version="1")
    with pytest.raises(UnknownTypeError):
        decode(storage)
    stream = encode(Series([1])).storage
    types._by_class.clear()
    types._by_name.clear()
    cacheable(Size, name="t.Both", version="1")
    with pytest.raises(UnknownTypeError):
        decode(stream)


@pytest.mark.parametrize(
    "digest", ["", "ab", "zz" * 32, "ab" * 31 + "  ", " " * 62 + "ab", b"ab" * 32, None, 5]
)
def test_a_stable_hash_that_is_none_is_refused(digest) -> None:
    class Odd(Series):
        def get_stable_hash(self):
            return digest

    cacheable(Odd, name="t.Odd", version="1")
    with pytest.raises(NotCacheableError, match=r"t\.Odd\.get_stable_hash\(\) returned"):
        encode(Odd([1]))


def test_a_stable_hash_in_capitals_is_the_same_hash() -> None:
    class Loud(Series):
        def get_stable_hash(self):
            return super().get_stable_hash().upper()

    cacheable(Loud, name="t.Loud", version="1")
    assert decode(encode(Loud([1, 2])).storage).numbers == [1, 2]


def test_subclasses_of_a_registered_type_are_not_registered() -> None:
    class Larger(Size):
        pass

    cacheable(Size, version="1")
    with pytest.raises(NotCacheableError, match="Larger is not cacheable"):
        encode(Larger(3))


def test_registered_types_count_as_levels_of_nesting() -> None:
    cacheable(Size, name="t.Size", version="1")

    def nested(levels):
        value = 1
        for _ in range(levels):
            value = Size(value)
        return value

    # A value of such a type is one level, the dict of its fields another.
    assert decode(encode(nested(50)).storage) == nested(50)
    with pytest.raises(NotCacheableError, match="nested deeper"):
        encode(nested(51))
    head, width, tail = encode(Size(7)).storage.partition(b"ewidth\x07")
    deep = (head + width[:-1]) * 10_000 + b"\x07" + tail * 10_000
    with pytest.raises(IntegrityError, match="nested too deeply"):
        decode(deep)


def test_a_class_that_cannot_be_taken_apart_is_refused() -> None:
    class Bare:
        pass

    with pytest.raises(RegistrationError, match="ICacheable"):
        cacheable(Bare)
