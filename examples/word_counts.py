"""Count words in files, then change one thing: what ran, what was reused, and why.

    python examples/word_counts.py [STORE]

The graph is also there for the command line:

    invariant-dask plan examples/word_counts.py:graph
"""

from __future__ import annotations

import sys
from pathlib import Path

from invariant_dask import File, Graph, compile, op

HERE = Path(__file__).parent
TEXTS = {"readme": HERE.parent / "README.md", "license": HERE.parent / "LICENSE"}


@op("words:split")
def split(file):
    return file.read_bytes().decode().lower().split()


@op("words:count")
def count(words, shortest=1):
    counts = {}
    for word in words:
        if word.isalpha() and len(word) >= shortest:
            counts[word] = counts.get(word, 0) + 1
    return counts


@op("words:top")
def top(counts, places=3):
    order = sorted((-number, word) for word, number in counts.items())
    return [f"{word} ({-number})" for number, word in order[:places]]


def graph(shortest=8):
    g = Graph("word counts")
    for name, path in TEXTS.items():
        words = g.add(f"{name}/words", split, file=File(path))
        counts = g.add(f"{name}/counts", count, words=words, shortest=shortest)
        g.add(f"{name}/top", top, counts=counts)
    return g


def main(store=".invariant"):
    for shortest in (8, 8, 10):
        result = compile(graph(shortest), store=store).run(scheduler="threads")
        print(f"words of at least {shortest} letters: {result.summary()}")
        for name in result.ran():
            print(f"  ran {name}: {'; '.join(result.plan[name].causes)}")
        for name, value in result.values.items():
            print(f"  {name} is {', '.join(value)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
