"""The one orchestrator: compile a graph into a Dask collection, plan it, run it, record it.

`Compiled` is a Dask collection like any other (`dask.compute`, `client.compute`, `.persist`,
`dask.delayed` take it), and has entries of its own that plan first: `.compute()`, `.run()`,
`.plan()`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from dask.delayed import Delayed

from invariant_dask.core.digest import parse_hex
from invariant_dask.core.manifest import NONCE_SIZE
from invariant_dask.core.sealed import SealedDict
from invariant_dask.errors import (
    OpError,
    OutputsError,
    SpecError,
)
from invariant_dask.graph.composite import Vertex
from invariant_dask.graph.markers import Ref
from invariant_dask.graph.model import Graph
from invariant_dask.ledger.events import Event
from invariant_dask.ops.registry import ForeignRegistry, adopt_registry, default_registry
from invariant_dask.ops.table import OpTable
from invariant_dask.plan.compile import compile_graph
from invariant_dask.plan.explanation import Explanation
from invariant_dask.plan.plan import Plan
from invariant_dask.plan.program import bind_op
from invariant_dask.runtime import code, collector, explaining, graph, planner
from invariant_dask.runtime.choice import check_choice
from invariant_dask.runtime.collection import Collection, Undecided
from invariant_dask.runtime.doubts import warn_of_doubts
from invariant_dask.runtime.driver import writer
from invariant_dask.runtime.environment import environment
from invariant_dask.runtime.recording import Recording, recorded
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.schedulers import scheduler_for
from invariant_dask.runtime.stages import Stages, check_known, checked_names, forced_steps
from invariant_dask.runtime.telling import Progress
from invariant_dask.store.collecting import try_to_keep_budget
from invariant_dask.store.file_hashes import FileHasher
from invariant_dask.store.opening import Where, open_store

if TYPE_CHECKING:
    from invariant_dask.view.drawing import Drawing
    from invariant_dask.view.grouping import Detail

__all__ = ["Compiled", "Progress", "Run", "compile"]


def compile(  # noqa: A001  the verb of this package
    graph: Mapping[str, Vertex],
    outputs: Iterable[str | Ref] | None = None,
    context: Mapping[str, object] | None = None,
    *,
    store: Where | None = None,
    registry: OpTable | ForeignRegistry | None = None,
) -> Compiled:
    """Compile a graph into a Dask collection whose keys are manifest digests.

    Parameters
    ----------
    graph
        A `Graph`, or a dict of nodes by id.
    outputs
        Ids to produce, or the markers that `Graph.add` returned. By default all nodes that no
        other depends on.
    context
        External values by name, for markers that name no node.
    store
        A store, or what `open_store` takes. By default `$INVARIANT_STORE` or `.invariant`.
    registry
        Where ops are looked up: an `OpRegistry`, or that of the package `invariant`. By default
        the one that `@op` fills.

    Returns
    -------
    Compiled
        One output computes to its value, several to a dict of values by id.

    Raises
    ------
    SpecError
        If the graph, its parameters or the outputs are not valid; nothing has run.
    StoreError
        If the store cannot be used.

    Examples
    --------
    >>> from invariant_dask import Graph, MemoryStore
    >>> g = Graph()
    >>> total = g.add("total", "stdlib:add", a=2, b=3)
    >>> compile(g, store=MemoryStore()).compute(scheduler="sync")
    5
    """
    opened = open_store(store)
    chosen = default_registry() if registry is None else adopt_registry(registry)
    folder = opened.local_folder
    hasher = FileHasher(folder / "files.sqlite" if folder else None)
    bind = partial(bind_op, chosen)
    with collector.paused():
        program = compile_graph(
            graph, outputs, context,
            registry=chosen, resolve_file=hasher, nonce=os.urandom(NONCE_SIZE),
        )  # fmt: skip
    if not program.open:
        return Compiled(program, opened, context=context or ())
    # The caller may change the graph before its switches are decided.
    kept = Graph(program.name, graph)
    undecided = Undecided(kept, dict(context or {}), bind, hasher)
    return Compiled(program, opened, undecided, context or ())


class Compiled(Collection):
    """A compiled graph: a Dask collection with plans."""

    __slots__ = ()

    def frozen(self) -> Delayed:
        """Plan now, and return a plain Dask object for what is left to do.

        Where a switch takes a run to decide, that is everything.

        Raises
        ------
        StaleCodeError
            If an op that must run, or code it uses, changed since the graph was compiled.
        """
        program, plan = self._decided()
        if program.open:
            return Delayed(self.key, self.dask)
        code.recheck_ops(program.steps[index] for index in plan.run)
        complete = self._graph() if program is self.program else self._complete_graph(program)
        frozen = graph.frozen_graph(plan, self.info(""), complete)
        return Delayed(graph.value_key(program), frozen)

    # --- entries that plan ---

    def plan(self, *, rerun: Iterable[str] = ()) -> Plan:
        """Return what would run, what is reused and why; nothing runs.

        Parameters
        ----------
        rerun
            Ids of nodes to run whatever is stored.

        Raises
        ------
        OutputsError
            If `rerun` names an unknown node.
        """
        plan = self._planned(rerun)
        return explaining.add_causes(plan, self.store)

    def explain(self, node: str, *, rerun: Iterable[str] = ()) -> Explanation:
        """Return why a node would run, be reused or be left alone; nothing runs.

        What would run is compared with the nearest record of its op that the store has, whoever
        wrote it.

        Parameters
        ----------
        node
            Id of a node.
        rerun
            Ids of nodes to run whatever is stored.

        Raises
        ------
        OutputsError
            If `node` or `rerun` names an unknown node.
        """
        return explaining.explain_in(self._planned(rerun), node, self.store)

    def _planned(self, rerun: Iterable[str]) -> Plan:
        """Return the plan, as far as what is stored decides it; without causes."""
        names = checked_names(rerun)
        program, plan = self._decided(names)
        if program.open:
            return planner.make_open_plan(program, self.store, forced_steps(program, names))
        check_known(program, names)
        return plan

    def compute(
        self,
        *,
        scheduler: Any = None,
        rerun: Iterable[str] = (),
        ledger: str | os.PathLike[str] | bool | None = None,
        **options: Any,
    ) -> Any:
        """Return the value of the output, or a dict of values by id for several.

        Parameters
        ----------
        scheduler
            As in Dask: `"sync"`, `"threads"`, `"processes"`, a distributed client; also a cluster
            or the address of a scheduler. By default what Dask would use.
        rerun
            Ids of nodes to run whatever is stored.
        ledger
            As for `run`; by default, only what runs on a cluster is recorded.
        **options
            Further options of a local scheduler, such as `num_workers`.

        Raises
        ------
        OptionError
            If there is no such option.
        OpError
            If an op fails; what succeeded before is stored.
        StoreNotSharedError
            If the workers do not see the store.
        SchedulerError
            If the scheduler does not answer.
        """
        recording = None if ledger is False else Recording(ledger is not None, ledger)
        values = self._execute(scheduler, rerun, options, recording).values
        return values[self.outputs[0]] if len(self.outputs) == 1 else SealedDict(values)

    def run(
        self,
        *,
        scheduler: Any = None,
        rerun: Iterable[str] = (),
        progress: Progress | bool | None = None,
        observe: Callable[[Event], object] | None = None,
        strict: bool = False,
        ledger: str | os.PathLike[str] | bool | None = None,
        tags: Iterable[str] = (),
        **options: Any,
    ) -> Run:
        """Run as `compute` does, and return what happened together with the values.

        Parameters
        ----------
        scheduler, rerun, **options
            As for `compute`.
        progress
            True draws a bar while there is work, if standard error is a terminal. Or a function
            that is called with the plan, a digest and an outcome whenever a task has finished.
        observe
            Called with each event of the run, soon after it happened and in another thread. If it
            fails, that is logged once and it is called no more.
        strict
            Whether that is an error instead, raised when the run is over. So is a journal or
            history that cannot be written.
        ledger
            The folder in which the run is recorded, or False. By default `$INVARIANT_LEDGER`, else
            the folder `ledger` in that of the store, else `.invariant/ledger`; a store of this
            process alone has none.
        tags
            What to find the run by later.

        Raises
        ------
        ObserverError
            If the run is strict and who was to be told of it failed.
        OptionError, OpError, StoreNotSharedError, SchedulerError
            As for `compute`.
        """
        recording = Recording(True, ledger, progress, observe, strict)
        return self._execute(scheduler, rerun, options, recording, _texts(tags))

    def visualize(  # what Dask calls a picture, of nodes with decisions instead of tasks
        self,
        filename: str | os.PathLike[str] | None = None,
        format: str | None = None,  # noqa: A002
        *,
        detail: Detail = "auto",
        rerun: Iterable[str] = (),
        error: OpError | None = None,
    ) -> Drawing:
        """Draw the graph with what would run, what is reused and what is not looked at.

        Parameters
        ----------
        filename
            A file to write; its suffix says the format.
        format
            `html`, a page to move around in; `svg` or `png`, which Graphviz draws; or `dot`. Only
            needed where the suffix of the file does not say it.
        detail
            `nodes` draws every node, `ops` groups of them by op, and `auto` groups if there are
            more than 500.
        rerun
            As for `plan`.
        error
            What a run ended with: its node is drawn as failed, and what needs it as skipped.

        Returns
        -------
        Drawing
            A notebook shows it; it has `.save(file)`, `.svg()`, `.html()` and `.dot()`.

        Raises
        ------
        PictureError
            If there is no such format or level of detail.
        GraphvizError
            If Graphviz is needed, and not there or not able to.
        """
        from invariant_dask.view.drawing import check_asked, draw
        from invariant_dask.view.marking import course_after, picture_of

        check_asked(filename, format, detail)
        plan = self.plan(rerun=rerun)
        course = course_after(plan, error)
        return draw(picture_of(plan, course, outputs=self.outputs), filename, format, detail)

    def invalidate(self, node: str) -> int:
        """Forget what is stored for a node; return how many entries went."""
        if node not in self.program.index:
            raise OutputsError(f"{node!r} is not a node of this graph")
        return self.store.invalidate(parse_hex(self.digests[node]))

    # --- how it runs ---

    def _execute(
        self,
        scheduler: Any,
        rerun: Iterable[str],
        options: dict[str, Any],
        recording: Recording | None,
        tags: tuple[str, ...] = (),
    ) -> Run:
        names = checked_names(rerun)
        check_choice(scheduler, options)
        if not self.program.open:
            check_known(self.program, names)
        # Ephemeral nodes are new in every run, and this object may be run by several threads.
        program = self.program
        if program.has_private or program.open:
            program = program.renewed(os.urandom(NONCE_SIZE))
        run = Run(uuid.uuid4().hex, program, time.time_ns())
        grow = partial(self._undecided.grow, program) if self._undecided is not None else None
        asked = self._asked() | {"rerun": tuple(names), "tags": tags}
        with recorded(run, self.store, recording, asked) as teller:
            stages = Stages(self.store, lambda: scheduler_for(scheduler, options), names, teller)
            stages.follow(run, grow)
        warn_of_doubts(run, self.store)
        if run.plan.run:
            try_to_keep_budget(self.store)
        run.seconds = (time.time_ns() - run.started) / 1e9
        return run

    def _asked(self) -> dict[str, Any]:
        """Return what a run of this is asked for, as its first event tells it."""
        program = self.program
        return {
            "graph": program.name,
            "document": "" if program.open else graph.bundle_hex(program),
            "outputs": program.outputs,
            "store": self.store.url,
            "policy": self.store.terms.trust.short,
            "writer": writer(),
            "environment": environment(),
            "context": self._context,
        }


def _texts(tags: Iterable[str]) -> tuple[str, ...]:
    if isinstance(tags, str):
        raise SpecError(f"tags must be a list of texts; write [{tags!r}]")
    return tuple(tags)
