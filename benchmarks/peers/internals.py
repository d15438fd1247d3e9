"""The only place of the benchmarks that knows how invariant-dask is made inside.

A name that is not there any more is left out of what is measured, and shown as unknown.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ONCE_A_RUN = {
    "plan": ("invariant_dask.runtime.planner", "make_plan"),
    "build": ("invariant_dask.runtime.graph", "Work.dask_graph"),
}
"""Functions and methods called about once in a run, by the stretch that they make up.

There is no Dask graph where `sync` and `threads` are run without Dask's own schedulers.
"""

OFTEN = {"puts": "publish", "asks": "lookup", "claims": "claim"}
"""Methods of a store that a run calls, by the stretch that they make up.

They lie within the stretches above; under threads their sum may exceed the time that passed. What
they do in worker processes is not seen.
"""


@contextmanager
def measured(store: Any) -> Iterator[dict[str, float]]:
    """Measure what happens within a block: seconds by stretch, filled in as it goes."""
    seconds: dict[str, float] = {}
    undo = []
    for stretch, (module, path) in ONCE_A_RUN.items():
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each, None)
        function = getattr(owner, name, None)
        if function is None:
            continue
        seconds[stretch] = 0.0
        setattr(owner, name, _timed(function, seconds, stretch))
        undo.append((owner, name, function))
    for stretch, name in OFTEN.items():
        method = getattr(store, name, None)
        if method is not None:
            seconds[stretch] = 0.0
            setattr(store, name, _timed(method, seconds, stretch))
    try:
        yield seconds
    finally:
        for owner, name, function in undo:
            setattr(owner, name, function)
        for name in OFTEN.values():
            store.__dict__.pop(name, None)


def _timed(function: Any, seconds: dict[str, float], stretch: str) -> Any:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[stretch] += time.perf_counter() - start

    return timed
