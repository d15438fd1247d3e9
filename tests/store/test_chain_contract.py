"""Every stack of tiers passes the contract of a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store import (
    ChainStore,
    DiskStore,
    MemoryStore,
    NullStore,
    ReadOnly,
    Store,
    Tier,
)
from invariant_dask.testing import (
    FlakyStore,
    SlowStore,
    StoreBasics,
    StoreContract,
    damage_blob,
    damage_entry,
)


class ChainContract(StoreContract):
    """Damage is done to the only copy that is left, in the tier at `damaged`."""

    damaged = 0

    def only(self, store: Store) -> Store:
        assert isinstance(store, ChainStore)
        assert store.barrier() == ()
        return store.stores[self.damaged]

    def others(self, store: Store) -> list[Store]:
        only = self.only(store)
        return [tier for tier in store.stores if tier is not only]

    def damage_entry(self, store: Store, digest: bytes) -> None:
        damage_entry(self.only(store), digest)
        for other in self.others(store):
            other._delete_entries([digest])

    def damage_blob(self, store: Store, blob: BlobId, length: int) -> None:
        damage_blob(self.only(store), blob, length)
        for other in self.others(store):
            other._quarantine_blob(blob)

    def delete_blob(self, store: Store, blob: BlobId) -> None:
        for tier in (self.only(store), *self.others(store)):
            tier._quarantine_blob(blob)

    def copy_entry(self, store: Store, source: bytes, target: bytes) -> None:
        super().copy_entry(self.only(store), source, target)
        for other in self.others(store):
            other._delete_entries([target])


class TestMemoryBeforeDisk(ChainContract):
    def make_store(self, tmp_path: Path) -> Store:
        return ChainStore(MemoryStore(), DiskStore(tmp_path / "far"))


class TestMemoryBeforeDiskDamagedFar(TestMemoryBeforeDisk):
    damaged = 1


class TestDiskBeforeDisk(ChainContract):
    def make_store(self, tmp_path: Path) -> Store:
        return ChainStore(DiskStore(tmp_path / "near"), DiskStore(tmp_path / "far"))


class TestDiskBeforeDiskDamagedFar(TestDiskBeforeDisk):
    damaged = 1


class TestDiskBeforeDiskWrittenBehind(ChainContract):
    damaged = 1

    def make_store(self, tmp_path: Path) -> Store:
        far = Tier(DiskStore(tmp_path / "far"), write="behind")
        return ChainStore(DiskStore(tmp_path / "near"), far)


class TestThreeTiers(ChainContract):
    damaged = 2

    def make_store(self, tmp_path: Path) -> Store:
        far = Tier(DiskStore(tmp_path / "far"), write="behind")
        return ChainStore(MemoryStore(), DiskStore(tmp_path / "middle"), far)


class TestChainWithReadOnlyTier(ChainContract):
    def make_store(self, tmp_path: Path) -> Store:
        return ChainStore(MemoryStore(), ReadOnly(DiskStore(tmp_path / "far")))

    def others(self, store: Store) -> list[Store]:
        return []


class TestChainOfOne(ChainContract):
    def make_store(self, tmp_path: Path) -> Store:
        return ChainStore(DiskStore(tmp_path / "only"))


def refuses(name: str) -> Callable[[StoreContract, Path], None]:
    """Return a test that fails as the one of the contract where that wants to forget something."""

    def test(self: StoreContract, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailableError, match="not everything was forgotten"):
            getattr(StoreContract, name)(self, tmp_path)

    return test


class TestChainWhoseFarTierIsDown(ChainContract):
    """What the near tier does alone is all that a store must do, but for forgetting."""

    def make_store(self, tmp_path: Path) -> Store:
        far = FlakyStore(DiskStore(tmp_path / "far"))
        far.is_down = True
        return ChainStore(DiskStore(tmp_path / "near"), far)

    def only(self, store: Store) -> Store:
        assert isinstance(store, ChainStore)
        return store.stores[0]

    def others(self, store: Store) -> list[Store]:
        return []

    test_equal_digests_have_one_entry = refuses("test_equal_digests_have_one_entry")
    test_invalidating_what_is_not_there_forgets_nothing = refuses(
        "test_invalidating_what_is_not_there_forgets_nothing"
    )
    test_invalidating_an_op_forgets_its_entries_only = refuses(
        "test_invalidating_an_op_forgets_its_entries_only"
    )
    test_invalidating_a_planned_digest_forgets_its_record_too = refuses(
        "test_invalidating_a_planned_digest_forgets_its_record_too"
    )
    test_invalidating_a_resolved_digest_leaves_claims_that_find_nothing = refuses(
        "test_invalidating_a_resolved_digest_leaves_claims_that_find_nothing"
    )
    test_what_is_published_in_a_group_is_seen_at_once_and_stays = refuses(
        "test_what_is_published_in_a_group_is_seen_at_once_and_stays"
    )


class TestReadOnly(StoreBasics):
    def make_store(self, tmp_path: Path) -> Store:
        return ReadOnly(DiskStore(tmp_path / "store"))


class TestChainThatKeepsNothing(StoreBasics):
    def make_store(self, tmp_path: Path) -> Store:
        return ChainStore(NullStore())


class TestSlowStore(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return SlowStore(DiskStore(tmp_path / "store"), seconds=0)


class TestFlakyStoreThatDoesNotFail(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return FlakyStore(MemoryStore())
