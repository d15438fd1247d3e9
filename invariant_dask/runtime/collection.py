"""A compiled graph as a Dask collection: its keys, its complete graph, what is stored of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask.delayed import Delayed

from invariant_dask.errors import ArtifactLostError, IntegrityError, UnknownTypeError
from invariant_dask.graph.composite import Vertex
from invariant_dask.plan.binding import FileResolver
from invariant_dask.plan.compile import Decisions, compile_bound
from invariant_dask.plan.plan import Plan
from invariant_dask.plan.program import BindOp, BoundOp, Program
from invariant_dask.plan.seed import Sown, sow
from invariant_dask.runtime import code, collector, graph, planner
from invariant_dask.runtime.driver import info_of
from invariant_dask.runtime.growth import growing_graph, growing_key
from invariant_dask.runtime.handle import decode_artifact
from invariant_dask.runtime.spec import RunInfo
from invariant_dask.runtime.stages import forced_steps
from invariant_dask.store.base import Store


@dataclass(frozen=True)
class Undecided:
    """What a program with open switches was compiled from."""

    graph: Mapping[str, Vertex]
    context: Mapping[str, object]
    bind: BindOp
    resolve_file: FileResolver

    def grow(self, program: Program, decisions: Decisions) -> Program:
        """Compile again, now that some switches are decided."""
        return compile_bound(
            self.graph, program.outputs, self.context, bind=self.bind,
            resolve_file=self.resolve_file, nonce=program.nonce, decisions=decisions,
        )  # fmt: skip

    def sow(self, program: Program) -> Sown:
        """Return what the rest of the program grows from, elsewhere."""
        return sow(
            self.graph, program, self.context, bind=self.bind, resolve_file=self.resolve_file
        )


class Collection(Delayed):  # type: ignore[misc]  # dask is untyped here
    """A compiled graph as Dask sees it, and what the store decides of it.

    It subclasses `Delayed` because that is the only kind of collection that other Dask collections
    take over task by task instead of copying it under random keys.
    """

    __slots__ = ("_complete", "_context", "_sown", "_undecided", "program", "store")

    program: Program
    store: Store

    def __init__(
        self,
        program: Program,
        store: Store,
        undecided: Undecided | None = None,
        context: Iterable[str] = (),
    ) -> None:
        super().__init__("" if program.open else graph.value_key(program), None)
        self.program = program
        self.store = store
        self._undecided = undecided
        self._context = tuple(context)
        self._sown: Sown | None = None
        self._complete: graph.DaskGraph | None = None

    # --- what it is ---

    @property
    def digests(self) -> Mapping[str, str]:
        """Planned digest of each node, in hex.

        With several outputs, `<outputs>` names all of them together. What depends on a switch that
        is not decided has none yet.
        """
        steps = self.program.steps
        digests = {node: steps[i].planned.hex() for node, i in self.program.index.items()}
        if len(self.program.outputs) > 1 and not self.program.open:
            digests["<outputs>"] = graph.bundle_hex(self.program)
        return digests

    @property
    def outputs(self) -> tuple[str, ...]:
        """Ids of the outputs."""
        return self.program.outputs

    def __repr__(self) -> str:
        count = len(self.program.index) + len(self.program.inlined)
        name, outputs = type(self).__name__, ", ".join(self.outputs[:4])
        return f"<{name}: {count} nodes -> {outputs}; {self.store!r}>"

    def __getattr__(self, name: str) -> Any:
        # Delayed would answer any name with a task that gets that attribute.
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _as_delayed, (self.key, self.dask)

    # --- plain Dask ---

    @property
    def _key(self) -> str:
        # Dask reads this one too. An undecided graph is named when somebody asks, not before:
        # that takes a look at all that might be needed.
        return growing_key(self._sow()) if self.program.open else self._layer

    @_key.setter
    def _key(self, key: str) -> None:
        pass  # `Delayed` keeps it as the name of its layer as well

    def __dask_layers__(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def dask(self) -> graph.DaskGraph:
        """The complete graph for plain Dask; its tasks ask the store first.

        What depends on switches that are not decided is one task, which makes it in place.

        Raises
        ------
        StaleCodeError
            If an op, or code it uses, changed since the graph was compiled.
        """
        code.recheck_ops(self.program.steps)
        if self._sown is not None:
            code.recheck_all(op for op in self._sown.ops.values() if isinstance(op, BoundOp))
        return self._graph()

    def _graph(self) -> graph.DaskGraph:
        if self._complete is None:
            with collector.paused():
                self._complete = self._complete_graph(self.program)
        return self._complete

    def _complete_graph(self, program: Program) -> graph.DaskGraph:
        if program.open:
            return growing_graph(program, self._sow(), self.info(""))
        return graph.complete_graph(program, self.info(""))

    def _sow(self) -> Sown:
        if self._sown is None:
            assert self._undecided is not None
            self._sown = self._undecided.sow(self.program)
        return self._sown

    # --- what is stored of it ---

    def _decided(self, rerun: Sequence[str] = ()) -> tuple[Program, Plan]:
        """Return the program as far as what is stored decides it, and a plan.

        If that is not all of it, the plan is for what decides the rest.
        """
        program, decisions = self.program, dict[str, str]()
        while program.open:
            stage = program.selectors()
            plan, _ = planner.make_plan(stage, self.store, forced=forced_steps(stage, rerun))
            values = self._stored_values(plan)
            if values is None:
                return program, plan
            assert self._undecided is not None
            decisions |= program.decide(values)
            program = self._undecided.grow(program, decisions)
        plan, _ = planner.make_plan(program, self.store, forced=forced_steps(program, rerun))
        return program, plan

    def _stored_values(self, plan: Plan) -> dict[str, Any] | None:
        """Return the values of the outputs, or None if any of them takes a run."""
        if plan.run:
            return None
        program = plan.program
        records = {
            node: plan.found[index].record
            for node, index in zip(program.outputs, program.targets, strict=True)
        }
        try:
            fetched = {node: self.store.fetch(record) for node, record in records.items()}
        except ArtifactLostError:
            return None
        values = {}
        for node, stored in fetched.items():
            try:
                values[node] = decode_artifact(*stored)
            except UnknownTypeError:
                raise
            except IntegrityError as error:
                self.store.refuse(records[node], error)
                return None
        return values

    def info(self, run: str) -> RunInfo:
        """Return what all tasks of one submission share."""
        return info_of(self.store, run)


def _as_delayed(key: str, dsk: graph.DaskGraph) -> Delayed:
    return Delayed(key, dsk)
