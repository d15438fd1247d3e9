"""What an op is called with, and whether its type hints allow that, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invariant_dask.core.decode import decode
from invariant_dask.core.files import FileContent
from invariant_dask.errors import ExpressionError, NotCacheableError
from invariant_dask.ops.contracts import Contract
from invariant_dask.ops.misfits import misfit_text
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.plan.fitting import CURE
from invariant_dask.plan.payload import has_secret, secret_texts, settled, value_of_payload
from invariant_dask.plan.program import Part
from invariant_dask.runtime.handle import Handle
from invariant_dask.store.base import Store
from invariant_dask.store.file_hashes import FileHasher
from invariant_dask.store.files import open_file

_hasher = FileHasher(None)


def settle_parts(parts: Sequence[Part], inputs: Sequence[Handle]) -> tuple[Part, ...]:
    """Return parameters with items and expressions evaluated.

    Raises
    ------
    ExpressionError
        If one has no value.
    """
    inputs = [handle.loaded() for handle in inputs]
    made: list[Part] = []
    for name, key, payload in parts:
        try:
            with FixedSurroundings():
                made.append((name, key, settled(payload, lambda i: inputs[i].value())))
        except (ExpressionError, NotCacheableError) as error:
            raise ExpressionError(f"parameter {name}: {error}") from None
    return tuple(made)


def arguments_of(parts: Sequence[Part], inputs: Sequence[Handle], store: Store) -> dict[str, Any]:
    """Return the values of parameters, none shared with anybody."""

    def file(content: FileContent) -> Any:
        return open_file(content, _hasher, store.read_blob)

    arguments: dict[str, Any] = {}
    for name, _, payload in parts:
        if type(payload) is bytes:
            arguments[name] = decode(payload, open_file=file)
        elif type(payload) is int:
            arguments[name] = inputs[payload].value()
        else:
            arguments[name] = value_of_payload(payload, lambda i: inputs[i].value(), file)
    return arguments


def argument_misfit(
    contract: Contract | None, parts: Sequence[Part], arguments: Mapping[str, Any]
) -> str | None:
    """Return how an argument does not fit its hint, or None if all do."""
    if contract is None:
        return None
    for name, _, payload in parts:
        check = contract.of(name)
        if check is not None and (misfit := check(arguments[name])) is not None:
            text = misfit_text(misfit, name, secret=has_secret(payload))
            return f"parameter {text}; its hint says so: {CURE}"
    return None


def result_misfit(contract: Contract | None, parts: Sequence[Part], result: Any) -> str | None:
    """Return how a result does not fit its hint, or None if it does."""
    if contract is None or contract.result is None:
        return None
    misfit = contract.result(result)
    if misfit is None:
        return None
    text = misfit_text(misfit, "result", secret=bool(secrets_in(parts)))
    return f"what its type hint does not allow: {text}; return one, or change the hint"


def secrets_in(parts: Sequence[Part]) -> set[str]:
    """Return the texts in secrets that are part of parameters."""
    return set().union(*(secret_texts(payload) for _, _, payload in parts))
