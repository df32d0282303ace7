"""Matrices of the whole cell and blocks of atoms, in both directions."""

import numpy as np
import pytest
from foreign_levels import levels
from hypothesis import given, settings
from hypothesis import strategies as st

from moireio.blockfile.convert import Conversion, convert
from moireio.errors import DamagedError, MoireioError
from moireio.formats import matrices
from moireio.formats.assembly.elements import OrbitalMap, matrices_from_source, source_from_matrices
from moireio.formats.assembly.orders import ABACUS, NATURAL, OPENMX, SIESTA
from moireio.formats.registry import named_format
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

CELLS = [[-1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 2, -1], [0, -2, 1]]


def system(shells):
    """Return a structure with one species for each tuple of shells, and its basis."""
    names = [f"C{n}" for n in range(len(shells))]
    positions = np.arange(3 * len(shells)).reshape(-1, 3) * 0.7
    species = range(len(shells))
    structure = Structure(np.eye(3) * 9, positions, [6] * len(shells), species, names, [True] * 3)
    basis = {n: SpeciesBasis(l=one) for n, one in zip(names, shells, strict=True)}
    return structure, Basis(basis)


def hermitian(rng, n, dtype):
    """Return H(R) of CELLS with H(−R) = H(R)†, as dense matrices."""
    made = rng.normal(size=(len(CELLS), n, n)).astype(dtype)
    if np.dtype(dtype).kind == "c":
        made += 1j * rng.normal(size=made.shape)
    partner = [CELLS.index([-c for c in cell]) for cell in CELLS]
    return made + made[partner].conj().transpose(0, 2, 1)


@settings(max_examples=30, deadline=None)
@given(
    shells=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), min_size=1, max_size=3),
    order=st.sampled_from([NATURAL, OPENMX, SIESTA, ABACUS]),
    spinor=st.sampled_from([None, "blocks", "interleaved", "atoms"]),
    seed=st.integers(0, 99),
)
def test_there_and_back(shells, order, spinor, seed):
    structure, basis = system(shells)
    orbitals = OrbitalMap.make(structure, basis, order, spinor=spinor)
    given_ = hermitian(np.random.default_rng(seed), len(orbitals), "c16" if spinor else "f8")
    spin = "spinor" if spinor else "none"
    source = source_from_matrices("hamiltonian", CELLS, given_, orbitals, label="x", spin=spin)
    assert source.meta.residual == 0
    cells, (found,) = matrices_from_source(source, orbitals)
    back = {tuple(cell): m.toarray() for cell, m in zip(cells.tolist(), found, strict=True)}
    assert set(back) == {tuple(cell) for cell in CELLS}
    for cell, matrix in zip(CELLS, given_, strict=True):
        assert np.array_equal(back[tuple(cell)], matrix)


@pytest.mark.parametrize("spinor", ["blocks", "interleaved", "atoms"])
def test_spins_of_an_atom_are_up_then_down(spinor):
    """A matrix that numbers (spin, atom, orbital) ends where the block file has them."""
    structure, basis = system([(0, 1), (0,)])
    names = [(atom, a) for atom, n in enumerate((4, 1)) for a in range(n)]
    theirs = {
        "blocks": [(s, *one) for s in (0, 1) for one in names],
        "interleaved": [(s, *one) for one in names for s in (0, 1)],
        "atoms": [(s, atom, a) for atom in (0, 1) for s in (0, 1) for t, a in names if t == atom],
    }[spinor]
    ours = [(s, atom, a) for atom, n in enumerate((4, 1)) for s in (0, 1) for a in range(n)]
    rows = OrbitalMap.make(structure, basis, spinor=spinor).rows
    assert [ours[row] for row in rows] == theirs


def test_signs_and_order_of_a_p_shell():
    """SIESTA's (−y, z, −x) and ABACUS's (z, −x, −y) become (y, z, x)."""
    structure, basis = system([(0, 1)])
    values = {"s": 2.0, "x": 3.0, "y": 5.0, "z": 7.0}
    for order, theirs in ((SIESTA, "s -y z -x"), (ABACUS, "s z -x -y"), (OPENMX, "s x y z")):
        words = theirs.split()
        vector = np.array([(-1) ** (w[0] == "-") * values[w[-1]] for w in words])
        orbitals = OrbitalMap.make(structure, basis, order)
        source = source_from_matrices(
            "hamiltonian", [[0, 0, 0]], [np.outer(vector, vector)], orbitals, label="x"
        )
        ours = np.array([values[w] for w in ("s", "y", "z", "x")])
        assert np.array_equal(source.data.reshape(4, 4), np.outer(ours, ours))


