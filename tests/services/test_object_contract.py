"""Object stores pass the contract, on real servers and by each client."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from services.places import Place

from invariant_dask.core.digest import BlobId
from invariant_dask.store import Store, open_store
from invariant_dask.store.objects_names import blob_name, entry_name, frame_name
from invariant_dask.testing import StoreContract


class ObjectStoreContract(StoreContract):
    """Damage is done to the objects themselves."""

    def delete_blob(self, store: Store, blob: BlobId) -> None:
        store._client.delete_many([blob_name(blob)])

    def damage_blob(self, store: Store, blob: BlobId, length: int) -> None:
        self.flip(store, blob_name(blob), length)

    def damage_entry(self, store: Store, digest: bytes) -> None:
        self.flip(store, entry_name(digest), 1 << 20)

    def flip(self, store: Store, name: str, limit: int) -> None:
        data = bytearray(store._client.get(name, limit))
        data[len(data) // 2] ^= 1
        store._client.put(name, bytes(data))


class TestInMemory(ObjectStoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return open_store(f"memory://{uuid.uuid4().hex}")


class Compressed(ObjectStoreContract):
    """Damage is done to frames, where there are some."""

    def delete_blob(self, store: Store, blob: BlobId) -> None:
        store._client.delete_many([blob_name(blob), frame_name(blob)])

    def damage_blob(self, store: Store, blob: BlobId, length: int) -> None:
        assert not store._client.head(blob_name(blob)), "what the contract damages profits"
        self.flip(store, frame_name(blob), length)


class TestInMemoryCompressed(Compressed):
    def make_store(self, tmp_path: Path) -> Store:
        return open_store(f"memory://{uuid.uuid4().hex}", compression="zstd")


class TestFilesCompressed(Compressed):
    def make_store(self, tmp_path: Path) -> Store:
        return open_store((tmp_path / "store").as_uri(), compression="zstd")


class TestFiles(ObjectStoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return open_store((tmp_path / "store").as_uri())


class OnServer(ObjectStoreContract):
    client = "obstore"

    def make_store(self, tmp_path: Path) -> Store:
        return self.place.open(client=self.client)


class TestS3(OnServer):
    @pytest.fixture(autouse=True)
    def on(self, s3: Place) -> None:
        self.place = s3


class TestS3Compressed(Compressed):
    @pytest.fixture(autouse=True)
    def on(self, s3: Place) -> None:
        self.place = s3

    def make_store(self, tmp_path: Path) -> Store:
        return self.place.open(compression="zstd")


class TestS3ByFsspec(TestS3):
    client = "fsspec"


class TestGcs(OnServer):
    client = "fsspec"

    @pytest.fixture(autouse=True)
    def on(self, gs: Place) -> None:
        self.place = gs


class TestAzure(OnServer):
    @pytest.fixture(autouse=True)
    def on(self, az: Place) -> None:
        self.place = az


class TestAzureByFsspec(TestAzure):
    client = "fsspec"


class TestCeph(OnServer):
    @pytest.fixture(autouse=True)
    def on(self, ceph_s3: Place) -> None:
        self.place = ceph_s3


class TestCephByFsspec(TestCeph):
    client = "fsspec"
