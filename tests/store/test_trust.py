"""Whose results a store takes: signatures, policies, and what an attacker without a key can do."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from invariant_dask.core.digest import BlobId, blob_id
from invariant_dask.core.encode import encode, stable_hash
from invariant_dask.errors import SpecError, StoreUnavailableError, TrustError
from invariant_dask.store import About, DiskStore, MemoryStore, open_store
from invariant_dask.store import keys as key_files
from invariant_dask.store.keys import PublicKey, SigningKey
from invariant_dask.store.record import (
    ENTRY_LIMIT,
    EntryRow,
    PlannedEntry,
    Record,
    parse_entry,
    sign_entry,
)
from invariant_dask.testing import damage_entry, sample_manifest, sample_planned


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path: Path) -> None:
    for name in ("INVARIANT_SIGNING_KEY", "INVARIANT_TRUSTED_KEYS", "INVARIANT_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def new_key(name: str) -> SigningKey:
    return SigningKey(name, os.urandom(32))


class Team:
    """A store folder, somebody who signs, and somebody who reads."""

    def __init__(self, monkeypatch, tmp_path: Path) -> None:
        self.environment = monkeypatch
        self.path = tmp_path / "s"
        self.key = new_key("ci")

    def signs(self, key: SigningKey | None = None) -> DiskStore:
        """A store as whoever has a private key opens it."""
        text = (key or self.key).secret_text()
        self.environment.setenv("INVARIANT_SIGNING_KEY", text)
        return DiskStore(self.path)

    def reads(self, *keys: PublicKey, **options: object) -> DiskStore:
        """A store as a reader opens it who trusts the team's key and has none."""
        self.environment.delenv("INVARIANT_SIGNING_KEY", raising=False)
        trusted = list(keys or (self.key.public,))
        store = open_store(self.path, trust="signed", trusted_keys=trusted, **options)
        assert isinstance(store, DiskStore)
        return store

    def publish(self, value: object, name: str = "a", **more: object) -> Record:
        store = self.signs()
        inputs = [(sample_planned("input"), stable_hash(0))]
        return store.publish(
            encode(value), sample_manifest(name=name), kind="list",
            about=About("sample:op", writer="w"), planned=sample_planned(name), inputs=inputs,
            **more,
        )  # fmt: skip

    def stored(self, digest: bytes) -> bytes:
        return DiskStore(self.path)._read_entries([digest])[digest]

    def put_entry(self, digest: bytes, data: bytes, target: bytes | None = None) -> None:
        assert DiskStore(self.path)._write_entries([EntryRow(digest, data, "sample:op", 0, target)])


@pytest.fixture
def team(monkeypatch, tmp_path: Path) -> Team:
    return Team(monkeypatch, tmp_path)


def unsigned(entry: Record | PlannedEntry) -> bytes:
    return entry._replace(signature=b"").to_bytes()


# --- policies ---


def test_what_a_trusted_key_signed_is_taken(team: Team) -> None:
    record = team.publish([1])
    store = team.reads()
    found = store.lookup([sample_planned("a"), record.resolved])
    assert len(found) == 2
    assert all(each.vouched for each in found.values())
    assert store.get(sample_planned("a")) == [1]
    assert store.stats.untrusted == 0
    assert record.signature[:32] == team.key.public.raw


def test_what_nobody_signed_is_a_miss_with_a_reason_and_can_be_replaced(team: Team) -> None:
    planned, plain = sample_planned("a"), DiskStore(team.path)
    record = plain.put(sample_manifest(name="a"), [1])
    plain.claim(planned, record, [])
    store = team.reads()
    assert store.lookup([planned, record.resolved]) == {}
    assert store.stats.untrusted == 2
    assert store.stats.quarantined == 0
    assert store.why(planned) == store.why(record.resolved) == "untrusted: it is not signed"
    team.publish([1])
    assert len(store.lookup([planned, record.resolved])) == 2
    assert store.why(planned) == ""


def test_another_key_is_named_in_the_reason(team: Team) -> None:
    record = team.publish([1])
    store = team.reads(new_key("other").public)
    assert not store.exists(record.resolved)
    base64 = str(team.key.public).partition(":")[2]
    assert store.why(record.resolved) == f"untrusted: it is signed by {base64}"


