"""What the README says is true: its Python runs, its commands exist."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_python_in_the_readme_gives_what_it_shows(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVARIANT_STORE", raising=False)
    failed, attempted = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert attempted > 15
    assert failed == 0


def test_program_in_the_readme_runs(tmp_path) -> None:
    """The one that is shown without prompts: a file, a cluster, a picture."""
    import numpy as np
    from PIL import Image

    (program,) = (
        code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if ">>>" not in code
    )
    ramp = np.arange(256, dtype="uint8").reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "photo.jpg")
    (tmp_path / "mask.py").write_text(program + "    print(mask.shape, mask.dtype, mask.any())\n")
    done = subprocess.run(
        [sys.executable, "mask.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "(16, 16) bool True\n", done.stderr


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = re.findall(r"^(python3 .*pytest -q)$", README, re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("word", re.findall(r"^invariant-dask ([\w-]+)", README, re.MULTILINE))
def test_commands_in_the_readme_exist(word) -> None:
    from invariant_dask.cli.app import app

    assert word in app.commands


def test_links_in_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
