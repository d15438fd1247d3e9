"""What commands write: values and documents, to a file or to standard output.

A file is there as a whole or not at all: it is written aside and takes its place at the end.
"""

from __future__ import annotations

import io
import json
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from invariant_dask.cli.saving import cure, is_file, saver
from invariant_dask.errors import InvariantError, UnknownOpError


def told(error: InvariantError) -> str:
    """Return the message of an error, with the cure that the command line has."""
    if isinstance(error, UnknownOpError) and not error.reason:
        return f"{error} (--import FILE.py or --import MODULE runs it)"
    return str(error)


def _in_python(name: str) -> str:
    return f"compile(graph, [{name!r}]).compute()"


class OutputError(click.ClickException):
    """What was made cannot be written as asked; the exit code is 1."""


@dataclass(frozen=True)
class Target:
    """Where and how a command writes what it made.

    Attributes
    ----------
    file
        The path of a file; None for standard output.
    format
        `auto`, `json` or `binary`.
    pretty
        Whether JSON is indented.
    """

    file: Path | None
    format: str = "auto"
    pretty: bool = False

    @property
    def is_asked_for(self) -> bool:
        """Whether any option speaks of it."""
        return self.file is not None or self.format != "auto" or self.pretty

    def check(self, outputs: int = 1) -> None:
        """Refuse what can be known to fail before anything has run.

        Raises
        ------
        click.UsageError
            If the options do not go together, or the file cannot be one.
        """
        if self.file is not None:
            check_file(self.file)
        if self.format != "binary":
            return
        if self.pretty:
            raise click.UsageError("--pretty is for JSON")
        if outputs != 1:
            raise click.UsageError(
                f"binary output is that of one node, and there are {outputs}; choose with --pick"
            )
        if self.file is None and sys.stdout.isatty():
            raise click.UsageError("binary output does not go to a terminal; name a file with -o")

    def write_text(self, text: str) -> None:
        """Write text, ending in a line break."""
        self.write_bytes((text + "\n").encode())

    def write_json(self, obj: Any) -> None:
        """Write plain JSON."""
        self.write_text(as_json(obj, pretty=self.pretty))

    def write_bytes(self, data: bytes) -> None:
        """Write bytes."""
        if self.file is None:
            stream = sys.stdout.buffer
            stream.write(data)
            stream.flush()
        else:
            write_file(self.file, lambda path: _fill(path, data))

    def write_values(
        self, values: Mapping[str, Any], python: Callable[[str], str] = _in_python
    ) -> None:
        """Write outputs: the value of one, or a mapping of several by id.

        Parameters
        ----------
        values
            The outputs by id.
        python
            Returns the expression that gives an output in Python, for those without another form.

        Raises
        ------
        OutputError
            If a value has no such form, or the file cannot be written.
        """
        if len(values) == 1:
            [(name, value)] = values.items()
            save = None
            if self.file is not None and self.format != "json":
                save = saver(value, self.file.suffix)
            if self.file is not None and save is not None:
                write_file(self.file, lambda path: _saved(name, save, path))
                return
            if self._is_binary(name, value, python):
                self._write_binary(name, value)
                return
        encoded = {name: _encode(name, value, python) for name, value in values.items()}
        self.write_json(encoded[name] if len(values) == 1 else encoded)

    def _is_binary(self, name: str, value: Any, python: Callable[[str], str]) -> bool:
        if self.format == "json" or not _has_bytes(value):
            if self.format == "binary":
                other = "write it as JSON" if _has_json(value) else cure(value, python(name))
                raise OutputError(
                    f"output {name!r} is of type {type(value).__name__}; binary output is that of "
                    f"bytes, a FileArtifact or an ICacheable; {other}"
                )
            return False
        if self.format == "binary" or self.file is not None:
            return True
        return not self.pretty and not sys.stdout.isatty()

    def _write_binary(self, name: str, value: Any) -> None:
        # Such as a picture, whose stream has a header that no viewer knows.
        to_file = getattr(value, "to_file", None)
        if self.file is not None and callable(to_file):
            write_file(self.file, lambda path: _foreign(name, to_file, path))
        else:
            self.write_bytes(_bytes_of(name, value))


def check_file(path: Path, option: str = "-o") -> None:
    """Refuse a path that can be known not to become a file.

    Raises
    ------
    click.UsageError
        If it is a folder, or in one that is not there.
    """
    if path.is_dir():
        raise click.UsageError(f"{option} {path}: is a folder; name a file")
    if not path.parent.exists():
        raise click.UsageError(f"{option} {path}: there is no folder {str(path.parent)!r}")


def as_json(obj: Any, *, pretty: bool = False) -> str:
    """Return JSON in the one form that has the same bytes for equal values."""
    separators = (",", ": ") if pretty else (",", ":")
    return json.dumps(obj, indent=2 if pretty else None, separators=separators, sort_keys=True)


def write_file(target: Path, write: Callable[[Path], None]) -> None:
    """Write a file aside, and put it in place when it is complete.

    Raises
    ------
    OutputError
        If that fails; what was there before still is.
    """
    path = Path(target)
    try:
        path = path.resolve()  # the file that a link stands for, not the link
        if path.exists() and not path.is_file():  # a device or a pipe has no aside
            write(path)
            return
        # The suffix stays: it may tell the writer what to write.
        aside = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
        try:
            write(aside)
            if path.exists():
                shutil.copymode(path, aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error


def _fill(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _has_json(value: Any) -> bool:
    from invariant_dask.graph.positions import Fault
    from invariant_dask.graph.write_values import write_value

    try:
        write_value(value)
    except Fault:
        return False
    return True


def _encode(name: str, value: Any, python: Callable[[str], str]) -> Any:
    from invariant_dask.graph.positions import Fault, show_path
    from invariant_dask.graph.write_values import write_value

    try:
        return write_value(value)
    except Fault as fault:
        where = f" (at {show_path(fault.path)})" if fault.path else ""
        why = f"{fault}{where}; {cure(value, python(name))}"
        raise OutputError(f"output {name!r} cannot be written as JSON: {why}") from None


def _has_bytes(value: Any) -> bool:
    return (
        isinstance(value, bytes)
        or is_file(value)
        or (not isinstance(value, type) and callable(getattr(value, "to_stream", None)))
    )


def _bytes_of(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if is_file(value):
        return bytes(value.read_bytes())
    to_file = getattr(value, "to_file", None)
    if callable(to_file):
        import tempfile  # it is slow to import, and rarely needed

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "output")
            _foreign(name, to_file, path)
            return path.read_bytes()
    stream = io.BytesIO()
    _foreign(name, value.to_stream, stream)
    return stream.getvalue()


def _saved(name: str, save: Callable[[Path], Any], path: Path) -> None:
    try:
        save(path)
    except OSError:
        raise  # about the file
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise OutputError(f"output {name!r} cannot be written to {path.suffix}: {what}") from error


def _foreign(name: str, write: Callable[[Any], Any], to: Any) -> None:
    try:
        write(to)
    except Exception as error:
        raise OutputError(
            f"output {name!r} failed to write itself: {type(error).__name__}: {error}"
        ) from error
