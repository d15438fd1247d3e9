"""Do the work that a plan leaves on whatever scheduler there is, telling events as they come.

Two kinds: a *local* one is in this process (or its pool), a *cluster* is reached through a
distributed client. Both return handles.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import dask
import dask.base
import dask.local
import dask.threaded
from dask.callbacks import Callback
from dask.system import CPU_COUNT

from invariant_dask.errors import OpFailedError, SchedulerError, StoreNotSharedError
from invariant_dask.runtime.graph import Work
from invariant_dask.runtime.handle import Handle
from invariant_dask.runtime.loop import run_here
from invariant_dask.runtime.outbox import Page
from invariant_dask.runtime.settling import settled
from invariant_dask.runtime.watching import Emit, outcome_of
from invariant_dask.store.backend import Missed

if TYPE_CHECKING:
    from distributed import Client

    from invariant_dask.store.base import Store


logger = logging.getLogger("invariant_dask.runtime")


class Scheduler(Protocol):
    """Somewhere to run Dask graphs."""

    reports_by_event: bool
    missed: list[Missed]
    """What tiers of a chain did not get from others than this process."""

    def prepare(self, store: Store) -> None: ...

    def known(self, keys: Sequence[str]) -> Mapping[str, str]: ...

    def page(self) -> Page | None: ...

    def execute(self, work: Work, emit: Emit | None) -> list[Handle]: ...

    def close(self) -> None: ...


Hints = Mapping[str, Mapping[str, Any]]
"""The hints of nodes that have any, by Dask key."""

HEALTHY = frozenset({"memory", "processing", "waiting", "queued", "no-worker", "released"})
"""States of a key that has a result or can give one.

