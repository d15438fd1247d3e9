"""Forks processes that are about to be killed: starting Python takes longer than they live.

    python -m torture.nursery BEATS

Reads a line of JSON for each job: the name of a function of `torture.jobs`, and its arguments. Says
`started PID` once the job waits for SIGCONT, and `ended STATUS` when it is dead. `BEATS` is the
descriptor of a pipe to which jobs write a byte for each step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import warnings

from torture import jobs


def work(name: str, arguments: dict[str, object]) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        getattr(jobs, name)(**arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    warnings.simplefilter("error")
    os.environ["TORTURE_BEATS"] = sys.argv[1]
    for line in sys.stdin:
        name, arguments = json.loads(line)
        pid = os.fork()
        if not pid:
            work(name, arguments)
        os.waitpid(pid, os.WUNTRACED)
        print("started", pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print("ended", status, flush=True)


if __name__ == "__main__":
    main()
