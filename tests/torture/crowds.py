"""Have several processes write into one store at once, and look at what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from torture.crowd import SHARED, own_value, shared_value
from torture.killing import TESTS, check_whole

from invariant_dask.core.encode import encode
from invariant_dask.store import open_store
from invariant_dask.testing import sample_planned


def write_at_once(url: str, options: dict[str, Any], processes: int, seconds: float) -> int:
    """Check that nothing of what several processes write is lost; return how much it was."""
    running = [
        subprocess.Popen(
            [
                sys.executable, "-X", "faulthandler", "-W", "error", "-m", "torture.crowd",
                url, json.dumps(options), str(number), str(seconds),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        )
        for number in range(processes)
    ]  # fmt: skip
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate() for process in running]
    store = open_store(url, **options)
    expected = {f"shared {n}": shared_value(n) for n in range(SHARED)}
    for number, (process, (out, err)) in enumerate(zip(running, answers, strict=True)):
        assert process.returncode == 0, f"exit code {process.returncode}: {err}"
        told = json.loads(out)
        assert (told["warned"], told["quarantined"]) == ([], 0)
        assert told["own"]
        own = {f"own {number} {n}": own_value(number, n) for n in range(told["own"])}
        expected.update(own)
    found = store.lookup([sample_planned(name) for name in expected])
    for name, value in expected.items():
        planned = sample_planned(name)
        if planned in found:
            assert found[planned].record.hash == encode(value).hash, name
        else:  # in so short a time perhaps nobody came to it
            assert name.startswith("shared"), name
    check_whole(store)
    return len(found)
