# ruff: noqa: PYI024
import abc
import collections
import dataclasses
import enum
import functools
import typing

from samples.helpers import clip


class Kind(enum.Enum):
    FIRST = 1
    SECOND = "two"

    def label(self):
        return self.name


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Meta(type):
    def __call__(cls, *args):
        return super().__call__(*args)


class Base(metaclass=Meta):
    limit = 3

    def run(self, x):
        return clip(x)


class Child(Base):
    __slots__ = ("cached",)

    def run(self, x):
        return super().run(x) + self.limit

    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def twice(x):
        return 2 * x

    @functools.cached_property
    def heavy(self):
        return 1


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Sized(typing.Protocol):
    size: int

    def grow(self) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Tone(Shape):
    name: str
    kind: Kind = Kind.FIRST
    tags: list[str] = dataclasses.field(default_factory=lambda: ["x"], compare=False)
    count: typing.ClassVar[int] = 0

    def area(self):
        return len(self.tags)


class Point(typing.NamedTuple):
    x: int
    y: int = 2

    def norm(self):
        return self.x + self.y


Pair = collections.namedtuple("Pair", "left right", defaults=(1,))

TONES = (Tone("a"), Tone("b", Kind.SECOND))
CHILD = Child()


def shade(x):
    return TONES, CHILD.run(x), Point(1), Pair(1, 2), Kind.FIRST.label(), Flags.A | Flags.B, Sized