@pytest.mark.parametrize("partners", ["missing", "half"])
@pytest.mark.parametrize("dtype", ["f8", "c16"])
def test_one_of_each_pair(partners, dtype):
    structure, basis = system([(0, 1), (0,)])
    orbitals = OrbitalMap.make(structure, basis)
    whole = hermitian(np.random.default_rng(1), len(orbitals), dtype)
    kept = [CELLS.index(cell) for cell in ([0, 0, 0], [1, 0, 0], [0, 2, -1])]
    half = whole[kept].copy()
    half[0] = np.triu(half[0])
    if partners == "half":
        half[0] -= np.diag(np.diag(half[0])) / 2
    spin = "spinor" if dtype == "c16" else "none"
    if spin == "spinor":  # one row an atom less, so that rows are spinors' up and down
        structure, basis = system([(0,), (0,)])
        orbitals = OrbitalMap.make(structure, basis, spinor="atoms")
        whole, half = whole[:, :4, :4], half[:, :4, :4]
    cells = np.array(CELLS)[kept]
    source = source_from_matrices(
        "hamiltonian", cells, half, orbitals, label="x", spin=spin, partners=partners
    )
    found_cells, (found,) = matrices_from_source(source, orbitals)
    for cell, matrix in zip(found_cells.tolist(), found, strict=True):
        np.testing.assert_allclose(matrix.toarray(), whole[CELLS.index(cell)], atol=1e-15)


def test_what_a_file_may_not_say():
    structure, basis = system([(0,), (0,)])
    orbitals = OrbitalMap.make(structure, basis)

    def read(cells, matrices, **options):
        return source_from_matrices("hamiltonian", cells, matrices, orbitals, label="x", **options)

    with pytest.raises(MoireioError, match="x: has matrices 3 x 3; the atoms have 2 orbitals"):
        read([[0, 0, 0]], [np.eye(3)])
    with pytest.raises(MoireioError, match=r"x: lists the cell \[0, 0, 0\] twice"):
        read([[0, 0, 0]] * 2, [np.eye(2)] * 2)
    with pytest.raises(DamagedError, match=r"of its partner differ by 1\.0e"):
        read([[1, 0, 0]], [np.eye(2)], limit=1e-3)
    with pytest.raises(DamagedError, match=r"of pair \(0, 1, R = 0 0 0\) has a number that is not"):
        read([[0, 0, 0]], [np.array([[1, np.nan], [0, 1]])])


def test_collinear():
    structure, basis = system([(0,), (0, 1)])
    orbitals = OrbitalMap.make(structure, basis)
    rng = np.random.default_rng(2)
    both = [hermitian(rng, len(orbitals), "f8") for _ in "ud"]
    both[1][CELLS.index([1, 0, 0])] = both[1][CELLS.index([-1, 0, 0])] = 0
    source = source_from_matrices(
        "hamiltonian", CELLS, both, orbitals, label="x", spin="collinear", scale=2.0
    )
    cells, found = matrices_from_source(source, orbitals)
    for channel in range(2):
        for cell, matrix in zip(cells.tolist(), found[channel], strict=True):
            assert np.array_equal(matrix.toarray(), 2 * both[channel][CELLS.index(cell)])


WRITTEN = {
    "abacus": "a", "cp2k": "a", "deeph": "a", "deeph-dock": "a", "deeptb": "a",
    "hamgnn": "x.npz", "siesta": "x.HSX", "tbmodels": "x.hdf5", "wannier90": "x_hr.dat",
    "wanniertools": "wt_hr.dat",
}  # fmt: skip


