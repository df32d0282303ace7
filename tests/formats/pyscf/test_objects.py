"""PySCF's H(k) and S(k)."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from foreign_levels import levels, matrices_at
from near_overlaps import near_misfit
from scipy.linalg import eigvalsh

from moireio.errors import MoireioError
from moireio.formats import pyscf as ours

HARTREE = 27.211386245988


def fixture_of(shared, folder, name):
    path = shared / "foreign" / folder
    arrays = dict(np.load(path / name))
    return arrays, json.loads((path / "reference.json").read_text())


@pytest.fixture(scope="module")
def graphene(shared):
    return fixture_of(shared, "pyscf_graphene", "graphene_pyscf.npz")


@pytest.fixture(scope="module")
def calculation(graphene):
    arrays, reference = graphene
    return ours.from_arrays(*positional(arrays, reference), fermi=0.0)


def positional(arrays, reference, hamiltonian="H_k"):
    names = (hamiltonian, "S_k", "k_frac", "cell", "coords")
    return [arrays[name] for name in names] + [reference["labels"]]


def test_levels_are_those_of_pyscf(graphene, calculation):
    """The list of PySCF itself, from before its last step."""
    for k, energies in zip(graphene[1]["k"], graphene[1]["hartree"], strict=True):
        np.testing.assert_allclose(levels(calculation, k)[0] / HARTREE, energies, atol=5e-9)
    np.testing.assert_allclose(calculation.structure.cell[0], [2.46, 0, 0], atol=1e-12)
    assert calculation.structure.species_names == ("C",)
    assert calculation.basis["C"].l == (0, 1)


def test_overlaps_are_those_of_the_supercell(graphene, shared, calculation):
    """S between the atoms of 5 x 5 cells, by PySCF in real space."""
    supercell = np.load(shared / "foreign/pyscf_graphene/graphene_supercell.npz")["S"]
    n, source = 8, calculation.overlap
    theirs = np.array([0, 2, 3, 1, 4, 6, 7, 5])  # s, y, z, x
    from_pyscf = supercell.reshape(25, n, 25, n)[0]  # between cell 0 and every cell
    offsets = np.concatenate([[0], np.cumsum(source.pairs.block_elements(source.sizes))])
    summed = np.zeros((n, 25, n))
    for pair, (i, j, R) in enumerate(
        zip(source.pairs.i, source.pairs.j, source.pairs.R, strict=True)
    ):
        block = source.data[offsets[pair] : offsets[pair + 1]].reshape(4, 4)
        cell = 5 * (R[0] % 5) + R[1] % 5
        summed[4 * i : 4 * i + 4, cell, 4 * j : 4 * j + 4] += block.real
    np.testing.assert_allclose(summed, from_pyscf[theirs][:, :, theirs], atol=1e-12)


def test_orbitals_point_to_their_neighbours(calculation):
    assert near_misfit(calculation, 1, reach=2.0) < 1e-4


def test_the_error_between_mesh_points_is_estimated(graphene, calculation):
    """Bands of PySCF at k off the mesh, which it computes from the density."""
    arrays, reference = graphene
    note = next(note for note in calculation.notes if "k mesh 5 x 5 x 1" in note)
    words = note.split()
    below, above = (float(words[words.index("eV", place) - 1]) for place in _places(words))
    errors = []
    for k, energies in zip(arrays["band_k"][1:], reference["band_hartree"][1:], strict=True):
        errors.append(levels(calculation, k)[0] - np.array(energies) * HARTREE)
    occupied, empty = (np.abs(np.array(errors)[:, part]).max() for part in (slice(3), slice(5, 8)))
    assert occupied < 3 * below < 20 * occupied
    assert empty < 3 * above < 20 * empty


def _places(words):
    first = words.index("eV")
    return first, first + 1


def test_noise_can_be_left_out(graphene, calculation):
    assert np.iscomplexobj(calculation.hamiltonian.data)
    assert any("leaves them out" in note for note in calculation.notes)
    real = ours.from_arrays(*positional(*graphene), real=True)
    assert real.hamiltonian.data.dtype == np.float64
    note = next(note for note in real.notes if "are left out" in note).split()
    largest = np.abs(calculation.hamiltonian.data.imag).max()
    assert float(note[note.index("eV") - 1]) == pytest.approx(largest, rel=0.1)
    k = graphene[1]["k"][7]
    np.testing.assert_allclose(levels(real, k), levels(calculation, k), atol=1e-6)


def test_two_spins_in_a_skew_cell(shared):
    arrays, reference = fixture_of(shared, "pyscf_h2_kuks", "h2_kuks.npz")
    calculation = ours.from_arrays(*positional(arrays, reference, "H_sk"))
    assert calculation.hamiltonian.meta.spin == "collinear"
    for number, k in enumerate(reference["k"]):
        found = levels(calculation, k) / HARTREE
        np.testing.assert_allclose(found, np.array(reference["hartree"])[:, number], atol=2e-15)
    # as one spinor matrix: up before down orbitals of the cell
    up, down = arrays["H_sk"]
    zero = np.zeros_like(up)
    spinor = np.block([[up, zero + 0.01j], [zero - 0.01j, down]])
    s = arrays["S_k"]
    twice = np.block([[s, np.zeros_like(s)], [np.zeros_like(s), s]])
    arrays |= {"H_sk": spinor, "S_k": twice}
    calculation = ours.from_arrays(*positional(arrays, reference, "H_sk"))
    assert calculation.hamiltonian.meta.spin == "spinor"
    for number, k in enumerate(reference["k"]):
        expected = eigvalsh(spinor[number], twice[number])
        np.testing.assert_allclose(levels(calculation, k)[0] / HARTREE, expected, atol=1e-14)
    block = matrices_at(calculation.hamiltonian, reference["k"][1])[0][:2, :2]  # of the first atom
    np.testing.assert_allclose(block, spinor[1][np.ix_([0, 2], [0, 2])] * HARTREE, atol=1e-13)


def test_nearly_dependent_orbitals_are_noted(shared):
    """PySCF drops an orbital there and pads its list of levels."""
    folder = "pyscf_graphene_dzvp_lindep"
    arrays, reference = fixture_of(shared, folder, "graphene_pyscf.npz")
    calculation = ours.from_arrays(*positional(arrays, reference))
    assert any("nearly dependent: S(k) has the eigenvalue 1.0e-08" in n for n in calculation.notes)
    assert any("k mesh 3 x 3 x 1 is too coarse" in note for note in calculation.notes)
    assert calculation.basis["C"].l == (0, 0, 1, 1, 2)
    lists = [np.array(one) for one in reference["hartree"]]
    assert max(one.max() for one in lists) > 1e29
    for k, energies in zip(reference["k"], lists, strict=True):
        if energies.max() < 1e29:
            found = levels(calculation, k)[0] / HARTREE
            np.testing.assert_allclose(found, energies, atol=1.6e-6)


def test_live_objects():
    """A chain of H2 with a magnetic moment; spin-restricted, unrestricted and as spinors."""
    pytest.importorskip("pyscf")
    from pyscf.pbc import gto, scf

    cell = gto.M(
        atom="H 0 0 0; H 0.1 0.2 0.9", a=[[3, 0, 0], [0, 3, 0], [0.2, 0, 2.1]], basis="sto-3g",
        verbose=0, precision=1e-6,
    )  # fmt: skip
    kpts = cell.make_kpts([1, 1, 4], with_gamma_point=False)
    kinds = {"none": scf.KRHF, "collinear": scf.KUHF, "spinor": scf.KGHF}
    for spin, kind in kinds.items():
        mean_field = kind(cell, kpts)
        h, s = mean_field.get_hcore(), mean_field.get_ovlp()
        if spin == "collinear":
            h = np.array([h, h + 0.1 * np.eye(2)])
        calculation = ours.read(mean_field, hamiltonian=h)
        assert calculation.hamiltonian.meta.spin == spin
        assert calculation.electrons.count == 2
        for number, k in enumerate(cell.get_scaled_kpts(kpts)):
            channels = h[:, number] if spin == "collinear" else [h[number]]
            expected = [eigvalsh(one, s[number]) for one in channels]
            np.testing.assert_allclose(levels(calculation, k) / HARTREE, expected, atol=1e-9)


@pytest.mark.parametrize("reduced", [False, True])
def test_one_step_of_a_calculation(reduced):
    """Open shells with one set of orbitals; k points without those that time reversal gives."""
    pytest.importorskip("pyscf")
    from pyscf.pbc import gto, scf

    cell = gto.M(
        atom="H 0 0 0; H 0.1 0.2 0.9", a=[[4, 0, 0], [0, 4, 0], [0.2, 0, 2.4]], basis="gth-szv",
        pseudo="gth-pade", ke_cutoff=15, verbose=0, precision=1e-5,
    )  # fmt: skip
    kpts = cell.make_kpts([1, 1, 3], time_reversal_symmetry=reduced)
    mean_field = (scf.KRHF if reduced else scf.KROHF)(cell, kpts)
    mean_field.max_cycle = 1
    mean_field.kernel()
    calculation = ours.read(mean_field)
    assert calculation.hamiltonian.meta.spin == ("none" if reduced else "collinear")
    listed = kpts.kpts_ibz if reduced else kpts
    overlaps = np.asarray(mean_field.get_ovlp())
    fock = mean_field.get_fock(s1e=overlaps, dm=mean_field.make_rdm1())
    channels = [fock] if reduced else [fock.focka, fock.fockb]
    for number, k in enumerate(cell.get_scaled_kpts(listed)):
        expected = [eigvalsh(one[number], overlaps[number]) for one in channels]
        np.testing.assert_allclose(levels(calculation, k) / HARTREE, expected, atol=1e-9)
    assert calculation.electrons.fermi < 0


def test_what_does_not_fit_is_refused(graphene):
    arrays, reference = graphene
    with pytest.raises(MoireioError, match=r"a mean-field object of pyscf\.pbc is expected"):
        ours.read(object())
    cartesian = SimpleNamespace(cell=SimpleNamespace(lattice_vectors=None, cart=True))
    with pytest.raises(MoireioError, match="has Cartesian d orbitals"):
        ours.read(cartesian)
    cell = SimpleNamespace(lattice_vectors=None, get_scaled_kpts=lambda k: k)
    fresh = SimpleNamespace(cell=cell, kpts=np.zeros((1, 3)), mo_coeff=None)
    fresh.get_ovlp = lambda: np.eye(2)[None]
    with pytest.raises(MoireioError, match=r"has no orbitals yet \(call its kernel\(\) first\)"):
        ours.read(fresh)
    args = positional(arrays, reference)
    with pytest.raises(MoireioError, match="no complete regular mesh"):
        ours.from_arrays(args[0][1:], args[1][1:], args[2][1:], *args[3:])
    with pytest.raises(MoireioError, match="has not 3 orbitals"):
        ours.from_arrays(*args[:5], args[5][:-1])
    with pytest.raises(MoireioError, match="no label of an orbital"):
        ours.from_arrays(*args[:5], ["s"])
    broken = args[0].copy()
    broken[3, 1, 1] = np.nan
    with pytest.raises(MoireioError, match="not finite"):
        ours.from_arrays(broken, *args[1:])
