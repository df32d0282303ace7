"""``python -m moireio``: files that lie in the current folder are not imported."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Not types: Python's own -m imports it before any code of moireio runs.
TRAPS = ["numpy", "zarr", "h5py", "click", "inspect", "json", "pathlib", "typing"]


@pytest.fixture
def traps(tmp_path):
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text("print('imported', __name__)\nraise SystemExit(7)\n")
    return tmp_path


def _answer(command, folder):
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("container", ["h5", "zarr"])
def test_python_m(traps, made, container):
    target = traps / f"x.{container}"
    words = ["convert-h", str(made["gr_ab"]), "-o", str(target)]
    assert _answer([sys.executable, "-m", "moireio", *words], traps) == (0, "", "")
    code, text, errors = _answer([sys.executable, "-m", "moireio", "h5-info", target.name], traps)
    assert (code, errors) == (0, "")
    assert "imported" not in text


def test_console_scripts(traps, made):
    script = shutil.which("h5-info", path=Path(sys.executable).parent)
    if script is None:
        pytest.skip("moireio's console scripts are not installed beside this Python")
    code, text, errors = _answer([script, str(made["gr_ab"])], traps)
    assert (code, errors) == (0, "")
    assert "imported" not in text


def test_a_folder_of_pythonpath_stays(tmp_path, made):
    """With -P Python adds no folder, so none may be taken away."""
    (tmp_path / "sitecustomize.py").write_text("")
    script = "import runpy, sys; runpy.run_module('moireio', alter_sys=True); print(sys.path[0])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.strip() == str(tmp_path), done.stderr
