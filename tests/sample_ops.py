"""Ops for tests; each call is written to the log that the `calls` fixture reads."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from invariant_dask.ops.registry import op


def _note(name: str) -> None:
    path = os.environ.get("INVARIANT_TEST_LOG")
    if path:
        with Path(path).open("a") as log:
            log.write(name + "\n")


@op("t:source")
def source(seed):
    _note("source")
    return list(range(seed))


@op("t:total")
def total(values, plus=0):
    _note("total")
    return sum(values) + plus


@op("t:double")
def double(value):
    _note("double")
    return 2 * value


@op("t:array")
def array(n):
    _note("array")
    return np.arange(n, dtype="float64")


@op("t:joined")
def joined(parts, plus=0):
    _note("joined")
    return sum(part[:5_000] for part in parts) + plus


@op("t:mean")
def mean(values):
    _note("mean")
    return int(np.asarray(values).mean())


@op("t:pack")
def pack(**parts):
    _note("pack")
    return parts


@op("t:parity")
def parity(value):
    _note("parity")
    return value % 2


@op("t:fail")
def fail(value, message="no"):
    _note("fail")
    raise ValueError(message)


@op("t:quit")
def quit_(value):
    _note("quit")
    raise SystemExit(3)


@op("t:kill")
def kill(value):
    os._exit(3)


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("cannot be pickled")


@op("t:unpicklable")
def unpicklable(value):
    _note("unpicklable")
    raise Unpicklable("deep trouble")


@op("t:needs-file")
def needs_file(path):
    """Fail until there is a file, as an op does whose surroundings are not ready yet."""
    _note("needs_file")
    return Path(path).read_text()


@op("t:halves")
def halves(value):
    _note("halves")
    return [value, {"half": value / 2}]


@op("t:vandal")
def vandal(values, more):
    """Change everything it is given, as far as it can."""
    _note("vandal")
    for container in (values, more):
        if isinstance(container, list):
            container.append("vandalised")
            for item in container:
                if isinstance(item, dict):
                    item["vandalised"] = True
    return len(values)


@op("t:step")
def step(value, column):
    _note("step")
    return value + 1


@op("t:switch_off")
def switch_off(proxy):
    """Have the proxy before a store refuse everything from now on."""
    import json
    import urllib.request

    rules = json.dumps([{"action": "status", "code": 503}]).encode()
    request = urllib.request.Request(f"{proxy}/__faults", data=rules, method="PUT")
    urllib.request.urlopen(request).close()
    return 0


@op("t:say")
def say(text):
    _note("say")
    logging.getLogger("sample").warning("the text is %s", text)
    return len(text)
