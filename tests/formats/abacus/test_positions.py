"""ABACUS's position matrices: unit, origin, orbitals, cells, against other sources."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from abacus_files import (
    abacus_rows,
    dense_cells,
    inside,
    naive_positions,
    write_csr,
    write_positions,
)
from foreign_levels import assert_same_blocks, blocks_of, harmonics

from moireio.errors import DamagedError, MoireioError
from moireio.formats.abacus.csr import read_positions
from moireio.formats.abacus.files import read
from moireio.formats.abacus.write import write
from moireio.formats.openmx.scfout import read as openmx

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))

from mutations import damage_bytes, damage_text, survives

H, S, X = "data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr", "data-rR-sparse.csr"
BOHR = 0.529177


def sphere():
    """Directions and weights: Gauss in cos θ, equal steps in φ."""
    z, weights = np.polynomial.legendre.leggauss(8)
    phi = 2 * np.pi * (np.arange(12) + 0.5) / 12
    z, phi = np.repeat(z, 12), np.tile(phi, 8)
    rho = np.sqrt(1 - z * z)
    return np.array([rho * np.cos(phi), rho * np.sin(phi), z]).T, np.repeat(weights, 12) / 24


def angular(first, second):
    """⟨l m|r/|r||l′ m′⟩ by quadrature, shape (3, 2l + 1, 2l′ + 1)."""
    out = np.zeros((3, 2 * first + 1, 2 * second + 1))
    for direction, weight in zip(*sphere(), strict=True):
        ylm = np.outer(harmonics(first, direction), harmonics(second, direction))
        out += weight * np.multiply.outer(direction, ylm)
    return out * np.sqrt((2 * first + 1) * (2 * second + 1))


def test_atom_of_abacus(shared):
    """An isolated carbon atom: angular parts by quadrature, one radial integral by the orbitals.

    ∫ r³ R_s R_p dr of the first s and the first p of C_gga_8au_100Ry_2s2p1d.orb, by the trapezoid
    rule in steps of 0.2 Bohr up to 5.8 Bohr, is √3 · 0.90807 Bohr; its tail adds less than 0.3 %.
    """
    with read(str(shared / "foreign" / "abacus_c_soc_atom" / H)) as calculation:
        shells = calculation.basis["C"].l
        assert shells == (0, 0, 1, 1, 2)
        ((_, _, R, block),) = blocks_of(calculation.operator("position"))
    assert not R.any()
    starts = np.concatenate([[0], np.cumsum([2 * v + 1 for v in shells])])
    radial = {}
    for a, first in enumerate(shells):
        for b, second in enumerate(shells):
            found = block[:, starts[a] : starts[a + 1], starts[b] : starts[b + 1]]
            expected = angular(first, second)
            size = (expected**2).sum()
            radial[a, b] = (found * expected).sum() / size if size > 1e-9 else 0.0
            assert np.abs(found - radial[a, b] * expected).max() < 1e-6
    assert radial[0, 2] / np.sqrt(3) == pytest.approx(0.90807 * BOHR, rel=3e-3)
    assert radial[2, 4] > 0.5


def stru(structure, basis):
    """STRU with the atoms as they are, gathered by species."""
    names = structure.species_names
    lines = ["ATOMIC_SPECIES", *(f"{name} 1.0 {name}.upf" for name in names), "NUMERICAL_ORBITAL"]
    for name in names:
        shells = basis[name].l
        counts = "".join(f"{shells.count(v)}{'spdf'[v]}" for v in sorted(set(shells)))
        lines.append(f"{name}_gga_7au_100Ry_{counts}.orb")
    lines += ["LATTICE_CONSTANT", repr(1 / BOHR), "LATTICE_VECTORS"]
    lines += [" ".join(map(repr, row)) for row in structure.cell.tolist()]
    lines += ["ATOMIC_POSITIONS", "Cartesian_angstrom"]
    for name in names:
        mine = [i for i, of in enumerate(structure.species_of_atoms) if of == name]
        lines += [name, "0.0", str(len(mine))]
        lines += [" ".join(map(repr, structure.positions[i].tolist())) + " 1 1 1" for i in mine]
    return "\n".join(lines)


def files_of(calculation, folder, *, shift=(0, 0, 0), binary=False):
    """Write OpenMX's matrices as ABACUS would, all atoms moved by `shift` (Å).

    ⟨i,0|r|j,R⟩ from the origin is ⟨i,0|r − τ_i|j,R⟩ + τ_i S, τ_i inside the cell.
    """
    structure, basis = calculation.structure, calculation.basis
    moved = type(structure)(
        structure.cell,
        structure.positions + shift,
        structure.numbers,
        structure.species,
        structure.species_names,
        structure.pbc,
    )
    spins = 2 if calculation.hamiltonian.meta.spin == "spinor" else 1
    rows, signs = abacus_rows(structure, basis)
    moves = inside(moved)
    (h,) = dense_cells(calculation.hamiltonian, *abacus_rows(structure, basis, spins), moves)
    (s,) = dense_cells(calculation.overlap, rows, signs, moves)
    position = dense_cells(calculation.operator("position"), rows, signs, moves)
    tau = moved.positions + moves @ moved.cell
    of_row = np.repeat(np.arange(len(moved)), basis.sizes(moved))[rows]
    full = np.kron if spins == 2 else lambda matrix, _: matrix
    one = np.eye(2)
    absolute = {
        R: [
            full(part[R] + tau[of_row, axis, None] * s[R], one) / BOHR
            for axis, part in enumerate(position)
        ]
        for R in position[0]
    }
    write_csr(folder / H, "H", h)
    write_csr(folder / S, "S", {R: full(matrix, one) for R, matrix in s.items()}, unit=1)
    write_positions(folder / X, absolute, binary=binary)
    (folder / "STRU").write_text(stru(moved, basis))


@pytest.mark.parametrize(("name", "binary"), [("gr_ab", True), ("hbn_soc", False)])
def test_positions_of_openmx_in_abacus_form(data, tmp_path, name, binary):
    """Atoms outside the cell too: the same blocks as OpenMX's, which knows no common origin."""
    with openmx(str(data / f"{name}.scfout")) as theirs:
        files_of(theirs, tmp_path, shift=(-0.3, 0.2, -1.1), binary=binary)
        with read(str(tmp_path / H)) as ours:
            assert ours.hamiltonian.meta.spin == theirs.hamiltonian.meta.spin
            assert not any(X in note for note in ours.notes)
            one, two = theirs.operator("position"), ours.operator("position")
            assert two.meta.residual < 1e-6
            assert_same_blocks(one, two, rtol=0, atol=3e-7)
            by_hand = str(tmp_path / "elsewhere.csr")
            shutil.move(tmp_path / X, by_hand)
            with read(str(tmp_path / H)) as without:
                assert "position" not in without.operators
            if not binary:
                with read(str(tmp_path / H), companions=[by_hand]) as again:
                    assert_same_blocks(two, again.operator("position"), rtol=0, atol=0)


