"""Estimate what a plan will cost: bytes to load and, from what ops took before, seconds of work.

For each op the median of what it took stands for a call of it, and the middle half of what it took
for how sure that is. Times of calls add up; so do, taken as independent, the squares of their
spreads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from invariant_dask.plan.cost import Cost, Expected
from invariant_dask.plan.plan import Plan

_SECOND = 10**9


def cost_of(plan: Plan, took: Callable[[str], Sequence[int]]) -> Cost:
    """Return what following a plan will cost.

    Parameters
    ----------
    plan
        The plan.
    took
        Returns how many nanoseconds calls of an op took, as far as that is known.
    """
    steps = plan.program.steps
    expected: dict[str, Expected | None] = {}
    untimed: Counter[str] = Counter()
    total = 0
    variance = 0.0
    done: dict[int, int] = {}
    for index in plan.run:
        op = steps[index].bound.op.name
        if op not in expected:
            expected[op] = Expected.of(took(op))
        known = expected[op]
        if known is None:
            untimed[op] += 1
        else:
            total += known.median
            variance += known.spread**2
        before = max((done.get(source, 0) for source in steps[index].needs), default=0)
        done[index] = before + (known.median if known else 0)
    return Cost(
        total / _SECOND, math.sqrt(variance) / _SECOND, max(done.values(), default=0) / _SECOND,
        sum(plan.found[index].record.size for index in plan.loads),
        tuple(op for op, _ in untimed.most_common()), untimed.total(),
    )  # fmt: skip