def test_without_a_policy_everything_is_taken(team: Team) -> None:
    record = team.publish([1])
    plain = DiskStore(team.path).put(sample_manifest(n=2), 2)
    assert len(open_store(team.path).lookup([record.resolved, plain.resolved])) == 2


def test_a_list_of_keys_takes_those_and_not_the_users_own(team: Team, monkeypatch) -> None:
    record = team.publish([1])
    other = new_key("other")
    mine = team.signs(other).put(sample_manifest(n=2), 2)
    monkeypatch.setenv("INVARIANT_TRUSTED_KEYS", str(other.public))
    for policy in ([str(team.key.public)], f"keys={team.key.public}"):
        found = open_store(team.path, trust=policy).lookup([record.resolved, mine.resolved])
        assert found.keys() == {record.resolved}


def test_trusted_keys_come_from_file_environment_and_options_and_one_s_own(
    team: Team, monkeypatch
) -> None:
    people = {name: new_key(name) for name in ("file", "environment", "option", "own", "stranger")}
    digests = {
        name: team.signs(key).put(sample_manifest(name=name), name).resolved
        for name, key in people.items()
    }
    key_files.write_keys([people["file"].public])
    monkeypatch.setenv("INVARIANT_TRUSTED_KEYS", str(people["environment"].public))
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", people["own"].secret_text())
    monkeypatch.setenv("INVARIANT_TRUST", "signed")
    store = open_store(team.path, trusted_keys=[str(people["option"].public)])
    found = store.lookup(digests.values())
    assert [name for name in digests if digests[name] in found] == [
        "file", "environment", "option", "own",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"trust": "signed"},
        {"trust": "sigend"},
        {"trust": []},
        {"trust": "keys="},
        {"trust": ["ci:AAAA"]},
        {"trusted_keys": ["nonsense"]},
        {"trust": [str(new_key("a").public)], "trusted_keys": [str(new_key("b").public)]},
        {"trust": [new_key("a").secret_text()]},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(options, tmp_path: Path) -> None:
    with pytest.raises(TrustError) as caught:
        open_store(tmp_path / "s", **options)
    assert all(text not in str(caught.value) for text in options.get("trust", ()) if len(text) > 60)


def test_options_for_an_open_store_are_refused() -> None:
    with pytest.raises(SpecError, match="open already"):
        open_store(MemoryStore(), trust="signed")


def test_what_this_process_made_itself_needs_no_signature(team: Team) -> None:
    store = team.reads()
    record = store.put(sample_manifest(), [1])
    assert store.get(record.resolved) == [1]
    doubtful = store.publish(
        encode([2]), sample_manifest(n=2), kind="list", about=About("op"), vouched=False
    )
    assert not store.exists(doubtful.resolved)
    again = DiskStore(team.path, terms=store.terms)
    assert not again.exists(record.resolved)


def test_recent_records_are_those_that_are_taken(team: Team) -> None:
    record = team.publish([1])
    team.reads()
    DiskStore(team.path).put(sample_manifest(n=2), 2)
    assert team.reads().recent("sample:op") == [record]
    assert len(DiskStore(team.path).recent("sample:op")) == 2


# --- an attacker who can write and has no key, or one that nobody trusts ---


def test_every_flipped_bit_of_signed_entries_is_a_miss(team: Team) -> None:
    record = team.publish([1])
    for digest in (bytes(record.resolved), bytes(sample_planned("a"))):
        good = team.stored(digest)
        target = record.resolved if digest != record.resolved else None
        for at in range(0, len(good), 7):
            bad = good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]
            team.put_entry(digest, bad, target)
            store = team.reads()
            assert digest not in store.lookup([digest])
            assert store.why(digest).startswith("damaged: ")
        team.put_entry(digest, good, target)
        assert team.reads().exists(digest)


def rehashed(digest: bytes, entry: Record | PlannedEntry, **fields: object) -> bytes:
    """An entry with other fields whose checksum holds, and with the old signature."""
    return entry._replace(**fields).to_bytes()


