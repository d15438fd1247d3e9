"""What every store promises, even one that keeps nothing."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import stable_hash
from invariant_dask.errors import ArtifactNotFoundError, InvariantError, NotCacheableError
from invariant_dask.store.backend import StoreStats
from invariant_dask.store.base import Store, StoreRef
from invariant_dask.testing.samples import sample_manifest

E = TypeVar("E", bound=BaseException)


def raises(expected: type[E], function: Callable[..., Any], *args: Any) -> E:
    try:
        function(*args)
    except expected as error:
        return error
    msg = f"{function} did not raise {expected.__name__}"
    raise AssertionError(msg)


class StoreBasics:
    """What every store promises, even one that keeps nothing."""

    def make_store(self, tmp_path: Path) -> Store:
        """Return a new, empty store; `tmp_path` is a folder of its own for each test."""
        raise NotImplementedError

    def test_absent_digest_is_a_miss_and_a_key_error(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        absent = manifests.digest(sample_manifest(n=0))
        assert store.lookup([absent]) == {}
        assert not store.exists(absent)
        error = raises(ArtifactNotFoundError, store.get, absent)
        assert isinstance(error, KeyError)
        assert error.digest == absent.hex()

    def test_looking_up_nothing_finds_nothing(self, tmp_path: Path) -> None:
        assert self.make_store(tmp_path).lookup([]) == {}

    def test_value_without_canonical_form_is_a_type_error(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        error = raises(NotCacheableError, store.put, sample_manifest(), {"a": {1, 2}})
        assert isinstance(error, TypeError)
        assert error.path == "$.a"
        assert not store.exists(manifests.digest(sample_manifest()))

    def test_bytes_that_are_no_manifest_are_refused(self, tmp_path: Path) -> None:
        raises(InvariantError, self.make_store(tmp_path).put, b"not a manifest", 1)

    def test_text_that_is_no_digest_is_refused(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        raises(InvariantError, store.get, "abc")
        raises(InvariantError, store.get, b"abc")

    def test_put_returns_a_record_of_what_came_out(self, tmp_path: Path) -> None:
        record = self.make_store(tmp_path).put(sample_manifest(n=1), [1, 2])
        assert record.resolved == manifests.digest(sample_manifest(n=1))
        assert record.hash == stable_hash([1, 2])
        assert (record.kind, record.about.op) == ("list", "sample:op")

    def test_reference_is_small_survives_pickling_and_opens_the_store(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        data = pickle.dumps(store.ref())
        assert len(data) < 1000
        ref = pickle.loads(data)  # noqa: S301
        assert isinstance(ref, StoreRef)
        assert ref == store.ref()
        assert ref.open() is store
        assert pickle.loads(pickle.dumps(store)) is store  # noqa: S301

    def test_blob_that_is_not_there_is_none(self, tmp_path: Path) -> None:
        assert self.make_store(tmp_path).read_blob(BlobId(bytes(32)), 40_000) is None

    def test_invalidating_what_is_not_there_forgets_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        assert store.invalidate("no:op") == 0
        assert store.invalidate(bytes(32)) == 0
        assert store.invalidate("op-" + "0" * 64) == 0

    def test_statistics_start_at_zero_and_can_be_reset(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        assert store.stats == StoreStats()
        store.lookup([bytes(32)])
        store.put(sample_manifest(n=1), 1)
        assert (store.stats.misses, store.stats.puts) == (1, 1)
        store.reset_stats()
        assert store.stats == StoreStats()

    def test_closing_twice_is_fine_and_using_it_again_too(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.close()
        store.close()
        store.put(sample_manifest(), 1)
        assert store.lookup([bytes(32)]) == {}
