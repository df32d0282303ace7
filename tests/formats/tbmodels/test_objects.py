"""Models of TBmodels in memory."""

import json

import numpy as np
import pytest
from foreign_levels import levels

from moireio.errors import MoireioError
from moireio.formats import matrices
from moireio.formats import tbmodels as ours


def random_calculation(spinor=None, n=3):
    """A model of complex numbers, with an orbital outside the cell."""
    rng = np.random.default_rng(5)
    rows = 2 * n if spinor else n
    half = {
        cell: rng.normal(size=(rows, rows)) + 1j * rng.normal(size=(rows, rows))
        for cell in ((0, 0, 0), (1, 0, 0), (-1, 2, 0), (0, 0, 1))
    }
    centres = rng.normal(size=(n, 3)) * 4
    cell = rng.normal(size=(3, 3)) + 4 * np.eye(3)
    return matrices.read(half, cell=cell, centres=centres, partners="half", spinor=spinor)


@pytest.mark.parametrize("sparse", [False, True])
def test_bands_of_tbmodels_at_random_k(shared, sparse):
    """Haldane's model has no time reversal: the wrong sign of k is seen."""
    tbmodels = pytest.importorskip("tbmodels")
    folder = shared / "foreign" / "tbmodels_haldane"
    reference = json.loads((folder / "reference.json").read_text())
    model = tbmodels.io.load(str(folder / "haldane.hdf5"))
    model.set_sparse(sparse)
    calculation = ours.read(model)
    written = ours.write(calculation, sparse=sparse)
    for k, energies in zip(reference["k"], reference["eV"], strict=True):
        np.testing.assert_allclose(levels(calculation, k)[0], energies, atol=2e-15)
    for k in np.random.default_rng(3).random((5, 3)):
        expected = model.eigenval(k)
        np.testing.assert_allclose(levels(calculation, k)[0], expected, atol=1e-13)
        np.testing.assert_allclose(written.eigenval(k), expected, atol=1e-13)
    assert calculation.electrons.count == 2  # one level, both spins


@pytest.mark.parametrize("spinor", [None, "blocks", "interleaved"])
def test_models_made_here_have_the_same_bands(spinor):
    """TBmodels wraps positions into the cell, and changes R with them."""
    pytest.importorskip("tbmodels")
    calculation = random_calculation(spinor)
    model = ours.write(calculation, spinor=spinor or "blocks")
    again = ours.read(model, spinor=spinor)
    assert again.hamiltonian.meta.spin == calculation.hamiltonian.meta.spin
    for k in np.random.default_rng(3).random((5, 3)):
        expected = levels(calculation, k)[0]
        np.testing.assert_allclose(model.eigenval(k), expected, atol=1e-12)
        np.testing.assert_allclose(levels(again, k)[0], expected, atol=1e-12)


def test_fewer_dimensions():
    tbmodels = pytest.importorskip("tbmodels")
    hop = {(0, 1): [[0.3j, 1], [0.5, 0.1]], (1, 0): [[0.2, 0.4j], [0, 0]]}
    model = tbmodels.Model(
        on_site=[0.1, -0.4], hop={R: np.array(m) for R, m in hop.items()}, contains_cc=False,
        pos=[[0, 0], [0.5, 0.25]], uc=[[2, 0], [1, 3]],
    )  # fmt: skip
    calculation = ours.read(model)
    assert calculation.structure.pbc.tolist() == [True, True, False]
    np.testing.assert_allclose(calculation.structure.positions[1], [1.25, 0.75, 0])
    np.testing.assert_allclose(
        levels(calculation, [0.3, 0.12, 0])[0], model.eigenval([0.3, 0.12]), atol=1e-14
    )


def test_what_is_no_model_is_refused():
    with pytest.raises(MoireioError, match=r"a tbmodels\.Model is expected"):
        ours.read(object())


def test_spinors_of_another_arrangement_are_refused():
    pytest.importorskip("tbmodels")
    model = ours.write(random_calculation("blocks"), spinor="blocks")
    with pytest.raises(MoireioError, match="an up orbital is not where its down orbital is"):
        ours.read(model, spinor="interleaved")
    with pytest.raises(MoireioError, match="blocks or interleaved, not 'up'"):
        ours.read(model, spinor="up")
