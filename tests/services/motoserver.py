"""moto's S3 with one lock round every request, which makes conditional writes atomic.

    python motoserver.py PORT [UNRELATED]

With a number, that many unrelated entries are put into the bucket `crowded` without any request.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

app = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()


def locked(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    # A list: the body, too, is made before the next request begins.
    with lock:
        return list(app(environ, start_response))


def crowd(number: int) -> None:
    """Fill a bucket behind the server's back: a million requests would take an hour."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import FakeKey, s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    backend.create_bucket("crowded", "us-east-1")
    keys = backend.buckets["crowded"].keys
    for index in range(number):
        digest = hashlib.sha256(index.to_bytes(8, "big")).hexdigest()
        name = f"store/entries/{digest[:2]}/{digest[2:]}"
        keys[name] = FakeKey(name, b"", account_id=DEFAULT_ACCOUNT_ID, region_name="us-east-1")


class Handler(WSGIRequestHandler):
    # Connections are kept, as real servers do.
    protocol_version = "HTTP/1.1"


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    if len(sys.argv) > 2:
        crowd(int(sys.argv[2]))
    run_simple("127.0.0.1", int(sys.argv[1]), locked, threaded=True, request_handler=Handler)
