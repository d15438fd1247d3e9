"""Object stores are found, shared, bounded and kept secret, and ask for little."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import sample_ops
from services.places import Place
from services.processes import Faults

from invariant_dask import Graph, compile
from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import blob_id
from invariant_dask.errors import (
    SpecError,
    StoreLayoutError,
    StoreNotSharedError,
    StoreUnavailableError,
)
from invariant_dask.store import Store, open_store
from invariant_dask.store import objects_names as names
from invariant_dask.store.finding import find_stores
from invariant_dask.store.objects_wire import PART
from invariant_dask.testing import sample_manifest, sample_planned

ELSEWHERE = """
import pickle, sys
store = pickle.loads(bytes.fromhex(sys.argv[1])).open()
print(len(store.recent("sample:op")), store.place)
store.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri()


# --- the place ---


@pytest.mark.parametrize("client", [None, "fsspec"])
@pytest.mark.parametrize(
    "name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"]
)  # fmt: skip
def test_endpoint_and_credentials_come_from_the_environment(
    name: str, client: str | None, s3: Place, amazon: pytest.MonkeyPatch
) -> None:
    amazon.setenv(name, s3.options["endpoint_url"])
    amazon.setenv("AWS_ACCESS_KEY_ID", s3.options["key"])
    amazon.setenv("AWS_SECRET_ACCESS_KEY", s3.options["secret"])
    amazon.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = open_store(s3.url, client=client)
    record = store.put(sample_manifest(), 1)
    assert s3.open().get(record.resolved) == 1
    assert store.place == s3.open().place


def test_plain_requests_that_the_environment_forbids_are_refused_at_once(
    amazon: pytest.MonkeyPatch,
) -> None:
    amazon.setenv("AWS_ALLOW_HTTP", "false")
    with pytest.raises(StoreUnavailableError, match=r"no request can be made.*http://") as caught:
        open_store("s3://bucket/store", key="k", secret="s", endpoint_url="http://127.0.0.1:1")
    assert "attempts" not in str(caught.value)


