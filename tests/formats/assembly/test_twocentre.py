"""Overlaps that are not those of the atoms and orbitals that are said to be theirs."""

from dataclasses import replace

import numpy as np
import pytest

from moireio.blockfile.calculation import read as read_blocks
from moireio.formats.abacus.files import read
from moireio.formats.abacus.write import write
from moireio.formats.assembly.twocentre import misfit
from moireio.formats.calculations import open_calculation
from moireio.system.basis import Basis, SpeciesBasis


@pytest.fixture
def calculation(made):
    with read_blocks(str(made["gr_ab"])) as file:
        yield file


def test_the_right_atoms_and_others(calculation):
    structure, basis, overlap = calculation.structure, calculation.basis, calculation.overlap
    assert misfit(structure, basis, overlap, "x") is None
    moved = np.array(structure.positions)
    moved[0] += [0.05, 0, 0]
    turned = structure.cell[[1, 0, 2]]
    wrong = {
        "positions": replace(structure, positions=moved),
        "cell": replace(structure, cell=turned),
        "order": replace(structure, positions=structure.positions[[1, 0, 2, 3]]),
    }
    for other in wrong.values():
        assert "(is x of another" in misfit(other, basis, overlap, "x")
    shells = Basis({"C": SpeciesBasis((1, 0, 0, 1, 2))})
    assert shells.sizes(structure).tolist() == basis.sizes(structure).tolist()
    assert "rule of two-centre integrals" in misfit(structure, shells, overlap, "x")


@pytest.mark.parametrize(
    "name",
    [
        "abacus_si", "aims_mos2", "aims_water", "cp2k_graphene", "cp2k_fe_uks", "deeptb_si64",
        "dftbplus_h2o", "rescu_al/al_lcao_scf.h5", "siesta_si_3d/Si_pdos.HSX",
        "siesta_c2_soc/siesta.HSX", "siesta_graphene_tshs/electrode.TSHS",
    ],
)  # fmt: skip
def test_what_programs_wrote_fits(shared, name):
    with open_calculation(str(shared / "foreign" / name)) as found:
        assert not [note for note in found.notes if "two-centre" in note]


def test_a_structure_of_another_step(calculation, tmp_path):
    """ABACUS's H and S of the last step of a relaxation, with the STRU of the first."""
    write(calculation, str(tmp_path / "a"))
    (tmp_path / "a" / "data-rR-sparse.csr").unlink()  # it would be refused
    source, stru = tmp_path / "a" / "data-HR-sparse_SPIN0.csr", tmp_path / "a" / "STRU"
    assert not [note for note in read(str(source)).notes if "overlap" in note]
    lines = stru.read_text().split("\n")
    at = lines.index("4") + 1
    words = lines[at].split()
    lines[at] = " ".join([repr(float(words[0]) + 0.03), *words[1:]])
    stru.write_text("\n".join(lines))
    (note,) = [note for note in read(str(source)).notes if "overlap" in note]
    assert "is STRU or an orbital file of another calculation or step?" in note


def test_an_orbital_that_is_not_normalised(calculation, tmp_path):
    """One digit of S, which leaves it positive definite."""
    write(calculation, str(tmp_path / "a"))
    (tmp_path / "a" / "data-rR-sparse.csr").unlink()  # it would be refused
    path = tmp_path / "a" / "data-SR-sparse_SPIN0.csr"
    text = path.read_text()
    one = next(word for word in text.split() if "." in word and abs(float(word) - 1) < 1e-3)
    path.write_text(text.replace(one, "9.0", 1))
    (note,) = [note for note in read(str(tmp_path / "a")).notes if "with itself is" in note]
    assert note.startswith("the overlap of orbital ")
    assert "not 1: is the file intact?" in note
