"""YAML as an input form of the same documents.

Built from the parser's events, without its constructors: no tag can make an object, depth and what
aliases repeat are bounded, and a key that stands twice is an error. Tags stand for markers:
`!ref !cel !decimal !tuple !literal !icacheable`, `!subgraph` grafts another document, and (ours)
`!bytes !date !datetime !file !fraction !int !time !timedelta` stand for what JSON lacks.

Plain scalars mean what YAML 1.1 says, as in the original format (`yes` is true, 010 is 8, 1e3 is
text), but for numbers with a fraction, which are Decimals as written, and for what has no exact
form (timestamps, .inf, .nan, 1:30.5), which is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)  # fmt: skip

from invariant_dask.graph.literals import LITERALS
from invariant_dask.graph.positions import (
    MAX_NESTING,
    NESTED,
    Fault,
    Path,
    Place,
    Step,
    guess,
    kind_of,
    place_of,
)  # fmt: skip
from invariant_dask.graph.yaml_scalars import KINDS, STANDARD, kind_of_scalar, read_scalar

Graft = Callable[[dict[str, Any]], dict[str, Any]]

MAX_REPEATED = 100_000
"""Most values that aliases may add to a document by repeating others."""

LONG_TEXT = 1_000
"""Text counts as one value, and as one more for each so many characters."""

# Which markers a tag stands for, by what it is written on.
_ON_SCALAR = {"!ref": "$ref", "!cel": "$cel", "!decimal": "$decimal", "!literal": "$literal"}
_ON_LIST = {"!literal": "$literal", "!ref": "$ref", "!tuple": "$tuple"}
_ON_MAPPING = {"!icacheable": "$icacheable", "!literal": "$literal", "!subgraph": ""}
_OWN = {f"!{name}": name for name in LITERALS - {"dict"}}
_TAGS = sorted({*_ON_SCALAR, *_ON_LIST, *_ON_MAPPING, *_OWN})
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOTHING: Any = object()


def parse(text: str, graft: Graft) -> Any:
    """Return the document as parsed JSON would be.

    Parameters
    ----------
    text
        The YAML text.
    graft
        Returns the vertex that a `!subgraph` with these fields stands for.

    Raises
    ------
    Fault
        If it is not good YAML, or more than JSON can say.
    """
    builder = _Builder(graft)
    _feed(builder, text)
    if builder.root is _NOTHING:
        raise Fault("the document is empty")
    return builder.root


def locate(text: str, path: Path, *, at_key: bool = False) -> Place:
    """Return where a path leads to in a YAML text, or the closest place above it."""
    builder = _Builder(lambda _fields: {}, target=path, at_key=at_key)
    with suppress(Fault):  # the same one that is being placed, or one behind it
        _feed(builder, text)
    return builder.best


def _feed(builder: _Builder, text: str) -> None:
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(filter(None, [error.context, error.problem]))
        raise Fault(f"not valid YAML: {words}", place=_place(mark) if mark else None) from None
    except yaml.reader.ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        raise Fault(
            f"not valid YAML: {error.reason}", place=place_of(text, min(position, len(text)))
        ) from None


def _place(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


class _Open:
    """A list or mapping whose end has not come yet."""

    __slots__ = ("anchor", "before", "key", "steps", "tag", "value")

    def __init__(self, event: Any, steps: Path, before: int) -> None:
        self.value: Any = {} if isinstance(event, MappingStartEvent) else []
        self.key: Any = _NOTHING
        self.tag: str | None = event.tag
        self.anchor: str | None = event.anchor
        self.steps = steps  # what its tag adds to the path
        self.before = before  # values that came before it

    @property
    def wants_key(self) -> bool:
        return self.key is _NOTHING and type(self.value) is dict


class _Builder:
    """Makes plain JSON from events; or, with a target, only looks where that is."""

    def __init__(self, graft: Graft, *, target: Path | None = None, at_key: bool = False) -> None:
        self.root: Any = _NOTHING
        self.best: Place = (1, 1)
        self._graft = graft
        self._target = target
        self._at_key = at_key
        self._best_depth = -1
        self._path: list[Step] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._documents = self._values = self._repeated = 0

    def take(self, event: Event) -> None:
        """Take the next event; raise a Fault if it is not good here."""
        try:
            self._take(event)
        except Fault as fault:
            if not (fault.place or fault.path or isinstance(event, CollectionEndEvent)):
                fault.place = _place(event.start_mark)
            raise fault.within(*self._path) from fault.__cause__

    def _take(self, event: Any) -> None:
        if isinstance(event, CollectionEndEvent):
            self._close()
        elif isinstance(event, ScalarEvent | AliasEvent | CollectionStartEvent):
            if self._open and self._open[-1].wants_key:
                self._take_key(event)
                return
            self._enter(event)
            if isinstance(event, CollectionStartEvent):
                self._start(event)
            elif isinstance(event, AliasEvent):
                self._put(self._repeat(event.anchor))
            else:
                value = _tagged_scalar(event)
                # Every repetition of a long text is looked at, so it counts as many values.
                more = len(event.value) // LONG_TEXT
                self._values += more
                if event.anchor:
                    self._anchors[event.anchor] = value, 1 + more
                self._put(value)
        elif isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise Fault("a second document starts here; a file holds one graph")

    def _enter(self, event: Any) -> None:
        """Note that a value begins."""
        self._values += 1
        if self._open and type(self._open[-1].value) is list:
            self._path.append(len(self._open[-1].value))
        self._see(event)

    def _see(self, event: Any) -> None:
        size = len(self._path)
        target = self._target
        if target and size > self._best_depth and target[:size] == tuple(self._path):
            self.best, self._best_depth = _place(event.start_mark), size

    def _take_key(self, event: Any) -> None:
        key = _key_of(event)
        top = self._open[-1]
        self._path.append(key)
        if self._at_key and self._target == tuple(self._path):
            self.best, self._best_depth = _place(event.start_mark), len(self._path)
        if key in top.value:
            raise Fault(
                f"the key {key!r} stands twice in this mapping", at_key=True,
                place=_place(event.start_mark),
            )  # fmt: skip
        top.key = key

    def _start(self, event: Any) -> None:
        steps = _steps_of(event)
        self._path += steps
        if len(self._path) >= MAX_NESTING:
            del self._path[8:]  # the whole way would fill a screen
            raise Fault(NESTED, place=_place(event.start_mark))
        if steps:
            self._see(event)
        self._open.append(_Open(event, steps, self._values))

    def _close(self) -> None:
        top = self._open.pop()
        if top.steps:
            del self._path[-len(top.steps) :]
        value = top.value
        if top.tag == "!subgraph":
            value = self._graft(value)
        elif top.steps[:1] == ("$icacheable",) and top.tag in _OWN:
            value = _literal(_OWN[top.tag], value)
        elif top.steps:
            value = {top.steps[0]: value}
        if top.anchor:
            self._anchors[top.anchor] = value, self._values - top.before + 1
        self._put(value)

    def _put(self, value: Any) -> None:
        """Note that a value has ended."""
        if not self._open:
            self.root = value
            return
        top = self._open[-1]
        self._path.pop()
        if type(top.value) is list:
            top.value.append(value)
        else:
            top.value[top.key] = value
            top.key = _NOTHING

    def _repeat(self, anchor: str | None) -> Any:
        if anchor is None or anchor not in self._anchors:
            raise Fault(f"*{anchor} stands for a value that holds it, or for none before it")
        value, count = self._anchors[anchor]
        self._repeated += count
        self._values += count - 1
        if self._repeated > MAX_REPEATED:
            raise Fault(f"aliases repeat more than {MAX_REPEATED} values")
        return value


def _key_of(event: Any) -> str:
    if not isinstance(event, ScalarEvent):
        raise Fault("a key must be text")
    kind = kind_of_scalar(event)
    if kind == "merge":
        raise Fault("merge keys (<<) are not read; write the fields out, or repeat an alias")
    if kind not in {"str", "value"}:
        if event.tag is not None or kind not in {"bool", "float", "int", "null", "timestamp"}:
            raise Fault(f"a key has no tag; write plain text, not {event.tag} {event.value!r}")
        raise Fault(f"the key {event.value or '(empty)'} is {kind} to YAML; quote it")
    return str(event.value)


def _steps_of(event: Any) -> Path:
    """Return what the tag of a list or mapping adds to the path of what is in it."""
    tag = event.tag
    is_mapping = isinstance(event, MappingStartEvent)
    if tag in {None, "!", STANDARD + ("map" if is_mapping else "seq")}:
        return ()
    table = _ON_MAPPING if is_mapping else _ON_LIST
    if tag in table:
        return (table[tag],) if table[tag] else ()
    if tag == ("!file" if is_mapping else "!timedelta"):
        return ("$icacheable", "value")
    raise _unknown_tag(tag, "a mapping" if is_mapping else "a list")


def _tagged_scalar(event: ScalarEvent) -> Any:
    tag = event.tag
    if tag in _ON_SCALAR:
        return {_ON_SCALAR[tag]: event.value}
    if tag in _OWN and tag != "!timedelta":
        return _literal(_OWN[tag], event.value)
    if tag is not None and tag != "!" and tag.removeprefix(STANDARD) not in KINDS:
        raise _unknown_tag(tag, kind_of(event.value))
    return read_scalar(event)


def _literal(name: str, payload: Any) -> dict[str, Any]:
    field = "payload_b64" if name == "bytes" else "value"
    return {"$icacheable": {"type": name, field: payload}}


def _unknown_tag(tag: str, what: str) -> Fault:
    shown = tag.replace(STANDARD, "!!")
    if tag in _TAGS:
        return Fault(f"the tag {shown} does not stand on {what}")
    return Fault(f"there is no tag {shown}; {guess(shown, _TAGS)}")
