"""Say once, at the end of a run, that what it made will not be believed the next time."""

from __future__ import annotations

import logging
from collections import Counter

from invariant_dask.core.digest import parse_hex
from invariant_dask.errors import IntegrityError, StoreUnavailableError
from invariant_dask.runtime.run import Run
from invariant_dask.store import keys
from invariant_dask.store.base import Store
from invariant_dask.store.record import PlannedEntry, parse_entry
from invariant_dask.store.sizes import counted
from invariant_dask.store.trust import UNSIGNED, Judge

logger = logging.getLogger("invariant_dask.runtime")


def warn_of_doubts(run: Run, store: Store) -> None:
    """Log how many results of a run nobody will take who uses the store on the same terms.

    This process still takes what it made itself; the next one makes it again, every time.
    """
    if store.terms.trust.is_any or store.is_process_local:
        return
    ran = [digest for digest, outcome in run.outcomes.items() if outcome.kind == "ran"]
    if not ran:
        return
    try:
        objections = _objections(store, [parse_hex(digest) for digest in ran])
    except StoreUnavailableError as error:
        logger.info("%s: what others will take is not known: %s", store.url, error)
        return
    unsigned = objections.pop(UNSIGNED, 0)
    if unsigned:
        why = "made from what no trusted key vouches for, or where there is no key"
        if keys.signing_key() is None:
            why = f"{keys.SIGNING_VARIABLE} is not set"
        logger.warning(
            "%s not signed (%s) and will not be believed under trust=signed; "
            "see invariant-dask keygen", counted(unsigned, "result is", "results are"), why,
        )  # fmt: skip
    if objections:
        logger.warning(
            "%s not be believed: %s; see invariant-dask trusted-keys",
            counted(objections.total(), "result will", "results will"), "; ".join(objections),
        )  # fmt: skip


def _objections(store: Store, digests: list[bytes]) -> Counter[str]:
    """Return how often what is stored under planned digests is objected to, and why."""
    rows = dict(store._read_entries(digests))  # noqa: SLF001
    judge = Judge(store.terms.trust)  # one that has made nothing itself
    targets: dict[bytes, bytes] = {}
    objections: dict[bytes, str] = {}
    for digest in digests:
        if digest in rows:
            target, objections[digest] = _objection(judge, digest, rows[digest])
            targets[digest] = target
    missing = set(targets.values()) - rows.keys()
    rows |= store._read_entries(list(missing)) if missing else {}  # noqa: SLF001
    for digest, target in targets.items():
        if not objections[digest] and target != digest and target in rows:
            objections[digest] = _objection(judge, target, rows[target])[1]
    return Counter(why for why in objections.values() if why)


def _objection(judge: Judge, digest: bytes, data: bytes) -> tuple[bytes, str]:
    """Return the digest of the record that an entry is or points to, and what is against it."""
    try:
        entry = parse_entry(digest, data)
    except IntegrityError:
        return digest, ""  # whoever looks it up next finds that out
    target = entry.resolved if isinstance(entry, PlannedEntry) else digest
    return target, judge.objection(digest, data, entry.signature)
