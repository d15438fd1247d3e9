"""Events of runs that never were, for what shows them."""

from __future__ import annotations

from collections.abc import Iterator

from invariant_dask.ledger.events import (
    AttemptFailed,
    Event,
    NodeCancelled,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeReused,
    NodeSkipped,
    NodeStarted,
    OpLogged,
    RunEnded,
    RunPlanned,
    RunStarted,
    StoreHit,
    TierDown,
)

RUN = "0f" * 16
START = 1_800_000_000 * 10**9
MS = 10**6

HOSTILE = (
    "</pre></style></script><script>document.title='owned'</script><img src=x onerror=\"a()\">"
    "&'\x1b[31m\u202e"
)


def failed_run(told: str = "boom") -> list[Event]:
    """A run with one node in each state, all of whose texts are `told`, or have it within."""
    run = {"run": RUN}

    def node(name: str, time: int = 0) -> dict:
        return {**run, "time": START + time * MS, "node": name, "digest": (name + "0" * 64)[:64]}

    names = ("stored", "made", "same", "broken", "behind", "late")
    events: list[Event] = [
        RunStarted(
            **run, time=START, graph=told, document="d" * 64, outputs=("behind", told),
            store=told, writer=told, context=(told,), tags=(told,), rerun=(told,),
            environment=("python 3.12.1", told),
        ),
        RunPlanned(**run, time=START, nodes=9, to_run=5, reused=1, not_looked_at=3, to_load=7),
        TierDown(**run, time=START, tier=told, reason=told),
    ]  # fmt: skip
    for name in names:
        decision = "reuse" if name == "stored" else "run"
        inputs = {"made": ("stored",), "broken": ("made",), "behind": ("broken",)}.get(name, ())
        events.append(
            NodePlanned(
                **node(name), op=told, decision=decision, reason="not stored",
                causes=(f"parameter x: {told}",) if name == "made" else (), inputs=inputs,
                shares="made" if name == "same" else "",
            )
        )  # fmt: skip
    events += [
        StoreHit(**node("stored"), tier=told, size=7),
        NodeReused(
            **node("stored"), op=told, saved=3 * 10**9, size=7, type=told, artifact="a" * 64
        ),
        NodeStarted(**node("made", 10), op=told, worker=told),
        AttemptFailed(**node("made", 15), attempt=1, error=told, worker=told),
        NodeStarted(**node("made", 20), op=told, worker=told, attempt=2),
        OpLogged(**node("made", 21), logger=told, text=told),
        NodeFinished(
            **node("made", 40), op=told, nanoseconds=20 * MS, size=9, type=told, worker=told,
            artifact="b" * 64, attempt=2,
        ),
        NodeReused(**node("same", 41), op=told, by="shared", size=9, artifact="b" * 64),
        NodeStarted(**node("broken", 50), op=told, worker=told),
        NodeFailed(**node("broken", 60), op=told, error=told, traceback=told, worker=told),
        NodeSkipped(**node("behind", 61), because="broken"),
        NodeCancelled(**node("late", 62)),
        RunEnded(**run, time=START + 70 * MS, state="failed", nanoseconds=70 * MS, error=told),
    ]  # fmt: skip
    return events


def large_run(count: int, workers: int, text: str) -> Iterator[Event]:
    """A run of many nodes that log, and fail now and then, each on an input before it."""
    run = {"run": RUN}
    yield RunStarted(**run, time=START, graph="large", outputs=(f"n{count - 1}",))
    yield RunPlanned(**run, time=START, nodes=count, to_run=count)
    for i in range(count):
        node = {**run, "node": f"n{i}", "digest": f"{i:064x}"}
        op, worker, time = f"op{i % 60}", f"worker{i % workers}", START + i * MS
        inputs = tuple(f"n{j}" for j in sorted({max(0, i - 1), i // 2}) if j < i)
        causes = (f"parameter x: {i % 500}",) if i % 3 == 0 else (f"follows from n{i - 1}",)
        yield NodePlanned(**node, time=START, op=op, inputs=inputs, causes=causes)
        yield NodeStarted(**node, time=time, op=op, worker=worker)
        yield OpLogged(**node, time=time, text=text)
        if i % 97 == 96:
            failed = NodeFailed(**node, time=time + MS, op=op, error=text, traceback=text)
            yield failed
        else:
            yield NodeFinished(
                **node, time=time + (1 + i % 50) * MS, op=op, worker=worker, size=i,
                nanoseconds=(1 + i % 50) * MS, artifact=f"{i:064x}",
            )  # fmt: skip
    yield RunEnded(**run, time=START + count * MS, nanoseconds=count * MS)
