"""What `store show` prints of an artifact, for people and as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from invariant_dask.core import manifest as manifests
from invariant_dask.errors import IntegrityError
from invariant_dask.store.sizes import SECOND, seconds_text, size_text

if TYPE_CHECKING:
    from invariant_dask.store.signers import Signer
    from invariant_dask.store.upkeep import Shown


def describe(shown: Shown) -> dict[str, Any]:
    """Return what `show` shows, as plain JSON."""
    record = shown.record
    about = record.about
    claim = shown.claim
    told = {
        "resolved": record.resolved.hex(),
        "hash": record.hash.hex(),
        "op": about.op,
        "node": about.node,
        "kind": record.kind,
        "size": record.size,
        "created": _date(about.created),
        "seconds": about.nanoseconds / SECOND,
        "writer": about.writer,
        "run": about.run,
        "code": about.code or None,
        "signed": _signed(shown.signer),
        "pinned": shown.is_pinned,
        "params": _params(record.manifest),
        "inputs": [
            {
                "digest": given.planned.hex(),
                "hash": given.hash.hex(),
                "op": given.op or None,
                "node": given.node or None,
            }
            for given in shown.inputs
        ],
        "blobs": [{"blob": blob.hex(), "size": length} for blob, length in record.parts],
        "missing": [blob.hex() for blob in shown.missing],
        "files": [str(file) for file in shown.files],
        "planned": None,
    }
    if claim is not None:
        told["planned"] = {
            "digest": claim.planned.hex(),
            "writer": claim.writer,
            "created": _date(claim.created),
            "signed": _signed(shown.claim_signer),
            "inputs": {planned.hex(): artifact.hex() for planned, artifact in claim.inputs},
        }
    return told


def _signed(signer: Signer | None) -> dict[str, Any] | None:
    return None if signer is None else signer._asdict()


def _params(manifest: bytes) -> dict[str, str]:
    """Return parameters as text; what is only hashed, as secrets are, is shown by its hash."""
    try:
        params = manifests.parse(manifest).params
        return {name: manifests.render(encoded) for name, encoded in params.items()}
    except IntegrityError:
        return {}  # somebody else's format: no reason not to show the rest


def artifact(told: dict[str, Any]) -> str:
    """Return what `show` prints."""
    lines = [f"{click.style(told['op'], bold=True)}  {told['kind']}, {size_text(told['size'])}"]
    took = seconds_text(round(told["seconds"] * SECOND))
    shown = {**told, "took": took}
    names = ("resolved", "hash", "node", "created", "took", "writer", "run", "code")
    lines += [f"  {name:9} {shown[name]}" for name in names if shown[name] not in {None, ""}]
    lines.append(f"  {_by(told['signed'])}")
    if told["pinned"]:
        lines.append("  pinned")
    if (planned := told["planned"]) is not None:
        lines.append(f"  planned   {planned['digest']}")
        if planned["signed"] != told["signed"]:
            lines.append(f"    {_by(planned['signed'])}")
    for given in told["inputs"]:
        name = f"{given['node'] or ''} ({given['op']})" if given["op"] else "(not stored here now)"
        lines.append(f"  input     {given['digest']}  {name.strip()}")
    lines += [f"  parameter {name} = {text}" for name, text in told["params"].items()]
    for blob in told["blobs"]:
        gone = "  is gone" if blob["blob"] in told["missing"] else ""
        lines.append(f"  blob      {blob['blob']}  {size_text(blob['size'])}{gone}")
    return "\n".join(lines) + "\n"


def _by(signed: dict[str, Any] | None) -> str:
    from invariant_dask.store.signers import Signer

    return "not signed" if signed is None else f"signed    {Signer(**signed)}"


def _date(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / SECOND, UTC).isoformat(timespec="seconds")
