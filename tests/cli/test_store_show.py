"""What `store show` and `store pins` say: what made it, from what, and who signed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from store.places import PLACES, put

from invariant_dask import DiskStore, Graph, compile, open_store, ref
from invariant_dask.cli.app import app
from invariant_dask.graph.secrets import Secret
from invariant_dask.store import Store, keys
from invariant_dask.store.keys import SigningKey


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch) -> Path:
    for name in ("INVARIANT_SIGNING_KEY", "INVARIANT_TRUSTED_KEYS", "INVARIANT_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "invariant-dask"


def store_cli(where: object, *arguments: object) -> str:
    result = CliRunner().invoke(app, ["store", "--store", str(where), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def shown(where: object, digest: str) -> dict[str, Any]:
    return json.loads(store_cli(where, "show", digest, "--json"))


def graph() -> Graph:
    g = Graph()
    g.add("one", "stdlib:add", a=1, b=2)
    g.add("two", "stdlib:add", a=ref("one"), b=40)
    return g


@pytest.mark.parametrize("place", ["disk", "files"])
def test_show_of_a_resolved_digest_says_which_nodes_went_in(place: str, tmp_path: Path) -> None:
    store: Store = PLACES[place](tmp_path)
    compiled = compile(graph(), store=store)
    compiled.run()
    store.barrier()
    (two,) = (r for r in store.recent("stdlib:add") if r.about.node == "two")
    asked = shown(store.url, two.resolved.hex())
    assert asked["planned"]["digest"] == compiled.digests["two"]
    assert asked["inputs"] == [
        {
            "digest": compiled.digests["one"],
            "hash": next(iter(asked["planned"]["inputs"].values())),
            "op": "stdlib:add",
            "node": "one",
        }
    ]
    assert asked == shown(store.url, compiled.digests["two"])
    text = store_cli(store.url, "show", two.resolved.hex()[:12])
    assert f"input     {compiled.digests['one']}  one (stdlib:add)" in text
    assert "parameter a = 3\n" in text
    assert "parameter b = 40\n" in text


def test_show_tells_what_of_an_input_is_not_stored_any_more(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    compiled = compile(graph(), store=store)
    compiled.run()
    store.invalidate(compiled.digests["one"])
    (given,) = shown(store.url, compiled.digests["two"])["inputs"]
    assert (given["op"], given["node"]) == (None, None)
    assert "(not stored here now)" in store_cli(store.url, "show", compiled.digests["two"])


def test_show_of_a_parameter_from_a_secret_shows_a_hash(tmp_path: Path) -> None:
    g = Graph()
    g.add("n", "stdlib:add", a=ref("password"), b=1)
    compiled = compile(g, context={"password": Secret(31337421)}, store=DiskStore(tmp_path / "s"))
    compiled.run()
    text = store_cli(tmp_path / "s", "show", compiled.digests["n"])
    assert "31337421" not in text
    assert "parameter a = #" in text


def test_show_and_stats_say_who_signed(tmp_path: Path, monkeypatch) -> None:
    store = DiskStore(tmp_path / "s")
    unsigned = put(store, 1)
    key = SigningKey("ci-1", bytes(32))
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", key.secret_text())
    record = put(store, 2, claim="two")
    digest = record.resolved.hex()
    assert "  signed    ci-1 (trusted)\n" in store_cli(store.url, "show", digest)
    monkeypatch.delenv("INVARIANT_SIGNING_KEY")
    base64 = str(key.public).partition(":")[2]
    assert f"  signed    {base64} (not trusted)\n" in store_cli(store.url, "show", digest)
    keys.write_keys([key.public])
    told = shown(store.url, digest)
    whole = {"name": "ci-1", "key": base64, "trusted": True, "holds": True}
    assert (told["signed"], told["planned"]["signed"]) == (whole, whole)
    assert "  not signed\n" in store_cli(store.url, "show", unsigned.resolved.hex())
    assert shown(store.url, unsigned.resolved.hex())["signed"] is None
    assert "1 of 2 records signed" in store_cli(store.url, "stats")
    assert json.loads(store_cli(store.url, "stats", "--json"))["signed"] == 1


@pytest.mark.parametrize("place", PLACES)
def test_stats_count_what_is_signed_everywhere(place: str, tmp_path: Path, monkeypatch) -> None:
    store = PLACES[place](tmp_path)
    put(store, 1, claim="one")
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", SigningKey("a", bytes(32)).secret_text())
    put(store, 2, claim="two")
    put(store, 3, "small", claim="three")
    keeper = store.keeper()
    assert keeper is not None
    keeper.settle()
    assert sorted(entry.signed for entry in keeper.entries()) == [False] * 2 + [True] * 4


def test_a_policy_of_some_keys_says_who_is_trusted(tmp_path: Path, monkeypatch) -> None:
    mine, other = (SigningKey(name, name.encode() * 8) for name in ("mine", "othe"))
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", mine.secret_text())
    digest = put(DiskStore(tmp_path / "s"), 1).resolved
    monkeypatch.setenv("INVARIANT_TRUST", f"keys={other.public}")
    assert "mine (not trusted)" in store_cli(tmp_path / "s", "show", digest.hex())


def test_show_says_how_long_it_took_in_units(tmp_path: Path) -> None:
    compiled = compile(graph(), store=DiskStore(tmp_path / "s"))
    compiled.run()
    text = store_cli(tmp_path / "s", "show", compiled.digests["one"])
    (took,) = (line.split() for line in text.splitlines() if line.startswith("  took"))
    assert took[2] in {"ns", "us", "ms", "s"}
    assert "e-" not in took[1]


def test_pins_say_of_what_and_a_second_pin_leaves_the_reason(tmp_path: Path) -> None:
    compiled = compile(graph(), store=DiskStore(tmp_path / "s"))
    compiled.run()
    two = compiled.digests["two"]
    store_cli(tmp_path / "s", "pin", two, "--reason", "a paper")
    store_cli(tmp_path / "s", "pin", two)
    (line,) = store_cli(tmp_path / "s", "pins").splitlines()
    assert line.startswith(f"{two}  stdlib:add  two  ")
    assert line.endswith("a paper")
    (told,) = json.loads(store_cli(tmp_path / "s", "pins", "--json"))
    assert (told["op"], told["node"], told["reason"]) == ("stdlib:add", "two", "a paper")
    store_cli(tmp_path / "s", "pin", two, "--reason", "another")
    assert "another" in store_cli(tmp_path / "s", "pins")
    open_store(tmp_path / "s").invalidate(two)
    assert "(nothing is stored here now)" in store_cli(tmp_path / "s", "pins")
