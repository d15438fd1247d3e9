"""Open stores by what people write: a path, `memory:`, `null:`; or by reference."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from invariant_dask.errors import SpecError
from invariant_dask.store.base import Store, StoreRef, openers, register_live
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.keys import PublicKey
from invariant_dask.store.memory import MemoryStore
from invariant_dask.store.null import NullStore
from invariant_dask.store.sizes import parse_size
from invariant_dask.store.trust import Policy, Terms, check_namespace, parse_trust

__all__ = ["DEFAULT_PATH", "VARIABLE", "StoreRef", "open_store", "register_live"]

VARIABLE = "INVARIANT_STORE"
"""The environment variable that names the store where nobody else does."""

DEFAULT_PATH = ".invariant"

_KNOWN = "memory:, null:, disk:PATH, s3://, gs://, az://, file:// and memory:// URLs, or a path"
_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "file", "memory"}
# Two letters at least, so that C:\folder is a path.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)

_shared: WeakValueDictionary[object, Any] = WeakValueDictionary()
os.register_at_fork(after_in_child=_shared.clear)


def open_store(
    where: str | os.PathLike[str] | Store | None = None,
    *,
    trust: Policy = None,
    trusted_keys: str | Sequence[str | PublicKey] = (),
    namespace: str = "",
    max_artifact_size: int | str | None = None,
    **options: Any,
) -> Store:
    """Return the store that is meant by a URL or path.

    Parameters
    ----------
    where
        `"memory:"`, `"null:"`, `"disk:PATH"`, a path, a URL of an `ObjectStore`, or a store, which
        is returned as it is. By default what the environment variable `INVARIANT_STORE` says, else
        the folder `.invariant`. While the store of a folder or URL is in use, the same one is
        returned again.
    trust
        Whose results are taken: `"any"`; `"signed"`, by a key that this user trusts; or a list of
        the only keys to believe. By default what `INVARIANT_TRUST` says, else `"any"`.
    trusted_keys
        Keys, as `name:base64`, that `"signed"` trusts besides those of the user's file
        (`invariant-dask trusted-keys`), of `INVARIANT_TRUSTED_KEYS`, and this process's own.
    namespace
        A part of the store whose entries are seen only there.
    max_artifact_size
        The most bytes that an artifact may have, as a number or as text such as `"10GB"`; larger
        ones are neither read nor kept. By default 64 GiB.
    options
        For an `ObjectStore`: credentials, endpoint and the like.

    Raises
    ------
    SpecError
        If it is nothing of that, or a store comes with options.
    TrustError
        If keys or policy cannot be used.
    StoreLayoutError
        If the path holds something else than a store, or one of another layout version.
    StoreUnavailableError
        If the place cannot be used.

    Examples
    --------
    >>> open_store("memory:")
    MemoryStore('memory:')
    """
    if options and not (isinstance(where, str) and "://" in where):
        msg = f"{', '.join(options)}: only stores that are named by a URL take options"
        raise SpecError(msg)
    if isinstance(where, Store):
        if trust is not None or trusted_keys or namespace or max_artifact_size is not None:
            raise SpecError(f"options open a place; {where!r} is open already")
        return where
    if namespace:
        check_namespace(namespace)
    limit = parse_size(max_artifact_size, "max_artifact_size")
    terms = Terms(parse_trust(trust, trusted_keys))
    if limit is not None:
        terms = replace(terms, max_artifact_size=limit)
    if where is None:
        where = os.environ.get(VARIABLE) or DEFAULT_PATH
    if isinstance(where, Path):
        return _disk(where, namespace, terms)
    given: object = where
    if any(cls.__module__.partition(".")[0] == "invariant" for cls in type(where).__mro__):
        msg = (
            f"{type(where).__name__} is a store of the package invariant, whose entries have other "
            "identities; pass a store of invariant_dask, or a path for a new one"
        )
        raise SpecError(msg)
    text = os.fspath(given) if isinstance(given, (str, os.PathLike)) else ""
    if not text:
        msg = f"not one place of a store: {where!r}; there are {_KNOWN}"
        raise SpecError(msg)
    return _from_text(text, namespace, terms, options)


def _disk(path: str | Path, namespace: str, terms: Terms) -> DiskStore:
    # Whoever compiles often must not open files as often.
    key = str(Path(path).expanduser().absolute()), namespace, terms
    store = _shared.get(key)
    if store is None or not store.is_in_place:
        store = _shared[key] = DiskStore(path, namespace=namespace, terms=terms)
    return store


def _objects(url: str, namespace: str, terms: Terms, options: dict[str, Any]) -> Store:
    from invariant_dask.store.objects import ObjectStore

    if namespace:
        url = f"{url.rstrip('/')}/namespaces/{namespace}"
    store = ObjectStore(url, terms=terms, **options)
    shared = _shared.get(store.key)
    if shared is not None:
        return shared  # type: ignore[no-any-return]
    store.check_layout()
    _shared[store.key] = store
    return store


def _from_text(where: str, namespace: str, terms: Terms, options: dict[str, Any]) -> Store:
    match = _SCHEME.fullmatch(where)
    if match is None:
        return _disk(where, namespace, terms)
    scheme, rest = match[1].lower(), match[2]
    if scheme in _OBJECTS and rest.startswith("//"):
        return _objects(where, namespace, terms, options)
    if scheme == "disk" and rest:
        return _disk(rest, namespace, terms)
    if scheme in {"memory", "null"} and not rest:
        # Each is seen by nobody else, which is what a namespace is for.
        return MemoryStore(terms=terms) if scheme == "memory" else NullStore(terms)
    msg = f"no store for {where!r}; there are {_KNOWN} (write ./{where} if that is a folder)"
    raise SpecError(msg)


def _open_objects(ref: StoreRef) -> Store:
    from invariant_dask.store.objects_opening import open_reference

    return open_reference(ref)


# By name: what it takes is imported where such a store is used, and nowhere else.
openers["objects"] = _open_objects