def test_changed_fields_do_not_keep_their_signature(team: Team) -> None:
    record = team.publish([1])
    other = encode([2])
    forged = {
        "artifact": {"descriptor": other.descriptor, "storage": other.storage},
        "kind": {"kind": "tuple"},
        "about": {"about_bytes": About("sample:op", writer="somebody else").to_bytes()},
    }
    for fields in forged.values():
        team.put_entry(record.resolved, rehashed(record.resolved, record, **fields))
        assert DiskStore(team.path).exists(record.resolved), "only the signature is in the way"
        store = team.reads()
        assert not store.exists(record.resolved)
        assert store.why(record.resolved) == "damaged: its signature does not hold"
        assert store.stats.quarantined == 0, "nobody makes a reader move things"


def test_a_swapped_list_of_blobs_is_noticed(team: Team) -> None:
    record = team.publish([b"x" * 40_000])
    evil = encode([b"y" * 40_000])
    DiskStore(team.path)._write_blobs(dict(evil.blobs))
    blobs = tuple((blob, len(data)) for blob, data in evil.blobs.items())
    swapped = rehashed(
        record.resolved, record, blobs=blobs, storage=evil.storage, descriptor=evil.descriptor
    )
    team.put_entry(record.resolved, swapped)
    assert open_store(team.path).get(record.resolved) == [b"y" * 40_000]
    store = team.reads()
    assert not store.exists(record.resolved)
    assert "signature does not hold" in store.why(record.resolved)


def test_a_claim_that_is_pointed_elsewhere_is_noticed(team: Team) -> None:
    good, evil = team.publish([1], "good"), team.publish([2], "evil")
    planned = sample_planned("good")
    entry = parse_entry(planned, team.stored(planned))
    pointed = rehashed(planned, entry, resolved=evil.resolved, hash=evil.hash)
    team.put_entry(planned, pointed, evil.resolved)
    assert DiskStore(team.path).get(planned) == [2]
    store = team.reads()
    assert not store.exists(planned)
    assert store.why(planned) == "damaged: its signature does not hold"
    assert store.get(good.resolved) == [1]


def test_a_signed_entry_under_another_digest_is_refused(team: Team) -> None:
    good, evil = team.publish([1], "good"), team.publish([2], "evil")
    # As it is, and with a checksum that holds there: of a claim the key is no part of the fields.
    team.put_entry(good.resolved, team.stored(evil.resolved))
    assert not team.reads().exists(good.resolved)
    entry = parse_entry(sample_planned("evil"), team.stored(sample_planned("evil")))
    moved = rehashed(sample_planned("good"), entry, planned=sample_planned("good"))
    team.put_entry(sample_planned("good"), moved, evil.resolved)
    assert DiskStore(team.path).get(sample_planned("good")) == [2]
    assert not team.reads().exists(sample_planned("good"))


def test_both_claim_and_record_must_be_believed(team: Team) -> None:
    record, planned = team.publish([1]), sample_planned("a")
    claim = team.stored(planned)
    team.put_entry(record.resolved, unsigned(record))
    store = team.reads()
    assert store.lookup([planned, record.resolved]) == {}
    assert store.why(planned) == "untrusted: it is not signed"
    team.put_entry(record.resolved, record.to_bytes())
    team.put_entry(planned, unsigned(parse_entry(planned, claim)), record.resolved)
    assert team.reads().lookup([planned, record.resolved]).keys() == {record.resolved}


def test_signing_with_a_key_of_one_s_own_does_not_help(team: Team) -> None:
    record, mine = team.publish([1]), new_key("mallory")
    evil = encode([2])
    forged = record._replace(descriptor=evil.descriptor, storage=evil.storage, signature=b"")
    data, _ = sign_entry(record.resolved, forged.to_bytes(), mine.sign)
    team.put_entry(record.resolved, data)
    store = team.reads()
    assert not store.exists(record.resolved)
    assert store.why(record.resolved).startswith("untrusted: it is signed by ")
    # The signature of one with the name of the other.
    borrowed = team.key.public.raw + mine.sign(b"anything")[32:]
    team.put_entry(record.resolved, forged._replace(signature=borrowed).to_bytes())
    assert not store.exists(record.resolved)
    assert store.why(record.resolved) == "damaged: its signature does not hold"


