"""Every command and snippet of the how-to runs as it stands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moireio.tools.main import COMMANDS

ROOT = Path(__file__).parent.parent.parent


def blocks(page, *kinds):
    found = re.findall(r"```(\w+)\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S)
    return [text for kind, text in found if kind in kinds]


HOWTOS = {
    "howto-openmx.md": ["compare.png"],
    "howto-build.md": ["tbg.png", "ribbon.h5", "set"],
    "howto-overlap.md": [],
    "howto-predict.md": [],
    "tight-binding.md": [],
    "howto-flat.md": ["a.h5", "flat.png", "weights.png"],
    "howto-dos.md": ["dos.png", "dos.txt", "tbg-dos.png", "window.png"],
    "howto-solvers.md": ["bands.txt", "window.txt"],
}


@pytest.mark.parametrize("page", HOWTOS)
def test_howto(tmp_path, data, page):
    for path in data.iterdir():
        shutil.copy(path, tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("moireio", *COMMANDS):
        inner = "" if name == "moireio" else f" {name}"
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m moireio{inner} "$@"\n')
        (programs / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "Agg",
    }
    shell = "set -eo pipefail\n" + "\n".join(blocks(f"docs/{page}", "bash", "sh"))
    python = "\n".join(blocks(f"docs/{page}", "python"))
    python = "\n".join(line for line in python.splitlines() if not line.startswith("%"))
    for words in (["bash", "-c", shell], [sys.executable, "-c", python]):
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr
    for name in HOWTOS[page]:
        assert (tmp_path / name).exists()


def test_the_reader_in_the_format_page(tmp_path, made):
    """The page's own h5py code, against at_k."""
    import numpy as np

    import moireio

    code = {}
    for text in blocks("schemas/blockfile-1.md", "python"):
        exec(text, code)
    k = np.array([0.12, 0.37, 0.05])
    for path in made.values():
        with moireio.open(path) as file:
            h = file.hamiltonian
            component = 0 if h.meta.components == 2 else None
            expected = h.at_k(k, component=component, dense=True)
        assert np.abs(code["bloch_sum"](path, k) - expected).max() < 1e-11
