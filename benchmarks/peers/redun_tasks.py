"""redun with its local executor and a SQLite file, as it is by default.

Timed are making the lazy expressions, opening the database and evaluating them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Clock, Measured, Peer
from benchmarks.peers.shapes import FUNCTIONS, Nodes


def run(nodes: Nodes, state: Path, every: bool) -> Measured:
    """Run with the database in a folder."""
    from redun import Scheduler, task
    from redun.config import Config

    logging.getLogger("redun").setLevel(logging.ERROR)
    tasks = [
        task(name=f"combine_{arity}", namespace="benchmark")(function)
        for arity, function in enumerate(FUNCTIONS)
    ]
    config = Config({"backend": {"db_uri": f"sqlite:///{state / 'redun.db'}"}})
    clock = Clock()
    made: list[Any] = []
    for number, inputs in nodes:
        made.append(tasks[len(inputs)](number, *[made[i] for i in inputs]))
    scheduler = Scheduler(config=config)
    scheduler.load()
    result = scheduler.run(made if every else made[-1:])
    clock.lap("run")
    return Measured(list(result), clock.parts)


PEERS = (
    Peer(
        "redun", run, "redun", "redun",
        limits={
            "chain": (200, "nested expressions are pickled recursively"),
            "*": (1_200, "some ten milliseconds a node"),
        },
    ),
)  # fmt: skip