class Refusing(BaseHTTPRequestHandler):
    """Refuses everything, and remembers what was asked."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    Refusing.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("said", "region", "path"),
    [
        ({}, "us-east-1", "/bucket/store/LAYOUT"),
        ({"AWS_REGION": "eu-west-3"}, "eu-west-3", "/bucket/store/LAYOUT"),
        ({"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3", "/bucket/store/LAYOUT"),
        ({"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}, "us-east-1", "/store/LAYOUT"),
    ],
)
def test_region_and_style_are_what_the_environment_says(
    said: dict[str, str], region: str, path: str, refusing: str, amazon: pytest.MonkeyPatch
) -> None:
    for name, value in {**said, "AWS_ENDPOINT_URL": refusing}.items():
        amazon.setenv(name, value)
    with pytest.raises(StoreUnavailableError, match="403"):
        open_store("s3://bucket/store", key="k", secret="s")
    ((asked, signed),) = Refusing.asked
    assert asked == path
    assert f"/{region}/s3/" in signed


@pytest.mark.parametrize("client", [None, "fsspec"])
def test_who_has_no_credentials_is_told_at_once(
    client: str | None, amazon: pytest.MonkeyPatch
) -> None:
    amazon.setenv("AWS_EC2_METADATA_DISABLED", "true")  # it may not be asked in tests
    with pytest.raises(StoreUnavailableError, match="no AWS credentials were found") as caught:
        open_store("s3://bucket/store", client=client, timeout=3)
    assert "XML" not in str(caught.value)


def test_looking_for_a_store_in_a_bucket_makes_none(s3: Place, amazon: pytest.MonkeyPatch) -> None:
    amazon.setenv("AWS_ENDPOINT_URL", s3.options["endpoint_url"])
    amazon.setenv("AWS_ACCESS_KEY_ID", s3.options["key"])
    amazon.setenv("AWS_SECRET_ACCESS_KEY", s3.options["secret"])
    with pytest.raises(SpecError, match="no store at"):
        find_stores(s3.url)
    assert s3.open()._client.any_name("") == ""
    s3.open().put(sample_manifest(), 1)
    (found,) = find_stores(s3.url)
    assert found.store.recent("sample:op")


def test_url_names_one_store_for_as_long_as_it_lives(folder: str) -> None:
    store = open_store(folder)
    assert open_store(folder) is store
    assert open_store(folder, concurrency=3) is not store


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://", {}),
        ("s3://bucket//prefix", {}),
        ("s3://key:secret@bucket", {}),
        ("file://host/folder", {}),
        ("file:///folder", {"key": "x"}),
        ("s3://bucket", {"client": "curl"}),
        ("gs://bucket", {"client": "obstore"}),
        ("./folder", {"key": "x"}),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(url: str, options) -> None:
    with pytest.raises(SpecError):
        open_store(url, **options)


def test_prefix_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(StoreLayoutError, match=r"photo\.jpg"):
        open_store(tmp_path.as_uri())
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_newer_layout_is_refused_with_the_cure(folder: str, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "LAYOUT").write_text('{"layout": 2}')
    with pytest.raises(StoreLayoutError, match=r"version 2.*use the version that made it"):
        open_store(folder)


def test_opening_to_read_writes_nothing(s3: Place) -> None:
    store = s3.open()
    assert store.lookup([bytes(32)]) == {}
    assert store._client.list_many([""]) == []


def test_layout_is_the_golden_one(folder: str, tmp_path: Path) -> None:
    store = open_store(folder)
    record = store.put(sample_manifest(), b"x" * 40_000)
    ((blob, _),) = record.blobs
    digest, text = record.resolved.hex(), blob.hex()
    age = f"{2**64 - 1 - record.about.created:016x}"
    found = {str(p.relative_to(tmp_path / "store")) for p in (tmp_path / "store").rglob("*")}
    assert {name for name in found if (tmp_path / "store" / name).is_file()} == {
        "LAYOUT",
        f"entries/{digest[:2]}/{digest[2:]}",
        f"blobs/{text[:2]}/{text[2:]}",
        f"ops/sample-op-{names.op_folder('sample:op')[-8:]}/{age}-{digest}-",
    }


def test_names_of_ops_that_look_alike_are_told_apart() -> None:
    assert names.op_folder("a/b") != names.op_folder("a:b")
    mark = names.Mark(5, b"r" * 32, None)
    assert names.parse_mark(mark.name("any/op")) == mark


# --- other processes ---


def test_store_is_seen_by_another_process(s3: Place, folder: str) -> None:
    for store in (s3.open(), open_store(folder)):
        store.put(sample_manifest(), 1)
        sent = pickle.dumps(store.ref()).hex()
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", ELSEWHERE, sent],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == f"1 {store.place}\n"
        assert done.stderr == ""


def test_place_without_the_token_is_another_store(s3: Place) -> None:
    store = s3.open()
    sent = pickle.dumps(store.ref())
    store._client.delete_many([f"tokens/{store._token()}"])
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, sent.hex()], capture_output=True, text=True, check=False
    )
    assert StoreNotSharedError.__name__ in done.stderr
    assert "give it the same endpoint" in done.stderr


@pytest.mark.parametrize("client", ["obstore", "fsspec"])
def test_forked_child_makes_connections_of_its_own(client: str, s3: Place) -> None:
    script = """
import os, pickle, sys
from invariant_dask.store import open_store
from invariant_dask.testing import sample_manifest
store = open_store(sys.argv[1], endpoint_url=sys.argv[2], key="test", secret="test12345",
                   client=sys.argv[3])
