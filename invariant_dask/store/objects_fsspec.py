"""Objects of whatever fsspec has a class for, in the loop of the client."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from invariant_dask.store.objects_wire import (
    NO_CREDENTIALS,
    PART,
    PARTS_AT_ONCE,
    ObjectInfo,
    RefusedError,
    Wire,
)


class FsspecWire(Wire):
    """A prefix of a bucket.

    Parameters
    ----------
    scheme
        `s3`, `gs`, `az` or `memory`.
    root
        Bucket and prefix.
    options
        For the file system of fsspec.
    budget
        Seconds that one request may take.
    loop
        The loop whose coroutines the methods are.
    """

    def __init__(
        self,
        scheme: str,
        root: str,
        options: Mapping[str, Any],
        budget: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        import fsspec

        if scheme == "gs" and "endpoint_url" in options:
            # Asking what kind of bucket it is takes an interface that emulators do not have.
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        self._scheme = scheme
        self._root = root.rstrip("/")
        known = dict(_options(scheme, options, budget))
        self._files: Any = fsspec.filesystem(
            scheme, skip_instance_cache=True, use_listings_cache=False, loop=loop, **known
        )
        self._is_async = bool(self._files.async_impl)
        if hasattr(self._files, "retries"):
            self._files.retries = 1  # our client retries, within its own budget

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._is_async:
            return await getattr(self._files, "_" + method)(*arguments, **options)
        return getattr(self._files, method)(*arguments, **options)  # in memory: never waits

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    async def get(self, name: str, start: int, stop: int) -> bytes | None:
        with _refusals(name):
            try:
                return bytes(await self._call("cat_file", self._path(name), start=start, end=stop))
            except FileNotFoundError:
                return None
            except Exception as error:
                if _status(error) == 416 or "InvalidRange" in str(error):
                    return b""  # it is empty
                raise

    async def put(self, name: str, data: bytes, *, create: bool = False) -> bool:
        options: dict[str, Any] = {"mode": "create"} if create else {}
        if self._scheme == "gs":
            options["chunksize"] = 1 << 40  # conditions hold for whole uploads only
        if self._scheme == "az":
            options = {"overwrite": not create}
        with _refusals(name, writing=True):
            try:
                await self._call("pipe_file", self._path(name), data, **options)
            except FileExistsError:
                return False
            except OSError as error:
                # Ceph does not say which condition failed, so s3fs does not see what it means.
                if create and _status(error) in {409, 412}:
                    return False
                raise
        return True

    async def put_parts(self, name: str, view: memoryview) -> None:
        options: dict[str, Any] = {"chunksize": PART, "max_concurrency": PARTS_AT_ONCE}
        if self._scheme == "az":
            options = {"overwrite": True, "max_concurrency": PARTS_AT_ONCE}
        elif self._scheme == "gs":
            options = {"chunksize": PART}
        data: Any = bytes(view) if not self._is_async else _Parts(view)
        if self._scheme == "gs":
            data = view  # of which it takes slices itself
        with _refusals(name, writing=True):
            await self._call("pipe_file", self._path(name), data, **options)

    async def head(self, name: str) -> ObjectInfo | None:
        with _refusals(name):
            try:
                found = await self._call("info", self._path(name))
            except FileNotFoundError:
                return None
        return self._info(found) if found["type"] == "file" else None

    async def list(self, folder: str) -> AsyncIterator[Iterable[ObjectInfo]]:
        with _refusals(folder, writing=True):
            try:
                found = await self._call("find", self._path(folder), detail=True)
            except FileNotFoundError:
                return
        if self._scheme == "memory":  # lists do not have its times
            found = {path: self._files.info(path) for path in list(found)}
        yield [self._info(found[path]) for path in sorted(found)]

    async def any_name(self, folder: str) -> str:
        # Unlike `find`, this does not read all names there are.
        with _refusals(folder, writing=True):
            try:
                found = await self._call("ls", self._path(folder), detail=False)
            except FileNotFoundError:
                return ""
        return str(found[0]).rpartition("/")[2] if found else ""

    async def copy(self, source: str, target: str) -> None:
        with _refusals(source):
            try:
                await self._call("cp_file", self._path(source), self._path(target))
            except FileNotFoundError:
                return

    async def delete(self, name: str) -> None:
        with _refusals(name):
            try:
                await self._call("rm_file", self._path(name))
            except FileNotFoundError:
                return

    async def delete_if(self, seen: ObjectInfo) -> bool:
        if self._scheme != "s3":
            return await super().delete_if(seen)
        bucket, key, _ = self._files.split_path(self._path(seen.name))
        with _refusals(seen.name):
            # Servers that do not know the condition ignore it, so we look first all the same.
            now = await self.head(seen.name)
            if now is None or not now.is_as(seen):
                return False
            try:
                await self._files._call_s3(  # noqa: SLF001  there is no other way to say it
                    "delete_object", Bucket=bucket, Key=key, IfMatch=seen.etag
                )
            except OSError as error:
                if _status(error) in {409, 412}:
                    return False
                raise
        return True

    def _info(self, found: Mapping[str, Any]) -> ObjectInfo:
        name = str(found["name"]).removeprefix("/").removeprefix(self._root.lstrip("/") + "/")
        etag = str(found.get("ETag") or found.get("etag") or found.get("generation") or "")
        for field in ("LastModified", "last_modified", "mtime", "updated", "created"):
            when = found.get(field)
            if isinstance(when, str):
                when = datetime.fromisoformat(when)
            if isinstance(when, datetime):
                return ObjectInfo(name, int(found["size"]), etag, when.timestamp())
        return ObjectInfo(name, int(found["size"]), etag, 0.0)

    async def close(self) -> None:
        if self._scheme == "s3":
            await (await self._files.set_session()).close()
        elif self._scheme == "gs" and self._files.session is not None:
            await self._files.session.close()
        elif self._scheme == "az":
            await self._files.service_client.close()


class _Parts(io.RawIOBase):
    """A large buffer, of which libraries take one part after the other as bytes."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, part: slice) -> bytes:
        return bytes(self._view[part])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        stop = len(self._view) if size is None or size < 0 else self._at + size
        part = bytes(self._view[self._at : stop])
        self._at += len(part)
        return part


