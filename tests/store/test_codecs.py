"""Values of libraries: what goes in comes out, with an identity that is that of the data."""

from __future__ import annotations

import datetime as dt
import io
import os
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from invariant_dask import DiskStore, FileArtifact, Graph, compile, op
from invariant_dask.core.encode import encode, stable_hash
from invariant_dask.core.types import find
from invariant_dask.errors import NotCacheableError, RegistrationError, UnknownTypeError
from invariant_dask.store.codecs import Codec, codecs, register_codec
from invariant_dask.testing import CodecContract

BERLIN = "Europe/Berlin"


def columns() -> dict[str, object]:
    rng = np.random.default_rng(0)
    return {
        "int": np.arange(5),
        "small": np.arange(5, dtype="i1"),
        "float": rng.normal(size=5),
        "nan": [0.0, -0.0, float("nan"), float("inf"), 1.0],
        "bool": [True, False, True, True, False],
        "text": ["a", None, "ü", "", "x"],
        "text with NA": pd.array(["a", pd.NA, "b", "c", "d"], dtype="string"),
        "object text": np.array(["a", None, float("nan"), pd.NA, "b"], dtype=object),
        "objects": np.array([1, b"x", dt.date(2020, 1, 1), None, Decimal("1.0")], dtype=object),
        "categories": pd.Categorical(["x", "y", None, "x", "y"]),
        "ordered": pd.Categorical(["x", "y", None, "x", "y"], ordered=True),
        "moments": pd.date_range("2020", periods=5),
        "zone": pd.date_range("2020", periods=5, tz=BERLIN),
        "offset": pd.date_range("2020", periods=5, tz=dt.timezone(dt.timedelta(hours=2))),
        "durations": pd.to_timedelta(range(5), unit="s"),
        "masked": pd.array([1, None, 3, 4, 5], dtype="Int16"),
        "masked bool": pd.array([True, None, False, True, True], dtype="boolean"),
        "masked float": pd.array([1.5, None, 3, 4, 5], dtype="Float32"),
        "periods": pd.period_range("2020-01", periods=5, freq="M"),
        "intervals": pd.interval_range(0, 5),
        "arrow": pd.array([1, None, 3, 4, 5], dtype="int64[pyarrow]"),
    }


def frame_with_attrs() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1, 2]})
    frame.attrs = {"unit": "m"}
    return frame


def hiding(number: int) -> pd.DataFrame:
    """Return a frame with a number that nobody sees."""
    mask = np.array([False, True])
    return pd.DataFrame({"a": pd.arrays.IntegerArray(np.array([1, number]), mask)})


class TestFrames(CodecContract):
    def values(self):
        every = pd.DataFrame(columns())
        return {
            **{f"column {name}": pd.DataFrame({"c": data}) for name, data in columns().items()},
            "every kind": every,
            "named column": pd.DataFrame({"d": columns()["int"]}),
            "many levels": every.set_index(["int", "text"]),
            "index of moments": every.set_index("moments"),
            "nothing": pd.DataFrame(),
            "rows only": pd.DataFrame(index=[1, 2]),
            "columns only": pd.DataFrame(columns=["a", "b"]),
            "twice the same name": pd.DataFrame([[1, 2]], columns=["a", "a"]),
            "attributes": frame_with_attrs(),
            "large": pd.DataFrame(np.random.default_rng(1).normal(size=(20_000, 4))),
        }

    def same(self, one, other):
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_freq=True)
        return one.attrs == other.attrs and one.flags == other.flags

    def equals(self):
        data = np.arange(12).reshape(3, 4)
        whole = pd.DataFrame(data, columns=list("abcd"))
        return {
            "blocks": (whole, pd.DataFrame({c: data[:, i] for i, c in enumerate("abcd")})),
            "a view": (whole.iloc[:, ::2], pd.DataFrame({"a": data[:, 0], "c": data[:, 2]})),
            "what lies under NA": (hiding(7), hiding(0)),
        }  # fmt: skip

    def refused(self):
        class Own(pd.DataFrame):
            pass

        return {
            "subclass": Own({"a": [1]}),
            "sparse": pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}),
            "objects": pd.DataFrame({"a": [object(), 1]}),
            "float objects": pd.DataFrame({"a": np.array([1.5, "x"], dtype=object)}),
        }


class TestSeries(CodecContract):
    def values(self):
        return {
            **{name: pd.Series(data) for name, data in columns().items()},
            "name": pd.Series([1, 2], name="n"),
            "large": pd.Series(np.arange(50_000)),
        }

    def same(self, one, other):
        pd.testing.assert_series_equal(one, other, check_exact=True)
        return one.attrs == other.attrs


