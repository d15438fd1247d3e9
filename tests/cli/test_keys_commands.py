"""Keys are made, trusted and no longer trusted from the command line."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from invariant_dask import DiskStore, Graph, open_store
from invariant_dask.cli.app import app
from invariant_dask.graph.documents import dump_graph
from invariant_dask.store.keys import PublicKey
from invariant_dask.testing import sample_manifest


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch) -> Path:
    for name in ("INVARIANT_SIGNING_KEY", "INVARIANT_TRUSTED_KEYS", "INVARIANT_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "invariant-dask"


def cli(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def test_a_key_is_made_trusted_used_and_no_longer_trusted(settings, tmp_path, monkeypatch) -> None:
    made = cli("keygen", "ci.example.org-1")
    public, path = made.stdout.strip(), settings / "ci.example.org-1.key"
    assert PublicKey.parse(public).name == "ci.example.org-1"
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"INVARIANT_SIGNING_KEY={path}" in made.stderr
    assert path.read_text().strip() not in made.output

    monkeypatch.setenv("INVARIANT_SIGNING_KEY", str(path))
    digest = DiskStore(tmp_path / "s").put(sample_manifest(), 1).resolved
    monkeypatch.delenv("INVARIANT_SIGNING_KEY")

    cli("trusted-keys", "add", public)
    assert cli("trusted-keys", "list").stdout == f"{public}\n"
    assert "trusted already" in cli("trusted-keys", "add", public).stderr
    assert open_store(tmp_path / "s", trust="signed").get(digest) == 1
    cli("trusted-keys", "remove", "ci.example.org-1")
    assert cli("trusted-keys", "list").stdout == ""


def test_no_key_is_written_over(tmp_path: Path) -> None:
    cli("keygen", "a", "-o", str(tmp_path / "a.key"))
    before = (tmp_path / "a.key").read_bytes()
    assert "exists" in cli("keygen", "a", "-o", str(tmp_path / "a.key"), code=2).stderr
    assert (tmp_path / "a.key").read_bytes() == before


def test_keys_of_the_environment_are_listed_apart(monkeypatch, tmp_path: Path) -> None:
    public = cli("keygen", "a", "-o", str(tmp_path / "a.key")).stdout.strip()
    monkeypatch.setenv("INVARIANT_TRUSTED_KEYS", public)
    assert cli("trusted-keys", "list").stdout == f"{public}  # from INVARIANT_TRUSTED_KEYS\n"


def test_a_private_key_is_not_taken_for_a_public_one_and_not_shown(tmp_path, settings) -> None:
    cli("keygen", "a", "-o", str(tmp_path / "a.key"))
    secret = (tmp_path / "a.key").read_text().strip()
    refused = cli("trusted-keys", "add", secret, code=2)
    assert "that is a private key" in refused.stderr
    assert secret[2:30] not in refused.output
    assert not (settings / "trusted-keys").exists()


def test_what_is_no_key_or_not_trusted_is_told_with_the_place(settings) -> None:
    assert "expected name:base64" in cli("trusted-keys", "add", "nonsense", code=2).stderr
    assert "trusted-keys list" in cli("trusted-keys", "remove", "nobody", code=2).stderr
    settings.mkdir(parents=True)
    (settings / "trusted-keys").write_text("# people\n\nnot a key\n")
    assert "trusted-keys, line 3" in cli("trusted-keys", "list", code=2).stderr


def test_the_policy_of_the_environment_holds_for_commands(tmp_path: Path, monkeypatch) -> None:
    document = tmp_path / "g.json"
    g = Graph()
    g.add("n", "stdlib:add", a=1, b=2)
    document.write_text(dump_graph(g))
    cli("run", str(document), "--store", str(tmp_path / "s"))
    public = cli("keygen", "a", "-o", str(tmp_path / "a.key")).stdout.strip()
    monkeypatch.setenv("INVARIANT_TRUST", f"keys={public}")
    shown = cli("plan", str(document), "--store", str(tmp_path / "s"), "--output-format", "json")
    assert "untrusted: it is not signed" in shown.output
    assert '"run":1' in shown.output.replace(" ", "")


def test_adding_and_removing_say_what_is_trusted_now(settings: Path, tmp_path: Path) -> None:
    public = cli("keygen", "a", "-o", str(tmp_path / "a.key")).stdout.strip()
    added = cli("trusted-keys", "add", public)
    assert added.stdout == f"trusted: {public}\n"
    assert str(settings / "trusted-keys") in added.stderr
    assert cli("trusted-keys", "remove", "a").stdout == f"no longer trusted: {public}\n"


def test_another_key_of_a_trusted_name_is_refused_unless_it_replaces(tmp_path: Path) -> None:
    first, second = (
        cli("keygen", "ci", "-o", str(tmp_path / f"{n}.key")).stdout.strip() for n in (1, 2)
    )
    cli("trusted-keys", "add", first)
    refused = cli("trusted-keys", "add", second, code=2).stderr
    assert first in refused
    assert "--replace" in refused
    cli("trusted-keys", "add", first, second, code=2)
    assert cli("trusted-keys", "list").stdout == f"{first}\n"
    done = cli("trusted-keys", "add", "--replace", second).stdout
    assert done == f"no longer trusted: {first}\ntrusted: {second}\n"
    assert cli("trusted-keys", "list").stdout == f"{second}\n"


def test_a_key_for_which_anybody_can_sign_is_refused(settings: Path) -> None:
    zero = base64.b64encode(bytes(32)).decode()
    assert "anybody can make signatures" in cli("trusted-keys", "add", f"a:{zero}", code=2).stderr
    assert not (settings / "trusted-keys").exists()


def test_keys_that_cannot_be_used_say_where_they_are_from(tmp_path: Path, monkeypatch) -> None:
    run = "store", "--store", "memory:", "rm", "op:x"
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", str(tmp_path / "no.key"))
    assert f"{tmp_path / 'no.key'} (No such file" in cli(*run, code=2).stderr
    (tmp_path / "bad.key").write_text("name:AAAA\n")
    (tmp_path / "bad.key").chmod(0o600)
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", str(tmp_path / "bad.key"))
    shown = cli(*run, code=2).stderr
    assert f"INVARIANT_SIGNING_KEY, file {tmp_path / 'bad.key'}: not a private key" in shown
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", "name:AAAA")
    assert "INVARIANT_SIGNING_KEY: not a private key" in cli(*run, code=2).stderr
    monkeypatch.delenv("INVARIANT_SIGNING_KEY")
    monkeypatch.setenv("INVARIANT_TRUSTED_KEYS", "name:AAAA")
    monkeypatch.setenv("INVARIANT_TRUST", "signed")
    assert "INVARIANT_TRUSTED_KEYS: not a public key" in cli(*run, code=2).stderr
    assert "INVARIANT_TRUSTED_KEYS: not" in cli("trusted-keys", "list", code=2).stderr


def test_a_private_key_that_was_cut_off_is_not_shown_as_a_path(tmp_path, monkeypatch) -> None:
    cli("keygen", "ci", "-o", str(tmp_path / "a.key"))
    text = (tmp_path / "a.key").read_text().strip()
    for cut in (text[3:], text[5:60], text[:60] + " ", "/" + text[20:]):
        monkeypatch.setenv("INVARIANT_SIGNING_KEY", cut)
        told = cli("store", "--store", "memory:", "rm", "op:x", code=2).stderr
        assert not any(text[at : at + 6] in told for at in range(3, len(text) - 6))