def test_a_signature_of_one_kind_of_entry_is_none_of_the_other(team: Team) -> None:
    record = team.publish([1])
    planned = sample_planned("a")
    entry = parse_entry(planned, team.stored(planned))
    for digest, data in (
        (planned, rehashed(planned, entry, signature=record.signature)),
        (record.resolved, rehashed(record.resolved, record, signature=entry.signature)),
    ):
        target = record.resolved if digest == planned else None
        team.put_entry(digest, data, target)
        assert digest not in team.reads().lookup([digest])


def test_a_good_signature_is_not_remembered_for_other_bytes_or_readers(team: Team) -> None:
    record = team.publish([1])
    assert team.reads().exists(record.resolved)
    assert not team.reads(new_key("other").public).exists(record.resolved)
    worse = rehashed(record.resolved, record, kind="tuple")
    team.put_entry(record.resolved, worse)
    assert not team.reads().exists(record.resolved)


# --- who signs ---


def test_what_was_made_from_doubtful_inputs_is_published_without_a_signature(
    team: Team, caplog
) -> None:
    with caplog.at_level(logging.WARNING):
        record = team.publish([1], vouched=False)
    assert record.signature == b""
    assert "published without a signature" in caplog.text
    store = team.signs()
    assert not team.reads().exists(record.resolved)
    team.environment.setenv("INVARIANT_SIGNING_KEY", team.key.secret_text())
    assert not store.lookup([record.resolved])[record.resolved].vouched
    assert store.lookup([store.put(sample_manifest(n=2), 2).resolved])


def test_a_signer_without_a_policy_builds_on_signed_results_only(team: Team) -> None:
    plain = DiskStore(team.path).put(sample_manifest(n=0), 0)
    signed = team.publish([1])
    store = DiskStore(team.path)
    found = store.lookup([plain.resolved, signed.resolved])
    assert [each.vouched for each in found.values()] == [False, True]


def test_who_signs_nothing_vouches_for_nothing_that_it_did_not_check(team: Team) -> None:
    record = team.publish([1])
    team.reads()
    assert not DiskStore(team.path).lookup([record.resolved])[record.resolved].vouched


# --- keys ---


