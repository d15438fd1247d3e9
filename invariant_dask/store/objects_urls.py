"""What a URL and options mean: which scheme, bucket and prefix, and who makes the requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from invariant_dask.errors import MissingExtraError, SpecError
from invariant_dask.store.objects_files import FilesWire
from invariant_dask.store.objects_fsspec import FsspecWire
from invariant_dask.store.objects_obstore import ObstoreWire, understands
from invariant_dask.store.objects_wire import Wire

_SCHEMES = {
    "s3": "s3", "s3a": "s3",
    "gs": "gs", "gcs": "gs",
    "az": "az", "abfs": "az", "abfss": "az",
    "file": "file",
    "memory": "memory",
}  # fmt: skip

# As Amazon's tools name it, the more special one first, and as obstore does.
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")}

_EXTRAS = {"s3": ("s3", "s3fs"), "gs": ("gcs", "gcsfs"), "az": ("azure", "adlfs")}


@dataclass(frozen=True)
class Location:
    """Where a store is, and how to get there."""

    scheme: str
    bucket: str
    prefix: str
    client: str
    """`obstore`, `fsspec` or `files`."""
    options: Mapping[str, Any] = field(compare=False, repr=False)

    @property
    def url(self) -> str:
        """The URL, in one of the ways in which it can be written."""
        if self.scheme == "file":
            return Path(self.prefix).as_uri()
        return f"{self.scheme}://{'/'.join(filter(None, (self.bucket, self.prefix)))}"

    @property
    def place(self) -> str:
        """The URL with the endpoint, which is no secret."""
        endpoint = self.options.get("endpoint_url")
        return f"{self.url} at {endpoint}" if endpoint else self.url


def locate(url: str, client: str | None, options: Mapping[str, Any]) -> Location:
    """Return where a URL points to.

    Raises
    ------
    SpecError
        If it makes no sense.
    MissingExtraError
        If nothing is installed that can make the requests.
    """
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None:
        msg = f"no object store has URLs like {url!r}; there are {', '.join(_SCHEMES)}"
        raise SpecError(msg)
    if "@" in parts.netloc and scheme != "az":
        raise SpecError("a URL is shown in many places: give key and secret as options")
    if client not in {None, "obstore", "fsspec"}:
        raise SpecError(f'client={client!r} is neither "obstore" nor "fsspec"')
    if scheme == "file":
        path = Path(unquote(parts.path))
        if parts.netloc not in {"", "localhost"} or not path.is_absolute() or options:
            msg = f"{url!r} is no folder of this machine: write file:///folder, without options"
            raise SpecError(msg)
        return Location(scheme, "", str(path), "files", {})
    bucket, prefix = parts.netloc, url.partition("://")[2].partition("/")[2].rstrip("/")
    if not bucket or not (prefix == "" or all(prefix.split("/"))):
        msg = f"{url!r} names no bucket and prefix, as {scheme}://bucket/prefix does"
        raise SpecError(msg)
    options = {**_from_environment(scheme), **options}
    chosen = "fsspec" if scheme == "memory" else _choose(scheme, client, options)
    return Location(scheme, bucket, prefix, chosen, options)


def _from_environment(scheme: str) -> dict[str, str]:
    """Return the endpoint that the environment names: other endpoints are other places."""
    named = (os.environ.get(name) for name in _ENDPOINTS.get(scheme, ()))
    endpoint = next(filter(None, named), None)
    return {} if endpoint is None else {"endpoint_url": endpoint}


def _choose(scheme: str, client: str | None, options: Mapping[str, Any]) -> str:
    extra, library = _EXTRAS[scheme]
    able = {"obstore": find_spec("obstore"), "fsspec": find_spec(library)}
    if client is None:
        suits = understands(scheme, options) and not _needs_profile(scheme, options)
        # The threads of obstore do not survive a fork.
        client = "obstore" if suits and able["obstore"] and not _forked else "fsspec"
        if not able[client] and able["obstore"] and understands(scheme, options):
            client = "obstore"
    elif client == "obstore" and not understands(scheme, options):
        msg = f'obstore does not know {scheme}:// with {", ".join(options)}; use client="fsspec"'
        raise SpecError(msg)
    if not able[client]:
        missing = "obstore" if client == "obstore" else library
        raise MissingExtraError(extra=extra, missing=[missing])
    return client


def _needs_profile(scheme: str, options: Mapping[str, Any]) -> bool:
    """Whether credentials are in a file that only Amazon's own library reads."""
    if scheme != "s3" or "key" in options or options.get("anon"):
        return False
    if "AWS_PROFILE" in os.environ:
        return True
    folder = Path.home() / ".aws"
    known = os.environ.get("AWS_ACCESS_KEY_ID")
    return not known and any((folder / name).exists() for name in ("credentials", "config"))


def connect(location: Location, budget: float, loop: asyncio.AbstractEventLoop) -> Wire:
    """Return a connection; it is called in the loop that will use it."""
    if location.client == "files":
        return FilesWire(Path(location.prefix))
    if location.client == "obstore" and not _forked:
        global _used  # noqa: PLW0603  see `_after_fork`
        _used = True
        return ObstoreWire(
            location.scheme, location.bucket, location.prefix, location.options, budget
        )
    root = "/".join(filter(None, (location.bucket, location.prefix)))
    return FsspecWire(location.scheme, root, location.options, budget, loop)


_used = False
_forked = False


def _after_fork() -> None:
    global _forked  # noqa: PLW0603  a property of the process
    _forked = _forked or _used


os.register_at_fork(after_in_child=_after_fork)
