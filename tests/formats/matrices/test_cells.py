"""Dicts {R: matrix}."""

import numpy as np
import pytest
from ase import Atoms
from foreign_levels import levels, matrices_at
from scipy.sparse import coo_array, csr_array

from moireio.errors import MoireioError
from moireio.formats import matrices
from moireio.formats.calculations import open_calculation

K = np.random.default_rng(1).random((3, 3))


@pytest.mark.parametrize("case", ["gr_ab", "hbn_soc", "o2_col"])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("spinor", ["atoms", "blocks", "interleaved"])
def test_block_files_come_back(made, case, dense, spinor):
    """To the last bit, with their pairs, on the same atoms."""
    if case != "hbn_soc" and spinor != "atoms":
        pytest.skip("without spinors there is one arrangement")
    with open_calculation(str(made[case])) as calculation:
        is_spinor = calculation.hamiltonian.meta.spin == "spinor"
        hamiltonian = matrices.write(calculation, dense=dense, spinor=spinor)
        overlap = matrices.write(calculation, "overlap", dense=dense)
        again = matrices.read(
            hamiltonian,
            overlap,
            structure=calculation.structure,
            shells=calculation.basis,
            spinor=spinor if is_spinor else None,
            pbc=calculation.structure.pbc,
        )
        for name in ("hamiltonian", "overlap"):
            mine, theirs = getattr(again, name), getattr(calculation, name)
            if not dense:  # else blocks of zeros are left out
                np.testing.assert_array_equal(mine.pairs.R, theirs.pairs.R)
                np.testing.assert_array_equal(mine.data, theirs.rows(0, len(theirs.sizes)))
            np.testing.assert_array_equal(matrices_at(mine, K[0]), matrices_at(theirs, K[0]))
        assert again.hamiltonian.meta.spin == calculation.hamiltonian.meta.spin


def test_atoms_of_ase_with_shells():
    """A chain of s and p orbitals: H between neighbours by hand."""
    atoms = Atoms("CH", positions=[[0, 0, 0], [0, 0, 1.2]], cell=[5, 5, 3], pbc=True)
    onsite = np.diag([1.0, 2, 3, 4, 5])
    hop = np.zeros((5, 5))
    hop[4, 2] = 0.5  # H's s with p_z of C above
    given = {(0, 0, 0): onsite, (0, 0, 1): csr_array(hop)}
    unit = {(0, 0, 0): np.eye(5)}
    calculation = matrices.read(
        given, unit, structure=atoms, shells={"C": [0, 1], "H": [0]}, partners="missing", fermi=1.5
    )
    assert calculation.electrons.fermi == 1.5
    expected = onsite + 0j
    expected[4, 2] = 0.5 * np.exp(2j * np.pi * 0.3)
    expected[2, 4] = expected[4, 2].conj()
    np.testing.assert_allclose(matrices_at(calculation.hamiltonian, [0, 0, 0.3])[0], expected)
    assert calculation.structure.pbc.tolist() == [False, False, True]


def test_orbitals_without_atoms():
    up = {(0, 0, 0): np.diag([1.0, 2]), (1, 0, 0): np.eye(2) * 0.1, (-1, 0, 0): np.eye(2) * 0.1}
    down = {(0, 0, 0): np.diag([3.0, 4])}
    calculation = matrices.read((up, down), cell=np.eye(3), centres=[[0, 0, 0], [0.5, 0, 0]])
    assert calculation.basis.orthogonal
    np.testing.assert_allclose(levels(calculation, [0.25, 0, 0]), [[1, 2], [3, 4]], atol=1e-15)
    back = matrices.write(calculation, dense=True)
    np.testing.assert_array_equal(back[0][1, 0, 0], up[1, 0, 0])
    np.testing.assert_array_equal(back[1][0, 0, 0], down[0, 0, 0])