record = store.put(sample_manifest(), [b"x" * 40_000])
child = os.fork()
if child == 0:
    os._exit(7 if store.get(record.resolved) == [b"x" * 40_000] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert store.exists(record.resolved)
"""
    subprocess.run(
        [sys.executable, "-c", script, s3.url, s3.options["endpoint_url"], client],
        check=True, timeout=60,
    )  # fmt: skip


def test_credentials_are_shown_nowhere(s3: Place, moto: str) -> None:
    store = s3.open()
    ref = store.ref()
    texts = (repr(store), store.url, store.place, repr(ref), str(ref), repr(store._location))
    assert not any("test12345" in text for text in texts)
    assert moto in store.place


# --- bounds ---


def test_entry_that_is_too_long_is_not_read(folder: str, monkeypatch) -> None:
    for module in ("objects", "objects_reading"):
        monkeypatch.setattr(f"invariant_dask.store.{module}.ENTRY_LIMIT", 1000)
    store = open_store(folder)
    digest = manifests.digest(sample_manifest())
    store._client.put(names.entry_name(digest), b"x" * 100_000)
    assert [len(data) for data in store._read_entries([digest]).values()] == [1001]
    assert not store.exists(digest)
    with pytest.raises(StoreUnavailableError, match="longer than 1000"):
        store.put(sample_manifest(n=1), "x" * 2000)


@pytest.mark.parametrize("client", ["obstore", "fsspec"])
def test_large_blobs_travel_in_parts(client: str, s3: Place, moto: str) -> None:
    store = s3.open(client=client)
    array = np.arange(5 * PART // 16, dtype="<i8")  # two parts and a half
    record = store.put(sample_manifest(), array)
    back = store.get(record.resolved)
    assert np.array_equal(back, array)
    ((blob, length),) = record.blobs
    assert store._client.head(names.blob_name(blob)).size == length > 2 * PART
    shorter = bytes(store._read_blob(blob, length))[: PART + 1]
    store._client.run(store._client.put_one(names.blob_name(blob), shorter))
    assert store.read_blob(blob, length) is None
    store.put(sample_manifest(), array)
    assert np.array_equal(store.get(record.resolved), array)


def test_equal_large_blob_is_sent_once(faulty_s3: Place, moto_faults: Faults) -> None:
    store = faulty_s3.open()
    data = b"x" * (2 << 20)
    store.put(sample_manifest(n=1), data)
    moto_faults.set()
    store.put(sample_manifest(n=2), data)
    name = names.blob_name(blob_id(data))
    asked = [method for method, path, _ in moto_faults.log if path.endswith(name)]
    # Once to see whether it is there, once more when the record is: a collector may be at work.
    assert asked == ["HEAD", "HEAD"]


# --- few requests ---


@pytest.mark.timeout(120)
def test_stored_graph_of_ten_thousand_nodes_takes_five_requests(
    faulty_s3: Place, moto_faults: Faults, calls, tmp_path: Path
) -> None:
    def large(store: Store) -> object:
        graph = Graph()
        value: object = 0
        for row in range(9_999):
            value = graph.add(f"n{row}", sample_ops.step, value=value, column=0)
        graph.add("end", sample_ops.array, n=value)
        return compile(graph, outputs=["end"], store=store)

    local = open_store((tmp_path / "made").as_uri())
    made = large(local)
    made.compute(scheduler="sync")
    calls.clear()
    store = faulty_s3.open()
    # The output and what leads to it, as the first run left them.
    planned = bytes.fromhex(made.digests["end"].rpartition("-")[2])
    record = local.lookup([planned])[planned].record
    for digest, data in local._read_entries([planned, record.resolved]).items():
        store._client.put(names.entry_name(digest), data)
    for blob, length in record.parts:
        store.write_blob(local.read_blob(blob, length))
    store.close()
    del store
    moto_faults.set()
    assert len(large(faulty_s3.open()).compute(scheduler="sync")) == 9_999
    assert len(moto_faults.log) <= 5, moto_faults.log
    assert len(calls) == 0


def test_many_look_ups_read_lists_where_that_is_cheaper(
    faulty_s3: Place, moto_faults: Faults
) -> None:
    store = faulty_s3.open()
    known = [store.put(sample_manifest(n=n), n).resolved for n in range(5)]
    absent = [bytes(sample_planned(str(n))) for n in range(3000)]
    moto_faults.set()
    assert store.lookup([*known, *absent, *known]).keys() == set(known)
    assert len(moto_faults.log) < 1200


def test_worth_of_lists_is_weighed() -> None:
    assert not names.worth_listing(100, 1.0, 1000)
    assert names.worth_listing(10_000, 1.0, 10_000)
    assert not names.worth_listing(10_000, 0.01, 10_000), "what is there is read anyhow"
    assert not names.worth_listing(10_000, 1.0, 1_000_000)
