"""Data folders whose R have the wrong sign."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from ase import Atoms
from deeph_systems import LAYOUTS, system
from orbitals import gaussian_basis

from moireio.blockfile.calculation import Calculation
from moireio.blockfile.calculation import read as read_blocks
from moireio.blockfile.convert import Conversion, convert
from moireio.errors import MoireioError
from moireio.formats.deeph import dock, folder
from moireio.formats.wannier90 import files as wannier90
from moireio.integrals.pairs import overlapping_pairs
from moireio.integrals.sources import OrbitalIntegrals, OverlapSource
from moireio.system.basis import Basis
from moireio.system.structure import Structure


@pytest.fixture
def calculation(made):
    with read_blocks(str(made["gr_ab"])) as file:
        yield file


def reverse(folder):
    for name in ("hamiltonian", "overlap"):
        with h5py.File(folder / f"{name}.h5", "r+") as file:
            file["atom_pairs"][:, :3] = -file["atom_pairs"][:, :3]


def test_reversed_cells_are_found(tmp_path, calculation):
    """S between atoms of known direction shows them; H is turned with it."""
    LAYOUTS["dock"][0](calculation, str(tmp_path / "a"))
    with dock.read(str(tmp_path / "a")) as good:
        assert not any("-R" in note for note in good.notes)
    reverse(tmp_path / "a")
    with dock.read(str(tmp_path / "a")) as found:
        (note,) = [note for note in found.notes if "-R" in note]
        assert note.startswith("S fits the atoms with -R")
        for name in ("hamiltonian", "overlap"):
            one, other = getattr(found, name), getattr(calculation, name)
            np.testing.assert_array_equal(one.pairs.keys(), other.pairs.keys())
            np.testing.assert_array_equal(one.rows(0, 4), other.rows(0, 4))


def test_made_up_overlaps_show_nothing(tmp_path):
    made = system()
    LAYOUTS["dock"][0](made, str(tmp_path / "a"))
    reverse(tmp_path / "a")
    with dock.read(str(tmp_path / "a"), pbc=(True, True, False)) as found:
        assert not any("-R" in note for note in found.notes)
        R = [np.sort(o.pairs.R[:, 0]) for o in (found.overlap, made.overlap)]
        np.testing.assert_array_equal(R[0], -R[1][::-1])


@pytest.mark.parametrize("layout", ["dock", "deeph"])
def test_atoms_of_another_structure_are_noted(tmp_path, calculation, layout):
    """Lattice vectors in another order: levels are right, and nothing else showed it."""
    LAYOUTS[layout][0](calculation, str(tmp_path / "a"))
    reader = {"dock": dock, "deeph": folder}[layout]
    with reader.read(str(tmp_path / "a")) as good:
        assert not any("two-centre" in note for note in good.notes)
    path = tmp_path / "a" / {"dock": "POSCAR", "deeph": "lat.dat"}[layout]
    lines = path.read_text().split("\n")
    if layout == "dock":
        lines[2:4] = lines[3:1:-1]
    else:
        lines = [" ".join([*reversed(line.split()[:2]), *line.split()[2:]]) for line in lines]
    path.write_text("\n".join(lines))
    rlat = tmp_path / "a" / "rlat.dat"
    if rlat.exists():
        rlat.unlink()
    opened = reader.open_folder(str(tmp_path / "a"))
    for _ in range(2):
        with opened.calculation() as found:
            assert any("rule of two-centre integrals" in note for note in found.notes)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_overlap_of_orbitals_that_are_called_orthogonal_counts(tmp_path, calculation, layout):
    write, reader = LAYOUTS[layout]
    write(calculation, str(tmp_path / "a"))
    path = tmp_path / "a" / "info.json"
    info = json.loads(path.read_text())
    info["orthogonal_basis" if layout == "dock" else "isorthogonal"] = True
    path.write_text(json.dumps(info))
    with reader(str(tmp_path / "a")) as found:
        assert any("called orthogonal" in note for note in found.notes)
        assert not found.basis.orthogonal
        with pytest.raises(MoireioError, match="overlap is not 1"):
            wannier90.write(found, str(tmp_path / "x_hr.dat"))
    with convert_to(tmp_path, calculation) as block:  # where a block file has both
        assert block.basis.orthogonal
        with pytest.raises(MoireioError, match="overlap is not 1"):
            wannier90.write(block, str(tmp_path / "x_hr.dat"))


def convert_to(folder, calculation):
    both = replace(calculation, basis=replace(calculation.basis, orthogonal=True))
    convert(both, str(folder / "both.h5"), Conversion("convert-h"))
    return read_blocks(str(folder / "both.h5"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_atoms_in_another_order_are_no_reversed_cells(tmp_path, layout):
    """Two of three changed places: pairs of these two fit with -R, all others with neither."""
    cell = np.array([[4.2, 0.1, 0], [-2, 3.8, 0], [0, 0, 24]])
    fractions = np.array([[0.1, 0.2, 0.5], [0.55, 0.6, 0.53], [-0.3, 1.2, 0.46]])
    atoms = Atoms("CNC", scaled_positions=fractions, cell=cell, pbc=(True, True, False))
    right = Structure.from_ase(atoms)
    basis = Basis({"C": gaussian_basis("s1p1", "C"), "N": gaussian_basis("s2", "N")})
    pairs = overlapping_pairs(right, basis)
    S = OverlapSource(right, OrbitalIntegrals(basis), pairs)
    wrong = replace(right, positions=right.positions[[2, 1, 0]])
    for structure, words in ((right, None), (wrong, "rule of two-centre integrals")):
        made = Calculation("made", structure, basis, {"overlap": S})
        path = str(tmp_path / str(words))
        LAYOUTS[layout][0](made, path)
        with LAYOUTS[layout][1](path) as found:
            assert not any("-R" in note for note in found.notes)
            assert any("two-centre" in note for note in found.notes) == (words is not None)