def _options(scheme: str, options: Mapping[str, Any], budget: float) -> Iterator[tuple[str, Any]]:
    left = dict(options)
    endpoint = left.pop("endpoint_url", None)
    if scheme == "s3":
        config = dict(left.pop("config_kwargs", {}))
        config.setdefault("connect_timeout", budget / 3)
        config.setdefault("read_timeout", budget)
        config.setdefault("retries", {"mode": "standard", "max_attempts": 1})
        config.setdefault("max_pool_connections", 128)
        if endpoint is not None:
            yield "endpoint_url", endpoint
            config.setdefault("s3", {"addressing_style": "path"})
        yield "config_kwargs", config
        region = left.pop("region", None)
        yield (
            "client_kwargs",
            {**({"region_name": region} if region else {}), **left.pop("client_kwargs", {})},
        )
    elif scheme == "az" and endpoint is not None:
        name, key = left.pop("account_name", None), left.pop("account_key", None)
        protocol = str(endpoint).partition(":")[0]
        account = f"AccountName={name};AccountKey={key};"
        service = f"DefaultEndpointsProtocol={protocol};BlobEndpoint={endpoint};"
        yield "connection_string", account + service
    elif endpoint is not None:
        yield "endpoint_url", endpoint
    yield from left.items()


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status behind an error, if there is one."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            status = getattr(error, "status_code", None) or getattr(error, "code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


@contextmanager
def _refusals(name: str, *, writing: bool = False) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise RefusedError(f"{name}: {error}") from error
    except FileNotFoundError as error:
        if writing:
            raise RefusedError(f"there is no such bucket: {error}") from error
        raise
    except Exception as error:
        if type(error).__name__ == "NoCredentialsError":  # of a library that may be missing
            raise RefusedError(NO_CREDENTIALS) from error
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            raise RefusedError(f"{name}: {error}") from error
        raise
