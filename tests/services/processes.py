"""Start servers on free ports, wait until they answer, and end them with all their children."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "invariant-dask"
"""Where `.ci/run` installs what is no Python package."""

REQUIRED = "INVARIANT_TEST_SERVICES"
"""Set to `all`, a server that is not installed is a failure; otherwise its tests are skipped."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def not_installed(what: str) -> None:
    if os.environ.get(REQUIRED) == "all":
        pytest.fail(f"{what} is not installed; .ci/run says how")
    pytest.skip(f"{what} is not installed; .ci/run says how")


def launch(command: Sequence[object], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that it can be ended with its children."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True, **options,
        )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for_answer(url: str, process: subprocess.Popen[bytes], log: Path, limit: float) -> None:
    """Return once anything is answered, an error too."""
    until = time.monotonic() + limit
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"no answer at {url}:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        else:
            return


@contextmanager
def running(
    command: Sequence[object], port: int, log: Path, path: str = "/", limit: float = 60
) -> Iterator[str]:
    """Run a server for the length of a block; yield its URL."""
    process = launch(command, log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for_answer(url + path, process, log, limit)
        yield url
    finally:
        end(process)


class Faults:
    """The fault proxy before a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def set(self, *rules: dict[str, Any]) -> None:
        """Have these rules from now on; and forget the log."""
        data = json.dumps(rules).encode()
        request = urllib.request.Request(f"{self.url}/__faults", data=data, method="PUT")
        urllib.request.urlopen(request).close()

    @property
    def log(self) -> list[tuple[str, str, str | None]]:
        """Method, path and action of each request since rules were set."""
        with urllib.request.urlopen(f"{self.url}/__faults") as answer:
            return [tuple(line) for line in json.load(answer)["log"]]


@contextmanager
def faults_before(url: str, log: Path) -> Iterator[Faults]:
    """Put the fault proxy before a server for the length of a block."""
    port = free_port()
    command = [sys.executable, HERE / "faultproxy.py", port, url.removeprefix("http://")]
    with running(command, port, log, path="/__faults") as proxy:
        yield Faults(proxy)
