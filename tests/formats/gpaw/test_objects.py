"""H(k) and S(k) of GPAW's LCAO mode."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from foreign_levels import levels
from near_overlaps import near_misfit

from moireio.errors import MoireioError
from moireio.formats import gpaw as ours

CASES = {"gpaw_hbn_lcao": "hbn_gpaw_lcao.npz", "gpaw_h_spin": "h_gpaw_lcao.npz"}


def fixture_of(shared, folder):
    path = shared / "foreign" / folder
    arrays = dict(np.load(path / CASES[folder]))
    return arrays, json.loads((path / "reference.json").read_text())


def positional(arrays, reference):
    names = ("H_skMM", "S_kMM", "k_kc", "cell", "numbers", "positions")
    return [arrays[name] for name in names] + [reference["l_of_shells"]]


@pytest.mark.parametrize("folder", CASES)
def test_levels_are_those_of_gpaw(shared, folder):
    arrays, reference = fixture_of(shared, folder)
    calculation = ours.from_arrays(
        *positional(arrays, reference), fermi=reference["fermi"], pbc=arrays["pbc"]
    )
    expected = np.array(reference["eV"])
    spins, _, bands = expected.shape
    assert calculation.hamiltonian.meta.spin == ("none", "collinear")[spins - 1]
    for number, k in enumerate(reference["k"]):
        found = levels(calculation, k)[:, :bands]
        np.testing.assert_allclose(found, expected[:, number], atol=5e-13)
    assert calculation.electrons.fermi == reference["fermi"]
    np.testing.assert_array_equal(calculation.structure.pbc, arrays["pbc"])


def test_the_phase_is_that_of_the_geometry(shared):
    """S between atoms points along their vectors; with GPAW's own phase it does not."""
    arrays, reference = fixture_of(shared, "gpaw_hbn_lcao")
    args = positional(arrays, reference)
    for momentum in (1, 2):
        assert near_misfit(ours.from_arrays(*args), momentum, reach=3.0) < 5e-3
    args[:2] = [np.conj(matrix) for matrix in args[:2]]
    assert near_misfit(ours.from_arrays(*args), 1, reach=3.0) > 0.1


def test_half_of_the_mesh_suffices(shared):
    """GPAW leaves out −k where time reversal gives it."""
    arrays, reference = fixture_of(shared, "gpaw_hbn_lcao")
    whole = ours.from_arrays(*positional(arrays, reference))
    kept = [n for n, k in enumerate(arrays["k_kc"].tolist()) if k <= [0, 0, 0]]
    arrays |= {"k_kc": arrays["k_kc"][kept], "S_kMM": arrays["S_kMM"][kept]}
    arrays["H_skMM"] = arrays["H_skMM"][:, kept]
    half = ours.from_arrays(*positional(arrays, reference))
    np.testing.assert_allclose(levels(half, [0.2, 0.4, 0]), levels(whole, [0.2, 0.4, 0]), atol=1e-9)
    assert abs(half.hamiltonian.data - whole.hamiltonian.data).max() < 1e-9


def test_calculators(shared):
    """An object with the methods that GPAW's has."""
    arrays, reference = fixture_of(shared, "gpaw_hbn_lcao")
    atoms = Atoms(
        numbers=arrays["numbers"], positions=arrays["positions"], cell=arrays["cell"],
        pbc=arrays["pbc"],
    )  # fmt: skip
    setups = [
        SimpleNamespace(phit_j=[SimpleNamespace(get_angular_momentum_number=lambda v=v: v)
                                for v in shells])
        for shells in reference["l_of_shells"]
    ]  # fmt: skip
    calculator = SimpleNamespace(
        atoms=atoms,
        setups=setups,
        get_ibz_k_points=lambda: arrays["k_kc"],
        get_fermi_level=lambda: reference["fermi"],
        get_number_of_electrons=lambda: 8.0,
    )
    calculation = ours.read(calculator, arrays["H_skMM"], arrays["S_kMM"])
    assert calculation.electrons.count == 8
    assert calculation.structure.species_names == ("B", "N")
    found = levels(calculation, reference["k"][3])[0]
    np.testing.assert_allclose(found[:8], reference["eV"][0][3], atol=5e-13)
    with pytest.raises(MoireioError, match="a calculator of GPAW is expected"):
        ours.read(object(), None, None)
