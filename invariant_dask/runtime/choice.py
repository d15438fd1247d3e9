"""What may be said of how to run: names of schedulers, and options of Dask's local ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask

from invariant_dask.errors import OptionError, SchedulerError

_OWN_OPTIONS = ("ledger", "observe", "progress", "rerun", "scheduler", "strict", "tags")
_DASK_OPTIONS = (
    "cache", "chunksize", "func_dumps", "func_loads", "initializer", "num_workers",
    "optimize_graph", "pool", "raise_exception", "traverse",
)  # fmt: skip


def check_choice(chosen: Any, options: Mapping[str, Any]) -> None:
    """Refuse a scheduler or options that there are not, also where nothing has to run.

    Raises
    ------
    OptionError
        If neither we nor Dask's local schedulers take an option; a `get` of the user's takes any.
    SchedulerError
        If no scheduler has that name.
    """
    unknown = sorted(set(options) - set(_DASK_OPTIONS))
    if unknown and not callable(chosen):
        raise OptionError(option=unknown[0], known=(*_OWN_OPTIONS, *_DASK_OPTIONS))
    if isinstance(chosen, str) and ":" not in chosen:
        names = {*dask.base.named_schedulers, "distributed", "dask.distributed"}
        if chosen.lower() not in names:
            msg = (
                f"no scheduler {chosen!r}; there are {', '.join(sorted(names))}; "
                "an address looks like tcp://host:8786"
            )
            raise SchedulerError(msg)
