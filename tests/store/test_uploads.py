"""What an object store does beside requests: uploads on their way, and the clock of the place."""

from __future__ import annotations

import threading
import time

import pytest

from invariant_dask import open_store
from invariant_dask.errors import StoreError
from invariant_dask.store import objects_client, objects_loop
from invariant_dask.store.sizes import SECOND
from invariant_dask.testing import sample_manifest


def test_clock_of_a_place_does_not_follow_ours_when_that_is_put_right(
    monkeypatch, tmp_path
) -> None:
    keeper = open_store((tmp_path / "s").as_uri()).keeper()
    before = keeper.now()
    a_day_off = time.time() + 86_400
    monkeypatch.setattr(objects_client.time, "time", lambda: a_day_off)
    assert 0 <= keeper.now() - before < 3600 * SECOND


def test_upload_that_cannot_even_be_started_is_not_waited_for(monkeypatch, tmp_path) -> None:
    store = open_store((tmp_path / "s").as_uri())
    store.put(sample_manifest(n=0), 0)

    def no_more_threads() -> None:
        raise RuntimeError("can't start new thread")

    raised: list[BaseException] = []

    def publish_two() -> None:
        try:
            with store.grouping():
                for _ in range(2):  # the second waits for the first, which has the same name
                    with pytest.raises(RuntimeError, match="new thread"):
                        store.put(sample_manifest(n=1), 1)
        except (AssertionError, StoreError) as error:
            raised.append(error)

    with monkeypatch.context() as patch:
        patch.setattr(objects_loop, "_the_loop", no_more_threads)
        thread = threading.Thread(target=publish_two, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    assert raised == []
    assert store.put(sample_manifest(n=1), 1)
