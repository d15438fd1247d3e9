"""Run Graphviz's `dot`, which is a program of its own and may not be there."""

from __future__ import annotations

import shutil
import subprocess
from typing import Literal

from invariant_dask.errors import GraphvizError

SECONDS = 60.0
"""How long it may take."""

_MISSING = (
    "PNG and SVG files are drawn by Graphviz, whose program `dot` is not on the PATH: install it "
    "(apt-get install graphviz, brew install graphviz or conda install graphviz), or ask for html "
    "or dot, which do not need it"
)


def find_dot() -> str:
    """Return the path of `dot`.

    Raises
    ------
    GraphvizError
        If it is not installed.
    """
    found = shutil.which("dot")
    if found is None:
        raise GraphvizError(_MISSING)
    return found


def render(dot: str, format: Literal["png", "svg"], *, seconds: float = SECONDS) -> bytes:  # noqa: A002
    """Return a drawing of a graph that is written in DOT.

    Raises
    ------
    GraphvizError
        If `dot` is not installed, fails, or takes too long.
    """
    try:
        done = subprocess.run(  # noqa: S603  the only argument is one of two formats
            [find_dot(), f"-T{format}"],
            input=dot.encode(), capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise GraphvizError(
            f"Graphviz did not finish within {seconds:g} s; draw less of the graph (detail='ops'), "
            "or ask for html, which is faster"
        ) from None
    except OSError as error:
        raise GraphvizError(f"Graphviz's `dot` cannot be run: {error}") from error
    if done.returncode != 0 or not done.stdout:
        told = done.stderr.decode(errors="replace").strip()[:500]
        raise GraphvizError(f"Graphviz's `dot` failed with code {done.returncode}: {told}")
    return done.stdout
