"""The process that measures one cell: `python -m benchmarks.peers.child JOB`, JOB being JSON.

The result is the last line of its output, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.everyone import everyone
from benchmarks.peers.shapes import changed, shape_of


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job and return what is to be printed."""
    peer = everyone()[job["peer"]]
    if absent := peer.absent():
        return {"problem": f"absent: {absent}"}
    nodes = shape_of(job["shape"], job["nodes"])
    state = Path(job["state"])
    if peer.keeps == "memory" and job["mode"] != "cold":
        peer.run(nodes, state, False)
    if job["mode"] == "changed":
        nodes = changed(nodes)
    try:
        measured = peer.run(nodes, state, job["mode"] == "all")
    except RecursionError:
        return {"problem": "it recurses, and the graph is too deep"}
    return {
        "seconds": measured.seconds, "values": measured.values, "parts": measured.parts,
        "inside": measured.inside, "counts": measured.counts,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))))
