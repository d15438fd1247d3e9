"""The names that a definition takes from outside, by the scoping rules of Python.

Knows trees only; what a name stands for is looked up by the walk, in live namespaces.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from invariant_dask.ops.code_ast import serialise

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True, order=True)
class ImportedFrom:
    """What an import statement inside a function binds to a name."""

    level: int
    module: str
    attribute: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A name from outside of a function, with the attributes that are read from it.

    Attributes
    ----------
    name : str
        As written.
    attributes : tuple of str
        `("f",)` for `helpers.f`.
    imported : ImportedFrom or None
        What it is, if the function imports it itself.
    certain : bool
        False if a class body may have defined it instead.
    statement : bool
        True for an import statement, which loads a module without using a name.
    line : int
        Where it is first used.
    """

    name: str
    attributes: tuple[str, ...] = ()
    imported: ImportedFrom | None = None
    certain: bool = True
    statement: bool = False
    line: int = 0

    @property
    def text(self) -> str:
        return ".".join((self.name, *self.attributes))


References: TypeAlias = tuple[Reference, ...]

_LOOKS_UP = frozenset({"getattr", "globals", "vars", "eval", "exec", "compile", "__import__"})


@dataclass(frozen=True, slots=True)
class Names:
    """The names that code takes from outside, sorted, and calls that may look up more."""

    references: References
    lookups: tuple[tuple[str, int], ...]
    """Names of functions such as `getattr`, called on line so and so with what is not constant."""


def names_of(nodes: Iterable[ast.AST]) -> Names:
    """Return the names in definitions or expressions that stand on their own.

    Of a definition, only parameters and body count: decorators and defaults were evaluated outside.
    """
    finder = _Finder()
    for node in nodes:
        if isinstance(node, (*_DEFINITIONS, ast.Lambda)):
            finder.inside_function(node, None)
        else:
            finder.visit(node, None)
    order = sorted(
        finder.found.values(),
        key=lambda r: (r.text, r.imported or ImportedFrom(0, ""), r.statement),
    )
    return Names(tuple(order), tuple(finder.lookups))


@dataclass(frozen=True, slots=True)
class Decorator:
    """A decorator as written: the name it goes by, its bytes, and the names in it."""

    callee: tuple[str, ...]
    code: bytes
    names: Names


def decorators_of(node: ast.AST) -> list[Decorator]:
    """Return the decorators of a definition; a lambda has none."""
    return [
        Decorator(_callee(expression), serialise(expression), names_of([expression]))
        for expression in getattr(node, "decorator_list", ())
    ]


def _callee(expression: ast.expr) -> tuple[str, ...]:
    chain: list[str] = []
    node = expression
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Attribute):
            chain.append(node.attr)
            node = node.value
        else:
            return ()
    return (node.id, *reversed(chain))


class _Scope:
    def __init__(self, kind: str, parent: _Scope | None) -> None:
        self.kind = kind
        self.parent = parent
        self.bound: set[str] = set()
        self.outer: set[str] = set()
        self.nonlocals: set[str] = set()
        self.imports: dict[str, ImportedFrom] = {}

    def bind(self, node: ast.AST) -> None:
        """Note what a node binds in this scope, without entering scopes inside it."""
        for child in ast.iter_child_nodes(node):
            self._bind_one(child)

    def _bind_one(self, node: ast.AST) -> None:
        if isinstance(node, (*_DEFINITIONS, ast.ClassDef)):
            self.bound.add(node.name)
            return
        if isinstance(node, ast.Lambda):
            return
        if isinstance(node, _COMPREHENSIONS):
            # A := in a comprehension binds outside of it; its own targets do not.
            for inner in ast.walk(node):
                if isinstance(inner, ast.NamedExpr) and isinstance(inner.target, ast.Name):
                    self.bound.add(inner.target.id)
            return
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)
        elif isinstance(node, (ast.MatchAs, ast.MatchStar, ast.ExceptHandler)):
            self.bound.add(node.name or "")
        elif isinstance(node, ast.MatchMapping):
            self.bound.add(node.rest or "")
        elif isinstance(node, ast.Global):
            self.outer.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            self.nonlocals.update(node.names)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                name, imported = _binding(node, alias)
                self.bound.add(name)
                self.imports[name] = imported
        self.bind(node)


