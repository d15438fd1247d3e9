"""A fingerprint belongs to the code that is loaded, not to what has been written since."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import subprocess
import sys
import textwrap
from pathlib import Path

import cloudpickle
import pytest

from invariant_dask.errors import CodeIdentityError, StaleCodeError
from invariant_dask.ops.fingerprint import fingerprint, fingerprint_class

SOURCE = """
N = 1


def clip(x):
    return x + N


class Tone:
    size: int

    def go(self):
        return clip(self.size)


def shade(x):
    return [clip(i) for i in x]
"""


def load(path: Path, source: str):
    """Write a module and import it under a name that nothing else has."""
    path.write_text(textwrap.dedent(source))
    name = f"fp_{abs(hash(str(path)))}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def module(tmp_path: Path):
    yield (loaded := load(tmp_path / "ops.py", SOURCE))
    del sys.modules[loaded.__name__]


def digest(function) -> str:
    return fingerprint(function, name="t").digest


def rewrite(module, old: str, new: str) -> None:
    path = Path(module.__file__)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[clip(i)", "[1 + clip(i)"),
        ("def shade", "def other"),
        ("return x + N", "return x - N"),
        ("return x + N", "return x + 1"),
        ("def clip(x)", "def clip(x, y=1)"),
        ("return x + N", "return ("),
    ],
)
@pytest.mark.parametrize("before", [True, False], ids=["taken before", "taken first"])
def test_an_edit_after_the_import_is_an_error(module, old: str, new: str, before: bool) -> None:
    if before:
        digest(module.shade)
    rewrite(module, old, new)
    with pytest.raises(StaleCodeError, match="reload"):
        digest(module.shade)


def test_an_edit_of_a_class_after_the_import_is_an_error(module) -> None:
    rewrite(module, "size: int", "weight: int")
    with pytest.raises(StaleCodeError, match="Tone changed"):
        fingerprint_class(module.Tone)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("N = 1", "N = 2"),
        ("N = 1", "# more\n\n\ndef more():\n    return lambda x: x\n\n\nN = 1"),
        ("    return x + N", "    # why\n    return x + N"),
        ("return clip(self.size)", "return -clip(self.size)"),
    ],
)
def test_an_edit_that_is_not_of_loaded_code_it_reaches_changes_nothing(
    module, old: str, new: str
) -> None:
    before = digest(module.shade)
    rewrite(module, old, new)
    assert digest(module.shade) == before


def test_after_a_reload_the_new_code_counts(module) -> None:
    before = digest(module.shade)
    rewrite(module, "return x + N", "return x - N")
    module.__spec__.loader.exec_module(module)
    after = digest(module.shade)
    assert after != before
    rewrite(module, "return x - N", "return x + N")
    module.__spec__.loader.exec_module(module)
    assert digest(module.shade) == before


def test_without_a_file_there_is_no_source(module) -> None:
    Path(module.__file__).unlink()
    linecache.clearcache()
    with pytest.raises(CodeIdentityError, match="source not available") as caught:
        digest(module.shade)
    assert caught.value.path == "shade"


def test_a_function_that_came_by_value_to_another_machine_has_no_source(module) -> None:
    cloudpickle.register_pickle_by_value(module)
    shipped = cloudpickle.dumps(module.shade)
    cloudpickle.unregister_pickle_by_value(module)
    Path(module.__file__).unlink()
    linecache.clearcache()
    with pytest.raises(CodeIdentityError, match="source not available"):
        digest(cloudpickle.loads(shipped))


def test_a_function_that_came_by_value_to_the_same_machine_is_known(module) -> None:
    cloudpickle.register_pickle_by_value(module)
    shipped = cloudpickle.dumps(module.shade)
    cloudpickle.unregister_pickle_by_value(module)
    assert digest(cloudpickle.loads(shipped)) == digest(module.shade)


def test_lambdas_on_one_line_are_told_apart(tmp_path: Path) -> None:
    module = load(
        tmp_path / "ops.py",
        "pair = (lambda x: x + 1, lambda x: x + 2, lambda x: 4, lambda x: 2 * 2)\n",
    )
    digests = [digest(f) for f in module.pair]
    assert len(set(digests)) == 4
    assert [digest(f) for f in module.pair] == digests
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import ops;"
        "from invariant_dask.ops.fingerprint import fingerprint;"
        "print(*[fingerprint(f, name='t').digest for f in ops.pair[:2]])"
    )
    command = [sys.executable, "-X", "no_debug_ranges", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == digests[:2]


def test_definitions_under_one_name_are_told_apart(tmp_path: Path) -> None:
    module = load(
        tmp_path / "ops.py",
        """
        kept = []
        for low in (True, False):
            if low:
                def f(x): return x + 1
                class A:
                    size: int
                    def go(self): return 1
            else:
                def f(x): return x + 2
                class A:
                    size: str
                    def stop(self): return 1
            kept.append((f, A))
        """,
    )
    (f, a), (g, b) = module.kept
    assert digest(f) != digest(g)
    assert fingerprint_class(a) != fingerprint_class(b)


def test_code_that_pytest_rewrote_is_found_by_its_line() -> None:
    def shade(x):
        assert x == [1], "rewritten by pytest"
        return x

    def other(x):
        assert x == [2], "rewritten by pytest"
        return x

    assert digest(shade) != digest(other)
    assert digest(shade) == digest(shade)


# --- notebooks -----------------------------------------------------------------------------------


def run_cell(number: int, source: str, namespace: dict) -> None:
    """Do what a notebook does: compile under a made-up name that `linecache` knows."""
    name = f"<ipython-input-{number}-abc>"
    lines = source.splitlines(keepends=True)
    linecache.cache[name] = (len(source), None, lines, name)
    exec(compile(source, name, "exec"), namespace)


def test_functions_of_notebook_cells_are_seen_across_cells() -> None:
    space: dict = {"__name__": "__main__"}
    run_cell(1, "def clip(x):\n    return x + 1\n", space)
    run_cell(2, "def shade(x):\n    return clip(x)\n", space)
    before = fingerprint(space["shade"], name="t")
    assert set(before.parts) == {"function __main__.clip", "function __main__.shade"}
    assert before.modules == ("__main__",)
    run_cell(3, "def clip(x):\n    return x + 2\n", space)
    assert digest(space["shade"]) != before.digest
    run_cell(4, "# again\ndef clip(x):\n    return x + 1\n", space)
    assert digest(space["shade"]) == before.digest


def test_a_script_a_notebook_and_a_module_agree(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    source = "N = 2\ndef clip(x):\n    return x + N\ndef shade(x):\n    return clip(x)\n"
    module = load(tmp_path / "ops.py", source)
    show = "from invariant_dask.ops.fingerprint import fingerprint\n"
    show += "print(fingerprint(shade, name='t').digest)\n"
    (tmp_path / "script.py").write_text(source + show)
    notebook = (
        "from IPython.core.interactiveshell import InteractiveShell as Shell\n"
        "shell = Shell.instance()\n"
        f"assert shell.run_cell({source!r}).success\n"
        "assert shell.run_cell('import asyncio; await asyncio.sleep(0)').success\n"
        f"assert shell.run_cell({show!r}).success\n"
    )
    (tmp_path / "notebook.py").write_text(notebook)
    for name in ("script.py", "notebook.py"):
        done = subprocess.run(
            [sys.executable, name], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={"PATH": "", "IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)},
        )  # fmt: skip
        assert done.stdout.split()[-1] == digest(module.shade), name
