"""Make the artifact of one node: resolve, look up, and only then run the op and publish.

The same under every scheduler, in a Dask task or without one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import ArtifactHash, PlannedDigest, ResolvedDigest
from invariant_dask.core.encode import encode
from invariant_dask.core.manifest import CODE_OP
from invariant_dask.errors import (
    ArtifactLostError,
    ExpressionError,
    NotCacheableError,
    StoreUnavailableError,
)
from invariant_dask.plan.program import assemble_manifest
from invariant_dask.runtime.arguments import (
    result_misfit,
    secrets_in,
    settle_parts,
)
from invariant_dask.runtime.attempts import attempt
from invariant_dask.runtime.code import code_of
from invariant_dask.runtime.codes import publish_code
from invariant_dask.runtime.failures import (
    op_failed,
    op_returned,
    result_misfits,
)
from invariant_dask.runtime.flight import Flights
from invariant_dask.runtime.handle import Handle, Outcome
from invariant_dask.runtime.spec import Job, Spec, bind_types
from invariant_dask.store.about import About
from invariant_dask.store.base import Store
from invariant_dask.store.leases import Lease
from invariant_dask.store.record import Found, PlannedEntry

logger = logging.getLogger("invariant_dask.runtime")

_TRAVELLING = 16
_ATTEMPTS = 3

_flights = Flights()


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
        found = _ask(store, spec, spec.planned)
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
                found = _ask(store, spec, resolved, find)
                handle = _stored(spec, store, inputs, resolved, found)
                if handle is not None:
                    return handle
            if not (spec.job.info.leases and spec.asks):
                return _make(spec, store, inputs, manifest, resolved, worker)
            with Lease(store, resolved, spec.job.info.writer) as lease:
                if lease.wait():
                    found = _ask(store, spec, resolved)
                    handle = _stored(spec, store, inputs, resolved, found)
                    if handle is not None:
                        return handle
                return _make(spec, store, inputs, manifest, resolved, worker)
        finally:
            if taken:
                _flights.give_back(flight)


def _ask(
    store: Store,
    spec: Spec,
    digest: bytes,
    find: Callable[[bytes], Found | None] | None = None,
) -> Found | None:
    """Return what is stored under a digest; nothing, if the store does not answer.

    The inputs are at hand by now, so the run can go on, and say what it could not keep.
    """
    try:
        return find(digest) if find else store.lookup([digest]).get(digest)
    except StoreUnavailableError as error:
        logger.warning("node %r is made without asking the store: %s", spec.node, error)
        return None


def _derived(spec: Spec, inputs: Inputs) -> Spec:
    """Return the spec with items and expressions evaluated."""
    try:
        parts = settle_parts(spec.parts, inputs)
    except ExpressionError as error:
        raise op_failed(spec.node, spec.job.code.name, spec.planned, error) from None
    return spec._replace(parts=parts, derives=False)


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
            # What was lost may still look as if it were there, where it could not be set aside.
            forced = recipe.spec.forced or losses[recipe.spec.planned.hex()] > 0
            spec = recipe.spec._replace(job=Job(job.code, job.info), forced=forced)
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
    code = code_of(spec.job.code, recent=not spec.job.info.run)
    loaded = [handle.loaded() for handle in inputs]
    result, nanoseconds, attempts = attempt(spec, code, loaded, store)
    try:
        encoded = encode(result) if spec.private else store.encode(result)
    except NotCacheableError as error:
        secrets = secrets_in(spec.parts)
        raise op_returned(spec.node, spec.job.code.name, spec.planned, error, secrets) from None
    wrong = result_misfit(code.contract, spec.parts, result)
    if wrong is not None:
        raise result_misfits(spec.node, spec.job.code.name, spec.planned, wrong)
    kind = type(result).__name__.removeprefix("Sealed").lower()
    del result  # what the op still holds must not keep a second copy alive here
    record = None
    vouched = _vouched_for(inputs, store)
    if not spec.private:
        about = About(
            spec.job.code.name, spec.node, spec.job.info.run, spec.job.info.writer,
            nanoseconds, time.time_ns(), spec.job.code.fingerprint, spec.written,
        )  # fmt: skip
        try:
            record = store.publish(
                encoded, manifest, kind=kind, about=about,
                planned=spec.planned, inputs=_recorded(inputs), resolved=resolved,
                vouched=vouched,
            )  # fmt: skip
        except StoreUnavailableError as error:
            # The result is right and in memory; losing the run as well would help nobody.
            logger.info("node %r is not persisted: %s", spec.node, error)
            store.note_unkept([spec.node], str(error))
        else:
            if not spec.job.info.run:  # a run does so itself, where the source is
                of_op = About(CODE_OP, spec.job.code.name, "", spec.job.info.writer)
                publish_code(store, spec.job.code.key, code.function, of_op)
    return Handle(
        spec.planned, encoded.descriptor, kind, encoded.size,
        Outcome("ran", nanoseconds, worker, attempts), spec.job.info.store, record,
        encoded.storage, dict(encoded.blobs) if encoded.blobs else {}, vouched=vouched,
    )  # fmt: skip