class TestIndexes(CodecContract):
    def values(self):
        return {
            "range": pd.RangeIndex(3, name="q"),
            "same range, as numbers": pd.Index([0, 1, 2], name="q"),
            "daily": pd.date_range("2020", periods=3, freq="D"),
            "moments": pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-03"]),
            "levels": pd.MultiIndex.from_product([[1, 2], ["a"]], names=["x", None]),
            "categories": pd.CategoricalIndex(["a", "b"]),
            "objects": pd.Index([1, "a", None], dtype=object),
            "large": pd.Index(np.arange(50_000) * 3),
        }

    def same(self, one, other):
        pd.testing.assert_index_equal(one, other, exact=True)
        return getattr(one, "freq", None) == getattr(other, "freq", None)


def arrow_arrays() -> dict[str, pa.Array]:
    return {
        "int": pa.array([1, None, 3], pa.int16()),
        "bool": pa.array([True, None, False]),
        "text": pa.array(["a", None, "üü", ""]),
        "bytes": pa.array([b"x", None], pa.large_binary()),
        "lists": pa.array([[1, 2], None, [], [None, 4]]),
        "structs": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
        "dictionary": pa.array(["x", "y", "x", None]).dictionary_encode(),
        "map": pa.array([[("a", 1), ("b", 2)], None, []], pa.map_(pa.string(), pa.int32())),
        "pairs": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
        "decimals": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)),
        "moments": pa.array([dt.datetime(2020, 1, 1), None], pa.timestamp("us", "UTC")),
        "times": pa.array([dt.time(1, 2), None]),
        "durations": pa.array([dt.timedelta(1)]),
        "four bytes": pa.array([b"abcd", None], pa.binary(4)),
        "nulls": pa.nulls(4),
        "no texts": pa.array([], pa.string()),
        "lists of lists": pa.array([[["a"], None], None], pa.large_list(pa.list_(pa.string()))),
        "large": pa.array(np.arange(20_000)),
    }


class TestArrowArrays(CodecContract):
    def values(self):
        return arrow_arrays()

    def same(self, one, other):
        other.validate(full=True)
        return one.equals(other) and one.type == other.type

    def equals(self):
        threefold = {name: pa.concat_arrays([a, a, a]) for name, a in arrow_arrays().items()}
        return {
            name: (array, threefold[name].slice(len(array), len(array)))
            for name, array in arrow_arrays().items()
        }

    def refused(self):
        union = pa.UnionArray.from_dense(
            pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]
        )
        return {"union": union, "run ends": pa.RunEndEncodedArray.from_arrays([2], [1])}


class TestArrowTables(CodecContract):
    def values(self):
        two = {name: pa.concat_arrays([a] * 6)[:2] for name, a in arrow_arrays().items() if len(a)}
        table = pa.table(two)
        return {
            "every kind": table,
            "metadata": table.replace_schema_metadata({"k": "v"}),
            "no columns": table.select([]),
            "no rows": table.slice(0, 0),
            "batch": pa.record_batch({"a": [1, 2]}),
            "chunks": pa.chunked_array([[1], [2, 3]]),
            "large": pa.table({"a": np.arange(20_000), "b": np.arange(20_000) / 2}),
        }

    def same(self, one, other):
        other.validate(full=True)
        return type(one) is type(other) and one.equals(other)

    def equals(self):
        whole = pa.table({"a": [1, 2, 3, 4]})
        return {"chunks": (whole, pa.concat_tables([whole.slice(0, 1), whole.slice(1)]))}


def picture(mode: str) -> Image.Image:
    image = Image.new("RGB", (50, 40))
    image.putdata([(i % 256, i // 7 % 256, i * 3 % 256) for i in range(2000)])
    if mode == "PA":
        return image.convert("P").convert("PA")
    return image.convert(mode)


class TestImages(CodecContract):
    modes = ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "LA", "PA")

    def values(self):
        clear = picture("P")
        clear.info["transparency"] = 3
        return {
            **{mode: picture(mode) for mode in self.modes},
            "sixteen bits": Image.frombytes("I;16", (2, 1), b"\x01\x02\x03\x04"),
            "transparency": clear,
            "large": picture("RGB").resize((400, 300)),
        }

    def same(self, one, other):
        alike = one.mode == other.mode and one.size == other.size and one.info == other.info
        return alike and one.tobytes() == other.tobytes() and one.getpalette() == other.getpalette()

    def equals(self):
        image, file = picture("RGB"), io.BytesIO()
        image.save(file, "PNG")
        return {"a decoded file": (image, Image.open(file))}

    def refused(self):
        file = io.BytesIO()
        picture("P").save(file, "GIF", save_all=True, append_images=[picture("L").convert("P")])
        return {"frames": Image.open(file)}


class TestFileArtifacts(CodecContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path):
        self.path = tmp_path

    def values(self):
        made = {}
        for name, data in {
            "a.txt": b"text", "a.bin": b"text", "none": b"text", "empty.txt": b"",
            "large.mp4": bytes(range(256)) * 10_000,
        }.items():  # fmt: skip
            (self.path / name).write_bytes(data)
            made[name] = FileArtifact(self.path / name)
        return made

    def equals(self):
        (self.path / "one.txt").write_bytes(b"same")
        (self.path / "two.txt").write_bytes(b"same")
        return {"names": (FileArtifact(self.path / "one.txt"), FileArtifact(self.path / "two.txt"))}


# --- in graphs -----------------------------------------------------------------------------------


@op("codecs:frame", version="1")
def make_frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"n": np.arange(rows), "t": [str(n) for n in range(rows)]})


