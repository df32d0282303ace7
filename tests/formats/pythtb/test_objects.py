"""Models of PythTB, 1.8 and 2.x."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from foreign_levels import levels, matrices_at

from moireio.errors import MoireioError
from moireio.formats import pythtb


@pytest.fixture(scope="module")
def kane_mele(shared):
    folder = shared / "foreign" / "pythtb_kane_mele"
    model = json.loads((folder / "model.json").read_text())
    return model, json.loads((folder / "reference.json").read_text())


def complex_of(table, name):
    return np.array(table[f"{name}_re"]) + 1j * np.array(table[f"{name}_im"])


def of_1_8(model):
    hoppings = [[complex_of(h, "amp"), h["i"], h["j"], np.array(h["R"])] for h in model["hoppings"]]
    return SimpleNamespace(
        _lat=np.array(model["lattice"]),
        _orb=np.array(model["orbitals_frac"]),
        _per=[0, 1],
        _nspin=2,
        _site_energies=complex_of(model, "site_energies"),
        _hoppings=hoppings,
    )


def of_2(model):
    names = ("amplitude", "from_orbital", "to_orbital", "lattice_vector")
    hoppings = []
    for h in model["hoppings"]:
        entry = dict(zip(names, (complex_of(h, "amp"), h["i"], h["j"], h["R"]), strict=True))
        if not any(h["R"]):
            del entry["lattice_vector"]  # PythTB leaves out R = 0
        hoppings.append(entry)
    return SimpleNamespace(
        lat_vecs=np.array(model["lattice"]),
        orb_vecs=np.array(model["orbitals_frac"]),
        periodic_dirs=[0, 1],
        nspin=2,
        onsite=complex_of(model, "site_energies"),
        hoppings=hoppings,
    )


@pytest.mark.parametrize("version", [of_1_8, of_2])
def test_kane_mele(kane_mele, version):
    """Bands of PythTB itself; spinors with up and down in turn."""
    model, reference = kane_mele
    calculation = pythtb.read(version(model))
    assert calculation.structure.pbc.tolist() == [True, True, False]
    np.testing.assert_allclose(
        calculation.structure.positions[:, :2],
        np.array(model["orbitals_frac"]) @ np.array(model["lattice"]),
        atol=1e-15,
    )
    assert calculation.hamiltonian.meta.spin == "spinor"
    for k, energies in zip(reference["k"], reference["eV"], strict=True):
        np.testing.assert_allclose(levels(calculation, k)[0], energies, atol=4e-15)
    onsite = matrices_at(calculation.hamiltonian, [0.1, 0.2, 0])[0][:2, :2]
    spins = complex_of(model, "site_energies")[0]
    for hopping in model["hoppings"]:  # of the first orbital with itself
        if hopping["i"] == hopping["j"] == 0:
            amplitude = complex_of(hopping, "amp")
            phase = np.exp(2j * np.pi * np.dot([0.1, 0.2], hopping["R"]))
            spins = spins + amplitude * phase + (amplitude * phase).conj().T
    np.testing.assert_allclose(onsite, spins, atol=1e-15)


def haldane(pythtb_itself):
    model = pythtb_itself.tb_model(2, 2, [[1, 0], [0.5, 3**0.5 / 2]], [[1 / 3] * 2, [2 / 3] * 2])
    model.set_onsite([-0.2, 0.2])
    for R in ([0, 0], [-1, 0], [0, -1]):
        model.set_hop(-1.0, 0, 1, R)
    for i, j, R in ((0, 0, [1, 0]), (1, 1, [1, -1]), (1, 1, [0, 1])):
        model.set_hop(0.15j, i, j, R)
    for i, j, R in ((1, 1, [1, 0]), (0, 0, [1, -1]), (0, 0, [0, 1])):
        model.set_hop(-0.15j, i, j, R)
    return model


def test_bands_of_pythtb_at_random_k():
    """Haldane's model has no time reversal: the wrong sign of k is seen."""
    model = haldane(pytest.importorskip("pythtb"))
    calculation = pythtb.read(model)
    wrong = 0.0
    for k in np.random.default_rng(4).random((5, 2)):
        expected = np.sort(model.solve_one(k))
        np.testing.assert_allclose(levels(calculation, [*k, 0])[0], expected, atol=1e-13)
        wrong = max(wrong, np.abs(levels(calculation, [*-k, 0])[0] - expected).max())
    assert wrong > 0.1


def test_ribbons_and_flakes_of_pythtb():
    """A cut model has orbitals outside its cell, along vectors that it is not periodic along."""
    whole = haldane(pytest.importorskip("pythtb"))
    ribbon = whole.cut_piece(4, 0)
    calculation = pythtb.read(ribbon)
    assert calculation.structure.pbc.tolist() == [False, True, False]
    for k in (0.13, 0.4):
        expected = np.sort(ribbon.solve_one([k]))
        np.testing.assert_allclose(levels(calculation, [0.7, k, 0])[0], expected, atol=1e-13)
    flake = ribbon.cut_piece(3, 1)
    calculation = pythtb.read(flake)
    assert not calculation.structure.pbc.any()
    np.testing.assert_allclose(
        levels(calculation, [0, 0, 0])[0], np.sort(flake.solve_all()), atol=1e-13
    )


def test_what_is_no_model_is_refused(kane_mele):
    with pytest.raises(MoireioError, match="has no lat_vecs"):
        pythtb.read(object())
    model = of_2(kane_mele[0])
    model.hoppings[0]["to_orbital"] = 7
    with pytest.raises(MoireioError, match="does not fit a model of 4 orbitals"):
        pythtb.read(model)
    model = of_2(kane_mele[0])
    model.onsite[0, 0, 0] = np.nan
    with pytest.raises(MoireioError, match="not a finite number"):
        pythtb.read(model)