A released key is made again by the task that the scheduler knows; a task of ours under the same
key could depend on other keys, which a scheduler does not take well.
"""


class GraphForgottenError(Exception):
    """The scheduler forgot a key that the graph relied on; planning anew cures it."""


class LocalScheduler:
    """Dask's synchronous, threads or processes scheduler, or a `get` function of the user's.

    Where Dask would run tasks in threads of this process, our own loop does, without a Dask graph;
    but not while Dask's callbacks watch, such as a progress bar of `dask.diagnostics`, or if the
    user brings a pool: they expect Dask to do it.
    """

    reports_by_event = False

    def __init__(self, get: Callable[..., Any], options: dict[str, Any] | None = None) -> None:
        self.get = get
        self.options = options or {}
        self.missed: list[Missed] = []

    def prepare(self, store: Store) -> None:
        import dask.multiprocessing

        self.store = store
        if self.get is dask.multiprocessing.get and store.is_process_local:
            msg = (
                f"{store!r} lives in this process, and the processes scheduler runs tasks in "
                "others; use a DiskStore, or scheduler='threads'"
            )
            raise StoreNotSharedError(msg)

    def known(self, keys: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002  as on a cluster
        return {}

    def page(self) -> None:
        """Return nothing: there is no dashboard."""

    def execute(self, work: Work, emit: Emit | None) -> list[Handle]:
        threads = self._threads()
        if threads:
            return run_here(work, self.store, emit, threads)

        # Dask's callbacks see the tasks of other threads as well.
        steps = work.plan.program.steps if emit else ()
        ours = {step.planned: step for step in steps}

        def posttask(_key: str, result: Any, *_rest: object) -> None:
            step = ours.get(result.planned) if isinstance(result, Handle) else None
            if step is not None and emit is not None:
                op, run = step.bound.op.name, work.info.run
                for event in outcome_of(result, step.node, op, run):
                    emit(event)

        try:
            with Callback(posttask=posttask), self.store.grouping():
                return list(self.get(work.dask_graph(), work.wanted_keys, **self.options))
        except Exception as error:
            # The processes scheduler wraps what it cannot raise with the original type alone.
            original = getattr(error, "exception", None)
            if isinstance(original, Exception):
                raise original from error
            raise

    def _threads(self) -> int:
        """Return how many threads our own loop may use, or 0 if Dask is to run a graph."""
        if Callback.active:
            return 0
        if self.get is dask.local.get_sync and not self.options:
            return 1
        if self.get is not dask.threaded.get or not self.options.keys() <= {"num_workers"}:
            return 0
        if dask.config.get("pool", None) is not None:
            return 0
        chosen = self.options.get("num_workers") or dask.config.get("num_workers", None)
        return int(chosen or CPU_COUNT)

    def close(self) -> None:
        pass


class ClusterScheduler:
    """A distributed scheduler, through a client."""

    reports_by_event = True

    def __init__(self, client: Client, owned: bool = False) -> None:
        self.client = client
        self.owned = owned
        self.salt = b""
        self.missed: list[Missed] = []
        self._erred: list[str] = []
        self._kept: list[Any] = []

    def prepare(self, store: Store) -> None:
        """Check that workers see the store, and keep off the keys of those who use another."""
        from invariant_dask.runtime import sharing

        sharing.check_shared(self.client, store)
        self.salt = sharing.domain_salt(self.client, store)

    def known(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Return the state of the keys that the scheduler knows; erred ones are tried again."""
        if not keys:
            return {}
        states = self.client.sync(self.client.scheduler.get_task_status, keys=list(keys))
        self._erred = [key for key, state in states.items() if state == "erred"]
        return {key: state for key, state in states.items() if state is not None}

    def page(self) -> Page:
        """Return where the scheduler's dashboard is told of runs; see to it that it has a page."""
        # Imported here: it brings distributed along.
        from invariant_dask.runtime.plugins import install

        install(self.client)
        return Page(self.client)

    def execute(self, work: Work, emit: Emit | None) -> list[Handle]:
        import distributed
        from dask._expr import LLGExpr
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        from invariant_dask.runtime.listening import Listener, listening

        # The token spares Dask from hashing every task; it only has to be unique.
        graph = work.dask_graph()
        self._retry([key for key in self._erred if key in graph])
        expr = LLGExpr(graph, _determ_token=uuid.uuid4().hex)
        futures: list[Any] = []
        listener = Listener(work.info.run, emit) if emit is not None else None
        quiet = {"distributed.admin.large-graph-warning-threshold": "1GiB"}
        try:
            with (
                listening(self.client, listener),
                settled(self.client, work.info.store, True, self.missed, listener),
                dask.config.set(quiet), _annotated(work.hints),
            ):  # fmt: skip
                futures = self.client.get(expr, work.wanted_keys, sync=False)
                if not work.whole:
                    # Kept until the end of the run: what follows uses them where they are.
                    self._kept += futures
                    with _out_of_the_way(), self.client.as_current():
                        distributed.wait(futures)
                    failed = [future for future in futures if future.status != "finished"]
                    self.client.gather(failed)
                    return []
                with _out_of_the_way():
                    return list(self.client.gather(futures))
        except KilledWorker as error:
            raise _killed(work, str(error.task), str(error)) from error
        except FutureCancelledError as error:
            if "lost dependencies" in str(error):
                raise GraphForgottenError(str(error)) from error
            msg = f"the scheduler cancelled the run: {error}"
            raise SchedulerError(msg) from error
        finally:
            # A future left alive would pin the key in this client's eyes as cancelled.
            if work.whole:
                self._release(futures)

    def _retry(self, keys: list[str]) -> None:
        """Have failed tasks run again, before anything is submitted that would fail with them."""
        if not keys:
            return
        try:
            self.client.sync(_retry, self.client, keys)
        except KeyError:
            for key in keys if len(keys) > 1 else ():
                # Everybody let go of one meanwhile, so it is new and runs anyway.
                self._retry([key])

    def _release(self, futures: list[Any]) -> None:
        for future in futures:
            future.release()

    def close(self) -> None:
        self._release(self._kept)
        if self.owned:
            self.client.close()


def _killed(work: Work, key: str, text: str) -> Exception:
    for index, step in enumerate(work.plan.program.steps):
        if work.keys.of(index) == key:
            return OpFailedError(
                node=step.node, op=step.bound.op.name, digest=step.planned.hex(),
                cause_type="KilledWorker",
                cause_text="its worker died, each time it was tried, because of it or of a task "
                f"beside it; look at the log and the memory limit of the worker ({text})",
            )  # fmt: skip
    return SchedulerError(text)


