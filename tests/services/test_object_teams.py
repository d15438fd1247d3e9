"""Two clusters with folders of their own and one bucket between; artifacts larger than memory."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import sample_ops
from distributed import Client, LocalCluster
from services.places import Place
from services.processes import Faults

from invariant_dask import Graph, Node, compile, open_store, ref

LARGE = """
import mmap, sys, threading
import numpy as np
from invariant_dask import open_store
from invariant_dask.testing import sample_manifest

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

def watch():
    while not done.wait(0.01):
        most[0] = max(most[0], anonymous())

folder, size = sys.argv[1], int(sys.argv[2])
store = open_store("file://" + folder)
with open(folder + ".raw", "w+b") as file:
    file.truncate(size)
    # What is mapped is no memory of ours: the system takes it back as it likes.
    array = np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), "|u1")
before = anonymous()
most, done = [before], threading.Event()
threading.Thread(target=watch, daemon=True).start()
record = store.put(sample_manifest(), array)
back = store.get(record.resolved)
assert back.nbytes == size and not back[:: 1 << 20].any()
done.set()
print(most[0] - before)
"""


@pytest.fixture
def other_client():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def graph() -> Graph:
    made = Graph()
    source = made.add("source", sample_ops.source, seed=10)
    made.add("total", sample_ops.total, values=source)
    made.add("array", sample_ops.array, n=30_000)
    made.add("mean", sample_ops.mean, values=ref("array"))
    return made


@pytest.mark.timeout(240)
def test_a_second_cluster_runs_nothing_that_the_first_one_put_into_the_bucket(
    client: Client, other_client: Client, s3: Place, tmp_path, calls
) -> None:
    def chain(name: str):
        return open_store([str(tmp_path / name), {"url": s3.url, **s3.options}])

    first = compile(graph(), ["total", "mean"], store=chain("first"))
    result = first.compute(scheduler=client)
    made = dict(calls.counts)
    assert made == {"source": 1, "total": 1, "array": 1, "mean": 1}
    second = compile(graph(), ["total", "mean"], store=chain("second"))
    assert second.compute(scheduler=other_client) == result
    assert dict(calls.counts) == made
    # What follows from stored work runs there, and is given what it needs out of the bucket.
    more = graph()
    more.add("more", sample_ops.total, values=ref("source"), plus=1)
    value = compile(more, ["more"], store=chain("third")).compute(scheduler=other_client)
    assert value == result["total"] + 1
    assert calls.counts == {**made, "total": 2}


@pytest.mark.timeout(240)
def test_a_run_whose_bucket_goes_down_goes_on_in_its_folder(
    client: Client, faulty_s3: Place, moto_faults: Faults, tmp_path, calls
) -> None:
    far = {"url": faulty_s3.url, **faulty_s3.options, "timeout": 1.5}
    made = Graph()
    made.add("off", sample_ops.switch_off, proxy=moto_faults.url)
    made["source"] = Node("t:source", {"seed": 10}, deps=["off"])
    made.add("total", sample_ops.total, values=ref("source"))
    store = open_store([str(tmp_path / "near"), far])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert compile(made, ["total"], store=store).compute(scheduler=client) == 45
    assert any("artifacts are not in s3:" in str(each.message) for each in caught)
    # The folder has all of it: what comes next runs nothing, whatever became of the bucket.
    before = dict(calls.counts)
    again = compile(made, ["total"], store=str(tmp_path / "near"))
    assert again.compute(scheduler=client) == 45
    assert calls.counts == before
    moto_faults.set()


@pytest.mark.parametrize("size", [400 * 2**20, pytest.param(3 * 2**30, marks=pytest.mark.full)])
def test_memory_for_a_large_artifact_is_that_of_a_few_parts(tmp_path, size) -> None:
    command = [sys.executable, "-c", LARGE, str(tmp_path / "store"), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150 * 2**20
