"""What the README says is true: its Python runs, its commands exist."""

from __future__ import annotations

import doctest
import json
import os
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


def in_a_file(prompts: str) -> str:
    """Return Python that is shown with prompts as it stands in a file."""
    lines = [line for line in prompts.splitlines() if line.startswith((">>>", "..."))]
    return "\n".join(line[4:] for line in lines)


def test_shell_lines_in_the_readme_run_one_after_the_other(tmp_path) -> None:
    """All but the demo, which has tests of its own, and the cluster that nobody started."""
    (recipe,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(recipe)
    census = next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    (tmp_path / "census.py").write_text(in_a_file(census).partition("compiled =")[0])
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "venv" not in line]
    lines = [line for line in lines if "tcp://" not in line]
    assert len(lines) > 8
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = {}
    for line in lines:
        # The key that was just made stands for the one that the README cannot know.
        made = next((text.strip() for line, text in printed.items() if " keygen " in line), "")
        command = line.replace("ci.example.org-1:BASE64", made) if made else line
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, "PATH": path, "HOME": str(tmp_path), "XDG_CONFIG_HOME": ""},
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stderr)
        printed[line] = done.stdout
    card = json.loads((tmp_path / "card.json").read_text())
    assert card == {"text": "Hello", "width": {"$decimal": "180.0"}, "large": True}
    (shares,) = {printed[line].strip() for line in lines if "--import census.py" in line}
    assert "fraction" in shares


@pytest.mark.parametrize("word", re.findall(r"^invariant-dask ([\w-]+)", README, re.MULTILINE))
def test_commands_in_the_readme_exist(word) -> None:
    from invariant_dask.cli.app import app

    assert word in app.commands


def test_links_in_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
