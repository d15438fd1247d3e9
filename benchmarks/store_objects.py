"""Object stores beside bare clients: look-ups, small puts, and processor time of the client.

    python -m benchmarks.store_objects [--lookups N] [--puts N] [--unrelated N] [--latency MS]
                                        [--server moto|ceph]

A local S3 behind a proxy that adds latency to each request. Processor time is of the client alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from services.ceph import gateway
from services.places import Place, s3_place
from services.processes import HERE, faults_before, free_port, running

from invariant_dask.core import manifest as manifests
from invariant_dask.store.objects_names import entry_name
from invariant_dask.testing import sample_manifest

_SERIAL = 200


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def show(name: str, wall: float, cpu: float, count: int, serial: float = 0.0) -> None:
    ratio = f"  1/{serial / (wall / count):.1f} of serial" if serial else ""
    print(
        f"{name:46s} {1e3 * wall / count:8.2f} ms each, {1e3 * cpu / count:6.2f} ms cpu{ratio}",
        flush=True,
    )


def measure(place: Place, lookups: int, puts: int) -> None:
    """Measure a place by each client."""
    import s3fs

    options = place.options
    files = s3fs.S3FileSystem(
        key=options["key"], secret=options["secret"], endpoint_url=options["endpoint_url"],
        client_kwargs={"region_name": "us-east-1"}, use_listings_cache=False,
    )  # fmt: skip
    root = place.url.removeprefix("s3://")
    made = [sample_manifest(n=n) for n in range(puts)]
    absent = [manifests.digest(sample_manifest(absent=n)) for n in range(lookups)]

    def pipe_all() -> None:
        for n in range(_SERIAL):
            files.pipe_file(f"{root}-bare/{n}", b"x" * 300)

    def exist_all(digests: list[bytes]) -> None:
        for digest in digests:
            files.exists(f"{root}/{entry_name(digest)}")

    wall, cpu = timed(pipe_all)
    serial_put = wall / _SERIAL
    show("s3fs, serial put", wall, cpu, _SERIAL)
    for client in ("obstore", "fsspec"):
        store = place.open(client=client)
        wall, cpu = timed(lambda: [store.put(made[n], n) for n in range(_SERIAL)])  # noqa: B023
        own_put = wall / _SERIAL
        show(f"store by {client}, serial put", wall, cpu, _SERIAL)

        def put_all() -> None:
            with store.grouping():  # noqa: B023
                for n in range(puts):
                    store.put(made[n], n)  # noqa: B023

        wall, cpu = timed(put_all)
        show(f"store by {client}, overlapping puts", wall, cpu, puts, own_put)
        print(f"    of serial bare puts of one object each: 1/{serial_put / (wall / puts):.1f}")
    known = [manifests.digest(manifest) for manifest in made]
    for what, digests in (("stored", known), ("absent", absent)):
        sample = digests[:_SERIAL]
        wall, cpu = timed(lambda: exist_all(sample))  # noqa: B023
        serial = wall / _SERIAL
        show(f"s3fs, serial exists, {what}", wall, cpu, _SERIAL)
        for client in ("obstore", "fsspec"):
            store = place.open(client=client)
            wall, cpu = timed(lambda: store.lookup(digests))  # noqa: B023
            show(f"store by {client}, {len(digests)} look-ups, {what}",
                 wall, cpu, len(digests), serial)  # fmt: skip
            found = store.lookup(digests[:10])
            assert len(found) == (10 if what == "stored" else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lookups", type=int, default=10_000)
    parser.add_argument("--puts", type=int, default=1000)
    parser.add_argument("--unrelated", type=int, default=0)
    parser.add_argument("--latency", type=float, default=10.0)
    parser.add_argument("--server", choices=["moto", "ceph"], default="moto")
    chosen = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        command = [sys.executable, HERE / "motoserver.py", port, chosen.unrelated]
        server = running(command, port, logs / "moto", path="/moto-api/", limit=600)
        if chosen.server == "ceph":
            server = gateway(logs / "ceph")
        with (
            server as url,
            faults_before(url, logs / "proxy") as proxy,
        ):
            place = s3_place(url)
            if chosen.unrelated:
                place = Place("s3://crowded/store", place.options)
                place.open()._client.put("LAYOUT", b'{"layout": 1}')
            proxy.set({"action": "delay", "seconds": chosen.latency / 1000})
            measure(place.through(proxy.url), chosen.lookups, chosen.puts)


if __name__ == "__main__":
    main()
