"""How a value becomes a file that other programs read, and what to do where it does not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Save = Callable[[Path], Any]


def saver(value: Any, suffix: str) -> Save | None:
    """Return what writes a value to a file with a suffix; None if nothing here does."""
    suffix = suffix.lower()
    if is_file(value):
        return partial(_copy, value)
    if _is_array(value) and suffix == ".npy":
        return partial(_save_array, value)
    if _is_frame(value) and suffix == ".csv":
        # An index that only counts is no column that anybody wrote.
        return partial(value.to_csv, index=type(value.index).__name__ != "RangeIndex")
    if _is_frame(value) and suffix == ".parquet":
        return value.to_parquet  # type: ignore[no-any-return]
    return None


def cure(value: Any, python: str) -> str:
    """Return how to get at a value that has no JSON form.

    Parameters
    ----------
    value
        The value.
    python
        The expression that gives it in Python.
    """
    if is_file(value):
        return "-o FILE writes its bytes, if it is the only output"
    if _is_array(value):
        return "-o FILE.npy writes an array, if it is the only output"
    if _is_frame(value):
        return "-o FILE.csv or -o FILE.parquet writes a frame, if it is the only output"
    return f"in Python it is {python}"


def is_file(value: Any) -> bool:
    """Whether a value is the content of a file."""
    from invariant_dask.store.file_artifacts import FileArtifact

    return isinstance(value, FileArtifact)


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")  # without it there is no array
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _copy(value: Any, path: Path) -> None:
    with value.open() as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _save_array(value: Any, path: Path) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
