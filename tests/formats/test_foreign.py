"""Files of other programs are named by what their programs write."""

import gzip
import os

import pytest

from moireio.formats.foreign import describe, describe_file

TEXTS = {
    " written on 1Jan2026\n 2\n 17\n"
    + " 1" * 15
    + "\n 1 1\n": "a Hamiltonian of Wannier90 (_hr.dat)",
    "BHZ\n4 !num_wann\n5 ! nrpts\n 1 1 1 1 1 1 1\n": "a Hamiltonian of Wannier90 (_hr.dat)",
    " x\n 1. 0. 0.\n 0. 1. 0.\n 0. 0. 9.\n 1\n 3\n 1 1 1\n": "a Hamiltonian of Wannier90 (_tb.dat)",
    "## written on 1Jan2026 with use_ws_distance=.true.\n": "a _wsvec.dat of Wannier90",
    "num_wann = 4\n": "an input of Wannier90",
    "STEP: 0\nMatrix Dimension of H(R): 26\n": "a matrix of ABACUS",
    "INPUT_PARAMETERS\nsuffix x\n": "an input of ABACUS",
    "&GLOBAL\n  PROJECT gr\n&END GLOBAL\n": "an input of CP2K",
    "|\n|  DFTB+ release 24.1\n": "an output of DFTB+",
    "#     NATOM\n   3\n#     IATOM    NNEIGH      NORB\n": "a matrix of DFTB+",
    "  Invoking FHI-aims ...\n": "an output of FHI-aims",
    "&inputpp\n outdir='./out'\n/\n": "an input of Quantum ESPRESSO",
    " vasp.6.4.2 20Jul23\n executed on  LinuxGNU date 2026.01.01\n": "an OUTCAR of VASP",
    "SystemLabel electrode\n": "an input of SIESTA",
}


@pytest.mark.parametrize(("text", "words"), TEXTS.items())
def test_texts(text, words):
    assert describe("any.dat", text.encode()) == words


def test_names_and_bytes():
    assert describe("x.HSX", b"\x04\0\0\0") == "an HSX of SIESTA"
    assert describe("data-1-H", b"26 (0.1,0)") == "a matrix of ABACUS"
    assert describe("x.mat", b"MATLAB 7.3 MAT-file, Platform") == "a MATLAB file"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.1 -5.7\n0.2 -5.2\n0.3 -4.1\n",  # bands, or anything else in two columns
        "  8\n0.0 0.0 0.0 1.0\n0.1 0.1 0.1 1.0\n",
        "1\n2\n3\n4\n5\n",
        "vasp.6 relaxed\n1\n4 0 0\n0 4 0\n0 0 9\nC\n1\nDirect\n0 0 0\n",  # a POSCAR
        "# notes on num_wann, DFTB+ and VASP\n",
    ],
)
def test_what_could_be_anything_has_no_name(text):
    assert describe("any.dat", text.encode()) is None


def test_files_compressed_or_not_but_no_pipes(tmp_path):
    text = b" written on\n 2\n 3\n 1 1 1\n"
    (tmp_path / "x_hr.dat").write_bytes(text)
    (tmp_path / "x_hr.dat.gz").write_bytes(gzip.compress(text))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(text)[:15])
    for name in ("x_hr.dat", "x_hr.dat.gz"):
        assert describe_file(str(tmp_path / name)) == "a Hamiltonian of Wannier90 (_hr.dat)"
    os.mkfifo(tmp_path / "pipe")
    for name in ("cut.gz", "pipe", "absent", "."):
        assert describe_file(str(tmp_path / name)) is None
