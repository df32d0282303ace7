"""Damaged files of ABACUS: one line, or a calculation."""

import sys
from pathlib import Path

import numpy as np
import pytest
from abacus_files import write_binary, write_csr

from moireio.formats.abacus.files import read
from moireio.formats.abacus.orbitals import read_log
from moireio.formats.abacus.stru import read_stru

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))

from mutations import damage_bytes, damage_text, survives

TRIALS = 200
STRU = """ATOMIC_SPECIES
H 1.0 H.upf
NUMERICAL_ORBITAL
H_gga_6au_100Ry_1s1p.orb
LATTICE_CONSTANT
1.8897
LATTICE_VECTORS
5 0 0
0 5 0
0 0 5
ATOMIC_POSITIONS
Direct
H
0.0
2
0.1 0.2 0.3 1 1 1 mag 1.0
0.4 0.5 0.6 1 1 1
"""
HEADER = "user\n5.0\n1 0 0\n0 1 0\n0 0 1\nH\n2\nDirect\n0.1 0.2 0.3\n0.4 0.5 0.6"


@pytest.mark.parametrize("form", ["old", "2025", "complex", "binary", "binary 2025"])
def test_matrices(tmp_path, form):
    (tmp_path / "STRU").write_text(STRU)
    rng = np.random.default_rng(4)
    n = 16 if form == "complex" else 8
    onsite = rng.normal(size=(n, n)) * (1 + 1j if form == "complex" else 1.0)
    matrices = {
        R: 0.1 * rng.normal(size=(n, n)).astype(onsite.dtype) for R in [(-1, 0, 0), (0, 0, 0)]
    }
    matrices[0, 0, 0] = onsite + onsite.conj().T
    matrices[1, 0, 0] = matrices[-1, 0, 0].conj().T
    path = tmp_path / "data-HR-sparse_SPIN0.csr"
    if form.startswith("binary"):
        write_binary(path, matrices, form="old" if form == "binary" else "2025")
    else:
        write_csr(path, "H", matrices, form="2025" if form == "2025" else "old", atoms=HEADER)
    damage = damage_bytes if form.startswith("binary") else damage_text
    refused = survives(path, path.read_bytes(), damage, lambda: read(str(path)))
    assert TRIALS / 3 < refused < TRIALS


def test_stru(tmp_path):
    path = tmp_path / "STRU"
    assert survives(path, STRU.encode(), damage_text, lambda: read_stru(str(path))) > TRIALS / 5


def test_log(tmp_path):
    path = tmp_path / "running_scf.log"
    text = (
        " READING ATOM TYPE 1\n atom label = H\n L=0, number of zeta = 1\n"
        " L=1, number of zeta = 1\n"
        " electron number of element H = 1\n AUTOSET number of electrons:  = 2\n"
        " E_Fermi   0.1 1.36\n EFERMI = 1.3605 eV\n"
    )
    survives(path, text.encode(), damage_text, lambda: read_log(str(path)))
    path.write_text(text)
    log = read_log(str(path))
    assert (log.fermi, log.electrons, log.valence) == (1.3605, 2, {"H": 1})
    assert log.shells["H"].shells == (0, 1)
