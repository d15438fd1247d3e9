"""Where a ledger is, and the layout of its folder, version 1:

    LEDGER                        JSON: {"layout": 1, "made_by": ...}; written first
    history.sqlite                all runs and their nodes (`ledger.runs`); WAL mode
    runs/<run id>/events.jsonl    what happened in a run (`ledger.journal`)
    runs/<run id>/lock            held while the run is recorded (`ledger.alive`)
    .gitignore                    keeps it all out of version control

Nothing is made before there is something to write.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from invariant_dask._version import __version__
from invariant_dask.errors import LedgerLayoutError, LedgerUnavailableError, SpecError

LAYOUT = 1

VARIABLE = "INVARIANT_LEDGER"
"""The environment variable that names the ledger, or says `off`."""

OFF = "off"
DEFAULT_PATH = ".invariant/ledger"

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The folder of a ledger."""

    folder: Path

    @property
    def history(self) -> Path:
        """The file of the run history."""
        return self.folder / "history.sqlite"

    def run_folder(self, run: str) -> Path:
        """Return the folder of a run.

        Raises
        ------
        SpecError
            If that is no run id: it might lead elsewhere.
        """
        if _RUN.fullmatch(run) is None:
            raise SpecError(f"not a run id: {run!r:.80}; it has letters, digits and -_. only")
        return self.folder / "runs" / run

    def journal(self, run: str) -> Path:
        """Return the file of the events of a run."""
        return self.run_folder(run) / "events.jsonl"

    def lock(self, run: str) -> Path:
        """Return the file that is locked while a run is recorded."""
        return self.run_folder(run) / "lock"

    def journals(self) -> list[str]:
        """Return the ids of the runs that have a journal."""
        try:
            found = [path.name for path in (self.folder / "runs").iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._unavailable(error) from error
        return sorted(run for run in found if _RUN.fullmatch(run) and self.journal(run).is_file())

    def check(self) -> bool:
        """Return whether the folder is a ledger; False if it is not there, or empty.

        Raises
        ------
        LedgerLayoutError
            If it is something else, or has a newer layout.
        LedgerUnavailableError
            If it cannot be read.
        """
        try:
            text = (self.folder / "LEDGER").read_text()
        except FileNotFoundError:
            self._check_empty()
            return False
        except NotADirectoryError as error:
            msg = f"{self.folder} is in a file; a ledger needs a folder of its own"
            raise LedgerLayoutError(msg) from error
        except OSError as error:
            raise self._unavailable(error) from error
        except UnicodeDecodeError:
            text = ""
        self._check_version(text)
        return True

    def create(self) -> None:
        """Make the folder, if it is not there, and check it.

        Raises
        ------
        LedgerLayoutError
            If it is something else, or has a newer layout.
        LedgerUnavailableError
            If it cannot be made.
        """
        if self.check():
            return
        partial = self.folder / f"LEDGER.{secrets.token_hex(8)}"
        made_by = f"invariant-dask {__version__}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"layout": LAYOUT, "made_by": made_by}))
            partial.replace(self.folder / "LEDGER")
            (self.folder / ".gitignore").write_text("*\n")
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise self._unavailable(error) from error

    def remove_run(self, run: str) -> None:
        """Remove the files of a run; what is gone already is no error."""
        try:
            shutil.rmtree(self.run_folder(run))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._unavailable(error) from error

    def _check_empty(self) -> None:
        # What another process wrote on its way to a ledger is not in the way.
        try:
            found = [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unavailable(error) from error
        foreign = sorted(name for name in found if not name.startswith("LEDGER"))
        if foreign and not (self.folder / "LEDGER").exists():
            msg = (
                f"{self.folder} holds something else than a ledger ({', '.join(foreign[:3])}); "
                "name a folder that is empty or not there"
            )
            raise LedgerLayoutError(msg)

    def _check_version(self, text: str) -> None:
        cure = f"use another folder (--ledger, {VARIABLE})"
        try:
            version = json.loads(text)["layout"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            msg = f"{self.folder / 'LEDGER'} is not readable as a ledger's; {cure}"
            raise LedgerLayoutError(msg) from error
        if version != LAYOUT:
            msg = (
                f"ledger {self.folder} has layout version {version!r:.20}, and this invariant-dask "
                f"{__version__} knows version {LAYOUT}; use the version that made it, or {cure}"
            )
            raise LedgerLayoutError(msg)

    def _unavailable(self, error: OSError) -> LedgerUnavailableError:
        msg = f"ledger {self.folder} cannot be used: {error}"
        return LedgerUnavailableError(msg)


def find_ledger(
    where: str | os.PathLike[str] | None = None,
    store_folder: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Ledger | None:
    """Return where runs are recorded; None if they are not.

    Parameters
    ----------
    where
        A folder, or `"off"`; by default what `INVARIANT_LEDGER` says, else the folder `ledger` in
        that of the store, else `.invariant/ledger`.
    store_folder
        The folder of the store, if it has one on this machine.
    environment
        Where the variable is looked for.

    Examples
    --------
    >>> find_ledger(None, "/data/store", {}).history.as_posix()
    '/data/store/ledger/history.sqlite'
    >>> find_ledger(None, "/data/store", {"INVARIANT_LEDGER": "off"})
    """
    named = os.fspath(where) if where is not None else environment.get(VARIABLE, "")
    if named == OFF:
        return None
    if named:
        return Ledger(Path(named).expanduser().absolute())
    if store_folder is not None:
        return Ledger(Path(store_folder).absolute() / "ledger")
    return Ledger(Path(DEFAULT_PATH).absolute())


def local_folder(store: str) -> Path | None:
    """Return the folder of a store on this machine, by what people write; None if it has none.

    Examples
    --------
    >>> local_folder("disk:/data/store").as_posix()
    '/data/store'
    >>> local_folder('["/data/near", "s3://team/far"]').as_posix()
    '/data/near'
    >>> local_folder("s3://team/far")
    """
    if store.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            for each in json.loads(store):
                name = each.get("url") if isinstance(each, dict) else each
                found = local_folder(name) if isinstance(name, str) else None
                if found is not None:
                    return found
        return None
    path = store.removeprefix("disk:")
    if not path or "://" in path or path in {"memory:", "null:"}:
        return None
    return Path(path).expanduser().absolute()