@pytest.mark.parametrize("program", WRITTEN)
@pytest.mark.parametrize("phase", [1, 1j, np.exp(0.7j)])
def test_no_format_loses_imaginary_parts(tmp_path, program, phase):
    """Numbers that are complex by their type, or by what they are: kept, or refused in a line."""
    if program == "siesta":
        pytest.importorskip("sisl")
    sites = program in ("tbmodels", "wannier90")
    structure = Structure(3 * np.eye(3), np.zeros((1, 3)), [6], [0], ["C"], [True, False, False])
    h = {(n, 0, 0): np.array([[value]], dtype=complex) for n, value in
         ((0, 0.5), (1, phase), (-1, np.conj(phase)))}  # fmt: skip
    given = {"cell": 3 * np.eye(3), "centres": np.zeros((1, 3))} if sites else {
        "overlap": {(0, 0, 0): np.eye(1)}, "structure": structure, "shells": {"C": [0]}
    }  # fmt: skip
    calculation = matrices.read(h, **given)
    expected = [0.5 + 2 * (phase * np.exp(2j * np.pi * k)).real for k in (0.1, -0.3)]
    row = named_format(program)
    try:
        row.write(calculation, str(tmp_path / WRITTEN[program]))
    except MoireioError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        assert "complex" in refusal
        assert phase != 1
        assert list(tmp_path.iterdir()) == []
        return
    options = {"code": "openmx"} if program == "hamgnn" else {}
    with row.read(str(tmp_path / WRITTEN[program]), **options) as found:
        bands = [levels(found, [k, 0, 0])[0, 0] for k in (0.1, -0.3)]
    np.testing.assert_allclose(bands, expected, atol=1e-5)


@pytest.mark.parametrize("program", WRITTEN)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_spinors_of_real_numbers(tmp_path, program, dtype):
    """H with σ_x and σ_z alone, kept as real or as complex numbers."""
    if program == "siesta":
        pytest.importorskip("sisl")
    sites = program in ("tbmodels", "wannier90")
    structure = Structure(3 * np.eye(3), np.zeros((1, 3)), [6], [0], ["C"], [True, False, False])
    hop = np.array([[-1.0, 0.3], [0.2, -0.8]])
    h = {(0, 0, 0): np.array([[0.5, 0.1], [0.1, -0.5]]), (1, 0, 0): hop, (-1, 0, 0): hop.T}
    of_atoms = {"overlap": {(0, 0, 0): np.eye(1)}, "structure": structure, "shells": {"C": [0]}}
    of_sites = {"cell": 3 * np.eye(3), "centres": np.zeros((1, 3))}
    calculation = matrices.read(
        {R: matrix.astype(dtype) for R, matrix in h.items()},
        spinor="blocks",
        **(of_sites if sites else of_atoms),
    )
    row, target = named_format(program), str(tmp_path / WRITTEN[program])
    if program == "cp2k":
        with pytest.raises(MoireioError, match="spinors"):
            row.write(calculation, target)
        return
    row.write(calculation, target)
    options = {"hamgnn": {"code": "openmx"}, "tbmodels": {"spinor": "blocks"}}
    k = 0.17
    expected = np.linalg.eigvalsh(sum(np.exp(2j * np.pi * k * R[0]) * m for R, m in h.items()))
    with row.read(target, **options.get(program, {})) as found:
        assert found.hamiltonian.meta.spin == "spinor"
        np.testing.assert_allclose(levels(found, [k, 0, 0])[0], expected, atol=1e-5)


@pytest.mark.parametrize("program", [*WRITTEN, "moireio"])
def test_species_without_atoms(tmp_path, program):
    """A structure may list species that none of its atoms is of, as after atoms were cut away."""
    if program == "siesta":
        pytest.importorskip("sisl")
    structure = Structure(
        3 * np.eye(3), [[0, 0, 0], [1, 1, 1]], [6, 1], [1, 3], ["O", "C", "N", "H"], [True] * 3
    )
    shells = {"O": [0, 1], "C": [0, 1], "N": [2], "H": [0]}
    calculation = matrices.read(
        {(0, 0, 0): np.diag(np.arange(5.0))},
        {(0, 0, 0): np.eye(5)},
        structure=structure,
        shells=shells,
    )
    target = str(tmp_path / ("x.h5" if program == "moireio" else WRITTEN[program]))
    if program == "moireio":
        convert(calculation, target, Conversion("convert-h", check=True))
    else:
        named_format(program).write(calculation, target)
    options = {"hamgnn": {"code": "openmx"}}
    with named_format(program).read(target, **options.get(program, {})) as found:
        np.testing.assert_allclose(levels(found, [0.1, 0.2, 0.3])[0], np.arange(5), atol=1e-5)
        assert len(found.structure) == 2
