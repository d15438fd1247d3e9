"""Classes of one's own as values: what @cacheable takes, refuses and keeps apart."""

from __future__ import annotations

import enum
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from typing import NamedTuple

import pytest

from invariant_dask.core.decode import decode
from invariant_dask.core.encode import encode, stable_hash
from invariant_dask.core.types import binding_of
from invariant_dask.errors import IntegrityError, NotCacheableError, RegistrationError
from invariant_dask.ops.types import cacheable


def round_trip(value):
    return decode(encode(value).storage)


@cacheable(version="1")
@dataclass(frozen=True, slots=True)
class Size:
    width: int
    height: int
    name: str = field(default="", compare=False, kw_only=True)


@cacheable(version="1")
class Point(NamedTuple):
    x: int
    y: int


@cacheable(version="1")
class Edge(enum.Enum):
    WRAP = 1
    CLAMP = 2


class Money:
    def __init__(self, amount, currency):
        self.amount, self.currency = amount, currency

    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None


@pytest.mark.parametrize("value", [Size(3, 4, name="x"), Point(1, 2), Edge.CLAMP, [Size(1, 2)]])
def test_registered_values_come_back_equal(value):
    assert round_trip(value) == value
    assert type(round_trip(value)) is type(value)


def test_a_field_left_out_of_comparison_is_part_of_the_identity():
    assert stable_hash(Size(1, 2, name="a")) != stable_hash(Size(1, 2, name="b"))
    assert round_trip(Size(1, 2, name="a")).name == "a"


def test_any_class_can_be_taken_apart_by_hand():
    cacheable(
        Money,
        name="shop.Money",
        version="1",
        to_value=lambda m: (m.amount, m.currency),
        from_value=lambda value: Money(*value),
    )
    assert round_trip(Money(Decimal("1.50"), "EUR")) == Money(Decimal("1.50"), "EUR")
    assert binding_of(Money).name == "shop.Money"


def test_an_icacheable_dataclass_hashes_itself():
    @cacheable(version="1")
    @dataclass
    class Blob:
        data: bytes

        def get_stable_hash(self):
            return self.data.hex().rjust(64, "0")

        def to_stream(self, stream):
            stream.write(self.data)

        @classmethod
        def from_stream(cls, stream):
            return cls(stream.read())

    assert binding_of(Blob).is_stream
    assert round_trip(Blob(b"ab")) == Blob(b"ab")


def test_names_and_versions_keep_values_apart():
    def make(name, version):
        @cacheable(name=name, version=version)
        @dataclass(frozen=True)
        class Thing:
            a: int

        return Thing

    hashes = {stable_hash(make(*key)(1)) for key in [("n", "1"), ("n", "2"), ("m", "1")]}
    assert len(hashes) == 3


def test_the_default_name_is_module_and_qualname():
    assert binding_of(Size).name == f"{__name__}.Size"

    @dataclass(frozen=True)
    class InMain:
        a: int

    InMain.__module__, InMain.__qualname__ = "__mp_main__", "InMain"
    cacheable(InMain, version="1")
    assert binding_of(InMain).name == "__main__.InMain"


def test_a_class_that_can_change_is_refused():
    @dataclass
    class Loose:
        a: int

    with pytest.raises(RegistrationError, match=r"Loose can change.*frozen=True"):
        cacheable(Loose)


def test_fields_outside_the_constructor_are_refused():
    @dataclass(frozen=True)
    class Derived:
        a: int
        b: int = field(init=False, default=3)

    with pytest.raises(RegistrationError, match="b cannot be given to the constructor"):
        cacheable(Derived)


def test_constructor_parameters_that_are_not_fields_are_refused():
    @dataclass(frozen=True)
    class Hidden:
        a: int
        scale: InitVar[int]

    with pytest.raises(RegistrationError, match="scale: an InitVar"):
        cacheable(Hidden)

    @dataclass(frozen=True, init=False)
    class Own:
        a: int

        def __init__(self, b):
            object.__setattr__(self, "a", b)

    with pytest.raises(RegistrationError, match="constructor takes other parameters"):
        cacheable(Own)


def test_a_plain_subclass_of_a_dataclass_is_refused():
    class Bigger(Size):
        pass

    with pytest.raises(RegistrationError, match="neither a frozen dataclass nor an ICacheable"):
        cacheable(Bigger)


def test_a_subclass_is_not_registered_by_its_base():
    @dataclass(frozen=True)
    class Square(Size):
        pass

    with pytest.raises(NotCacheableError):
        encode(Square(1, 1))


def test_the_wrong_order_of_decorators_is_explained():
    with pytest.raises(RegistrationError, match="@cacheable goes above @dataclass"):

        @dataclass(frozen=True)
        @cacheable(version="1")
        class Upside:
            a: int


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"to_value": str}, "belong together"),
        ({"from_value": str}, "belong together"),
        ({"name": ""}, "name must be non-empty"),
        ({"version": 3}, "version must be non-empty"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(RegistrationError, match=text):
        cacheable(Point, **options)


def test_only_classes_are_taken():
    with pytest.raises(RegistrationError, match="takes a class"):
        cacheable(3)


def test_flags_are_refused():
    class Bits(enum.Flag):
        A = 1

    with pytest.raises(RegistrationError, match="Flag"):
        cacheable(Bits)


def test_stored_fields_of_another_shape_are_refused():
    stored = encode(Size(1, 2)).storage
    tampered = stored.replace(b"\x65width", b"\x65depth")
    assert tampered != stored
    with pytest.raises(IntegrityError):
        decode(tampered)


def test_a_float_inside_a_registered_value_is_named_by_its_path():
    with pytest.raises(NotCacheableError, match=r"width: float"):
        encode(Size(1.5, 2))


def test_the_fingerprint_of_a_class_is_taken_when_first_needed():
    @dataclass(frozen=True)
    class Late:
        a: int

        def later(self):
            return defined_below(self.a)

    assert cacheable(Late) is Late

    def defined_below(x):
        return x

    identity = binding_of(Late).identity
    assert len(identity) == 64
    assert round_trip(Late(1)) == Late(1)


def test_a_class_of_an_installed_distribution_is_identified_by_it():
    from packaging.version import Version

    cacheable(Version, to_value=str, from_value=Version)
    identity = binding_of(Version).identity
    assert identity.startswith("packaging==")
    assert identity.endswith(":packaging.version:Version")
