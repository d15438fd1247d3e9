"""What tasks are told: all of a submission, all nodes of an op, one node.

A spec carries encoded parameters and references, so that a Dask scheduler can unpickle it without
the user's modules.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple

from invariant_dask.core.digest import PlannedDigest
from invariant_dask.ops import claims
from invariant_dask.plan.program import BoundOp, Part
from invariant_dask.runtime.code import CodeRef
from invariant_dask.store.opening import StoreRef


class RunInfo(NamedTuple):
    """What all nodes of one submission share."""

    store: StoreRef
    run: str
    """Id of the run; empty under plain Dask."""
    writer: str = ""
    types: tuple[str, ...] = ()
    """Classes of installed packages whose values tasks may meet; see `claims.references`."""
    leases: bool = False
    """Whether clusters take turns at making the same artifact."""


@lru_cache(maxsize=64)
def bind_types(references: tuple[str, ...]) -> None:
    """Register classes of installed packages, as far as they are installed here."""
    for reference in references:
        # Only whoever meets a value of a class that is not here needs it, and is told then.
        with suppress(ImportError):
            claims.bind_references([reference])


class Job:
    """What the nodes of one op have in common in one submission.

    It travels with each of their tasks, so it is pickled once, and unpickled once by each process.
    """

    __slots__ = ("_pickled", "code", "info", "reports", "store_first")

    def __init__(
        self, code: CodeRef, info: RunInfo, *, store_first: bool = False, reports: bool = False
    ) -> None:
        self.code = code
        self.info = info
        self.store_first = store_first
        """Whether tasks ask by planned digest before they touch their inputs."""
        self.reports = reports
        """Whether outcomes are announced to the client of a cluster."""
        self._pickled = b""

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._pickled:
            fields = self.code, self.info, self.store_first, self.reports
            self._pickled = pickle.dumps(fields)
        return _job, (self._pickled,)


@lru_cache(maxsize=256)
def _job(pickled: bytes) -> Job:
    # Part of a task, which came through Dask like all tasks.
    code, info, store_first, reports = pickle.loads(pickled)  # noqa: S301
    return Job(code, info, store_first=store_first, reports=reports)


class Jobs:
    """The job of each op of a program, made when it is first asked for.

    Parameters
    ----------
    refer
        Says where tasks find an op.
    info
        What all nodes share.
    store_first, reports
        As for `Job`.
    """

    def __init__(
        self,
        refer: Callable[[BoundOp], CodeRef],
        info: RunInfo,
        *,
        store_first: bool = False,
        reports: bool = False,
    ) -> None:
        self._refer = refer
        self._make = partial(Job, info=info, store_first=store_first, reports=reports)
        self._jobs: dict[int, Job] = {}

    def of(self, bound: BoundOp) -> Job:
        """Return the job of an op."""
        job = self._jobs.get(id(bound))  # the program holds it, so the id stays taken
        if job is None:
            job = self._jobs[id(bound)] = self._make(self._refer(bound))
        return job


class Spec(NamedTuple):
    """Everything it takes to produce one node, but for its inputs."""

    job: Job
    node: str
    planned: PlannedDigest
    parts: tuple[Part, ...]
    arity: int
    """How many of the handles that a task gets are inputs; the rest only had to be done."""
    private: bytes
    retries: int
    forced: bool
    derives: bool = False
    """Whether parameters take values of inputs before they can be named."""
    written: str = ""
    """How parameters were written, for the record."""

    @property
    def asks(self) -> bool:
        """Whether a stored artifact will do."""
        return not (self.private or self.forced)
