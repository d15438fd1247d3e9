"""File systems that are full, or cannot be written: mounted for a test, which takes root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.processes import not_installed


@contextmanager
def mounted(folder: Path, *, size: int, files: int) -> Iterator[Path]:
    """A file system of so many bytes and files."""
    folder.mkdir()
    options = f"size={size},nr_inodes={files}"
    mounting = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(mounting, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        not_installed(f"a small file system to fill, as mounting takes root ({error}),")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """What is mounted there cannot be written meanwhile."""
    remounting = ["mount", "-o", "remount,{}", str(folder)]
    subprocess.run([part.format("ro") for part in remounting], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([part.format("rw") for part in remounting], check=True, capture_output=True)


def fill_bytes(folder: Path, spare: int) -> None:
    """Use all the room but so many bytes."""
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    size = (folder / "filler").stat().st_size
    os.truncate(folder / "filler", max(0, size - spare))


def fill_files(folder: Path, spare: int) -> None:
    """Make files until there can only be so many more."""
    number = 0
    (folder / "fillers").mkdir()
    with suppress(OSError):
        while True:
            (folder / "fillers" / str(number)).touch()
            number += 1
    for last in range(number - spare, number):
        (folder / "fillers" / str(last)).unlink()


def empty(folder: Path) -> None:
    (folder / "filler").unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        for path in (folder / "fillers").iterdir():
            path.unlink()
