"""Remove from a store what nobody needs: when, and down to which budget; see `store.collector`."""

from __future__ import annotations

import logging

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import StoreError, StoreUnavailableError
from invariant_dask.store.base import Store
from invariant_dask.store.budget import Budget, is_due, read_budget
from invariant_dask.store.collector import ASIDE, Collector, Progress
from invariant_dask.store.evictions import note_evictions
from invariant_dask.store.keeper import Keeper, SeenAside, SeenBlob
from invariant_dask.store.notes import (
    keeper_of,
)
from invariant_dask.store.removals import NOT_NAMED, Report
from invariant_dask.store.sizes import MINUTE, parse_age, size_text

logger = logging.getLogger("invariant_dask.store")

GRACE = MINUTE
"""How long a writer that needs room spares new entries, if anything else can go."""


def collect(
    store: Store,
    *,
    max_size: int | str | None = None,
    max_age: float | str | None = None,
    keep_last: int | None = None,
    grace: float | str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Remove blobs that no record names, and what a budget leaves no room for.

    Parameters
    ----------
    store
        A store in a folder or bucket.
    max_size
        The most bytes that may stay, as a number or as text such as `"10GB"`. What was used least
        recently goes.
    max_age
        What was last used longer ago goes: seconds, or text such as `"30d"`.
    keep_last
        This many of the latest records of each op stay. With neither a size nor an age, all others
        go. Without all three, the budget that was set for the store is kept.
    grace
        What is younger stays: seconds or text. By default an hour, or 12 in an object store; blobs
        of an object store stay for 8 hours at least. What was damaged is kept for a look: so long,
        or for a week by default, and not at all on a disk without any room.
    dry_run
        Whether nothing is removed, and only said what would be.
    progress
        Told how far it is.

    Raises
    ------
    SpecError
        If the store is of another kind, or the budget makes no sense.
    StoreUnavailableError
        If the store cannot be read or written.

    Notes
    -----
    A record whose blob is gone can never be used and goes too, pinned or not.
    """
    keeper = keeper_of(store)
    if keeper.is_read_only and not keeper.is_full and not dry_run:
        msg = f"{store.url} cannot be written: nothing goes; a dry run says what would"
        raise StoreUnavailableError(msg)
    budget = Budget.of(max_size, max_age, keep_last)
    if budget.is_empty:
        budget = read_budget(keeper)
    given = parse_age(grace, "grace")
    spared = keeper.grace if given is None else given
    aside = 0 if keeper.is_full else ASIDE if given is None else given
    collector = Collector(keeper, spared, progress, aside=aside)
    if keeper.is_full and not dry_run:
        collector.count_in(*_make_way(keeper, budget, spared))
    report = collector.collect(budget, dry_run=dry_run)
    _count(store, keeper, report)
    return report


def _make_way(
    keeper: Keeper, budget: Budget, spared: int
) -> tuple[list[SeenBlob], list[SeenAside]]:
    """Have files of blobs that are to go removed first, as noting what goes takes room.

    A record that is left without them for a moment is one whose blobs are gone: a miss.
    """
    looked = Collector(keeper, spared, None)
    chosen = looked.collect(budget, dry_run=True).removals
    blobs = [removal for removal in chosen if removal.what == "blob"]
    blobs.sort(key=lambda removal: removal.why != NOT_NAMED)
    gone = keeper.make_way([BlobId(removal.digest) for removal in blobs])
    return [looked.blobs[blob] for blob in gone], looked.aside


def make_room(store: Store, keeper: Keeper, limit: int) -> int:
    """Bring a store that exceeds a limit down to nine tenths of it; return how many entries went.

    A writer that is faster than the grace must not fill the disk: if nothing else helps, what is
    young goes too, as far as it must.
    """
    size = keeper.size()
    if size is None or size <= limit:
        return 0
    removed = 0
    for grace, goal in ((GRACE, limit * 9 // 10), (0, limit)):
        collector = Collector(keeper, grace, None, orphans=keeper.grace if grace else GRACE)
        report = collector.collect(Budget(goal), pressing=True)
        removed += _count(store, keeper, report)
        if report.size_after <= limit:
            break
    else:
        logger.warning(
            "%s: what is pinned, or in use, leaves no room: %s instead of %s",
            store.url, size_text(report.size_after), size_text(limit),
        )  # fmt: skip
    return removed


def try_to_keep_budget(store: Store) -> None:
    """Keep the budget at the end of a run, or say why not: the results are there all the same."""
    if store.is_left_out:
        return  # whoever finds it again does
    try:
        keep_budget(store)
    except StoreError as error:
        logger.warning("%s: its budget is not kept: %s", store.url, error)


def keep_budget(store: Store) -> Report | None:
    """Collect if the budget that was set for a store asks for it; None if there is no need.

    How much there is in an object store is not known without listing it: that is done every six
    hours, by whoever comes first.
    """
    keeper = store.keeper()
    if keeper is None or keeper.is_read_only:
        return None
    budget = read_budget(keeper)
    if not is_due(keeper, budget):
        return None
    report = Collector(keeper, keeper.grace, None).collect(budget)
    _count(store, keeper, report)
    logger.info("%s: %s", store.url, report)
    return report


def _count(store: Store, keeper: Keeper, report: Report) -> int:
    entries = report.count("record") + report.count("planned entry")
    if entries and not report.dry_run:
        store._count(evicted=entries)  # noqa: SLF001  the counters of all stores
        note_evictions(store, keeper, report.evicted)
    return 0 if report.dry_run else entries
