"""Looking after a store: what is in it, what goes, what stays, and whether it is sound.

For stores in a folder and object stores; others have nothing to look after.
"""

from invariant_dask.store.budget import Budget, read_budget, write_budget
from invariant_dask.store.collecting import collect, keep_budget
from invariant_dask.store.notes import Pin, Root, keeper_of, pin, pins, unpin
from invariant_dask.store.overview import (
    Input,
    Listed,
    Overview,
    Pinned,
    Shown,
    list_records,
    overview,
    pinned,
    show,
)
from invariant_dask.store.removals import Removal, Report
from invariant_dask.store.transfer import Transferred, copy
from invariant_dask.store.verifying import Damage, Verified, verify

__all__ = [
    "Budget",
    "Damage",
    "Input",
    "Listed",
    "Overview",
    "Pin",
    "Pinned",
    "Removal",
    "Report",
    "Root",
    "Shown",
    "Transferred",
    "Verified",
    "collect",
    "copy",
    "keep_budget",
    "keeper_of",
    "list_records",
    "overview",
    "pin",
    "pinned",
    "pins",
    "read_budget",
    "show",
    "unpin",
    "verify",
    "write_budget",
]