def test_a_key_file_is_private_and_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ci.key"
    key = key_files.keygen("ci", path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.parse(path.read_text()).public == key.public
    with pytest.raises(TrustError, match="exists"):
        key_files.keygen("ci", path)
    with pytest.raises(TrustError, match="name"):
        key_files.keygen("a b:c", tmp_path / "other")


def test_the_environment_names_a_file_or_has_the_key_itself(tmp_path: Path, monkeypatch) -> None:
    key = key_files.keygen("ci", tmp_path / "ci.key")
    for named in (str(tmp_path / "ci.key"), key.secret_text(), key.secret_text() + "\n"):
        monkeypatch.setenv("INVARIANT_SIGNING_KEY", named)
        found = key_files.signing_key()
        assert found is not None
        assert found.public == key.public


def test_a_key_file_that_others_can_read_is_reported(tmp_path: Path, monkeypatch, caplog) -> None:
    key_files.keygen("ci", tmp_path / "ci.key")
    (tmp_path / "ci.key").chmod(0o644)
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", str(tmp_path / "ci.key"))
    assert key_files.signing_key() is not None
    assert "chmod 600" in caplog.text


def test_a_private_key_that_cannot_be_used_is_told_at_once_and_not_shown(
    tmp_path: Path, monkeypatch
) -> None:
    secret = new_key("ci").secret_text()
    wrong = [
        secret[:-8], secret.replace(":", ""), str(new_key("ci").public), "/no/such/file",
        secret[:-6] + "AAAA==",
    ]  # fmt: skip
    for named in wrong:
        monkeypatch.setenv("INVARIANT_SIGNING_KEY", named)
        with pytest.raises(TrustError) as caught:
            DiskStore(tmp_path / "s")
        assert secret[4:30] not in str(caught.value)
        assert named not in str(caught.value)


def test_private_keys_are_not_in_pickles_reprs_logs_or_references(team: Team, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    key = team.key
    store = team.signs()
    record = team.publish([1])
    signing = open_store(team.path, trust="signed")
    secret = key.secret_text().partition(":")[2]
    seed = key._key.private_bytes_raw()
    seen = [pickle.dumps(each) for each in (store, store.ref(), signing.ref(), record)]
    seen += [repr(each).encode() for each in (key, store, signing, signing.ref(), signing.terms)]
    seen += [path.read_bytes() for path in team.path.rglob("*") if path.is_file()]
    seen.append(caplog.text.encode())
    for data in seen:
        assert seed not in data
        assert secret[:20].encode() not in data
        assert seed.hex().encode() not in data
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(key)


def test_a_reference_carries_the_terms(team: Team) -> None:
    team.publish([1])
    store = team.reads(max_artifact_size="1MB")
    again = pickle.loads(pickle.dumps(store.ref()))
    assert again.terms == store.terms
    assert again.terms.max_artifact_size == 1_000_000
    assert store.domain != DiskStore(team.path).domain == store.place


def test_the_library_is_imported_only_where_signatures_are_used(tmp_path: Path) -> None:
    script = (
        "import sys; import invariant_dask; from invariant_dask.testing import sample_manifest\n"
        "store = invariant_dask.open_store(sys.argv[1])\n"
        "store.get(store.put(sample_manifest(), 1).resolved)\n"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "s")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


# --- namespaces ---


@pytest.mark.parametrize("first", ["", "team-a"])
def test_entries_of_a_namespace_are_seen_only_there(first: str, tmp_path: Path) -> None:
    value = b"x" * 40_000
    stores = {name: open_store(tmp_path / "s", namespace=name) for name in (first, "team-b", "")}
    stores["team-a"] = open_store(tmp_path / "s", namespace="team-a")
    digest = stores["team-a"].put(sample_manifest(), value).resolved
    assert not stores["team-b"].exists(digest)
    assert not stores[""].exists(digest)
    assert open_store(tmp_path / "s", namespace="team-a").get(digest) == value
    assert open_store(stores["team-a"].url).get(digest) == value
    assert pickle.loads(pickle.dumps(stores["team-a"])).get(digest) == value
    assert len({store.domain for store in stores.values()}) == 3


@pytest.mark.parametrize("name", ["..", "a/b", "A", ".hidden", "x" * 65, "a\n"])
def test_a_namespace_is_a_plain_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="namespace"):
        open_store(tmp_path / "s", namespace=name)
    assert not (tmp_path / "s").exists()


# --- reasons, reports, bounds ---


def test_the_reason_of_a_miss_says_what_was_damaged(team: Team) -> None:
    store = DiskStore(team.path)
    record = store.put(sample_manifest(), [1])
    assert store.why(record.resolved) == ""
    damage_entry(store, record.resolved)
    assert not store.exists(record.resolved)
    assert store.why(record.resolved) == "damaged: its checksum does not hold"
    assert not store.exists(record.resolved)
    assert store.why(record.resolved.hex()).startswith("damaged"), "it is absent because of that"
    store.put(sample_manifest(), [1])
    assert store.exists(record.resolved)
    assert store.why(record.resolved) == ""


def test_the_reason_of_a_miss_names_the_blob_that_is_lost(team: Team) -> None:
    store = DiskStore(team.path)
    record = store.put(sample_manifest(), b"x" * 40_000)
    store.claim(sample_planned("a"), record, [])
    blob = record.parts[0][0]
    store._blobs.path_of(blob).unlink()
    assert not store.lookup([sample_planned("a"), record.resolved])
    for digest in (sample_planned("a"), record.resolved):
        assert store.why(digest) == f"lost: blob {blob.hex()[:12]} is not there"
    store.invalidate(record.resolved)
    store.put(sample_manifest(n=2), 1)
    assert not store.exists(sample_planned("a"))
    assert "record that its claim points to" in store.why(sample_planned("a"))


def test_reasons_are_remembered_up_to_a_number() -> None:
    from invariant_dask.store.misses import Misses

    misses = Misses(most=3)
    for n in range(5):
        misses.note(bytes((n,)), str(n))
    assert [misses.why(bytes((n,))) for n in range(5)] == ["", "", "2", "3", "4"]


def test_what_is_set_aside_has_a_report_beside_it(team: Team) -> None:
    store = DiskStore(team.path)
    record = store.put(sample_manifest(), b"x" * 40_000)
    other = store.put(sample_manifest(n=2), 2)
    blob = record.parts[0][0]
    path = store._blobs.path_of(blob)
    path.chmod(0o644)
    path.write_bytes(b"y" * 40_000)
    assert store.read_blob(blob, 40_000) is None
    damage_entry(store, other.resolved)
    assert not store.exists(other.resolved)
    folder = team.path / "quarantine"
    kept = sorted(each for each in folder.iterdir() if each.suffix != ".json")
    reports = [json.loads(each.with_name(f"{each.name}.json").read_text()) for each in kept]
    assert [report["what"] for report in reports] == ["blob", "entry"]
    assert reports[0]["expected"] == f"blob {blob.hex()} of 40000 bytes"
    assert reports[0]["seen"] == f"blob {blob_id(b'y' * 40_000).hex()} of 40000 bytes"
    assert "checksum" in reports[1]["seen"]
    assert {report["store"] for report in reports} == {str(team.path)}
    assert all(report["when"].endswith("Z") and report["seen_by"] for report in reports)


def test_an_artifact_that_claims_to_be_too_large_is_neither_read_nor_kept(team: Team) -> None:
    large = DiskStore(team.path).put(sample_manifest(n=1), b"x" * 200_000)
    store = open_store(team.path, max_artifact_size="100KB")
    assert not store.exists(large.resolved)
    assert store.why(large.resolved).startswith("refused: 200")
    assert store.stats.quarantined == 0
    with pytest.raises(StoreUnavailableError, match="max_artifact_size=100000"):
        store.put(sample_manifest(n=2), b"y" * 200_000)


def test_a_record_that_names_a_good_blob_with_another_length_harms_nothing(team: Team) -> None:
    store = DiskStore(team.path)
    good = store.put(sample_manifest(n=1), b"x" * 40_000)
    blob: BlobId = good.parts[0][0]
    for length in (39_999, 40_001, 2**40):
        assert store.read_blob(blob, length) is None
    assert store.get(good.resolved) == b"x" * 40_000
    assert store.stats.quarantined == 0


def test_an_entry_that_is_too_long_is_not_even_read(team: Team) -> None:
    store = DiskStore(team.path)
    record = store.put(sample_manifest(), 1)
    team.put_entry(record.resolved, bytes(ENTRY_LIMIT + 1))
    assert store._read_entries([record.resolved]) == {record.resolved: b""}
    assert not store.exists(record.resolved)
    assert store.recent("sample:op") == []
    store.put(sample_manifest(), 1)
    assert store.get(record.resolved) == 1


def test_exactly_the_points_of_small_order_are_weak_keys() -> None:
    prime = 2**255 - 19
    d = -121665 * pow(121666, -1, prime) % prime

    def twice(point: tuple[int, int]) -> tuple[int, int]:
        x, y = point
        product = d * x * x * y * y % prime
        return (
            2 * x * y * pow(1 + product, -1, prime) % prime,
            (y * y + x * x) * pow(1 - product, -1, prime) % prime,
        )

    def point_of(y: int) -> tuple[int, int]:
        square = (y * y - 1) * pow(d * y * y + 1, -1, prime) % prime
        x = pow(square, (prime + 3) // 8, prime)
        if (x * x - square) % prime:
            x = x * pow(2, (prime - 1) // 4, prime) % prime
        assert (x * x - square) % prime == 0, "no point of the curve"
        return x, y

    for y in key_files._WEAK:
        assert twice(twice(twice(point_of(y)))) == (0, 1)
        for sign in (0, 1 << 255):
            for same in (y, y + prime):
                if same < 1 << 255:
                    assert key_files.is_weak((same | sign).to_bytes(32, "little"))
    base = 4 * pow(5, -1, prime) % prime
    assert twice(twice(twice(point_of(base)))) != (0, 1)
    assert not key_files.is_weak(base.to_bytes(32, "little"))
