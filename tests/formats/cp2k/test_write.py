"""CP2K's CSR files as moireio writes them: there and back, and by a reader made of the layout."""

import re

import numpy as np
import pytest
import scipy.linalg as sl
from foreign_levels import blocks_of, levels
from helpers import overlap_like, random_operator, random_system

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.cp2k import realspace, write
from moireio.results.electrons import Electrons

HARTREE = 27.21138386


def system(spin="none"):
    """Atoms outside the cell, a slab, three species."""
    structure, basis = random_system(3)
    sizes = basis.sizes(structure)
    operators = {
        "hamiltonian": random_operator(3, sizes, spin=spin)[0],
        "overlap": overlap_like(3, sizes)[0],
    }
    return Calculation("x", structure, basis, operators, electrons=Electrons(9.0, -2.5))


@pytest.mark.parametrize("spin", ["none", "collinear"])
def test_there_and_back(tmp_path, spin):
    """S to the last bit, H to that of the conversion from Hartree."""
    before = system(spin)
    write.write(before, str(tmp_path / "out"))
    after = realspace.read(str(tmp_path / "out" / "moireio.out"), pbc=before.structure.pbc)
    moves = (after.structure.positions - before.structure.positions) @ np.linalg.inv(
        before.structure.cell
    )
    assert np.abs(moves - np.round(moves)).max() < 1e-12
    moves = np.round(moves).astype(int)
    for name in before.operators:
        found = {}
        for i, j, R, block in blocks_of(after.operators[name]):
            found[i, j, tuple(R - moves[i] + moves[j])] = block
        for i, j, R, block in blocks_of(before.operators[name]):
            gap = np.abs(found[i, j, tuple(R)] - block).max()
            assert gap <= (0 if name == "overlap" else 2e-15)
    assert np.array_equal(after.structure.cell, before.structure.cell)
    assert (after.structure.pbc == before.structure.pbc).all()
    for name in set(before.structure.species_of_atoms):
        assert after.basis[name].l == before.basis[name].l
    assert after.electrons.fermi == pytest.approx(-2.5, abs=1e-13)
    assert after.electrons.count == 9


def read_independently(folder, spin):
    """H(R), S(R) by cell, eV: rows from 1, Hartree, the table of the output for R."""
    text = (folder / "moireio.out").read_text()
    out = []
    for matrix, number in (("KS", spin), ("S", 1)):
        table = re.search(rf"^ *{matrix} CSR write\| *(\d+) periodic images\n.*\n", text, re.M)
        rows = text[table.end() :].split("\n")[: int(table[1])]
        cells = [tuple(map(int, row.split()[1:])) for row in rows]
        found = {}
        for n, cell in enumerate(cells, 1):
            lines = (
                (folder / f"moireio-{matrix}_SPIN_{number}_R_{n}-1_0.csr").read_text().split("\n")
            )
            found[cell] = [
                (int(a) - 1, int(b) - 1, float(v)) for a, b, v in map(str.split, lines[:-1])
            ]
        out.append(found)
    return out


@pytest.mark.parametrize("spin", ["none", "collinear"])
def test_an_independent_reader_gives_the_same_levels(tmp_path, spin):
    before = system(spin)
    write.write(before, str(tmp_path / "out"))
    n = int(before.basis.sizes(before.structure).sum())
    rng = np.random.default_rng(0)
    for k in rng.uniform(-0.5, 0.5, (5, 3)) * [1, 1, 0]:
        expected = levels(before, k)
        for channel in range(len(expected)):
            matrices = []
            for found in read_independently(tmp_path / "out", channel + 1):
                total = np.zeros((n, n), dtype=complex)
                for R, elements in found.items():
                    for row, column, value in elements:
                        total[row, column] += value * np.exp(2j * np.pi * np.dot(k, R))
                matrices.append(total)
            found = HARTREE * sl.eigh(*matrices, eigvals_only=True)
            assert np.abs(found - expected[channel]).max() < 1e-9 * np.abs(expected).max()


def test_what_has_no_place(tmp_path):
    structure, basis = random_system(3)
    spinor = random_operator(3, basis.sizes(structure), spin="spinor")[0]
    with pytest.raises(MoireioError, match="has spinors"):
        write.write(
            Calculation("x", structure, basis, {"hamiltonian": spinor}), str(tmp_path / "o")
        )
    write.write(system(), str(tmp_path / "out"))
    with pytest.raises(MoireioError, match="exists already"):
        write.write(system(), str(tmp_path / "out"))
    write.write(system("collinear"), str(tmp_path / "out"), force=True)
    assert any("SPIN_2" in file.name for file in (tmp_path / "out").iterdir())
