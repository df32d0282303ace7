"""The public names: imported when first used, and resolved for type checkers."""

import subprocess
import sys
from pathlib import Path

import pytest

import moireio


def test_every_public_name_is_there():
    assert len(moireio.__all__) == 13
    for name in moireio.__all__:
        assert getattr(moireio, name).__name__
        assert name in dir(moireio)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = moireio.absent


def test_importing_it_is_quick():
    script = (
        "import sys, moireio; print(*(m for m in ('numpy', 'h5py', 'typing') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == []


def test_it_is_marked_as_typed():
    assert (Path(moireio.__file__).parent / "py.typed").is_file()
