"""Which stores a command of `store` is about: one, or each tier of a chain that is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from invariant_dask.cli.outputs import OutputError
from invariant_dask.cli.store_view import tell
from invariant_dask.errors import ArtifactNotFoundError

if TYPE_CHECKING:
    from invariant_dask.store.base import Store
    from invariant_dask.store.tiers import Tier

T = TypeVar("T")

CURE = "name one with --store"


def tiers_of(where: str | None, cure: str = CURE) -> list[Tier]:
    """Open what is there: looking after a store must not make one by mistake."""
    from invariant_dask.store.finding import find_stores

    return find_stores(where, cure)


def tell_each(
    where: str | None,
    plain: bool,
    act: Callable[[Store], tuple[str, Any]],
    *,
    changes: bool = False,
    heading: bool = False,
) -> list[Any]:
    """Do the same to a store, or to each tier of a chain, and print what comes of it.

    Parameters
    ----------
    where
        What the user named.
    plain
        Whether it is printed as JSON; of several tiers, as a list of `store` and `told`.
    act
        Returns a text for people, and the same for JSON.
    changes
        Whether tiers that are read-only are left alone.
    heading
        Whether the place is said even of one store.

    Returns
    -------
    The second halves of what `act` returned.
    """
    tiers = tiers_of(where)
    results: list[dict[str, Any]] = []
    for tier in tiers:
        place, text, told = tier.store.place, "read-only in this chain: left as it is\n", None
        if not (changes and tier.write == "read-only"):
            text, told = act(tier.store)
        results.append({"store": place, "told": told})
        if not plain:
            if heading or len(tiers) > 1:
                click.echo(click.style(place, bold=True))
            click.echo(text, nl=False)
    if plain:
        tell("", results if len(tiers) > 1 else results[0]["told"], plain)
    return [each["told"] for each in results if each["told"] is not None]


def nearest(stores: Sequence[Store], ask: Callable[[Store], T]) -> tuple[Store, T]:
    """Return the nearest store that has what is asked for, and its answer.

    Raises
    ------
    ArtifactNotFoundError
        If none has; it is that of the last one.
    """
    for store in stores[:-1]:
        with suppress(ArtifactNotFoundError):
            return store, ask(store)
    return stores[-1], ask(stores[-1])


def stores_of(where: str | None, cure: str = CURE) -> list[Store]:
    """Return the store, or those of all tiers, from near to far."""
    return [tier.store for tier in tiers_of(where, cure)]


def writable(where: str | None) -> list[Store]:
    """Return those that may be changed."""
    tiers = tiers_of(where)
    stores = [tier.store for tier in tiers if tier.write != "read-only"]
    if not stores:
        names = ", ".join(tier.store.place for tier in tiers)
        raise OutputError(f"read-only in this chain: {names}; name the store itself")
    return stores


def only(where: str | None, what: str) -> Store:
    """Return the store, if it is one; an option that is for one store names those there are."""
    tiers = tiers_of(where)
    if len(tiers) > 1:
        names = ", ".join(tier.store.place for tier in tiers)
        raise click.UsageError(f"{what} is for one store; choose one with --store: {names}")
    return tiers[0].store