def test_what_does_not_fit_is_refused():
    one = {(0, 0, 0): np.eye(2)}
    with pytest.raises(MoireioError, match="has no matrices"):
        matrices.read(None)
    with pytest.raises(MoireioError, match="neither `structure` nor `cell`"):
        matrices.read(one)
    with pytest.raises(MoireioError, match="give `shells`"):
        matrices.read(one, structure=Atoms("H", cell=np.eye(3)))
    with pytest.raises(MoireioError, match="the atoms have 1 orbitals"):
        matrices.read(one, structure=Atoms("H", cell=np.eye(3)), shells={"H": [0]})
    with pytest.raises(MoireioError, match="three integers"):
        matrices.read({(0, 0): np.eye(2)}, cell=np.eye(3))
    with pytest.raises(MoireioError, match="not finite"):
        matrices.read({(0, 0, 0): np.full((2, 2), np.nan)}, cell=np.eye(3))


def test_nested_lists_are_matrices():
    whole = {(0, 0, 0): [[1.0, 2.0], [2.0, 3.0]], (1, 0, 0): [[0, 0.5], [0, 0]]}
    arrays = {R: np.array(one) for R, one in whole.items()}
    one, two = (
        matrices.read(given, cell=np.eye(3), centres=[[0, 0, 0], [0.5, 0, 0]], partners="missing")
        for given in (whole, arrays)
    )
    assert np.array_equal(one.hamiltonian.rows(0, 2), two.hamiltonian.rows(0, 2))


@pytest.mark.parametrize("key", [(1, 0, 0), (-1, 0, 0)])
def test_half_of_a_hamiltonian_is_not_averaged(key):
    """One of R and -R alone: hoppings would be halved."""
    half = {(0, 0, 0): np.diag([1.0, 2.0]), key: np.array([[0.3, 0.1j], [0.2, 0.4]])}
    with pytest.raises(MoireioError, match=r"of its partner differ by 4\.0e-01 eV .*`partners` is"):
        matrices.read(half, cell=np.eye(3))
    phase = np.exp(2j * np.pi * np.dot(K[0], key))
    expected = half[0, 0, 0] + phase * half[key] + np.conj(phase) * half[key].conj().T
    found = matrices.read(half, cell=np.eye(3), partners="missing")
    np.testing.assert_allclose(
        levels(found, K[0])[0], np.linalg.eigvalsh(expected), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(
    ("change", "options", "text"),
    [
        ({(0, 0, 0): np.array([[1.0, 0.5], [0.0, 1.0]])}, {}, "differ by 5.0e-01 eV"),
        ({(1, 0, 0): np.eye(3)}, {}, "matrices of 2 x 2, 3 x 3 elements"),
        ({(0.5, 0, 0): np.eye(2)}, {}, r"R = \(0.5, 0, 0\) is not three integers"),
        ({"100": np.eye(2)}, {}, "R = 100 is not three integers"),
        ({(0, 0, 0): [["a", "b"], ["c", "d"]]}, {}, "does not consist of numbers"),
        ({}, {"centres": np.zeros((3, 3))}, r"centres \(3, 3\), \(2, 3\) expected"),
        ({}, {"spinor": "updown"}, "`spinor` is 'updown' .*'blocks' or"),
        ({}, {"partners": "both"}, "`partners` is 'both' .*'given' or"),
    ],
)
def test_faults_are_named(change, options, text):
    given = {(0, 0, 0): np.eye(2), **change}
    with pytest.raises(MoireioError, match=text):
        matrices.read(given, cell=np.eye(3), **options)


def test_parts_of_one_element_are_added():
    """SciPy's COO matrices, and CSR ones, may list an element in parts."""
    place = [0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 0, 1]
    coo = coo_array(([3.0, 0.5, 0.25, 0.5, 0.25, -1], place), (2, 2))
    csr = csr_array(([3.0, 0.5, 0.25, 0.5, 0.25, -1], place[1], [0, 3, 6]), (2, 2))
    for matrix in (coo, csr, coo.tocsc(), coo.todia()):
        found = matrices.read({(0, 0, 0): matrix}, cell=np.eye(3))
        whole = matrices.write(found, dense=True)[0, 0, 0]
        np.testing.assert_array_equal(whole, [[3, 0.75], [0.75, -1]])
    assert csr.nnz == 6  # what was given is left as it was


def test_long_doubles_are_doubles():
    for kind in (np.longdouble, np.clongdouble):
        found = matrices.read({(0, 0, 0): np.eye(2, dtype=kind)}, cell=np.eye(3))
        assert found.hamiltonian.meta.dtype in ("float64", "complex128")
