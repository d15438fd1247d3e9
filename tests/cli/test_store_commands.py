"""`store ...`: every command, for people and as JSON, and users' mistakes without a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from store.places import large, put

from invariant_dask import DiskStore
from invariant_dask.cli.app import app
from invariant_dask.core import manifest as manifests
from invariant_dask.store import upkeep
from invariant_dask.testing import damage_blob, sample_manifest, sample_planned


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    store = DiskStore(tmp_path / "s")
    put(store, 1, claim="one")
    put(store, 2, "small", op="other:op")
    return store


def call(store: DiskStore, *arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["store", "--store", store.url, *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def told(store: DiskStore, *arguments: object, code: int = 0) -> Any:
    return json.loads(call(store, *arguments, "--json", code=code).stdout)


def test_stats(store: DiskStore) -> None:
    text = call(store, "stats").stdout
    assert "2 records, 1 planned entry, 1 blob" in text
    assert "sample:op" in text
    numbers = told(store, "stats")
    assert numbers["records"] == 2
    assert numbers["ops"]["sample:op"]["size"] > 40_000


def test_list_of_all_of_some_and_of_the_first(store: DiskStore) -> None:
    assert len(call(store, "ls").stdout.splitlines()) == 2
    (record,) = told(store, "ls", "sample:")
    assert record["planned"] == [sample_planned("one").hex()]
    assert call(store, "ls", "--limit", 1).stdout.endswith("... and 1 more\n")


def test_show_takes_digests_keys_and_first_digits(store: DiskStore) -> None:
    planned = sample_planned("one").hex()
    shown = [told(store, "show", name) for name in (planned, f"op-{planned}", planned[:10])]
    assert shown[0] == shown[1] == shown[2]
    assert shown[0]["planned"]["digest"] == planned
    assert shown[0]["op"] == "sample:op"
    assert "40.0 kB" in call(store, "show", planned).stdout


def test_verify_ends_with_1_if_there_is_damage(store: DiskStore) -> None:
    assert told(store, "verify", "--sample", 1)["entries"] == 1
    assert "no damage" in call(store, "verify").stdout
    (record,) = store.recent("sample:op")
    damage_blob(store, *record.parts[0])
    text = call(store, "verify", code=1).stdout
    assert record.resolved.hex() in text
    assert "1 damage" in text
    assert "store gc --grace 0s" in text
    assert "1 record names a blob that is gone" in call(store, "stats").stdout
    assert "2 damaged things set aside" in call(store, "stats").stdout
    gone = call(store, "gc", "--grace", "0s").stdout
    assert "1 record, 1 planned entry, 0 blobs, 2 damaged things set aside went" in gone
    assert "no damage" in call(store, "verify").stdout
    assert "set aside" not in call(store, "stats").stdout


def test_gc_says_what_would_go_and_then_does_it(store: DiskStore) -> None:
    text = call(store, "gc", "--keep-last", 0, "--grace", 0, "--dry-run").stdout
    assert "not among the latest 0 of its op" in text
    assert "2 records, 1 planned entry, 1 blob would go" in text
    header, *rows = text.splitlines()
    assert header.split() == ["what", "digest", "itself", "its", "blobs"]
    (large_one,) = (row for row in rows if row.startswith("record") and "sample:op" in row)
    assert large_one[header.index("its blobs") :].startswith("  40.0 kB")
    assert store.exists(sample_planned("one"))
    report = told(store, "gc", "--keep-last", 0, "--grace", 0)
    assert report["size_after"] == 0
    assert len(report["removals"]) == 4
    assert not store.exists(sample_planned("one"))


def test_gc_keeps_to_what_was_set(store: DiskStore) -> None:
    call(store, "gc", "--max-size", "20kB", "--max-age", "30d", "--set")
    assert "budget: at most 20.0 kB, used within 30 d" in call(store, "stats").stdout
    assert told(store, "gc", "--grace", 0)["size_after"] < 20_000
    call(store, "gc", "--set")
    assert "budget" not in call(store, "stats").stdout


def test_pins(store: DiskStore) -> None:
    planned = sample_planned("one").hex()
    call(store, "pin", planned[:12], "--reason", "a paper")
    assert "a paper" in call(store, "pins").stdout
    call(store, "gc", "--keep-last", 0, "--grace", 0)
    assert store.get(planned) == large(1)
    assert told(store, "unpin", planned) == {"unpinned": [planned]}
    assert told(store, "pins") == []


def test_push_pull_and_copy(store: DiskStore, tmp_path: Path) -> None:
    other, third = DiskStore(tmp_path / "other"), (tmp_path / "third").as_uri()
    assert told(store, "push", other.url, "--op", "other:op")["records"] == 1
    assert told(store, "push", other.url)["there"] == 1
    assert other.get(sample_planned("one")) == large(1)
    assert "2 records, 1 planned entry and 1 blob" in call(store, "copy", other.url, third).stdout
    other.invalidate("sample:op")
    planned = sample_planned("one").hex()
    assert told(other, "pull", third, planned[:8], "--replace")["records"] == 1
    assert other.exists(sample_planned("one"))


def test_rm_forgets_ops_and_digests(store: DiskStore) -> None:
    assert told(store, "rm", "other:op", sample_planned("one").hex()) == {
        "other:op": 1, sample_planned("one").hex(): 2,
    }  # fmt: skip
    assert "see store ls" in call(store, "rm", "other:op", code=1).stderr


def test_rm_takes_the_first_digits_that_ls_prints_and_says_once_what_is_not_there(
    store: DiskStore,
) -> None:
    (record,) = store.recent("other:op")
    digits = call(store, "ls", "other:").stdout.split()[0]
    assert record.resolved.hex().startswith(digits)
    assert call(store, "rm", digits).stdout == f"{digits}: 1 entry\n"
    again = call(store, "rm", digits, "cafe0", code=1)
    assert again.stdout == ""
    assert f"nothing is stored under {digits}, cafe0" in again.stderr


def test_rm_takes_an_op_that_looks_like_digits_for_an_op(store: DiskStore) -> None:
    put(store, 3, op="cafe")
    assert told(store, "rm", "cafe") == {"cafe": 1}


def test_the_store_may_be_named_behind_the_command(store: DiskStore, tmp_path: Path) -> None:
    for before in ([], ["--store", str(tmp_path / "nowhere")]):
        arguments = ["store", *before, "ls", "--store", store.url]
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)


def test_a_list_of_stores_is_no_missing_folder(store: DiskStore, tmp_path: Path) -> None:
    several = json.dumps([str(tmp_path / "near"), store.url])
    result = CliRunner().invoke(app, ["store", "--store", several, "ls", "--json"])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == 2


def test_ls_says_that_there_is_nothing(store: DiskStore) -> None:
    result = call(store, "ls", "zzz")
    assert result.stdout == ""
    assert "no records of ops whose name starts with 'zzz'" in result.stderr


@pytest.mark.parametrize("by", ["op", "record", "claim"])
def test_rm_forgets_nothing_that_is_pinned(store: DiskStore, by: str) -> None:
    planned = sample_planned("one").hex()
    (record,) = store.recent("sample:op")
    call(store, "pin", planned)
    what = {"op": "sample:op", "record": record.resolved.hex(), "claim": planned}[by]
    assert "pinned" in call(store, "rm", "other:op", what, code=1).stderr
    assert store.get(planned) == large(1)
    assert store.recent("other:op")
    call(store, "unpin", planned)
    call(store, "rm", "other:op", what)
    assert not store.exists(record.resolved)


def test_path_of_an_artifact_and_of_a_blob(store: DiskStore) -> None:
    (record,) = store.recent("sample:op")
    path = call(store, "path", sample_planned("one").hex()).stdout.strip()
    assert Path(path).read_bytes().endswith(large(1)[-100:])
    assert call(store, "path", record.parts[0][0].hex()).stdout.strip() == path
    (small,) = store.recent("other:op")
    assert "has no file" in call(store, "path", small.resolved.hex(), code=1).stderr


def test_path_of_a_compressed_blob_says_so(tmp_path: Path) -> None:
    compressing = DiskStore(tmp_path / "compressing", compression="zstd")
    record = put(compressing, 1)
    for digest in (record.resolved.hex(), record.parts[0][0].hex()):
        done = call(compressing, "path", digest)
        path = Path(done.stdout.strip())
        assert (path.suffix, path.exists()) == (".zst", True)
        assert "zstd -dc" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["show", "xyz"], "64 hexadecimal digits"),
        (["show", "0" * 64], "no artifact"),
        (["show", "abcdef12"], "no artifact"),
        (["gc", "--max-size", "much"], "--max-size"),
        (["gc", "--max-age", "long"], "--max-age"),
        (["gc", "--set", "--dry-run"], "choose one"),
        (["pin", "0" * 64], "no artifact"),
        (["push", "nowhere://x"], "no store for"),
        (["copy", "no-such", "memory:"], "no store at no-such; copy FROM TO copies from there"),
        (["pull", "no-such"], "no store at no-such; pull STORE copies from there"),
        (["verify", "--sample", "0"], "--sample"),
    ],
)
def test_mistakes_are_told_with_code_2(arguments, hint: str, store: DiskStore) -> None:
    assert hint in call(store, *arguments, code=2).stderr


def test_unpinning_what_is_not_pinned_is_told(store: DiskStore) -> None:
    assert "is not pinned" in call(store, "unpin", "0" * 64, code=1).stderr


def test_looking_after_a_store_that_is_not_there_makes_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["store", "--store", str(tmp_path / "none"), "stats"])
    assert result.exit_code == 2
    assert not (tmp_path / "none").exists()
    result = CliRunner().invoke(app, ["store", "--store", "memory:", "stats"])
    assert result.exit_code == 2
    assert "nothing to look after" in result.stderr


# --- chains ---


def in_store(where: object, *arguments: object, code: int = 0) -> Result:
    text = where if isinstance(where, str) else json.dumps(where)
    result = CliRunner().invoke(app, ["store", "--store", text, *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def far(store: DiskStore, tmp_path: Path) -> DiskStore:
    """A tier behind `store`, with an artifact of its own."""
    far = DiskStore(tmp_path / "far")
    put(far, 3, claim="far", op="far:op")
    return far


@pytest.mark.parametrize("form", ["{}", '["{}"]', '[{{"url": "{}"}}]'])
def test_chain_of_one_tier_is_that_store(store: DiskStore, form: str) -> None:
    where = form.format(store.url)
    assert "2 records" in in_store(where, "stats").stdout
    assert json.loads(in_store(where, "stats", "--json").stdout)["records"] == 2


@pytest.mark.parametrize(
    ("command", "near_says", "far_says"),
    [
        (["stats"], "2 records", "1 record,"),
        (["ls"], "other:op", "far:op"),
        (["verify"], "3 entries, 2 artifacts", "2 entries, 1 artifact "),
        (["gc", "--keep-last", 0, "--grace", 0], "2 records", "1 record,"),
        (["pins"], "", ""),
    ],
)
def test_commands_tell_of_each_tier(
    command: list[object], near_says: str, far_says: str, store: DiskStore, far: DiskStore
) -> None:
    text = in_store([store.url, far.url], *command).stdout
    near, _, behind = text.partition(far.url)
    assert near.startswith(store.url)
    assert near_says in near
    assert far_says in behind
    told = json.loads(in_store([store.url, far.url], *command, "--json").stdout)
    assert [each["store"] for each in told] == [store.url, far.url]


def test_damage_in_one_tier_is_told_of_that_tier(store: DiskStore, far: DiskStore) -> None:
    (record,) = store.recent("sample:op")
    damage_blob(store, *record.parts[0])
    text = in_store([store.url, far.url], "verify", code=1).stdout
    assert [line.endswith("no damage") for line in text.splitlines() if "checked" in line] == [
        False, True,
    ]  # fmt: skip


def test_artifacts_and_files_are_found_in_any_tier(store: DiskStore, far: DiskStore) -> None:
    chain = [store.url, far.url]
    for tier, name in ((store, "one"), (far, "far")):
        digest = sample_planned(name).hex()
        assert digest in in_store(chain, "show", digest[:12]).stdout
        path = in_store(chain, "path", digest).stdout.strip()
        assert path.startswith(tier.url)
        (blob,) = tier.lookup([sample_planned(name)])[sample_planned(name)].record.parts
        assert in_store(chain, "path", blob[0].hex()).stdout.strip() == path
    assert "no artifact" in in_store(chain, "show", "0" * 64, code=2).stderr


def test_pins_hold_in_the_tiers_that_have_the_artifact(store: DiskStore, far: DiskStore) -> None:
    chain, digest = [store.url, far.url], sample_planned("far").hex()
    assert f"in {far.url}" in in_store(chain, "pin", digest).stdout
    assert (told(store, "pins"), len(told(far, "pins"))) == ([], 1)
    assert "pinned" in in_store(chain, "rm", "far:op", code=1).stderr
    in_store(chain, "unpin", digest)
    assert told(far, "pins") == []
    in_store(chain, "rm", "far:op", "other:op")
    assert not far.recent("far:op")
    assert not store.recent("other:op")


def test_tiers_that_are_read_only_are_left_as_they_are(store: DiskStore, far: DiskStore) -> None:
    chain = [store.url, {"url": far.url, "write": "read-only"}]
    text = in_store(chain, "gc", "--keep-last", 0, "--grace", 0).stdout
    assert "read-only in this chain" in text.partition(far.url)[2]
    assert far.exists(sample_planned("far"))
    assert not store.exists(sample_planned("one"))
    assert far.url in in_store(chain[1:], "pin", sample_planned("far").hex(), code=1).stderr


def test_budget_is_set_for_one_store(store: DiskStore, far: DiskStore) -> None:
    stderr = in_store([store.url, far.url], "gc", "--set", "--max-size", "1GB", code=2).stderr
    assert store.url in stderr
    assert far.url in stderr


def test_all_tiers_are_copied_from(store: DiskStore, far: DiskStore, tmp_path: Path) -> None:
    chain, other = [store.url, far.url], str(tmp_path / "other")
    assert json.loads(in_store(chain, "push", other, "--json").stdout)["records"] == 3
    digest = sample_planned("far").hex()
    assert in_store(chain, "push", str(tmp_path / "one"), digest).stdout.startswith("1 record,")


def test_first_digits_are_forgotten_in_whatever_tier_they_are(
    store: DiskStore, far: DiskStore
) -> None:
    chain = [store.url, far.url]
    digest = far.recent("far:op")[0].resolved.hex()
    upkeep.pin(far, digest)
    assert "pinned" in in_store(chain, "rm", digest[:12], code=1).stderr
    upkeep.unpin(far, digest)
    assert in_store(chain, "rm", digest[:12]).stdout == f"{digest[:12]}: 1 entry\n"
    assert not far.recent("far:op")
    assert "nothing is stored" in in_store(chain, "rm", digest[:12], code=1).stderr


def test_first_digits_that_are_not_unique_among_tiers_forget_nothing(
    store: DiskStore, far: DiskStore
) -> None:
    start = {record.resolved.hex()[:4]: record for record in store.recent("sample:op")}
    for n in range(2**20):  # one in 65536 does
        manifest = sample_manifest(op="far:op", n=n)
        if (digits := manifests.digest(manifest).hex()[:4]) in start:
            break
    far.put(manifest, n)
    told = in_store([store.url, far.url], "rm", "far:op", digits, code=2).stderr
    assert store.url in told
    assert far.url in told
    assert len(far.recent("far:op")) == 2
    assert store.exists(start[digits].resolved)


def test_tier_without_records_of_an_op_says_so(store: DiskStore, far: DiskStore) -> None:
    told = in_store([store.url, far.url], "ls", "far")
    assert told.stderr == f"{store.url} has no records of ops whose name starts with 'far'\n"
    assert "far:op" in told.stdout.partition(far.url)[2]


# --- what is not there ---

READING = [
    ["stats"], ["ls"], ["show", "abcd"], ["verify"], ["gc"], ["pins"], ["pin", "0" * 64],
    ["unpin", "0" * 64], ["rm", "x"], ["path", "0" * 64], ["push", "memory:"],
]  # fmt: skip


@pytest.mark.parametrize("form", ["{}", "file://{}", '["{}"]', '["file://{}"]', "disk:{}"])
@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
@pytest.mark.parametrize("state", ["absent", "empty"])
def test_commands_make_no_store(state: str, command: list[str], form: str, tmp_path: Path) -> None:
    folder = tmp_path / "typo"
    if state == "empty":
        folder.mkdir()
    assert "there is no store at" in in_store(form.format(folder), *command, code=2).stderr
    assert not folder.exists() or not list(folder.iterdir())


def test_tier_that_is_not_there_is_left_out_and_not_made(store: DiskStore, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert "2 records" in in_store([absent.as_uri(), store.url], "stats").stdout
    assert not absent.exists()


def test_nothing_is_made_for_a_copy_of_what_is_not_there(store: DiskStore, tmp_path: Path) -> None:
    for digest in ("dead", "0" * 64):
        assert "no artifact" in call(store, "push", tmp_path / "other", digest, code=2).stderr
    assert not (tmp_path / "other").exists()


def test_what_is_something_else_is_told_and_left(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    for where in (tmp_path / "photos", tmp_path / "photos" / "a.jpg"):
        assert "store" in in_store(str(where), "stats", code=2).stderr
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]
