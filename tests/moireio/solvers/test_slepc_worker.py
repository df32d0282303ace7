"""The part under MPI, with a Python that has no slepc4py, or none at all to serve."""

import importlib.util
import os
import socket
import subprocess
import sys

import pytest

from moireio.solvers.slepc_link import MARK, SCRIPT

no_slepc = pytest.mark.skipif(
    importlib.util.find_spec("slepc4py") is not None, reason="slepc4py is installed"
)


@no_slepc
@pytest.mark.parametrize("words", [["--probe"], ["/tmp", f"{os.getpid()}@{socket.gethostname()}"]])
def test_without_slepc4py(words):
    """One line with the mark says what is missing, and where."""
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith(f"{MARK}no slepc4py: {sys.executable}: ")
    assert done.stderr.count("\n") == 1


def test_it_imports_nothing_of_moireio():
    """It runs with a Python that has no moireio."""
    with open(SCRIPT, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    assert not [line for line in lines if line.strip().startswith(("import moire", "from moire"))]
