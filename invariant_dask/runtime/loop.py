"""Run a plan in this process without a Dask graph: in the calling thread, joined by others.

Dask's local schedulers spend 30 to 130 microseconds a task; this takes a few. Steps come in the
order of the program, which is depth first, so few artifacts are held at once. Further threads join
while steps take long enough to be worth it: with steps of microseconds they would only fight for
the interpreter's lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from invariant_dask.ledger.events import Event
from invariant_dask.runtime.code import local_reference
from invariant_dask.runtime.graph import Work, spec_of
from invariant_dask.runtime.handle import Handle, Outcome
from invariant_dask.runtime.known import Known
from invariant_dask.runtime.produce import produce
from invariant_dask.runtime.spec import Jobs
from invariant_dask.runtime.watching import Emit, produce_and_tell
from invariant_dask.store.base import Store

logger = logging.getLogger("invariant_dask.runtime")

_LOOK_EVERY = (0.001, 0.005)
_LONG = 0.0005
_SHORT_IN_A_ROW = 20


def run_here(work: Work, store: Store, emit: Emit | None, threads: int = 1) -> list[Handle]:
    """Do what a plan leaves to do and return the handles that are wanted.

    Parameters
    ----------
    work
        What to do.
    store
        The store of `work.info`, open.
    emit
        Takes events; told of finished steps by one thread at a time.
    threads
        How many threads may be at work, the calling one included.

    Raises
    ------
    OpError
        Of the first step that failed; steps that already run in other threads are left to finish.
    ArtifactLostError
        If a stored input is gone.
    """
    loop = _Loop(work, store, emit)
    crew = _Crew(loop, threads - 1)
    with store.grouping():
        try:
            if crew.most:
                crew.start(crew.watch)
            loop.work_here()
            return [loop.handles[index] for index in work.wanted]
        finally:
            loop.ended = True  # before anything that Ctrl-C can come between
            crew.dismiss()
            loop.end()


class _Loop:
    def __init__(self, work: Work, store: Store, emit: Emit | None) -> None:
        self.work = work
        self.steps = work.plan.program.steps
        self.store = store
        self.emit = emit
        self.telling = threading.Lock()
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.idle = False  # whether the calling thread waits for others
        self.jobs = Jobs(local_reference, work.info)
        self.moved = time.monotonic()
        self.ended = False
        self.error: BaseException | None = None
        self.handles = work.given
        self._wire()
        self.known = Known(work.plan.program, self.waiting, store)

    def _wire(self) -> None:
        run = self.work.running()
        self.left = len(run)
        self.waiting: dict[int, int] = {}  # how many steps a step still waits for
        self.users: dict[int, list[int]] = {index: [] for index in run}
        self.uses = dict.fromkeys(self.work.wanted, 1)  # how many still need a handle
        for index in run:
            step = self.steps[index]
            for source in step.inputs:
                self.uses[source] = self.uses.get(source, 0) + 1
            needs = [source for source in step.needs if source in self.users]
            for source in needs:
                self.users[source].append(index)
            self.waiting[index] = len(needs)
        self.ready = [index for index in run if not self.waiting[index]]
        heapify(self.ready)

    def work_here(self) -> None:
        """Work until all is done, waiting for others where nothing is ready."""
        while self.left:
            index = self.take()
            while index is not None:
                index = self.do(index)
            with self.lock:
                self.idle = True
                while self.left and not self.ready and self.error is None:
                    self.changed.wait()
                self.idle = False
            if self.error is not None:
                raise self.error

    def end(self) -> None:
        """Let go of everything: an error that is raised holds this object by its traceback."""
        with self.lock:
            self.handles.clear()
            self.error = None

    def take(self) -> int | None:
        """Return the first step that is ready, or None if none is."""
        with self.lock:
            return self._next()

    def _next(self) -> int | None:
        if not self.ready or self.ended or self.error is not None:
            return None
        self.moved = time.monotonic()
        return heappop(self.ready)

    def give_back(self, index: int) -> None:
        """Leave a step that was taken to others."""
        with self.lock:
            heappush(self.ready, index)
            self.changed.notify_all()

    def do(self, index: int) -> int | None:
        """Produce a step, make those ready that waited for nothing else, and take the next."""
        try:
            handle = self.produce(index)
        except BaseException as error:  # noqa: BLE001  raised again where the run was asked for
            with self.lock:
                if not self.ended:
                    self.error = self.error or error
                self.changed.notify_all()
            return None
        with self.lock:
            if self.ended:
                return None
            self.left -= 1
            if handle.outcome.kind == "ran" and handle.record is not None:
                self.known.made(handle.record.resolved)
            if self.uses.get(index):
                self.handles[index] = handle
            for user in self.users.pop(index):
                self.waiting[user] -= 1
                if not self.waiting[user]:
                    heappush(self.ready, user)
            for source in self.steps[index].inputs:
                self.uses[source] -= 1
                if not self.uses[source]:
                    del self.handles[source]
            if self.idle:
                self.changed.notify_all()
            return self._next()

    def produce(self, index: int) -> Handle:
        step = self.steps[index]
        inputs = [self.handles.get(source) or self.stored(source) for source in step.inputs]
        spec = spec_of(step, self.jobs.of(step.bound), forced=index in self.work.forced)
        if self.emit is None:
            return produce(spec, inputs, self.store, find=self.known.find)
        thread = threading.current_thread().name
        return produce_and_tell(
            lambda: produce(spec, inputs, self.store, find=self.known.find),
            spec, self.tell, thread,
        )  # fmt: skip

    def tell(self, event: Event) -> None:
        assert self.emit is not None
        with self.telling:
            self.emit(event)

    def stored(self, index: int) -> Handle:
        """Return the handle of a reused step; what is fetched through it is kept for all users."""
        found = self.work.plan.found[index]
        record = found.record
        handle = Handle(
            self.steps[index].planned, record.descriptor, record.kind, record.size,
            Outcome("stored"), self.work.info.store, record,
            vouched=found.vouched, keeps=True,
        )  # fmt: skip
        return self.handles.setdefault(index, handle)


class _Crew:
    """Threads that join a loop while its steps take long."""

    def __init__(self, loop: _Loop, most: int) -> None:
        self.loop = loop
        self.most = most
        self.helpers = 0
        self.dismissed = threading.Event()

    def start(self, what: Callable[[], None]) -> bool:
        """Start a thread; return False if there can be no more: the others do its work."""
        name = f"invariant-dask-worker-{self.helpers}"
        thread = threading.Thread(target=what, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            logger.warning("steps run in fewer threads than allowed: %s", error)
            return False
        return True

    def dismiss(self) -> None:
        self.dismissed.set()

    def watch(self) -> None:
        """Send a helper when everybody is busy with something long and more is ready."""
        least, longest = _LOOK_EVERY
        pause = least
        loop = self.loop
        while not (self.dismissed.wait(pause) or loop.ended):
            stuck = time.monotonic() - loop.moved >= _LONG
            if loop.ready and stuck and self.helpers < self.most:
                with loop.lock:
                    self.helpers += 1
                if not self.start(self.help):
                    return
            pause = least if stuck else min(2 * pause, longest)

    def help(self) -> None:
        """Work while something is ready and takes long."""
        short = 0
        index = self.loop.take()
        while index is not None:
            start = time.monotonic()
            following = self.loop.do(index)
            short = short + 1 if time.monotonic() - start < _LONG else 0
            if following is not None and short >= _SHORT_IN_A_ROW:
                self.loop.give_back(following)
                following = None
            index = following
        with self.loop.lock:
            self.helpers -= 1
