"""New, empty buckets on servers, and how a store in them is opened."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from invariant_dask.store import Store, open_store

# The well-known account of the emulator.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@dataclass(frozen=True)
class Place:
    """A prefix in a bucket of its own."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def through(self, endpoint: str) -> Place:
        """The same place, by way of a proxy."""
        return replace(self, options={**self.options, "endpoint_url": endpoint})

    def open(self, **more: Any) -> Store:
        return open_store(self.url, **{**self.options, **more})


def s3_place(endpoint: str) -> Place:
    import boto3
    from botocore.config import Config

    bucket = f"b{uuid.uuid4().hex[:16]}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test12345",
        config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    client.create_bucket(Bucket=bucket)
    client.close()
    options = {"key": "test", "secret": "test12345", "endpoint_url": endpoint}
    return Place(f"s3://{bucket}/store", options)


def gcs_place(endpoint: str) -> Place:
    bucket = f"b{uuid.uuid4().hex[:16]}"
    request = urllib.request.Request(
        f"{endpoint}/storage/v1/b?project=p", data=json.dumps({"name": bucket}).encode(),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    urllib.request.urlopen(request).close()
    return Place(f"gs://{bucket}/store", {"token": "anon", "endpoint_url": endpoint})


def azure_place(endpoint: str) -> Place:
    from azure.storage.blob import BlobServiceClient

    container = f"b{uuid.uuid4().hex[:16]}"
    text = (
        f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
        f"BlobEndpoint={endpoint}/{AZURE_ACCOUNT};"
    )
    with BlobServiceClient.from_connection_string(text) as service:
        service.create_container(container)
    options = {
        "account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY,
        "endpoint_url": f"{endpoint}/{AZURE_ACCOUNT}",
    }  # fmt: skip
    return Place(f"az://{container}/store", options)
