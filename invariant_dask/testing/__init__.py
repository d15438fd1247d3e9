"""The shipped test kit: what stores and formats must do, and stores that watch or trouble others.

Put a store or a format of your own to the test by a subclass in a pytest module; pytest itself is
not imported here:

    class TestMyStore(StoreContract):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "store")
"""

from invariant_dask.testing.basics import StoreBasics
from invariant_dask.testing.codecs import CodecContract
from invariant_dask.testing.contract import StoreContract
from invariant_dask.testing.counting import CountingStore
from invariant_dask.testing.samples import (
    damage_blob,
    damage_entry,
    sample_manifest,
    sample_planned,
    sample_values,
)
from invariant_dask.testing.trouble import FlakyStore, SlowStore

__all__ = [
    "CodecContract",
    "CountingStore",
    "FlakyStore",
    "SlowStore",
    "StoreBasics",
    "StoreContract",
    "damage_blob",
    "damage_entry",
    "sample_manifest",
    "sample_planned",
    "sample_values",
]
