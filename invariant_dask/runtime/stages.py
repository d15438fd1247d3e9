"""Follow a program whose switches are decided by what its own steps make.

What the open switches read is run first; then the program is compiled again with what they take,
until nothing is open. The same in the client's process and in a growth task.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from invariant_dask.core.digest import PlannedDigest
from invariant_dask.errors import OutputsError
from invariant_dask.plan.compile import Decisions
from invariant_dask.plan.program import Program
from invariant_dask.runtime.driver import Driver, sealed_value
from invariant_dask.runtime.handle import Handle
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.schedulers import Scheduler
from invariant_dask.runtime.spec import RunInfo
from invariant_dask.runtime.telling import Teller
from invariant_dask.store.base import Store


@dataclass
class Stages:
    """How to follow one run."""

    store: Store
    scheduler: Callable[[], AbstractContextManager[Scheduler]]
    """Opens the scheduler; it is asked only if something has to run."""
    rerun: Collection[str] = ()
    """Ids of nodes to run whatever is stored."""
    teller: Teller | None = None
    """Tells of the run, if anybody wants to know."""
    info: RunInfo | None = None
    """What tasks share, if somebody else asked for this."""
    read: Callable[[Handle], Any] = sealed_value
    """What to make of the artifacts of the outputs."""
    made: dict[PlannedDigest, Handle] = field(default_factory=dict)
    """What is there already, and what a stage made for those after it."""

    def follow(self, run: Run, grow: Callable[[Decisions], Program] | None) -> None:
        """Run the program of `run` to its end, and fill in what came out.

        Parameters
        ----------
        run
            With the program as far as it is decided.
        grow
            Returns the program that some decisions give; not asked if all are made.

        Raises
        ------
        OutputsError
            If a node to run again is not active in the end.
        """
        decisions: dict[str, str] = {}
        while run.program.open:
            assert grow is not None
            program = run.program
            run.program = program.selectors(forced_steps(program, self.rerun))
            self.drive(run, sealed_value, last=False)
            decisions |= program.decide(run.values)
            run.end_stage()
            run.program = grow(decisions)
        check_known(run.program, self.rerun)
        self.drive(run, self.read)

    def drive(self, run: Run, read: Callable[[Handle], Any], *, last: bool = True) -> None:
        """Run one program of a run; what it makes is used by the next one of the same run."""
        steps = run.program.steps
        again = forced_steps(run.program, self.rerun)
        done = {index for index in again if steps[index].planned in self.made}
        driver = Driver(self.store, run, again - done, self.teller, read, self.info)
        # What is made from these is stored as it came out some other time.
        driver.void |= done
        try:
            driver.start()
            driver.take_over(self.made)
            if not driver.finished:
                with self.scheduler() as chosen, self.telling(last):
                    driver.finish(chosen)
        finally:
            driver.root.release()
        self.made.update((steps[index].planned, made) for index, made in driver.handles.items())

    @contextmanager
    def telling(self, last: bool) -> Iterator[None]:
        """Tell how the run ended while the scheduler can still be told."""
        try:
            yield
        except BaseException as error:
            if self.teller is not None and self.teller.is_awake:
                self.teller.ended(error)
            raise
        if last and self.teller is not None and self.teller.is_awake:
            self.teller.ended(None)


def checked_names(rerun: Iterable[str]) -> list[str]:
    """Return the ids of nodes to run again."""
    if isinstance(rerun, str):
        raise OutputsError(f"rerun must be a list of node ids; write [{rerun!r}]")
    return list(rerun)


def check_known(program: Program, names: Iterable[str]) -> None:
    """Raise OutputsError if a name is not that of an active node."""
    for name in names:
        if name not in program.index:
            raise OutputsError(f"rerun names {name!r}, which is not among the active nodes")


def forced_steps(program: Program, rerun: Iterable[str]) -> frozenset[int]:
    """Return the steps to run whatever is stored: those asked for, and volatile ones."""
    steps = program.steps
    forced = {program.index[name] for name in rerun if name in program.index}
    forced |= {index for index, step in enumerate(steps) if step.volatile}
    return frozenset(forced)