@op("codecs:total", version="1")
def total(frame: pd.DataFrame) -> int:
    return int(frame["n"].sum())


@op("codecs:render", version="1")
def render(size: int) -> FileArtifact:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.raw")
        path.write_bytes(b"\x07" * size)
        return FileArtifact(path)


@op("codecs:measure", version="1")
def measure(file: FileArtifact) -> list:
    from pathlib import Path

    with file.open() as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read()
    return [file.size, file.suffix, last, Path(file.as_path()).stat().st_size]


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_frames_and_files_pass_from_op_to_op(tmp_path, scheduler) -> None:
    graph = Graph()
    frame = graph.add("frame", make_frame, rows=30_000)
    graph.add("total", total, frame=frame)
    file = graph.add("file", render, size=3_000_000)
    graph.add("measured", measure, file=file)
    outputs = compile(graph, store=DiskStore(tmp_path / "store")).compute(scheduler=scheduler)
    assert outputs["total"] == sum(range(30_000))
    assert outputs["measured"] == [3_000_000, ".raw", b"\x07", 3_000_000]


def test_a_frame_is_a_parameter(tmp_path) -> None:
    graph = Graph()
    graph.add("total", total, frame=pd.DataFrame({"n": [1, 2, 3]}))
    compiled = compile(graph, store=DiskStore(tmp_path / "store"))
    assert compiled.compute() == 6
    assert compile(graph, store=DiskStore(tmp_path / "store")).plan().counts()


def test_a_frame_that_came_out_of_a_store_refuses_to_change_in_place(tmp_path) -> None:
    store = DiskStore(tmp_path / "store")
    graph = Graph()
    graph.add("frame", make_frame, rows=10)
    first = compile(graph, store=store).compute()
    with pytest.raises(ValueError, match="read-only"):
        first["n"].to_numpy()[0] = 7
    assert compile(graph, store=store).compute()["n"][0] == 0


def test_no_library_is_imported_before_its_values_are_there() -> None:
    code = (
        "import sys, invariant_dask.store, invariant_dask.session\n"
        "from invariant_dask.core.encode import encode\n"
        "encode([1, {'a': b'x'}])\n"
        "print([m for m in ('pandas', 'pyarrow', 'PIL', 'zstandard') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bytes_name_no_format_that_is_not_listed() -> None:
    for name, identity in (("pandas.DataFrame", "2"), ("os.path", "1"), ("pandas.Timestamp", "1")):
        with pytest.raises(UnknownTypeError):
            find(name, identity)


def test_a_format_of_ones_own_is_registered_once() -> None:
    def parts(value: object) -> object:
        return str(value)

    codec = Codec("tests.Path", "1", "pathlib", "PurePosixPath", parts, parts)
    register_codec(codec)
    register_codec(codec)
    assert codec in codecs()
    with pytest.raises(RegistrationError, match=r"tests\.Path"):
        register_codec(codec._replace(exact=False))
    from pathlib import PurePosixPath

    assert stable_hash(PurePosixPath("a")) != stable_hash("a")
    assert find("tests.Path", "1").cls is PurePosixPath


def test_refusals_say_which_column() -> None:
    with pytest.raises(NotCacheableError, match=r"\['b'\]"):
        encode(pd.DataFrame({"a": [1], "b": [object()]}))


def test_file_artifact_of_a_path_that_is_not_there_is_an_os_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        FileArtifact(tmp_path / "absent")


def test_file_artifacts_are_read_in_parts(tmp_path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)))
    with FileArtifact(path).open() as file:
        assert file.seek(10) == 10
        assert file.read(3) == b"\x0a\x0b\x0c"
        assert file.tell() == 13
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
