"""Who a command lets see a run: a reader of JSON lines, and the report at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from types import TracebackType

import click

from invariant_dask.cli.outputs import OutputError, check_file, write_file
from invariant_dask.ledger.coding import to_json
from invariant_dask.ledger.events import Event
from invariant_dask.ledger.folding import RunState, fold


class Observers:
    """Sees the events of a run for the length of a block, and writes the report behind it.

    The report is written of a run that failed or was interrupted as well.

    Parameters
    ----------
    report
        The file for the report, if there is to be one.
    as_events
        Whether each event goes to standard output, as a line of JSON.

    Raises
    ------
    click.UsageError
        If the report's file cannot be one.
    """

    def __init__(self, *, report: Path | None = None, as_events: bool = False) -> None:
        if report is not None:
            check_file(report, "--report")
        self._report = report
        self._tells = as_events
        self._state = RunState()
        self._lines = sys.stdout
        self._aside = ExitStack()

    def __enter__(self) -> Callable[[Event], None] | None:
        if self._tells:  # what ops print must not come between the lines
            self._lines = sys.stdout
            self._aside.enter_context(redirect_stdout(sys.stderr))
        return self._see if self._tells or self._report is not None else None

    def _see(self, event: Event) -> None:
        if self._report is not None:
            fold([event], self._state)
        if self._tells:
            try:
                self._lines.write(json.dumps(to_json(event), separators=(",", ":")) + "\n")
                self._lines.flush()
            except OSError:  # whoever read has seen enough; the report goes on
                self._tells = False

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._aside.close()
        if self._report is None or not self._state.run:
            return
        try:
            write_report(self._report, self._state)
        except OutputError as trouble:
            if error is None:
                raise
            click.echo(f"invariant-dask: {trouble.format_message()}", err=True)


def write_report(file: Path, state: RunState, events: Sequence[Event] | None = None) -> None:
    """Write the report of a run to a file.

    Raises
    ------
    OutputError
        If it cannot be written; what was there before still is.
    """
    from invariant_dask.view.report import report_page

    page = report_page(state, events)
    write_file(file, lambda path: _fill(path, page))


def _fill(path: Path, page: str) -> None:
    path.write_text(page, encoding="utf-8")
