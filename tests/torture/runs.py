"""Kill a run again and again until it is done, and check that nothing was lost on the way."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torture import jobs
from torture.killing import Nursery, check_whole

from invariant_dask.store import Store, open_store


def made_by(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def stored_in(store: Store) -> set[int]:
    """Return which nodes are stored."""
    return {int(record.about.node[1:]) for record in store.recent(jobs.OP, 2 * jobs.NODES)}


def kill_until_done(
    nursery: Nursery,
    url: str,
    options: dict[str, Any],
    folder: Path,
    rng: random.Random,
    longest: int,
    is_commit: Callable[[int], bool],
    sample: int | None = None,
) -> int:
    """Kill runs of one graph after up to `longest` ops each, and check what each leaves.

    Parameters
    ----------
    is_commit
        Whether all that came before an artifact is committed once the artifact is published.
    sample
        How many entries to look at after each kill; all of them at the end.

    Returns
    -------
    int
        How many runs were killed.
    """
    log = folder / "log"
    before: set[int] = set()
    kills = 0
    while True:
        log.write_text("")
        pid = nursery.start("write_run", url=url, options=options, log=str(log))
        os.kill(pid, signal.SIGCONT)
        alive = nursery.wait_for_beats(rng.randint(1, longest), pid)
        if alive:
            # Anywhere between two ops: the pause is the moment, nothing waits for it.
            time.sleep(rng.random() * 0.002)
            os.kill(pid, signal.SIGKILL)
        code = nursery.wait()
        assert code in ({0, -signal.SIGKILL} if alive else {0}), code
        nursery.forget_beats()
        made = made_by(log)
        assert before.isdisjoint(made), "what was finished is made again"
        store = open_store(url, **options)
        check_whole(store, sample)
        now = stored_in(store)
        store.close()
        assert before <= now, "what was finished is lost"
        # The next op is called when the one before is published.
        commits = [at for at, n in enumerate(made[:-1]) if is_commit(n)]
        finished = made[: commits[-1] + 1] if commits else []
        assert now.issuperset(finished), "what was published is lost"
        assert now <= before | set(made)
        before = now
        if code == 0:
            break
        kills += 1
    assert before == set(range(jobs.NODES))
    log.write_text("")
    ends = jobs.run(open_store(url, **options), str(log))
    assert {name: str(value) for name, value in ends.items()} == {
        name: str(jobs.value_of(int(name[1:]))) for name in ends
    }
    assert made_by(log) == []
    check_whole(open_store(url, **options))
    return kills