def test_positions_from_another_origin(data, tmp_path):
    """Only STRU moved: orbitals are no longer at their atoms."""
    with openmx(str(data / "hbn_soc.scfout")) as theirs:
        files_of(theirs, tmp_path, shift=(0.1, 0, 0))
        (tmp_path / "STRU").write_text(stru(theirs.structure, theirs.basis))
        with pytest.raises(DamagedError, match=r"orbitals of atom 1 \(B\) 0\.1 Å away"):
            read(str(tmp_path / H))
        (tmp_path / S).unlink()
        with read(str(tmp_path / H)) as ours:
            assert any(f"{X} is left out: it needs S" in note for note in ours.notes)


def test_written_positions_and_back(data, tmp_path):
    out = tmp_path / "out"
    with openmx(str(data / "hbn_soc.scfout")) as made:
        write(made, str(out))
        found = naive_positions(out / X)
        structure, basis = made.structure, made.basis
        rows, signs = abacus_rows(structure, basis)
        moves = inside(structure)
        position = dense_cells(made.operator("position"), rows, signs, moves)
        (s,) = dense_cells(made.overlap, rows, signs, moves)
        tau = structure.positions + moves @ structure.cell
        of_row = np.repeat(np.arange(len(structure)), basis.sizes(structure))[rows]
        for R, axes in found.items():
            for axis, matrix in enumerate(axes):
                expected = (position[axis][R] + tau[of_row, axis, None] * s[R]) / BOHR
                assert np.abs(matrix - np.kron(expected, np.eye(2))).max() < 1e-12
        assert set(found) == set(s)
        with read(str(out)) as again:
            one, two = made.operator("position"), again.operator("position")
            assert_same_blocks(one, two, rtol=0, atol=1e-9)  # OpenMX's are that far off the rule


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t[: len(t) // 2], "cut short|expected"),
        (lambda t: "", "is empty"),
        (lambda t: t.replace("number of r(R): ", "number of r(R): 1"), "should follow"),
        (lambda t: t.replace("of r(R)", "of H(R)"), "no position matrices"),
        (lambda t: t.replace("r(R): 26", "r(R): 13"), "expected|outside|rise"),
        (lambda t: t + "1 0 0\n", "after the last R"),
    ],
)
def test_damage_is_named(shared, tmp_path, change, text):
    for name in (H, S, "STRU", X):
        shutil.copy(shared / "foreign" / "abacus_c_soc_atom" / name, tmp_path)
    (tmp_path / X).chmod(0o644)
    (tmp_path / X).write_text(change((tmp_path / X).read_text()))
    with pytest.raises(MoireioError, match=text) as caught:
        read(str(tmp_path / H))
    assert X in str(caught.value)


@pytest.mark.parametrize("binary", [False, True])
def test_damaged_files(tmp_path, binary):
    rng = np.random.default_rng(5)
    matrices = {(R, 0, 0): rng.normal(size=(3, 5, 5)) for R in (-1, 0, 1)}
    matrices[0, 0, 0][1] = 0
    path = tmp_path / X
    write_positions(path, matrices, binary=binary)
    found = read_positions(str(path))
    for axis, one in enumerate(found.axes):
        assert one.cells == list(matrices)
        for R, matrix in zip(one.cells, one.matrices, strict=True):
            assert np.allclose(matrix.toarray(), matrices[R][axis], rtol=1e-8, atol=0)
    damage = damage_bytes if binary else damage_text
    survives(path, path.read_bytes(), damage, lambda: read_positions(str(path)))
