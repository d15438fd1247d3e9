"""What every format for the values of a library promises: `CodecContract`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from invariant_dask.core.decode import decode
from invariant_dask.core.encode import Encoded, encode, stable_hash
from invariant_dask.errors import InvariantError
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.memory import MemoryStore
from invariant_dask.testing.samples import sample_manifest

_IN_ANOTHER_PROCESS = """
import sys
from invariant_dask.store.disk import DiskStore
from invariant_dask.core.encode import stable_hash
store = DiskStore(sys.argv[1])
for digest in sys.argv[2:]:
    print(stable_hash(store.get(digest)).hex())
"""


class CodecContract:
    """Put a format to the test by a subclass in a pytest module."""

    def values(self) -> Mapping[str, Any]:
        """Return values of all kinds, all different, some of them large."""
        raise NotImplementedError

    def same(self, one: Any, other: Any) -> bool:
        """Return whether two values cannot be told apart by an op."""
        return type(one) is type(other) and bool(one == other)

    def equals(self) -> Mapping[str, tuple[Any, Any]]:
        """Return pairs of values made in different ways that must have the same identity."""
        return {}

    def refused(self) -> Mapping[str, Any]:
        """Return values of the library that have no form, such as subclasses."""
        return {}

    def decoded(self, encoded: Encoded) -> Any:
        """Return what comes out of an encoding."""
        return decode(encoded.storage, fetch=lambda blob, _: encoded.blobs[blob], sealed=True)

    def test_values_come_back_as_they_were(self) -> None:
        for name, value in self.values().items():
            assert self.same(value, self.decoded(encode(value))), name

    def test_encoding_what_came_back_gives_the_same_bytes(self) -> None:
        for name, value in self.values().items():
            encoded = encode(value)
            assert encode(self.decoded(encoded)) == encoded, name

    def test_different_values_have_different_hashes(self) -> None:
        values = self.values()
        assert len({stable_hash(value) for value in values.values()}) == len(values)

    def test_equal_values_have_one_hash_however_they_were_made(self) -> None:
        for name, (one, other) in self.equals().items():
            assert stable_hash(one) == stable_hash(other), name

    def test_values_without_a_form_are_refused_with_a_reason(self) -> None:
        for name, value in self.refused().items():
            try:
                encode(value)
            except InvariantError:
                continue
            raise AssertionError(name)

    def test_values_survive_every_store(self, tmp_path: Path) -> None:
        for store in (MemoryStore(), DiskStore(tmp_path / "store")):
            for name, value in self.values().items():
                record = store.put(sample_manifest(name=name), value)
                assert record.hash == stable_hash(value), name
                assert self.same(value, store.get(record.resolved)), name

    def test_another_process_reads_them_without_being_told_what_to_import(
        self, tmp_path: Path
    ) -> None:
        store, values = DiskStore(tmp_path / "store"), self.values()
        digests = [store.put(sample_manifest(name=name), values[name]).resolved for name in values]
        store.close()
        command = [sys.executable, "-c", _IN_ANOTHER_PROCESS, store.url, *map(bytes.hex, digests)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [stable_hash(value).hex() for value in values.values()]

    def test_damaged_bytes_never_pass_for_another_value(self) -> None:
        for name, value in self.values().items():
            encoded = encode(value)
            for at in range(0, len(encoded.storage), max(1, len(encoded.storage) // 100)):
                bad = bytearray(encoded.storage)
                bad[at] ^= 0x11
                try:
                    back = self.decoded(Encoded(encoded.identity, bytes(bad), encoded.blobs))
                    actual = stable_hash(back)
                except (InvariantError, KeyError):  # refused; or a blob that is not there
                    continue
                assert actual != encoded.hash or self.same(value, back), (name, at)
