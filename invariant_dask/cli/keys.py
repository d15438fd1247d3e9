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
@click.option("--replace", is_flag=True, help="Trust it instead of another key of the same name.")
def add(given: Sequence[str], replace: bool) -> None:
    """Trust public keys, written NAME:BASE64 as keygen prints them.

    Two keys of one name are a mistake or worse: the second one is refused, unless it is to
    --replace the first.
    """
    from invariant_dask.errors import TrustError
    from invariant_dask.store import keys

    kept = keys.keys_in_file()
    said = []
    for key in keys.parse_keys(given):
        same = next((each for each in kept if each.raw == key.raw), None)
        if same is not None:
            click.echo(f"{same} is trusted already", err=True)
            continue
        others = [each for each in kept if each.name == key.name]
        if others and not replace:
            raise TrustError(
                f"another key is trusted under the name {key.name!r}: {others[0]}; "
                "if its owner has a new one, add it with --replace"
            )
        kept = [each for each in kept if each not in others]
        kept.append(key)
        said += [f"no longer trusted: {each}" for each in others] + [f"trusted: {key}"]
    keys.write_keys(kept)
    for line in said:
        click.echo(line)
    if said:
        click.echo(f"in {keys.trusted_file()}", err=True)


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

    kept, said = keys.keys_in_file(), []
    for text in given:
        gone = [key for key in kept if text in {key.name, str(key)}]
        if not gone:
            raise TrustError(f"no key {text!r} is in {keys.trusted_file()}; see trusted-keys list")
        kept = [key for key in kept if key not in gone]
        said += [f"no longer trusted: {key}" for key in gone]
    keys.write_keys(kept)
    for line in said:
        click.echo(line)
