"""Open stores by what people write: a path, `memory:`, `null:`, a list of them; or by reference."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from invariant_dask.errors import SpecError, StoreUnavailableError
from invariant_dask.store.base import Store, StoreRef, openers, register_live
from invariant_dask.store.chain import ChainStore
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.keys import PublicKey
from invariant_dask.store.late import LateStore
from invariant_dask.store.memory import MemoryStore
from invariant_dask.store.null import NullStore
from invariant_dask.store.sizes import parse_size
from invariant_dask.store.tiers import Tier
from invariant_dask.store.trust import DEFAULT_TERMS, Policy, Terms, check_namespace, parse_trust

__all__ = ["DEFAULT_PATH", "VARIABLE", "StoreRef", "open_store", "register_live"]

VARIABLE = "INVARIANT_STORE"
"""The environment variable that names the store where nobody else does."""

DEFAULT_PATH = ".invariant"

_KNOWN = (
    "memory:, null:, disk:PATH, s3://, gs://, az://, file:// and memory:// URLs, a path, or a list "
    "of these"
)
_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "file", "memory"}
# Two letters at least, so that C:\folder is a path.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)

_shared: WeakValueDictionary[object, Any] = WeakValueDictionary()
os.register_at_fork(after_in_child=_shared.clear)

_chains: WeakValueDictionary[tuple[Any, ...], ChainStore] = WeakValueDictionary()
os.register_at_fork(after_in_child=_chains.clear)

_TIER_OPTIONS = {"write", "private", "name"}
_OPTIONS = {"trust", "trusted_keys", "namespace", "max_artifact_size"}

One = str | os.PathLike[str] | Store
Where = One | Sequence[One | Tier | Mapping[str, Any]]
"""What names a store, or several from near to far."""

logger = logging.getLogger("invariant_dask.store")


def open_store(
    where: Where | None = None,
    *,
    trust: Policy = None,
    trusted_keys: str | Sequence[str | PublicKey] = (),
    namespace: str = "",
    max_artifact_size: int | str | None = None,
    compression: str | None = None,
    **options: Any,
) -> Store:
    """Return the store that is meant by a URL or path, or the chain that is meant by several.

    Parameters
    ----------
    where
        `"memory:"`, `"null:"`, `"disk:PATH"`, a path, a URL of an `ObjectStore`, or a store, which
        is returned as it is. By default what the environment variable `INVARIANT_STORE` says, else
        the folder `.invariant`. While the store of a folder or URL is in use, the same one is
        returned again.

        A list gives a `ChainStore` from near to far. Each item is one of these, a `Tier`, or a
        mapping with `url`, what `Tier` takes and the options below: `{"url": "s3://team/cache",
        "write": "behind", "trust": "signed"}`. Those of `trust`, `trusted_keys`, `namespace` and
        `max_artifact_size` that stand beside the list hold for all items that have not their own.
        Text that begins with `[` is such a list in JSON, in the variable too; a folder whose name
        begins so is written `./[name`. A tier that cannot be used yet is opened later, and one
        in a bucket is asked for nothing before it is needed.
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
    compression
        `"zstd"` compresses blobs where that pays; for a folder or an `ObjectStore`, and in a list
        for each by itself, in its mapping.
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
    >>> open_store(["memory:", "null:"])
    ChainStore('["memory:", "null:"]')
    """
    return _open(
        where, False, trust=trust, trusted_keys=trusted_keys, namespace=namespace,
        max_artifact_size=max_artifact_size, compression=compression, **options,
    )  # fmt: skip


def _open(
    where: Where | None,
    check_later: bool,
    /,
    *,
    trust: Policy = None,
    trusted_keys: str | Sequence[str | PublicKey] = (),
    namespace: str = "",
    max_artifact_size: int | str | None = None,
    compression: str | None = None,
    **options: Any,
) -> Store:
    """Open a store; a tier may be far away, and is asked for nothing before it is used."""
    if where is None:
        where = os.environ.get(VARIABLE) or DEFAULT_PATH
    if isinstance(where, str) and where.lstrip().startswith("["):
        where = listed(where)
    if options and not (isinstance(where, str) and "://" in where):
        msg = f"{', '.join(options)}: only stores that are named by a URL take options"
        raise SpecError(msg)
    if isinstance(where, (list, tuple)):
        if compression is not None:
            msg = 'compression: say it for each tier, as {"url": ..., "compression": "zstd"}'
            raise SpecError(msg)
        common: dict[str, Any] = {"trust": trust, "max_artifact_size": max_artifact_size}
        common = {name: given for name, given in common.items() if given is not None}
        if trusted_keys:
            common["trusted_keys"] = trusted_keys
        if namespace:
            common["namespace"] = namespace
        return _chain(where, common)
    if isinstance(where, Store):
        given = trust, trusted_keys or None, namespace or None, max_artifact_size, compression
        if any(option is not None for option in given):
            raise SpecError(f"options open a place; {where!r} is open already")
        return where
    if namespace:
        check_namespace(namespace)
    terms = _terms(trust, trusted_keys, max_artifact_size)
    if isinstance(where, Path):
        return _disk(where, namespace, terms, compression)
    unknown: object = where
    if any(cls.__module__.partition(".")[0] == "invariant" for cls in type(where).__mro__):
        msg = (
            f"{type(where).__name__} is a store of the package invariant, whose entries have other "
            "identities; pass a store of invariant_dask, or a path for a new one"
        )
        raise SpecError(msg)
    text = os.fspath(unknown) if isinstance(unknown, (str, os.PathLike)) else ""
    if not text:
        msg = f"not one place of a store: {where!r}; there are {_KNOWN}"
        raise SpecError(msg)
    if compression is not None:
        options["compression"] = compression
    return _from_text(text, check_later, namespace, terms, options)


def _terms(
    trust: Policy = None,
    trusted_keys: str | Sequence[str | PublicKey] = (),
    max_artifact_size: int | str | None = None,
) -> Terms:
    limit = parse_size(max_artifact_size, "max_artifact_size")
    if limit is None:
        limit = DEFAULT_TERMS.max_artifact_size
    return Terms(parse_trust(trust, trusted_keys), limit)


def listed(text: str) -> list[Any]:
    """Return the list of tiers that JSON text is."""
    try:
        tiers = json.loads(text)
    except ValueError as error:
        msg = (
            f'not a JSON list of stores: {text!r} ({error}); write ["./.invariant", "/shared"], '
            "or ./ before the name of a folder that begins with ["
        )
        raise SpecError(msg) from error
    assert isinstance(tiers, list)
    return tiers


def _chain(items: Sequence[Any], options: Mapping[str, Any]) -> ChainStore:
    tiers = [_tier(item, options) for item in items]
    _make_sure_of_one([tier.store for tier in tiers])
    # Whoever compiles often gets the same chain: it knows which tiers fail, and what they miss.
    key = tuple((_key_of(tier.store), tier.write, tier.private, tier.name) for tier in tiers)
    chain = _chains.get(key)
    if chain is None:
        chain = _chains[key] = ChainStore(*tiers)
    return chain


def _make_sure_of_one(stores: Sequence[Store]) -> None:
    """Raise what is wrong with the nearest tier, if no tier can be used now."""
    trouble: StoreUnavailableError | None = None
    for store in stores:
        try:
            store.make_sure()
        except StoreUnavailableError as error:
            trouble = trouble or error
        else:
            return
    if trouble is not None:
        raise trouble


def _key_of(store: Store) -> Any:
    return store.key if isinstance(store, LateStore) else store


def _tier(item: Any, options: Mapping[str, Any]) -> Tier:
    if isinstance(item, (Tier, Store)):
        if options:
            msg = f"{', '.join(options)}: options open places; give those of {item!r} where it is"
            raise SpecError(f"{msg} opened")
        return item if isinstance(item, Tier) else Tier(item)
    url, how, own = described(item)
    return Tier(_open_tier(url, {**options, **own}), **how)


def described(item: Any) -> tuple[One, dict[str, Any], dict[str, Any]]:
    """Return what names the store of a tier, what is said of the tier, and of the store."""
    own: dict[str, Any] = {"url": item}
    if isinstance(item, Mapping):
        own = dict(item)
        if "url" not in own:
            takes = ", ".join(sorted(_TIER_OPTIONS | _OPTIONS | {"compression"}))
            msg = f"not a tier of a chain: there are {', '.join(own)}; it takes url, and perhaps"
            raise SpecError(f"{msg} {takes}, or options of the store")  # not shown: maybe secret
    url = own.pop("url")
    if isinstance(url, (list, tuple, Mapping)) or url is None:
        raise SpecError(f"not a tier of a chain: {item!r}; there are {_KNOWN}, but lists")
    how = {name: own.pop(name) for name in _TIER_OPTIONS & own.keys()}
    return url, how, own


def _open_tier(url: One, options: Mapping[str, Any]) -> Store:
    try:
        return _open(url, True, **options)
    except StoreUnavailableError as error:
        # The other tiers do without it until it is there.
        logger.warning("tier %s cannot be used yet: %s", url, error)
        about = {name: given for name, given in options.items() if name in _OPTIONS - {"namespace"}}
        how = repr(sorted(options.items()))
        namespace = options.get("namespace")
        place = f"{str(url).rstrip('/')}/namespaces/{namespace}" if namespace else str(url)
        return LateStore(place, _terms(**about), partial(open_store, url, **options), how=how)


def _disk(
    path: str | Path, namespace: str, terms: Terms, compression: str | None = None
) -> DiskStore:
    # Whoever compiles often must not open files as often.
    key = str(Path(path).expanduser().absolute()), namespace, terms, compression
    store = _shared.get(key)
    if store is None or not store.is_in_place:
        store = _shared[key] = DiskStore(
            path, namespace=namespace, terms=terms, compression=compression
        )
    return store


def _objects(
    url: str, check_later: bool, namespace: str, terms: Terms, options: dict[str, Any]
) -> Store:
    from invariant_dask.store.objects import ObjectStore

    if namespace:
        url = f"{url.rstrip('/')}/namespaces/{namespace}"
    store = ObjectStore(url, terms=terms, **options)
    shared = _shared.get(store.key)
    if isinstance(shared, ObjectStore):
        store = shared
    else:
        store.check_later()
    if not check_later:
        store.make_sure()
    _shared[store.key] = store
    return store


def _from_text(
    where: str, check_later: bool, namespace: str, terms: Terms, options: dict[str, Any]
) -> Store:
    match = _SCHEME.fullmatch(where)
    if match is None:
        return _disk(where, namespace, terms, options.get("compression"))
    scheme, rest = match[1].lower(), match[2]
    if scheme in _OBJECTS and rest.startswith("//"):
        far = scheme not in {"file", "memory"}
        return _objects(where, check_later and far, namespace, terms, options)
    if scheme == "disk" and rest:
        _refuse_options(where, options.keys() - {"compression"})
        return _disk(rest, namespace, terms, options.get("compression"))
    if scheme in {"memory", "null"} and not rest:
        _refuse_options(where, options.keys())
        # Each is seen by nobody else, which is what a namespace is for.
        return MemoryStore(terms=terms) if scheme == "memory" else NullStore(terms)
    msg = f"no store for {where!r}; there are {_KNOWN} (write ./{where} if that is a folder)"
    raise SpecError(msg)


def _refuse_options(where: str, options: Collection[str]) -> None:
    if options:
        raise SpecError(f"{', '.join(sorted(options))}: {where} takes no such option")


def _open_objects(ref: StoreRef) -> Store:
    from invariant_dask.store.objects_opening import open_reference

    return open_reference(ref)


# By name: what it takes is imported where such a store is used, and nowhere else.
openers["objects"] = _open_objects
