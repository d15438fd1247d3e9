"""What signatures cost: signing a put, and looking up under a policy, the first time and again."""

from __future__ import annotations

import os
from itertools import count

import pytest

from invariant_dask import MemoryStore
from invariant_dask.store import trust
from invariant_dask.store.keys import SIGNING_VARIABLE, SigningKey
from invariant_dask.store.trust import Terms, Trust
from invariant_dask.testing import sample_manifest

MANY = 1000


@pytest.fixture
def key(monkeypatch) -> SigningKey:
    key = SigningKey("bench", os.urandom(32))
    monkeypatch.setenv(SIGNING_VARIABLE, key.secret_text())
    return key


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_put(benchmark, key, monkeypatch, signed: bool) -> None:
    if not signed:
        monkeypatch.delenv(SIGNING_VARIABLE)
    store, numbers = MemoryStore("unbounded"), count()
    record = benchmark(lambda: store.put(sample_manifest(n=next(numbers)), 1))
    assert bool(record.signature) is signed


@pytest.mark.parametrize("policy", ["any", "signed"])
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_lookup_of_1k(benchmark, key, monkeypatch, policy: str, again: bool) -> None:
    terms = Terms(Trust(frozenset([key.public.raw])) if policy == "signed" else trust.ANY)
    store = MemoryStore("unbounded", terms=terms)
    digests = [store.put(sample_manifest(n=number), number).resolved for number in range(MANY)]
    monkeypatch.delenv(SIGNING_VARIABLE)
    store._judge._own._known.clear()

    def forget() -> None:
        if not again:
            trust._valid._known.clear()

    found = benchmark.pedantic(store.lookup, (digests,), setup=forget, rounds=20)
    assert len(found) == MANY
