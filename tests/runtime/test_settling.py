"""At the end of a cluster run workers commit; trouble with that is told, and hides nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sample_ops
from distributed import Client

from invariant_dask import DiskStore, Graph, compile
from invariant_dask.errors import OpFailedError, SchedulerError, StoreUnavailableError

# The scheduler and its only worker in one process: an op that kills its worker kills both.
DOOMED = """
import asyncio
from distributed import Scheduler, Worker

async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        async with Worker(scheduler.address, nthreads=1):
            print(scheduler.address, flush=True)
            await scheduler.finished()

asyncio.run(main())
"""


def single(op: object) -> Graph:
    g = Graph()
    g.add("x", op, value=4)
    return g


def unable(*_: object) -> None:
    raise StoreUnavailableError("no space left")


@pytest.mark.timeout(60)
def test_dead_scheduler_is_named_at_once_and_nothing_is_asked_of_it(
    tmp_path, monkeypatch, caplog
) -> None:
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", DOOMED], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        env=environment,
    ) as process:  # fmt: skip
        try:
            address = process.stdout.readline().strip()
            with Client(address, timeout=5, set_as_default=False) as client:
                compiled = compile(single(sample_ops.kill), store=DiskStore(tmp_path / "s"))
                asked, run = [], client.run

                def count(function, *args, **options):
                    asked.append(function.__name__)
                    return run(function, *args, **options)

                monkeypatch.setattr(client, "run", count)
                with pytest.raises(SchedulerError, match="connection"):
                    compiled.compute(scheduler=client)
                assert asked == ["_try_to_open"]
        finally:
            process.kill()
    assert "may not be stored" in caplog.text


def test_results_that_may_not_be_stored_are_a_warning(client, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("invariant_dask.runtime.settling.settle", unable)
    compiled = compile(single(sample_ops.double), store=DiskStore(tmp_path / "s"))
    with pytest.warns(UserWarning, match=r"may not be stored.*tcp://.*no space left"):
        assert compiled.compute(scheduler=client) == 8


def test_failure_of_an_op_comes_before_trouble_with_storing(
    client, tmp_path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("invariant_dask.runtime.settling.settle", unable)
    compiled = compile(single(sample_ops.fail), store=DiskStore(tmp_path / "s"))
    with pytest.raises(OpFailedError, match="'x'"):
        compiled.compute(scheduler=client)
    assert "no space left" in caplog.text
    # Nothing is held any longer, so the same task can be had again.
    monkeypatch.undo()
    with pytest.raises(OpFailedError, match="'x'"):
        compiled.compute(scheduler=client)


def test_tasks_are_let_go_of_though_storing_was_interrupted(client, tmp_path, monkeypatch) -> None:
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    compiled = compile(single(sample_ops.double), store=DiskStore(tmp_path / "s"))
    monkeypatch.setattr("invariant_dask.runtime.settling._settle", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compiled.compute(scheduler=client)
    client.run_on_scheduler(lambda: None)  # by then what was let go of is gone
    assert client.futures == {}
