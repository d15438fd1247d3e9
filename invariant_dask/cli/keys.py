"""`keygen` and `trusted-keys`: whose results this user signs and believes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the private key goes; by default NAME.key in the folder of this user's settings.",
)
def keygen(name: str, file: Path | None) -> None:
    """Make a key to sign results with, and print its public half.

    NAME tells people whose key it is, such as ci.example.org-1. The private key goes to a new file
    that only you can read; name it in INVARIANT_SIGNING_KEY where results are made. Others who
    give the printed line to `trusted-keys add` then take what is signed with it.
    """
    from invariant_dask.store import keys

    path = file or keys.config_folder() / f"{name}.key"
    made = keys.keygen(name, path)
    click.echo(str(made.public))
    click.echo(f"private key: {path}; to sign: export {keys.SIGNING_VARIABLE}={path}", err=True)


@click.group(name="trusted-keys")
def trusted_keys() -> None:
    """Say whose signatures trust="signed" takes."""


@trusted_keys.command(name="add")
@click.argument("given", metavar="KEY...", nargs=-1, required=True)
def add(given: Sequence[str]) -> None:
    """Trust public keys, written NAME:BASE64 as keygen prints them."""
    from invariant_dask.store import keys

    new = keys.parse_keys(given)
    kept = keys.keys_in_file()
    known = {key.raw for key in kept}
    for key in new:
        if key.raw in known:
            click.echo(f"{key} is trusted already", err=True)
        else:
            known.add(key.raw)
            kept.append(key)
    keys.write_keys(kept)


@trusted_keys.command(name="list")
def list_keys() -> None:
    """Print the keys that are trusted, one a line."""
    from invariant_dask.store import keys

    for key in keys.keys_in_file():
        click.echo(str(key))
    for key in keys.keys_in_environment():
        click.echo(f"{key}  # from {keys.TRUSTED_VARIABLE}")


@trusted_keys.command(name="remove")
@click.argument("given", metavar="KEY...", nargs=-1, required=True)
def remove(given: Sequence[str]) -> None:
    """Trust keys no longer; each is given by its name or as it is listed."""
    from invariant_dask.errors import TrustError
    from invariant_dask.store import keys

    kept = keys.keys_in_file()
    for text in given:
        gone = [key for key in kept if text in {key.name, str(key)}]
        if not gone:
            raise TrustError(f"no key {text!r} is in {keys.trusted_file()}; see trusted-keys list")
        kept = [key for key in kept if key not in gone]
    keys.write_keys(kept)
