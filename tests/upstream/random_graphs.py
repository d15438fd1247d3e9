"""Random graphs of upstream's objects whose every vertex has a value in both engines.

Vertices have kinds, so that expressions make sense; the size of numbers is bounded, because
upstream's expressions end at 64 bits and its Decimals round at 28 digits. What differs on purpose
is left out, and stated in `test_differences`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from operator import getitem

from hypothesis import strategies as st
from invariant import Node, SubGraphNode, SwitchNode, cel, ref

import invariant_dask as inv

KINDS = ("int", "decimal", "text", "list", "dict")
LIMIT = 10**9
"""No number is greater; products of two stay below 64 bits, and below 28 digits."""
TEXTS = ("", "a", "b c", "x1", "ü", "low", "3")


@dataclass
class Scope:
    """The vertices of one graph so far, and what is outside of it."""

    graph: dict = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    """Kind by name; of context and parameters too."""
    sizes: dict[str, int] = field(default_factory=dict)
    """A bound of the absolute value of numbers, by name."""
    outside: frozenset[str] = frozenset()

    def names(self, kind):
        return [name for name, known in self.kinds.items() if known == kind]

    def add(self, name, kind, size, vertex=None):
        self.kinds[name], self.sizes[name] = kind, size
        if vertex is not None:
            self.graph[name] = vertex


@dataclass
class Term:
    """A parameter, or the text of an expression, with what it depends on."""

    made: object
    kind: str
    size: int = 0
    deps: tuple[str, ...] = ()


class Writer:
    """Draws vertices into a scope."""

    def __init__(self, draw, ephemeral, depth=0):
        self.draw, self.ephemeral, self.depth = draw, ephemeral, depth
        self.scope = Scope()

    def pick(self, *options):
        return self.draw(st.sampled_from(options))

    def some(self, low, high):
        return self.draw(st.integers(low, high))

    def flip(self):
        return self.draw(st.booleans())

    # --- expressions ---

    def number(self, depth=2):
        """An expression that is an int."""
        names = self.scope.names("int")
        how = self.pick(*"+-*/%?", "name", "name", "min", "max", "size", "of", "[]", "map")
        if how == "size" and (texts := self.scope.names("text") + self.scope.names("list")):
            name = self.pick(*texts)
            return Term(f"size({name})", "int", 1000, (name,))
        if how == "of" and (dicts := self.scope.names("dict")):
            return self.item(dicts)
        if depth == 0 or how in {"name", "size", "of"}:
            if names and self.flip():
                name = self.pick(*names)
                return Term(name, "int", self.scope.sizes[name], (name,))
            value = self.some(0, 9)
            return Term(str(value), "int", value)
        a, b = self.number(depth - 1), self.number(depth - 1)
        deps = a.deps + b.deps
        if how in {"/", "%"}:
            by = self.some(1, 7)
            return Term(f"({a.made}) {how} {by}", "int", a.size, a.deps)
        if how == "?":
            test = self.test(depth - 1)
            made = f"({test.made} ? {a.made} : {b.made})"
            return Term(made, "int", max(a.size, b.size), deps + test.deps)
        if how in {"min", "max"}:
            return Term(f"{how}({a.made}, {b.made})", "int", max(a.size, b.size), deps)
        if how == "[]":
            at = self.some(0, 1)
            return Term(f"[{a.made}, {b.made}][{at}]", "int", max(a.size, b.size), deps)
        if how == "map":
            made = f"[1, {a.made}].map(i, i - {b.made})[1]"
            return Term(made, "int", a.size + b.size, deps)
        size = a.size * b.size if how == "*" else a.size + b.size
        if size > LIMIT:
            return a
        return Term(f"({a.made} {how} {b.made})", "int", size, deps)

    def item(self, dicts):
        """A part of a dictionary, and nothing else: what our items are written as there."""
        name = self.pick(*dicts)
        part = self.pick(f"{name}.n", f"{name}['n']", f"{name}.inner.n")
        return Term(part, "int", 1000, (name,))

    def decimal(self, depth=2):
        """An expression that is a Decimal; ints come in as such."""
        names = self.scope.names("decimal")
        how = self.pick("name", "name", "+", "-", "*", "min", "max", "int", "* int")
        if how == "int":
            inner = self.number(depth - 1) if depth else Term("2", "int", 2)
            return Term(f"decimal({inner.made})", "decimal", inner.size, inner.deps)
        if depth == 0 or how == "name":
            if names and self.flip():
                name = self.pick(*names)
                return Term(name, "decimal", self.scope.sizes[name], (name,))
            text = self.pick("0.5", "-1.25", "2.00", "10")
            return Term(f"decimal('{text}')", "decimal", 10)
        a = self.decimal(depth - 1)
        if how == "* int":
            by = self.some(0, 9)
            # One multiplication adds at most two digits behind the point.
            return Term(f"({a.made} * {by})", "decimal", a.size * by, a.deps)
        b = self.decimal(depth - 1)
        if how in {"min", "max"}:
            made, size = f"{how}({a.made}, {b.made})", max(a.size, b.size)
        else:
            # Digits behind the point count as much as those before it.
            size = a.size * b.size * 100 if how == "*" else a.size + b.size
            made = f"({a.made} {how} {b.made})"
        return Term(made, "decimal", size, a.deps + b.deps) if size <= LIMIT else a

    def text(self):
        names = self.scope.names("text")
        how = self.pick("name", "+", "?", "string")
        if how == "string":
            inner = self.number(1)
            return Term(f"string({inner.made})", "text", 0, inner.deps)
        parts = [
            Term(name := self.pick(*names), "text", 0, (name,))
            if names and self.flip()
            else Term(f"'{self.pick(*TEXTS)}'", "text")
            for _ in range(2)
        ]
        a, b = parts
        if how == "+":
            return Term(f"({a.made} + {b.made})", "text", 0, a.deps + b.deps)
        if how == "?":
            test = self.test(1)
            deps = a.deps + b.deps + test.deps
            return Term(f"({test.made} ? {a.made} : {b.made})", "text", 0, deps)
        return a

    def test(self, depth=1):
        a, b = self.number(depth), self.number(depth)
        made = f"({a.made} {self.pick('<', '<=', '>', '>=', '==', '!=')} {b.made})"
        deps = a.deps + b.deps
        if (dicts := self.scope.names("dict")) and self.some(0, 3) == 0:
            name = self.pick(*dicts)
            made = self.pick(f"has({name}.p)", f"('q' in {name})", f"({a.made} in [1, 2, 3])")
            deps += (name,)
        if depth and self.flip():
            other = self.test(depth - 1)
            made, deps = f"({made} {self.pick('&&', '||')} !{other.made})", deps + other.deps
        return Term(made, "bool", 0, deps)

    def expression(self, kind):
        if kind == "int":
            return self.number()
        if kind == "decimal":
            return self.decimal()
        if kind == "text":
            return self.text()
        if self.flip():
            a, b = self.number(1), self.number(1)
            if kind == "list":
                return Term(f"[{a.made}, [{b.made}]]", kind, 0, a.deps + b.deps)
            made = f"{{'n': {a.made}, 'inner': {{'n': {b.made}}}}}"
            return Term(made, kind, 0, a.deps + b.deps) if max(a.size, b.size) <= 1000 else None
        names = self.scope.names(kind)
        if not names:
            return None
        name = self.pick(*names)
        return Term(name, kind, self.scope.sizes[name], (name,))

    # --- parameters ---

    def parameter(self, kind):
        """A literal, a reference or an expression of a kind."""
        how = self.pick("literal", "ref", "ref", "cel", "${}", "item")
        names = self.scope.names(kind)
        if how == "ref" and names:
            name = self.pick(*names)
            return Term(ref(name), kind, self.scope.sizes[name], (name,))
        if how == "item" and kind == "int" and (dicts := self.scope.names("dict")):
            found = self.item(dicts)
            return Term(cel(found.made), "int", found.size, found.deps)
        found = self.expression(kind) if how in {"cel", "${}"} else None
        if found is None or (how == "${}" and "}" in found.made):
            return self.literal(kind)
        if how == "cel":
            return Term(cel(found.made), kind, found.size, found.deps)
        if kind == "text" and self.flip():
            other = self.pick(self.number(1), self.test(0), self.decimal(1))
            text = f"{self.pick(*TEXTS)}${{{other.made}}}-${{ {found.made} }}"
            return Term(text, "text", 0, found.deps + other.deps)
        return Term(f"${{{found.made}}}", kind, found.size, found.deps)

    def literal(self, kind):
        if kind == "int":
            value = self.some(-9, 9)
            return Term(value, "int", abs(value))
        if kind == "decimal":
            return Term(Decimal(self.pick("0.25", "-3", "1.50", "7")), "decimal", 10)
        if kind == "text":
            return Term(self.pick(*TEXTS), "text")
        if kind == "list":
            items = [self.some(0, 3), self.pick(*TEXTS), self.pick([None], (7, ("x",)))]
            return Term(tuple(items) if self.flip() else items, "list")
        return Term({"n": self.some(0, 9), "inner": {"n": self.some(0, 9)}}, "dict")

    # --- vertices ---

    def node(self):
        """Return the vertex, its kind and the size of its value."""
        op = self.pick("add", "add", "multiply", "identity", "make_list", "make_dict")
        cache = not self.ephemeral or self.some(0, 9) > 0
        if op in {"add", "multiply"}:
            kind = self.pick("int", "int", "decimal")
            a, b = self.parameter(kind), self.parameter(kind)
            places = 100 if kind == "decimal" and op == "multiply" else 1
            size = a.size + b.size if op == "add" else a.size * b.size * places
            if size > LIMIT:
                op, size, b = "add", a.size + 1, Term(1, "int", 1)
            return self.make(op, {"a": a, "b": b}, cache), kind, size
        if op == "identity":
            value = self.parameter(self.pick(*KINDS))
            return self.make(op, {"value": value}, cache), value.kind, value.size
        if op == "make_list":
            items = [self.parameter(self.pick(*KINDS)) for _ in range(self.some(0, 3))]
            whole = Term([item.made for item in items], "list", 0, self.deps_of(items))
            return self.make(op, {"items": whole}, cache), "list", 0
        n = self.bounded()
        inner = self.bounded()
        nested = Term({"n": inner.made}, "dict", 0, inner.deps)
        more = {name: self.parameter(self.pick(*KINDS)) for name in ("p", "q") if self.flip()}
        return self.make(op, {"n": n, "inner": nested, **more}, cache), "dict", 0

    def bounded(self):
        """An int that any dictionary may have under `n`."""
        found = self.parameter("int")
        return found if found.size <= 1000 else self.literal("int")

    @staticmethod
    def deps_of(terms):
        return tuple(dep for term in terms for dep in term.deps)

    def make(self, op, params, cache):
        deps = list(dict.fromkeys(self.deps_of(params.values())))
        made = {name: term.made for name, term in params.items()}
        return Node(f"stdlib:{op}", made, deps, cache)

    def subgraph(self):
        params = {f"p{i}": self.parameter(self.pick(*KINDS)) for i in range(self.some(0, 3))}
        inner = Writer(self.draw, self.ephemeral, self.depth + 1)
        for name, term in params.items():
            inner.scope.add(name, term.kind, term.size)
        inner.fill(self.some(1, 4))
        output = self.pick(*inner.scope.graph)
        deps = list(dict.fromkeys(self.deps_of(params.values())))
        made = {name: term.made for name, term in params.items()}
        vertex = SubGraphNode(made, deps, inner.scope.graph, output)
        return vertex, inner.scope.kinds[output], inner.scope.sizes[output]

    def switch(self):
        kind = self.pick(*(kind for kind in KINDS if self.inside(kind)))
        targets = self.inside(kind)
        selector = self.pick(self.test(), self.number(1), self.parameter("text"), self.decimal(1))
        made = selector.made
        if selector.kind != "text":
            made = cel(made) if self.flip() else f"${{{made}}}"
        keys = ["true", "false", "0", "1", "2", "a", "low", "0.5"]
        cases = {key: self.pick(*targets) for key in keys if self.flip()}
        cases["1"] = self.pick(*targets)
        default = self.pick(*targets)
        if selector.kind == "bool" and {"true", "false"} <= cases.keys() and self.flip():
            default = None
        deps = list(dict.fromkeys(selector.deps))
        size = max(self.scope.sizes[target] for target in targets)
        return SwitchNode(made, deps, cases, default), kind, size

    def inside(self, kind):
        return [name for name in self.scope.names(kind) if name in self.scope.graph]

    def fill(self, count):
        for i in range(count):
            how = self.pick("node", "node", "node", "subgraph", "switch")
            if how == "subgraph" and self.depth >= 2:
                how = "node"
            if how == "switch" and not self.scope.graph:
                how = "node"
            vertex, kind, size = getattr(self, how)()
            self.scope.add(f"v{i}", kind, size, vertex)


@st.composite
def graphs(draw, ephemeral=True):
    """Draw a graph, outputs and a context; with nodes that are never stored, or without."""
    writer = Writer(draw, ephemeral)
    context = {}
    for name in ("c", "d"):
        if writer.flip():
            term = writer.literal(writer.pick(*KINDS))
            context[name] = term.made
            writer.scope.add(name, term.kind, term.size)
    writer.fill(writer.some(1, 8))
    names = list(writer.scope.graph)
    outputs = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    return writer.scope.graph, outputs, context


# --- the same graphs in our own words ---

_ITEM = re.compile(r"(\w+)(?:\.(\w+))?(?:\.(\w+)|\['(\w+)'\])")


def in_our_words(graph):
    """Return a graph of our objects, with items and tuples where upstream has none.

    An expression that is no more than `x.n` becomes an item, and the list of items that an op is
    given becomes a tuple, whose markers upstream would not see.
    """
    return {name: _ours(vertex) for name, vertex in graph.items()}


def _ours(vertex):
    if isinstance(vertex, SwitchNode):
        selector = _our_value(vertex.selector)
        return inv.SwitchNode(selector, vertex.deps, vertex.cases, vertex.default)
    params = {name: _our_value(value) for name, value in vertex.params.items()}
    if isinstance(vertex, SubGraphNode):
        return inv.SubGraphNode(params, vertex.deps, in_our_words(vertex.graph), vertex.output)
    if vertex.op_name == "stdlib:make_list":
        params["items"] = tuple(params["items"])
    return inv.Node(vertex.op_name, params, vertex.deps, vertex.cache)


def _our_value(value):
    if isinstance(value, ref):
        return inv.ref(value.dep)
    if isinstance(value, cel):
        if item := _ITEM.fullmatch(value.expr):
            name, *path = filter(None, item.groups())
            return reduce(getitem, path, inv.ref(name))
        return inv.cel(value.expr)
    if isinstance(value, dict):
        return {key: _our_value(item) for key, item in value.items()}
    return type(value)(map(_our_value, value)) if isinstance(value, list | tuple) else value
