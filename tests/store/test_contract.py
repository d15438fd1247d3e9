"""Every store that ships passes the contract."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from invariant_dask.core.digest import BlobId
from invariant_dask.store import DiskStore, MemoryStore, NullStore, Store
from invariant_dask.testing import CountingStore, StoreBasics, StoreContract


class TestNullStore(StoreBasics):
    def make_store(self, tmp_path: Path) -> Store:
        return NullStore()


class TestMemoryStore(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore()


class TestLeastOftenUsedMemoryStore(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore("lfu")


class TestTimedMemoryStore(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore("ttl", ttl=3600)


class TestUnboundedMemoryStore(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore("unbounded")


class TestDiskStore(StoreContract):
    """Damage is done to the files themselves."""

    def make_store(self, tmp_path: Path) -> Store:
        return DiskStore(tmp_path / "store")

    def blob_path(self, store: Store, blob: BlobId) -> Path:
        return Path(store.url, "blobs", blob.hex()[:2], blob.hex()[2:])

    def delete_blob(self, store: Store, blob: BlobId) -> None:
        self.blob_path(store, blob).unlink()

    def damage_blob(self, store: Store, blob: BlobId, length: int) -> None:
        path = self.blob_path(store, blob)
        data = bytearray(path.read_bytes())
        assert len(data) == length
        data[-1] ^= 0x80
        path.chmod(0o644)
        path.write_bytes(data)

    def damage_entry(self, store: Store, digest: bytes) -> None:
        connection = sqlite3.connect(Path(store.url, "index.sqlite"), isolation_level=None)
        (data,) = connection.execute(
            "SELECT data FROM entries WHERE digest = ?", (digest,)
        ).fetchone()
        bad = data[:40] + bytes((data[40] ^ 1,)) + data[41:]
        connection.execute("UPDATE entries SET data = ? WHERE digest = ?", (bad, digest))
        connection.close()


class TestDiskStoreWithLimit(TestDiskStore):
    def make_store(self, tmp_path: Path) -> Store:
        return DiskStore(tmp_path / "store", size_limit="1GB")


class TestCompressedDiskStore(TestDiskStore):
    """Damage is done to frames, where there are some."""

    def make_store(self, tmp_path: Path) -> Store:
        return DiskStore(tmp_path / "store", compression="zstd")

    def blob_path(self, store: Store, blob: BlobId) -> Path:
        path = super().blob_path(store, blob)
        frame = path.with_name(f"{path.name}.zst")
        return frame if frame.exists() else path

    def damage_blob(self, store: Store, blob: BlobId, length: int) -> None:
        path = self.blob_path(store, blob)
        data = bytearray(path.read_bytes())
        assert path.suffix == ".zst", "what the contract damages profits"
        data[-1] ^= 0x80
        path.chmod(0o644)
        path.write_bytes(data)


class TestCountingStore(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return CountingStore(MemoryStore())
