"""A changed step that produces what it did before reruns nothing behind it.

    python examples/early_cutoff.py [STORE]

Measurements are cleaned, then fitted. A stricter limit for outliers makes the cleaning run again;
as it drops nothing more, the fit behind it is reused.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np

from invariant_dask import Graph, compile, op


@op("lab:measure")
def measure(count, seed):
    noise = np.random.default_rng(seed).integers(-3, 4, count)
    values = 2 * np.arange(count) + noise
    values[count // 2] += 1000  # somebody bumped into the table
    return values


@op("lab:clean")
def clean(values, limit):
    distance = np.abs(values - 2 * np.arange(len(values)))
    return values[distance <= int(limit)]


@op("lab:slope")
def slope(values):
    steps = np.diff(values)
    return Fraction(int(steps.sum()), len(steps))


def graph(limit):
    g = Graph("early cutoff")
    raw = g.add("measured", measure, count=10_000, seed=7)
    kept = g.add("kept", clean, values=raw, limit=limit)
    g.add("slope", slope, values=kept)
    return g


def main(store=".invariant"):
    for limit in (Decimal(100), Decimal(50), Decimal(1)):
        result = compile(graph(limit), store=store).run(scheduler="threads")
        print(f"limit {limit}: slope {result.values['slope']}")
        for node in result.plan.nodes():
            told = node.causes or (node.reason.value,)
            done = result.outcomes.get(node.digest.hex())
            print(f"  {node.node}: {done.kind if done else node.decision.value} ({told[0]})")


if __name__ == "__main__":
    main(*sys.argv[1:])
