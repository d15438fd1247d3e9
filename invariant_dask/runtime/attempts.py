"""Run an op: check what it is given, run it, again if asked to, and say how it failed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from invariant_dask.errors import OpFailedError
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.runtime.arguments import argument_misfit, arguments_of, secrets_in
from invariant_dask.runtime.code import Code
from invariant_dask.runtime.failures import argument_misfits, op_failed
from invariant_dask.runtime.handle import Handle
from invariant_dask.runtime.spec import Spec
from invariant_dask.runtime.watching import watched_node
from invariant_dask.store.base import Store

logger = logging.getLogger("invariant_dask.runtime")


def attempt(spec: Spec, code: Code, inputs: Sequence[Handle], store: Store) -> tuple[Any, int, int]:
    """Run the op, again if asked to; every attempt gets values of its own."""
    failed: OpFailedError | None = None
    for number in range(1, spec.retries + 2):
        arguments = arguments_of(spec.parts, inputs, store)
        wrong = argument_misfit(code.contract, spec.parts, arguments) if number == 1 else None
        if wrong is not None:
            raise argument_misfits(spec.node, spec.job.code.name, spec.planned, wrong)
        watch = watched_node()
        if watch is not None:
            watch.started(number)
        start = time.perf_counter_ns()
        try:
            with FixedSurroundings(spec.job.code.context):
                result = code.function(**arguments)
        except BaseException as error:
            # SystemExit too: it would take the worker down, and its neighbours with it. Only the
            # user's own Ctrl-C passes.
            if isinstance(error, KeyboardInterrupt) and in_main_thread():
                raise
            secrets = secrets_in(spec.parts)
            failed = op_failed(spec.node, spec.job.code.name, spec.planned, error, secrets)
            if number <= spec.retries:  # the last one is raised
                told = "node %r: attempt %d of %d failed: %s"
                most = spec.retries + 1
                logger.warning(told, spec.node, number, most, failed.cause_text)
                if watch is not None:
                    watch.attempt_failed(number, f"{failed.cause_type}: {failed.cause_text}")
        else:
            return result, time.perf_counter_ns() - start, number
        finally:
            if watch is not None:
                watch.running = False
    assert failed is not None
    try:
        # Outside of the handler: a context that cannot be pickled must not come along.
        raise failed from failed.__cause__
    finally:
        del failed  # its traceback holds this frame, and all that the op was given


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
