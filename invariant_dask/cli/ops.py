"""`ops list` and `ops show`: which ops there are, what they take, and what identifies them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from invariant_dask.cli.inputs import imports_option
from invariant_dask.cli.loading import discover, import_code
from invariant_dask.cli.outputs import OutputError, as_json
from invariant_dask.errors import CodeIdentityError, RegistrationError, StaleCodeError

if TYPE_CHECKING:
    from invariant_dask.ops.entry import Op
    from invariant_dask.ops.identity import OpIdentity

_COVERS = {
    "version": "the declared version alone; edits of the code change nothing until it is changed",
    "installed": "the version of the distribution that it is in; not its code",
    "code": "its code, and all own code that it reaches, by value",
}
_NEVER_SEEN = (
    "clocks, networks, files opened by path, environment variables, unseeded random numbers, and "
    "what is found by name when it runs"
)


@click.group()
def ops() -> None:
    """List ops, or show one."""


@ops.command("list")
@click.argument("prefix", default="")
@imports_option
def list_(prefix: str, imports: tuple[str, ...]) -> None:
    """List the ops whose name starts with PREFIX: our own, and those of installed packages."""
    from invariant_dask.ops.registry import default_registry
    from invariant_dask.ops.table import LIBRARIES

    import_code(imports)
    if prefix.partition(":")[0] not in LIBRARIES:
        discover()
    registry = default_registry()
    names = [name for name in registry.names() if name.startswith(prefix)]
    if not names:
        raise OutputError(f"there is no op whose name starts with {prefix!r}")
    for name in names:
        click.echo(f"{name}({registry.get(name).signature.describe()})")


@ops.command()
@click.argument("name")
@click.option("--json", "plain", is_flag=True, help="All of it as JSON.")
@imports_option
def show(name: str, plain: bool, imports: tuple[str, ...]) -> None:
    """Show what an op takes and returns, what identifies it, and what that cannot see."""
    from invariant_dask.ops.registry import default_registry

    import_code(imports)
    op = default_registry().get(name)
    try:
        identity: OpIdentity | None = op.identity()
        trouble = ""
    except (CodeIdentityError, StaleCodeError, RegistrationError) as error:
        identity, trouble = None, str(error)
    told = describe(op, identity)
    click.echo(as_json(told, pretty=True) if plain else _as_text(told), nl=plain)
    if trouble:
        raise OutputError(f"op {name!r} has no identity and cannot be used: {trouble}")


def describe(op: Op, identity: OpIdentity | None) -> dict[str, Any]:
    """Return what there is to say about an op, as plain JSON."""
    from invariant_dask.cli.schema import input_schema, output_schema, signature_text
    from invariant_dask.ops.contracts import unread_hints

    told: dict[str, Any] = {
        "name": op.name,
        "signature": signature_text(op.name, op.function),
        "summary": _summary(op.function),
        "implementation": op.implementation,
        "inline": op.inline,
        "traits": list(op.traits),
        "input": input_schema(op),
        "output": output_schema(op),
        "unchecked": unread_hints(op.function),
        "identity": None,
    }
    if identity is not None:
        told["identity"] = {
            "kind": identity.kind,
            "value": identity.value,
            "requires": dict(identity.requires),
            "covers": _COVERS[identity.kind],
        }
        code = identity.code
        if code is not None:
            told["code"] = {
                "fingerprint": code.digest,
                "parts": dict(code.parts),
                "modules": list(code.modules),
                "distributions": dict(code.distributions),
                "blind": list(code.blind),
            }
        told["never_seen"] = _NEVER_SEEN
    return told


def _as_text(told: dict[str, Any]) -> str:
    lines = [click.style(told["signature"], bold=True)]
    if told["summary"]:
        lines.append(f"  {told['summary']}")
    if told["implementation"]:
        lines.append(f"  {told['implementation']}")
    if told["inline"]:
        lines.append("  inline: evaluated while compiling, or inside each consumer")
    if told["traits"]:
        lines.append(f"  traits: {', '.join(told['traits'])}")
    lines += ["", "input (JSON Schema; --json shows all of it)"]
    required = told["input"]["required"]
    for name, schema in told["input"]["properties"].items():
        lines.append(f"  {name}{' (required)' if name in required else ''}: {as_json(schema)}")
    if (further := told["input"]["additionalProperties"]) is not False:
        lines.append(f"  any further one: {as_json(further)}")
    output = {key: told["output"][key] for key in told["output"].keys() - {"$schema", "$defs"}}
    lines += ["output (JSON Schema)", f"  {as_json(output)}"]
    for name, hint in told["unchecked"].items():
        lines.append(f"not checked: {name}, as its hint {hint!r} cannot be evaluated here")
    if (identity := told["identity"]) is not None:
        lines += ["", f"identity: {identity['kind']} {identity['value']}"]
        lines += [f"  requires {name} {at}" for name, at in identity["requires"].items()]
        lines.append(f"  covers {identity['covers']}")
    if (code := told.get("code")) is not None:
        # Under a declared version the code is only compared, to tell of drift.
        lines += ["", f"code: fingerprint {code['fingerprint']}"]
        lines += [f"  sees {part} {at}" for part, at in code["parts"].items()]
        lines += [f"  reaches module {module}" for module in code["modules"]]
        lines += [f"  reaches {name} {at}" for name, at in code["distributions"].items()]
        lines += [f"  cannot see {blind}" for blind in code["blind"]]
    if "never_seen" in told:
        lines += ["", f"no identity sees {told['never_seen']}"]
    return "\n".join(lines) + "\n"


def _summary(function: Any) -> str:
    doc = getattr(function, "__doc__", None) or ""
    return " ".join(doc.strip().partition("\n\n")[0].split())
