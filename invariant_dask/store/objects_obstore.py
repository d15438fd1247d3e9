"""Objects of S3 and Azure through obstore, whose requests are made outside of Python.

Its GCS speaks a dialect that no emulator understands, so that it could not be put to the test.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from invariant_dask.store.objects_wire import (
    NO_CREDENTIALS,
    PART,
    PARTS_AT_ONCE,
    ObjectInfo,
    RefusedError,
    Wire,
)

# What fsspec's classes call an option, and what obstore calls it.
_NAMES: Mapping[str, Mapping[str, str]] = {
    "s3": {
        "key": "access_key_id",
        "secret": "secret_access_key",
        "token": "session_token",
        "endpoint_url": "endpoint",
        "region": "region",
        "anon": "skip_signature",
    },
    "az": {
        "account_name": "account_name",
        "account_key": "account_key",
        "sas_token": "sas_key",
        "endpoint_url": "endpoint",
        "anon": "skip_signature",
        "tenant_id": "tenant_id",
        "client_id": "client_id",
        "client_secret": "client_secret",
    },
}


# Where machines of Amazon's ask for credentials, if nothing else has any.
_METADATA = "http://169.254.169.254/"
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
_MESSAGE = re.compile("<Message>([^<]+)</Message>")

_ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}


def understands(scheme: str, options: Mapping[str, Any]) -> bool:
    """Return whether all options mean something here."""
    return scheme in _NAMES and options.keys() <= _NAMES[scheme].keys()


class ObstoreWire(Wire):
    """A prefix of a bucket.

    Parameters
    ----------
    scheme
        `s3` or `az`.
    bucket, prefix
        Where.
    options
        As fsspec's classes name them.
    budget
        Seconds that one request may take, with what obstore retries on its own.
    """

    def __init__(
        self, scheme: str, bucket: str, prefix: str, options: Mapping[str, Any], budget: float
    ) -> None:
        import obstore
        from obstore import store

        self._obstore = obstore
        if scheme == "s3" and not {"key", "anon"} & options.keys():
            self.hint = "" if any(name in os.environ for name in _CREDENTIALS) else NO_CREDENTIALS
        kinds = {"s3": store.S3Store, "az": store.AzureStore}
        self._store: Any = kinds[scheme](
            bucket,
            prefix=prefix or None,
            config=_config(scheme, options),
            client_options={
                **_allowed(scheme, options),
                "connect_timeout": timedelta(seconds=budget / 3),
                "timeout": timedelta(seconds=max(60.0, budget)),
            },
            # Parts of large uploads are only retried in there; the rest is retried by our client.
            retry_config={
                "max_retries": 3,
                "retry_timeout": timedelta(seconds=budget / 2),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=50),
                    "max_backoff": timedelta(seconds=1),
                    "base": 2,
                },
            },
        )

    async def get(self, name: str, start: int, stop: int) -> bytes | None:
        with _refusals(name):
            try:
                if start:
                    data = await self._obstore.get_range_async(
                        self._store, name, start=start, end=stop
                    )
                    return bytes(data)
                answer = await self._obstore.get_async(self._store, name)
                if answer.meta["size"] <= stop:
                    return bytes(await answer.bytes_async())
                return bytes(
                    await self._obstore.get_range_async(self._store, name, start=0, end=stop)
                )
            except FileNotFoundError:
                return None

    async def put(self, name: str, data: bytes, *, create: bool = False) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode = "create" if create else "overwrite"
        with _refusals(name, writing=True):
            try:
                await self._obstore.put_async(
                    self._store, name, data, mode=mode, use_multipart=False
                )
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    async def put_parts(self, name: str, view: memoryview) -> None:
        def parts() -> Iterator[memoryview]:
            for at in range(0, len(view), PART):
                yield view[at : at + PART]

        with _refusals(name, writing=True):
            await self._obstore.put_async(
                self._store, name, parts(), use_multipart=True,
                chunk_size=PART, max_concurrency=PARTS_AT_ONCE,
            )  # fmt: skip

    async def head(self, name: str) -> ObjectInfo | None:
        with _refusals(name):
            try:
                return _info(await self._obstore.head_async(self._store, name))
            except FileNotFoundError:
                return None

    async def list(self, folder: str) -> AsyncIterator[Iterable[ObjectInfo]]:
        with _refusals(folder, writing=True):
            async for page in self._obstore.list(self._store, folder or None, chunk_size=1000):
                yield map(_info, page)

    async def copy(self, source: str, target: str) -> None:
        with _refusals(source):
            try:
                await self._obstore.copy_async(self._store, source, target)
            except FileNotFoundError:
                return

    async def delete(self, name: str) -> None:
        with _refusals(name):
            try:
                await self._obstore.delete_async(self._store, name)
            except FileNotFoundError:
                return


def _config(scheme: str, options: Mapping[str, Any]) -> dict[str, Any]:
    config = {_NAMES[scheme][name]: value for name, value in options.items() if value is not None}
    if scheme == "s3":
        if not {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys():
            config.setdefault("region", "us-east-1")
        # Names of buckets are no host names where the endpoint is not Amazon's.
        if "AWS_VIRTUAL_HOSTED_STYLE_REQUEST" not in os.environ:
            config["virtual_hosted_style_request"] = "endpoint" not in config
    return config


def _allowed(scheme: str, options: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether requests may be plain, unless the environment says."""
    if _ALLOW_HTTP[scheme] in os.environ:
        return {}
    return {"allow_http": str(options.get("endpoint_url", "")).lower().startswith("http:")}


def _info(meta: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(
        meta["path"], meta["size"], meta["e_tag"] or "", meta["last_modified"].timestamp()
    )


@contextmanager
def _refusals(name: str, *, writing: bool = False) -> Iterator[None]:
    """Tell what will be refused again from what may be lucky next time."""
    from obstore import exceptions

    try:
        yield
    except (
        exceptions.PermissionDeniedError,
        exceptions.UnauthenticatedError,
        exceptions.InvalidPathError,
        exceptions.NotSupportedError,
    ) as error:
        raise RefusedError(f"{name}: {_first_line(error)}") from error
    except exceptions.GenericError as error:
        if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
            raise RefusedError(f"there is no such bucket: {_first_line(error)}") from error
        if _METADATA in str(error):
            raise RefusedError(f"{NO_CREDENTIALS} ({_first_line(error)})") from error
        if "builder error" in _first_line(error):
            cure = "is the endpoint a URL, and http:// allowed?"
            raise RefusedError(f"no request can be made; {cure} {_first_line(error)}") from error
        raise
    except FileNotFoundError as error:
        if writing:  # of the bucket, then
            raise RefusedError(f"there is no such bucket: {_first_line(error)}") from error
        raise


def _first_line(error: Exception) -> str:
    # What the server said follows as a page of XML: of that, only its own message.
    line, page, _ = str(error).strip().partition("\n")[0].partition(": <?xml")
    said = _MESSAGE.search(str(error)) if page else None
    return f"{line}: {said[1]}" if said else line