def _binding(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> tuple[str, ImportedFrom]:
    if isinstance(node, ast.ImportFrom):
        name = alias.asname or alias.name
        return name, ImportedFrom(node.level or 0, node.module or "", alias.name)
    if alias.asname:
        return alias.asname, ImportedFrom(0, alias.name)
    top = alias.name.partition(".")[0]
    return top, ImportedFrom(0, top)


class _Finder:
    def __init__(self) -> None:
        self.found: dict[tuple[Any, ...], Reference] = {}
        self.lookups: list[tuple[str, int]] = []

    def inside_function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, parent: _Scope | None
    ) -> None:
        scope = _Scope("function", parent)
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        scope.bound.update(a.arg for a in every)
        scope.bound.update(a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None)
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        self._body(body, scope)

    def _body(self, body: Sequence[ast.AST], scope: _Scope) -> None:
        for statement in body:
            scope._bind_one(statement)  # noqa: SLF001  one mechanism of two classes
        scope.bound -= scope.outer | scope.nonlocals
        for statement in body:
            self.visit(statement, scope)

    def visit(self, node: ast.AST, scope: _Scope | None) -> None:
        if isinstance(node, (*_DEFINITIONS, ast.Lambda)):
            self._all([*node.args.defaults, *filter(None, node.args.kw_defaults)], scope)
            self._all(getattr(node, "decorator_list", ()), scope)
            self.inside_function(node, scope)
        elif isinstance(node, ast.ClassDef):
            self._all([*node.bases, *(k.value for k in node.keywords), *node.decorator_list], scope)
            self._body(node.body, _Scope("class", scope))
        elif isinstance(node, _COMPREHENSIONS):
            self._comprehension(node, scope)
        elif isinstance(node, (ast.Name, ast.Attribute)):
            self._chain(node, scope)
        elif isinstance(node, ast.AnnAssign):
            self._all(filter(None, (node.target, node.value)), scope)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self._import(node)
        elif isinstance(node, ast.Call) and self._lookup(node, scope):
            return
        else:
            self._all(ast.iter_child_nodes(node), scope)

    def _all(self, nodes: Iterable[ast.AST], scope: _Scope | None) -> None:
        for node in nodes:
            self.visit(node, scope)

    def _comprehension(self, node: Any, scope: _Scope | None) -> None:
        inner = _Scope("comprehension", scope)
        for index, generator in enumerate(node.generators):
            for target in ast.walk(generator.target):
                if isinstance(target, ast.Name):
                    inner.bound.add(target.id)
            self.visit(generator.iter, inner if index else scope)
        for generator in node.generators:
            self._all(generator.ifs, inner)
            self.visit(generator.target, inner)
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        self._all(parts, inner)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                name, imported = _binding(node, alias)
            else:
                name, imported = alias.name, ImportedFrom(0, alias.name)
            self._add(Reference(name, (), imported, statement=True, line=node.lineno))

    def _lookup(self, node: ast.Call, scope: _Scope | None) -> bool:
        """Note a call that may look up anything; True if it was read as a plain attribute."""
        function = node.func
        if not isinstance(function, ast.Name) or function.id not in _LOOKS_UP:
            return False
        if _resolve(function.id, scope) != (None, True):
            return False
        if function.id == "getattr" and len(node.args) > 1:
            key = node.args[1]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                attribute = ast.Attribute(value=node.args[0], attr=key.value, ctx=ast.Load())
                self.visit(ast.copy_location(attribute, node), scope)
                self._all([function, *node.args[2:]], scope)
                return True
        self.lookups.append((function.id, node.lineno))
        return False

    def _chain(self, node: ast.Name | ast.Attribute, scope: _Scope | None) -> None:
        attributes: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            self.visit(inner, scope)
            return
        if isinstance(inner.ctx, ast.Load):
            found = _resolve(inner.id, scope)
            if found is not None:
                imported, certain = found
                chain = tuple(reversed(attributes))
                self._add(Reference(inner.id, chain, imported, certain, line=node.lineno))

    def _add(self, reference: Reference) -> None:
        key = (reference.text, reference.imported, reference.statement)
        known = self.found.get(key)
        if known is None or (reference.certain and not known.certain):
            self.found[key] = reference


def _resolve(name: str, scope: _Scope | None) -> tuple[ImportedFrom | None, bool] | None:
    """Return None for a local name, else what is imported under it and whether it is certain."""
    certain, innermost = True, True
    while scope is not None:
        visible = innermost or scope.kind != "class"
        innermost = False
        if visible:
            if name in scope.outer:
                return None, certain
            if name in scope.imports:
                return scope.imports[name], certain
            if name in scope.bound:
                if scope.kind != "class":
                    return None
                certain = False  # `size = size` in a class body reads the outer one
        scope = scope.parent
    return None, certain
