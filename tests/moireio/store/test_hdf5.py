"""HDF5: damaged headers, full disks."""

import os

import moireio
from moireio.errors import MoireioError

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]


def test_a_damaged_object_header_is_not_passed_over(tmp_path, made):
    """One bit in the header of any object of an HDF5 file: found, never a missing group."""
    import re

    whole = made["o2_col"].read_bytes()
    headers = [m.start() for m in re.finditer(b"OHDR", whole)]
    assert len(headers) > 30
    for place in headers:
        raw = bytearray(whole)
        raw[place + 20] ^= 1
        path = tmp_path / "x.h5"
        path.write_bytes(raw)
        try:
            with moireio.open(path) as file:
                found = moireio.validate(file)
        except MoireioError:
            continue
        assert any(f.level == "error" for f in found), place


def test_a_full_disk(tmp_path):
    """Writing stops with one line; HDF5 does not crash. Runs under a limit of the file size."""
    import subprocess
    import sys

    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from moireio.tools.openmx2h5 import main\n"
        "main()\n"
    )
    scfout = __import__("pathlib").Path(__file__).parents[2] / "data" / "o2_col.scfout"
    for suffix in SUFFIXES:
        done = subprocess.run(
            [sys.executable, "-c", code, str(scfout), "-o", f"x{suffix}", "--position"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 1, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert f"x{suffix}: cannot be written: File too large" in done.stderr
        assert os.listdir(tmp_path) == []
