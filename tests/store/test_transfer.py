"""Artifacts go from one store to another, verified, with the same bytes; damage is found."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from store.places import PLACES, large, put

from invariant_dask import DiskStore, MemoryStore, open_store
from invariant_dask.errors import ArtifactNotFoundError, SpecError
from invariant_dask.store import Store, upkeep
from invariant_dask.store.keys import SigningKey
from invariant_dask.testing import damage_blob, damage_entry, sample_planned

KEY = SigningKey("ci", bytes(32))


def entries(store: Store) -> dict[bytes, bytes]:
    return store._read_entries([seen.digest for seen in store.keeper().entries()])


@pytest.mark.parametrize(("source", "target"), list(permutations(PLACES, 2)))
def test_everything_arrives_with_its_bytes_unchanged(source, target, tmp_path: Path) -> None:
    near, far = PLACES[source](tmp_path / "a"), PLACES[target](tmp_path / "b")
    for n in range(4):
        put(near, n, large(n) if n % 2 else n, claim=f"claim {n}")
    told = upkeep.copy(near, far)
    assert (told.records, told.planned, told.blobs, told.lost) == (4, 4, 2, [])
    assert entries(far) == entries(near)
    assert far.get(sample_planned("claim 1")) == large(1)
    again = upkeep.copy(near, far)
    assert (again.records, again.planned, again.size, again.there) == (0, 0, 0, 8)


def test_only_what_was_asked_for_arrives(tmp_path: Path) -> None:
    near, far = DiskStore(tmp_path / "a"), DiskStore(tmp_path / "b")
    one = put(near, 1, op="sample:a", claim="one")
    two = put(near, 2, op="sample:b", claim="two")
    three = put(near, 3, op="sample:c", claim="three")
    upkeep.copy(near, far, digests=[sample_planned("one")])
    upkeep.copy(near, far, ops=["sample:b"])
    assert entries(far).keys() == {
        one.resolved, two.resolved, sample_planned("one"), sample_planned("two"),
    }  # fmt: skip
    # The copies belong to their ops.
    assert far.invalidate("sample:b") == 2
    upkeep.copy(near, far, digests=[three.resolved.hex()])
    assert far.get(sample_planned("three")) == large(3)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    near, far = DiskStore(tmp_path / "a"), DiskStore(tmp_path / "b")
    with pytest.raises(ArtifactNotFoundError):
        upkeep.copy(near, far, digests=[sample_planned("none")])
    with pytest.raises(SpecError, match="nothing of an op"):
        upkeep.copy(near, far, ops=["sample:none"])
    with pytest.raises(SpecError, match="nothing to copy"):
        upkeep.copy(near, DiskStore(tmp_path / "a"))


def test_damage_does_not_travel(tmp_path: Path) -> None:
    near, far = DiskStore(tmp_path / "a"), DiskStore(tmp_path / "b")
    sound, bad_blob, bad_entry = (put(near, n) for n in range(3))
    damage_blob(near, *bad_blob.parts[0])
    damage_entry(near, bad_entry.resolved)
    told = upkeep.copy(near, far)
    assert sorted(told.lost) == sorted([bad_blob.resolved, bad_entry.resolved])
    assert entries(far).keys() == {sound.resolved}
    assert far.get(sound.resolved) == large(0)


def test_other_result_of_an_op_is_replaced_only_if_asked(tmp_path: Path) -> None:
    near, far = DiskStore(tmp_path / "a"), DiskStore(tmp_path / "b")
    record = put(near, 1, large(1))
    put(far, 1, large(2))
    assert upkeep.copy(near, far).there == 1
    assert far.get(record.resolved) == large(2)
    assert upkeep.copy(near, far, replace=True).records == 1
    assert far.get(record.resolved) == large(1)


@pytest.mark.parametrize("terms", [{"trust": [KEY.public]}, {"max_artifact_size": 1000}])
def test_what_the_source_does_not_take_on_its_terms_is_not_brought_to_who_believes_anybody(
    terms, tmp_path: Path, monkeypatch
) -> None:
    maker = DiskStore(tmp_path / "a")
    doubtful = put(maker, 1, large(1), claim="doubtful")
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", KEY.secret_text())
    good = put(maker, 2, 2, claim="good")
    source = open_store(tmp_path / "a", **terms)
    assert not source.exists(doubtful.resolved)
    mine = DiskStore(tmp_path / "b")
    ours = put(mine, 1, large(3), claim="doubtful")
    told = upkeep.copy(source, mine, replace=True)
    assert mine.get(sample_planned("good")) == 2
    assert mine.get(ours.resolved) == mine.get(sample_planned("doubtful")) == large(3)
    assert entries(mine).keys() >= {good.resolved}
    assert told.lost == []
    assert told.refused > 0
    assert "left out" in str(told)


def test_blob_that_got_lost_there_is_brought_again(tmp_path: Path) -> None:
    near, far = DiskStore(tmp_path / "a"), DiskStore(tmp_path / "b")
    record = put(near, 1)
    upkeep.copy(near, far)
    far.keeper().path_of(record.parts[0][0]).unlink()
    upkeep.copy(near, far)
    assert far.get(record.resolved) == large(1)


def test_store_in_memory_can_be_filled(tmp_path: Path) -> None:
    near, far = DiskStore(tmp_path / "a"), MemoryStore()
    put(near, 1, claim="one")
    upkeep.copy(near, far)
    assert far.get(sample_planned("one")) == large(1)


@pytest.mark.parametrize("kind", PLACES)
def test_verify_finds_every_damage_and_sets_it_aside(kind, tmp_path: Path) -> None:
    store = PLACES[kind](tmp_path)
    sound, bad_blob, bad_entry, lost = (put(store, n) for n in range(4))
    orphan = store.write_blob(large(9))
    other = store.write_blob(large(8))
    assert upkeep.verify(store).is_sound
    damage_blob(store, *bad_blob.parts[0])
    damage_blob(store, orphan, 40_000)
    damage_entry(store, bad_entry.resolved)
    store._quarantine_blob(lost.parts[0][0])
    told = upkeep.verify(store)
    assert {(each.what, each.digest) for each in told.damage} == {
        ("artifact", bad_blob.resolved), ("artifact", lost.resolved),
        ("entry", bad_entry.resolved), ("blob", orphan),
    }  # fmt: skip
    assert (told.artifacts, told.is_sound) == (1, False)
    assert store.read_blob(other, 40_000) is not None
    assert store.get(sound.resolved) == large(0)
    # What was damaged is gone; what names it is still a miss, and still said.
    left = upkeep.verify(store).damage
    assert {each.digest for each in left} == {bad_blob.resolved, lost.resolved}
