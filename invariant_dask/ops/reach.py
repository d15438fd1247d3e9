"""The walk from a function to all own code that it reaches.

Each function and class becomes a part: its normalised syntax, and what each name in it stands for
now: a link to another part, a value, or the name of something installed. The order of parts is
that in which links lead to them from the start, so circles end and nothing depends on memory
addresses.
"""

from __future__ import annotations

import ast
from types import FunctionType
from typing import Any

from invariant_dask.errors import CodeIdentityError
from invariant_dask.ops.code_ast import serialise_function
from invariant_dask.ops.code_classes import write_class
from invariant_dask.ops.code_homes import (
    home_of,
    home_of_namespace,
    root_of,
)
from invariant_dask.ops.code_names import (
    decorators_of,
    names_of,
)
from invariant_dask.ops.code_parts import (
    Chunks,
    Part,
    Path,
    below,
    items,
    raw,
    text,
)
from invariant_dask.ops.code_resolve import Resolver, content_of
from invariant_dask.ops.code_source import NoSourceError, Sources


class FunctionFacts:
    """What a definition says by itself; kept with its tree."""

    __slots__ = ("code", "decorators", "names")

    def __init__(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self.code = serialise_function(node)
        self.names = names_of([node])
        self.decorators = decorators_of(node)


class Walk(Resolver):
    """One fingerprint in the making.

    Attributes
    ----------
    parts : list of Part
        In order, once `run` is through.
    types : list of type
        Own classes among them.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sources = Sources()
        self.parts: list[Part] = []
        self.types: list[type] = []
        self._by_subject: dict[int, Part] = {}

    def run(self, start: Any, path: Path) -> None:
        """Walk from one object, until all that it reaches is in `parts`."""
        chunks: Chunks = []
        self.value(start, chunks, path)
        if len(chunks) == 1 and isinstance(chunks[0], Part):
            first = chunks[0]
        else:
            first = Part(f"callable {path[0]}", path, None)
            first.chunks = chunks
        self.parts.append(first)
        seen = {id(first)}
        for part in self.parts:  # grows while we go
            if isinstance(part.subject, FunctionType):
                self._write_function(part, part.subject)
            elif part.subject is not None:
                write_class(self, self.sources, part, part.subject)
            for chunk in part.chunks:
                if isinstance(chunk, Part) and id(chunk) not in seen:
                    seen.add(id(chunk))
                    self.parts.append(chunk)

    # --- what values are made of ------------------------------------------------------------------

    def function(self, function: FunctionType, out: Chunks, path: Path) -> None:
        out.append(self._part("function", function, function.__globals__, path))

    def class_(self, cls: type, out: Chunks, path: Path) -> None:
        home = home_of(cls)
        if home.is_own:
            out.append(self._part("class", cls, None, path))
        else:
            self.named(cls.__module__, cls.__qualname__, out, path)

    def _part(self, kind: str, subject: Any, namespace: Any, path: Path) -> Part:
        part = self._by_subject.get(id(subject))
        if part is None:
            module = namespace.get("__name__") if namespace else subject.__module__
            label = f"{kind} {module}.{_qualname(subject)}"
            part = self._by_subject[id(subject)] = Part(label, path, subject)
            self.modules.add(str(module))
            if kind == "class":
                self.types.append(subject)
        return part

    def foreign_function(self, function: FunctionType, out: Chunks, path: Path) -> None:
        """Write a function of an installed or standard module, which may wrap own code."""
        namespace = function.__globals__
        home = home_of_namespace(namespace)
        self.use(home)
        registry = getattr(function, "registry", None)
        code = function.__code__
        out.append(items(2))
        self.named(namespace["__name__"], code.co_qualname, out, path)
        if registry is not None and code.co_qualname.startswith("singledispatch."):
            pairs = []
            for cls, implementation in registry.items():
                pair: Chunks = []
                self.value(cls, pair, path)
                self.value(implementation, pair, below(path, f"[{cls.__name__}]"))
                pairs.append((f"{cls.__module__}.{cls.__qualname__}", pair))
            out.append(items(len(pairs)))
            for _, pair in sorted(pairs, key=lambda named: named[0]):
                out.append(items(2))
                out.extend(pair)
            return
        if home.distribution == "invariant-dask" or "<locals>" not in code.co_qualname:
            out.append(items(0))
            return
        inside: Chunks = []
        try:
            self._cells(function, inside, path)
        except CodeIdentityError:
            wrapped = getattr(function, "__wrapped__", None)
            if wrapped is None:
                raise
            # What an installed decorator keeps for itself came from the call that is written
            # above the function, where its arguments are seen.
            self.blind.add(f"{path[-1]}: what {code.co_qualname} keeps")
            inside = []
            self.value(wrapped, inside, path)
        out.extend(inside)

    def _cells(self, function: FunctionType, out: Chunks, path: Path) -> None:
        cells = sorted(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        out.append(items(2 * len(cells)))
        for name, cell in cells:
            out.append(text(name))
            self.value(content_of(cell), out, (*path, name))

    # --- functions --------------------------------------------------------------------------------

    def _write_function(self, part: Part, function: FunctionType) -> None:
        facts, qualname, path = self._facts(part, function), _qualname(function), part.path
        namespace = function.__globals__
        root = root_of(namespace)
        out = part.chunks
        out.append(items(6) + text("function") + raw(facts.code))
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self.decorators(facts.decorators, namespace, cells, out, path)
        self.references(facts.names, namespace, cells, out, path, qualname)
        unused = sorted(cells.keys() - {r.name for r in facts.names.references})
        out.append(items(2 * len(unused)))
        for name in unused:  # __class__, for super()
            out.append(text(name))
            self.value(content_of(cells[name]), out, (*path, name))
        self._defaults(function, qualname, out, path, root)

    def _facts(self, part: Part, function: FunctionType) -> FunctionFacts:
        shown = part.label.partition(" ")[2]
        try:
            file, node = self.sources.locate(function.__code__, function.__globals__, shown)
        except NoSourceError:
            reason = f"source not available ({function.__code__.co_filename})"
            raise self.refuse(part.path, reason) from None
        facts = file.notes.get(id(node))
        if facts is None:
            try:
                facts = file.notes[id(node)] = FunctionFacts(node)
            except (NotImplementedError, RecursionError) as error:
                raise self.refuse(part.path, str(error)) from error
        assert isinstance(facts, FunctionFacts)
        return facts

    def _defaults(
        self, function: FunctionType, qualname: str, out: Chunks, path: Path, root: str | None
    ) -> None:
        code = function.__code__
        defaults = function.__defaults__ or ()
        positional = code.co_varnames[: code.co_argcount]
        named = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
        named.update(sorted((function.__kwdefaults__ or {}).items()))
        out.append(items(2 * len(named)))
        for name, value in named.items():
            out.append(text(name))
            self.show(f"default {qualname}.{name}", value, out, (*path, f"{name}="), root)


def _qualname(subject: Any) -> str:
    if isinstance(subject, FunctionType):
        return subject.__code__.co_qualname
    return str(subject.__qualname__)
