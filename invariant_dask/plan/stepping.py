"""The steps of a program while it is compiled: one for each planned digest, under all its names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from invariant_dask.core import manifest
from invariant_dask.core.digest import PlannedDigest
from invariant_dask.core.encode import Encoded
from invariant_dask.errors import GraphError
from invariant_dask.graph.node import Node
from invariant_dask.plan import written
from invariant_dask.plan.binding import Binder, FileResolver, Scope, Value
from invariant_dask.plan.program import BoundOp, Part, Step


class Steps:
    """What was compiled so far.

    Parameters
    ----------
    context, resolve_file
        Where values and the content of files come from.
    nonce
        Keeps ephemeral nodes apart from those of any other run.
    """

    def __init__(
        self, context: Mapping[str, object], resolve_file: FileResolver, nonce: bytes
    ) -> None:
        self.nonce = nonce
        self.steps: list[Step] = []
        self.index: dict[str, int] = {}
        """The step of each node, by its path."""
        self.inlined: dict[str, Encoded] = {}
        self.spared: dict[int, Callable[[], int]] = {}
        """What makes a step of an inline node after all, by id of its value."""
        self.by_digest: dict[bytes, int] = {}
        self.binder = Binder(self.steps, context, resolve_file)

    def place(
        self,
        scope: Scope,
        node_id: str,
        node: Node,
        bound: BoundOp,
        planned: PlannedDigest,
        parts: tuple[Part, ...],
        inputs: tuple[int, ...],
        private: bytes,
    ) -> int:
        """Return the step of a node: a new one, or that of a node which asks for the same."""
        after = scope.after
        if len(node.deps) > len(node.refs):
            only = {dep for dep in node.deps if dep not in node.refs}
            after = tuple(sorted({*after, *self.steps_behind(scope, only)} - set(inputs)))
        name = scope.path + node_id
        known = self.by_digest.get(planned)
        if known is None:
            index = self.by_digest[planned] = len(self.steps)
            step = Step(name, bound, planned, parts, inputs, after, private, node.hints)
            step.derives = self.binder.derives
            step.volatile = node.cache == "volatile"
            if node.refs and (step.derives or len(node.refs) > len(inputs)):
                step.written = written.write(scope, node.params)
            self.steps.append(step)
        else:
            index = known
            step = self.steps[known]
            step.volatile |= node.cache == "volatile"
            if after:
                # Waiting for a later step could close a circle; that work is done then anyway.
                earlier = {each for each in after if each < known} - set(step.inputs)
                step.after = tuple(sorted(earlier | set(step.after)))
        return index

    def name(self, scope: Scope, node_id: str, value: Value) -> None:
        """Say what a vertex stands for: a step, a known value, or nothing that is decided yet."""
        scope.values[node_id] = value
        self.check_free(scope.path + node_id)
        if type(value) is int:
            self.index[scope.path + node_id] = value
        elif isinstance(value, Encoded):
            self.inlined[scope.path + node_id] = value
        else:
            scope.opened = True

    def show(self, output: str, value: Value) -> None:
        """Give an output that is a known value a step: what is shown must be an artifact.

        Whoever uses the value goes on using it, so that nobody's digest depends on who else asks.
        """
        if isinstance(value, Encoded):
            self.binder.begin()
            step = self.spared[id(value)]()
            for name in (self.steps[step].node, output):
                self.inlined.pop(name, None)
                self.index[name] = step

    def check_free(self, name: str) -> None:
        """Raise GraphError if there is a vertex of this name, in a subgraph or beside it."""
        if name in self.index or name in self.inlined:
            inside = name.rpartition("/")[0]
            msg = (
                f"two nodes are called {name!r}, one of them in the subgraph {inside!r}; rename one"
            )
            raise GraphError(msg)

    def steps_behind(self, scope: Scope, names: Iterable[str]) -> set[int]:
        """Return the steps that some vertices, or values from outside, stand for."""
        found: set[int] = set()
        for name in names:
            value = scope.values.get(name)
            if type(value) is int:
                found.add(value)
            elif value is None and scope.parent is not None and name in scope.outside:
                found.update(self.binder.steps_of(self.binder.value(scope, name)))
        return found

    def private(self, name: str, node: Node, inputs: tuple[int, ...]) -> bytes:
        """Ephemeral nodes meet nobody, and neither does what is made from them."""
        if node.cache is not False and not any(self.steps[index].private for index in inputs):
            return b""
        return manifest.private_item(name, self.nonce)
