"""The command line: thin commands over the session and the stores."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point of `invariant-dask`."""
    from invariant_dask.cli.app import run_app

    run_app()
