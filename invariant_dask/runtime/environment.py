"""What runs are asked for with: Python, the platform, versions of what takes part."""

from __future__ import annotations

import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from invariant_dask._version import __version__

_ALWAYS = ("dask", "distributed", "numpy")
_IF_IMPORTED = {
    "pandas": "pandas", "pyarrow": "pyarrow", "PIL": "pillow", "invariant": "invariant-core",
    "s3fs": "s3fs", "gcsfs": "gcsfs", "adlfs": "adlfs", "obstore": "obstore",
}  # fmt: skip


def environment() -> tuple[str, ...]:
    """Return names, each with what it is in this process, such as `python 3.12.1`."""
    imported = [package for name, package in _IF_IMPORTED.items() if name in sys.modules]
    versions = [f"{package} {_version(package)}" for package in (*_ALWAYS, *imported)]
    return (
        f"python {platform.python_version()} ({platform.python_implementation()})",
        f"platform {_platform()}",
        f"invariant-dask {__version__}",
        *versions,
    )


@cache
def _platform() -> str:
    return platform.platform()


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # it was not installed but put on the path
        return "of unknown version"