@contextmanager
def _out_of_the_way() -> Iterator[None]:
    """Leave a worker's thread to others, while a task that runs in it waits for more tasks."""
    from distributed import rejoin, secede
    from distributed.worker import thread_state

    left = getattr(thread_state, "key", None) is not None
    if left:
        try:
            secede()
        except (ValueError, KeyError, AttributeError):
            left = False  # the op did so itself, or it is not a thread of the worker's pool
    try:
        yield
    finally:
        if left:
            rejoin()


async def _retry(client: Client, keys: list[str]) -> None:
    # Unlike `Client.retry`, also for tasks of which only others hold a future.
    for key in await client.scheduler.retry(keys=keys, client=client.id):
        if key in client.futures:
            client.futures[key].retry()


class _ByKey:
    """An annotation that differs from task to task; the scheduler calls it with each key."""

    def __init__(self, values: dict[str, Any], default: Any) -> None:
        self.values = values
        self.default = default

    def __call__(self, key: str) -> Any:
        return self.values.get(key, self.default)


@contextmanager
def _annotated(hints: Hints) -> Iterator[None]:
    """Pass hints on as Dask annotations, for the length of a block."""
    defaults: dict[str, Any] = {"priority": 0, "resources": {}}
    found = {
        name: _ByKey({key: of[name] for key, of in hints.items() if name in of}, default)
        for name, default in defaults.items()
        if any(name in of for of in hints.values())
    }
    if not found:
        yield
        return
    with dask.annotate(**found):
        yield


@contextmanager
def scheduler_for(chosen: Any, options: dict[str, Any]) -> Iterator[Scheduler]:
    """Yield the scheduler that a user means.

    Parameters
    ----------
    chosen
        None for what Dask would use, a Dask scheduler name, an address, a client or a cluster.
    options
        Further arguments for a local `get`, such as `num_workers`.

    Raises
    ------
    SchedulerError
        If a scheduler does not answer.
    """
    scheduler = _find(chosen, options)
    try:
        yield scheduler
    finally:
        scheduler.close()


def _find(chosen: Any, options: dict[str, Any]) -> Scheduler:
    if isinstance(chosen, str) and ":" in chosen:
        return ClusterScheduler(connect(chosen), owned=True)
    if hasattr(chosen, "scheduler_address") and not hasattr(chosen, "get"):
        return ClusterScheduler(connect(chosen), owned=True)
    get = _without_client(chosen)
    if get is not None:
        return LocalScheduler(get, options)
    try:
        get = dask.base.get_scheduler(scheduler=chosen) or dask.threaded.get
    except ValueError as error:
        msg = f"no scheduler {chosen!r}: {error}; an address looks like tcp://host:8786"
        raise SchedulerError(msg) from error
    client = getattr(get, "__self__", None)
    if client is not None and hasattr(client, "scheduler"):
        return ClusterScheduler(client)
    return LocalScheduler(get, options)


def _without_client(chosen: Any) -> Callable[..., Any] | None:
    """Return Dask's local scheduler where no client can be meant: looking for one is slow.

    Dask's own way to tell imports distributed, which takes half a second.
    """
    if chosen is None:
        chosen = dask.config.get("scheduler", None)
        if chosen is None and "distributed" not in sys.modules:
            return dask.threaded.get  # type: ignore[no-any-return]
    if isinstance(chosen, str):
        return dask.base.named_schedulers.get(chosen.lower())  # type: ignore[no-any-return]
    return None


def connect(address: Any, timeout: str = "10s") -> Client:
    """Return a client of the scheduler at an address, or of a cluster object.

    Raises
    ------
    SchedulerError
        If nothing answers there in time.
    """
    from distributed import Client

    try:
        return Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        msg = f"no Dask scheduler answers at {address}: {error}"
        raise SchedulerError(msg) from error
