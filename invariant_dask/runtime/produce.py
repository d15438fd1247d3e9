"""Make the artifact of one node: resolve, look up, and only then run the op and publish.

The same under every scheduler, in a Dask task or without one. A spec carries encoded parameters and
references, so that a Dask scheduler can unpickle it without the user's modules.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

from invariant_dask.core import manifest as manifests
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import ArtifactHash, PlannedDigest, ResolvedDigest
from invariant_dask.core.encode import encode
from invariant_dask.core.files import FileContent
from invariant_dask.errors import (
    ArtifactLostError,
    ExpressionError,
    NotCacheableError,
    OpFailedError,
    StoreUnavailableError,
)
from invariant_dask.ops import claims
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.plan.payload import secret_texts, settled, value_of_payload
from invariant_dask.plan.program import BoundOp, Part, assemble_manifest
from invariant_dask.runtime.code import CodeRef, function_of
from invariant_dask.runtime.failures import op_failed, op_returned
from invariant_dask.runtime.flight import Flights
from invariant_dask.runtime.handle import Handle, Outcome
from invariant_dask.store.about import About
from invariant_dask.store.base import Store
from invariant_dask.store.file_hashes import FileHasher
from invariant_dask.store.files import open_file
from invariant_dask.store.opening import StoreRef
from invariant_dask.store.record import Found, PlannedEntry

logger = logging.getLogger("invariant_dask.runtime")

_TRAVELLING = 16
_ATTEMPTS = 3

_flights = Flights()
_hasher = FileHasher(None)


class RunInfo(NamedTuple):
    """What all nodes of one submission share."""

    store: StoreRef
    run: str
    """Id of the run; empty under plain Dask."""
    writer: str = ""
    types: tuple[str, ...] = ()
    """Classes of installed packages whose values tasks may meet; see `claims.references`."""


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

    @property
    def asks(self) -> bool:
        """Whether a stored artifact will do."""
        return not (self.private or self.forced)


Inputs = Sequence[Handle]


def produce(
    spec: Spec,
    inputs: Inputs,
    store: Store,
    worker: str = "",
    find: Callable[[bytes], Found | None] | None = None,
) -> Handle:
    """Return the artifact of a node, by running its op only if nothing stored will do.

    Parameters
    ----------
    spec
        The node.
    inputs
        The artifacts that enter, by slot.
    store
        The store of the job, open.
    worker
        Where this runs, for reports.
    find
        Finds what is stored under a resolved digest; by default the store is asked.

    Raises
    ------
    OpError
        If the op fails or returns what cannot be an artifact.
    ArtifactLostError
        If an input is gone and cannot be made again here.
    StaleCodeError
        If this process does not have the code that the digest stands for.
    """
    bind_types(spec.job.info.types)
    if spec.job.store_first and spec.asks:
        found = store.lookup([spec.planned]).get(spec.planned)
        handle = _stored(spec, store, inputs, spec.planned, found)
        if handle is not None:
            return handle
    if spec.derives:
        spec = _derived(spec, inputs)
    manifest = assemble_manifest(
        spec.job.code.identity, spec.parts, [handle.descriptor for handle in inputs], spec.private
    )
    resolved = ResolvedDigest(manifests.digest(manifest))
    flight = spec.job.info.store.token, resolved
    working = threading.Lock()
    with working:
        taken = _flights.take(flight, working)
        try:
            if spec.asks:
                found = find(resolved) if find else store.lookup([resolved]).get(resolved)
                handle = _stored(spec, store, inputs, resolved, found)
                if handle is not None:
                    return handle
            return _make(spec, store, inputs, manifest, resolved, worker)
        finally:
            if taken:
                _flights.give_back(flight)


def _derived(spec: Spec, inputs: Inputs) -> Spec:
    """Return the spec with items and expressions evaluated."""
    inputs = [handle.loaded() for handle in inputs]
    parts: list[Part] = []
    for name, key, payload in spec.parts:
        try:
            with FixedSurroundings():
                parts.append((name, key, settled(payload, lambda i: inputs[i].value())))
        except (ExpressionError, NotCacheableError) as error:
            told = ExpressionError(f"parameter {name}: {error}")
            raise op_failed(spec.node, spec.job.code.name, spec.planned, told) from None
    return spec._replace(parts=tuple(parts), derives=False)


@dataclass(frozen=True, slots=True)
class NodeRecipe:
    """Makes a node again from its inputs, under plain Dask where nobody plans anew."""

    spec: Spec
    inputs: tuple[Handle, ...]

    def remake(self) -> Handle:
        # Not by recursion: what is lost may be a longer chain than Python's stack.
        made: dict[PlannedDigest, Handle] = {}
        losses: Counter[str] = Counter()
        stack = [self]
        while True:
            recipe = stack[-1]
            job = recipe.spec.job
            spec = recipe.spec._replace(job=Job(job.code, job.info))
            inputs = [made.get(h.planned) or replace(h, recipe=None) for h in recipe.inputs]
            try:
                handle = produce(spec, inputs, job.info.store.open()).loaded()
            except ArtifactLostError as error:
                losses[error.digest] += 1
                recipes = {h.planned.hex(): h.recipe for h in recipe.inputs}
                lost = recipes.get(error.digest, recipe)
                if losses[error.digest] >= _ATTEMPTS or lost is None:
                    raise
                if isinstance(lost, NodeRecipe):
                    stack.append(lost)
                else:
                    remade = lost.remake()
                    made[remade.planned] = remade
                continue
            stack.pop()
            if not stack:
                return handle
            made[handle.planned] = handle.light()

    def __reduce__(self) -> tuple[Any, ...]:
        # Each handle travels once, however many ways lead to it, and only the nearest ones: a
        # handle must not weigh as much as all that it was made from.
        places: dict[PlannedDigest, int] = {}
        handles: list[Handle] = []
        flat: list[tuple[int, Spec, list[int]]] = []
        queue = [(-1, self)]
        for place, recipe in queue:
            if flat and len(handles) >= _TRAVELLING:
                break
            for handle in recipe.inputs:
                if handle.planned not in places:
                    places[handle.planned] = len(handles)
                    if isinstance(handle.recipe, NodeRecipe):
                        queue.append((len(handles), handle.recipe))
                    handles.append(replace(handle, recipe=None))
            inputs = [places[handle.planned] for handle in recipe.inputs]
            flat.append((place, recipe.spec, inputs))
        return _receive_recipe, (handles, flat)


def _receive_recipe(handles: list[Handle], flat: list[tuple[int, Spec, list[int]]]) -> NodeRecipe:
    recipes = [NodeRecipe(spec, tuple(handles[i] for i in inputs)) for _, spec, inputs in flat]
    for (place, _, _), recipe in zip(flat[1:], recipes[1:], strict=True):
        handles[place].recipe = recipe
    return recipes[0]


def _stored(
    spec: Spec, store: Store, inputs: Inputs, digest: bytes, found: Found | None
) -> Handle | None:
    if found is None or (found.entry is not None and _is_void(inputs, found.entry)):
        return None
    record = found.record
    if digest != spec.planned:
        store.claim(
            spec.planned, record, _recorded(inputs), writer=spec.job.info.writer,
            vouched=found.vouched and _vouched_for(inputs, store),
        )  # fmt: skip
    recipe = None
    if spec.job.store_first and (record.storage is None or record.blobs):
        recipe = NodeRecipe(spec, tuple(handle.light() for handle in inputs))
    outcome = Outcome("stored" if digest == spec.planned else "same inputs")
    return Handle(
        spec.planned, record.descriptor, record.kind, record.size, outcome,
        spec.job.info.store, record, recipe=recipe, vouched=found.vouched,
    )  # fmt: skip


def _is_void(inputs: Inputs, entry: PlannedEntry) -> bool:
    """Whether a planned entry was made from other inputs than those of this run."""
    recorded = dict(entry.inputs)
    return any(recorded.get(handle.planned, handle.hash) != handle.hash for handle in inputs)


def _vouched_for(inputs: Inputs, store: Store) -> bool:
    return all(handle.is_vouched_for(store.terms) for handle in inputs)


def _recorded(inputs: Inputs) -> list[tuple[PlannedDigest, ArtifactHash]]:
    return [(handle.planned, handle.hash) for handle in inputs]


def _make(
    spec: Spec,
    store: Store,
    inputs: Inputs,
    manifest: bytes,
    resolved: ResolvedDigest,
    worker: str,
) -> Handle:
    function = function_of(spec.job.code, recent=not spec.job.info.run)
    loaded = [handle.loaded() for handle in inputs]
    result, nanoseconds, attempts = _attempt(spec, function, loaded, store)
    try:
        encoded = encode(result) if spec.private else store.encode(result)
    except NotCacheableError as error:
        raise op_returned(spec.node, spec.job.code.name, spec.planned, error) from None
    kind = type(result).__name__.removeprefix("Sealed").lower()
    del result  # what the op still holds must not keep a second copy alive here
    record = None
    vouched = _vouched_for(inputs, store)
    if not spec.private:
        about = About(
            spec.job.code.name, spec.node, spec.job.info.run, spec.job.info.writer,
            nanoseconds, time.time_ns(), spec.job.code.fingerprint,
        )  # fmt: skip
        try:
            record = store.publish(
                encoded, manifest, kind=kind, about=about,
                planned=spec.planned, inputs=_recorded(inputs), resolved=resolved,
                vouched=vouched,
            )  # fmt: skip
        except StoreUnavailableError as error:
            # The result is right and in memory; losing the run as well would help nobody.
            logger.warning("node %r is not persisted: %s", spec.node, error)
    return Handle(
        spec.planned, encoded.descriptor, kind, encoded.size,
        Outcome("ran", nanoseconds, worker, attempts), spec.job.info.store, record,
        encoded.storage, dict(encoded.blobs) if encoded.blobs else {}, vouched=vouched,
    )  # fmt: skip


def _attempt(
    spec: Spec, function: Callable[..., Any], inputs: list[Handle], store: Store
) -> tuple[Any, int, int]:
    """Run the op, again if asked to; every attempt gets values of its own."""
    failed: OpFailedError | None = None
    for attempt in range(1, spec.retries + 2):
        arguments = _arguments(spec, inputs, store)
        start = time.perf_counter_ns()
        try:
            with FixedSurroundings(spec.job.code.context):
                result = function(**arguments)
        except BaseException as error:
            # SystemExit too: it would take the worker down, and its neighbours with it. Only the
            # user's own Ctrl-C passes.
            if isinstance(error, KeyboardInterrupt) and in_main_thread():
                raise
            secrets = set().union(*(secret_texts(payload) for _, _, payload in spec.parts))
            failed = op_failed(spec.node, spec.job.code.name, spec.planned, error, secrets)
            logger.warning("node %r: attempt %d failed: %s", spec.node, attempt, failed.cause_text)
        else:
            return result, time.perf_counter_ns() - start, attempt
    assert failed is not None
    try:
        # Outside of the handler: a context that cannot be pickled must not come along.
        raise failed from failed.__cause__
    finally:
        del failed  # its traceback holds this frame, and all that the op was given


def _arguments(spec: Spec, inputs: list[Handle], store: Store) -> dict[str, Any]:
    def file(content: FileContent) -> Any:
        return open_file(content, _hasher, store.read_blob)

    arguments: dict[str, Any] = {}
    for name, _, payload in spec.parts:
        if type(payload) is bytes:
            arguments[name] = decode(payload, open_file=file)
        elif type(payload) is int:
            arguments[name] = inputs[payload].value()
        else:
            arguments[name] = value_of_payload(payload, lambda i: inputs[i].value(), file)
    return arguments


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
