"""The code of ops in the store, as text: published once, read by whoever explains a rerun.

It is an ordinary record, under the manifest of an op of our own whose only parameter is the
fingerprint; so it is verified, signed, copied and collected like any other. It is never run.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from invariant_dask.core import manifest
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import ResolvedDigest
from invariant_dask.core.encode import describe, encode
from invariant_dask.core.manifest import CODE_OP
from invariant_dask.core.scalars import encode_str
from invariant_dask.errors import (
    ArtifactLostError,
    CodeIdentityError,
    IntegrityError,
    NotCacheableError,
    StaleCodeError,
    StoreUnavailableError,
    UnknownTypeError,
)
from invariant_dask.ops.code_text import CodeText, code_text
from invariant_dask.ops.identity import OpIdentity
from invariant_dask.plan.program import BoundOp
from invariant_dask.store.about import About
from invariant_dask.store.base import Store
from invariant_dask.store.record import Record

VARIABLE = "INVARIANT_KEEP_SOURCE"
"""The environment variable that says `off` where source must not go into stores."""

_IDENTITY = OpIdentity(CODE_OP, "version", "1").encode()
_SIZE_LIMIT = 2 << 20
"""Largest artifact that is read as the code of an op: four bytes a character, and names."""

_told: set[tuple[str, str]] = set()
"""Place and fingerprint of what this process knows to be stored."""
_lock = threading.Lock()

logger = logging.getLogger("invariant_dask.runtime")


@lru_cache(maxsize=4096)
def _fingerprint(identity: bytes, code: str) -> str:
    """Return the fingerprint of an op's own code; nothing if it has none, or is installed."""
    _, kind, value, _ = manifest.render_value(identity)
    return str(value) if kind == "code" else code


def publish_codes(store: Store, ops: Iterable[BoundOp], *, run: str, writer: str) -> list[Record]:
    """Publish the code of some ops that is not known to be stored, and return what was written.

    It only makes reasons more exact, so what cannot be read or written is left out.
    """
    published = []
    for bound in {id(bound): bound for bound in ops}.values():
        key, about = (bound.identity, bound.code), About(CODE_OP, bound.op.name, run, writer)
        published.append(publish_code(store, key, bound.op.function, about))
    return [record for record in published if record is not None]


def publish_code(
    store: Store, key: tuple[bytes, str], function: Callable[..., Any], about: About
) -> Record | None:
    """Publish the code of one op, unless it is known to be stored, or cannot be read here.

    Parameters
    ----------
    store
        Where to.
    key
        The op's encoded identity, and the fingerprint of its code if that is not in there.
    function
        What runs.
    about
        Who publishes it, and for which op.
    """
    if os.environ.get(VARIABLE, "").lower() in {"0", "off", "no"}:
        return None
    fingerprint = _fingerprint(*key)
    known = store.domain, fingerprint
    if not fingerprint or known in _told:
        return None
    with _lock:
        if known in _told:
            return None
        _told.add(known)  # whatever comes of it: nobody waits for it twice
    try:
        return _publish(store, fingerprint, function, about)
    except (CodeIdentityError, StaleCodeError, NotCacheableError) as error:
        logger.debug("the code of op %r is not published: %s", about.node, error)
    except StoreUnavailableError as error:
        logger.info("the code of op %r is not persisted: %s", about.node, error)
    return None


def _publish(
    store: Store, fingerprint: str, function: Callable[..., Any], about: About
) -> Record | None:
    asked = _manifest(fingerprint)
    resolved = ResolvedDigest(manifest.digest(asked))
    if store.exists(resolved):
        return None
    text = code_text(function, name=about.node)
    if text.fingerprint != fingerprint:
        return None
    encoded = encode(text.to_value())
    return store.publish(encoded, asked, kind="code", about=about, resolved=resolved)


def stored_code(store: Store, fingerprint: str) -> CodeText | None:
    """Return the code behind a fingerprint, if it is stored and believed."""
    resolved = manifest.digest(_manifest(fingerprint))
    found = store.lookup([resolved]).get(resolved)
    if found is None or found.record.size > _SIZE_LIMIT:
        return None
    try:
        storage, blobs = store.fetch(found.record)
        value = decode(storage, fetch=lambda blob, _: blobs[blob])
    except (ArtifactLostError, IntegrityError, UnknownTypeError):
        return None
    return CodeText.from_value(value, fingerprint)


def present_code(bound: BoundOp) -> CodeText | None:
    """Return the code of an op as it was compiled, if it can be read here."""
    try:
        text = code_text(bound.op.function, name=bound.op.name)
    except (CodeIdentityError, StaleCodeError):
        return None
    return text if text.fingerprint == _fingerprint(bound.identity, bound.code) else None


def _manifest(fingerprint: str) -> bytes:
    return manifest.assemble(_IDENTITY, [(encode_str("fingerprint"), describe(fingerprint))])
