"""Löwdin's orthogonalisation on a mesh."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import eigh

from moireio.blockfile.calculation import Calculation
from moireio.downfold.lowdin import orthogonalise, parse_mesh
from moireio.errors import MoireioError
from moireio.formats.calculations import open_calculation
from moireio.operators.bloch import BlochSum
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure


def chain(s, t=-1.0):
    """A chain of s orbitals with hopping t and overlap s of neighbours."""
    structure = Structure(np.diag([2.0, 9, 9]), [[0, 0, 0]], [1], [0], ["H"], [True, False, False])

    def source(name, home, away):
        meta = operator_type(name).meta()
        blocks = {(0, 0, (n, 0, 0)): [[away if n else home]] for n in (-1, 0, 1)}
        return ArraySource.from_blocks(meta, np.array([1]), blocks)

    operators = {"hamiltonian": source("hamiltonian", 0.3, t), "overlap": source("overlap", 1.0, s)}
    return Calculation("chain", structure, Basis({"H": SpeciesBasis((0,))}), operators)


def test_a_chain_against_the_integral():
    found = orthogonalise(chain(0.2), (40, 1, 1))
    for cell, matrix in zip(found.cells, found.components[0], strict=True):
        exact = quad(
            lambda x, R: (0.3 - 2 * np.cos(x)) / (1 + 0.4 * np.cos(x)) * np.cos(R * x) / np.pi,
            0, np.pi, args=(cell[0],),
        )[0]  # fmt: skip
        assert matrix[0, 0] == pytest.approx(exact, abs=1e-9)
    assert found.error < 1e-9


def test_error_is_that_between_the_points():
    found = orthogonalise(chain(0.2), (4, 1, 1))
    k = np.array([1, 3, 5, 7]) / 8
    exact = (0.3 - 2 * np.cos(2 * np.pi * k)) / (1 + 0.4 * np.cos(2 * np.pi * k))
    phase = np.exp(2j * np.pi * np.outer(k, found.cells[:, 0]))
    assert found.error == pytest.approx(
        np.abs((phase @ found.components[0][:, 0, 0]).real - exact).max()
    )
    assert found.cells[:, 0].tolist() == [-2, -1, 0, 1, 2]


def test_one_point_along_a_periodic_vector_is_a_mesh_too():
    """The band is flat then, and its largest error at the border of the zone."""
    found = orthogonalise(chain(0.2), (1, 1, 1))
    assert found.error == pytest.approx((0.3 + 2) / (1 - 0.4) - (0.3 - 2) / (1 + 0.4))


@pytest.mark.parametrize(
    ("name", "mesh"), [("gr_ab", (3, 3, 1)), ("hbn_soc", (3, 2, 1)), ("o2_col", (2, 1, 1))]
)
def test_bands_on_the_mesh_are_exact_and_matrices_hermitian(data, name, mesh):
    calculation = open_calculation(str(data / f"{name}.scfout"))
    found = orthogonalise(calculation, mesh)
    spin = calculation.hamiltonian.meta.spin
    s = BlochSum.from_source(calculation.overlap, spinor=spin == "spinor")
    for component, matrices in enumerate(found.components):
        h = BlochSum.from_source(calculation.hamiltonian, component=component)
        for k in np.array(list(np.ndindex(*mesh))) / mesh:
            total = np.tensordot(np.exp(2j * np.pi * (found.cells @ k)), matrices, 1)
            exact = eigh(h.dense(k), s.dense(k), eigvals_only=True)
            np.testing.assert_allclose(np.linalg.eigvalsh(total), exact, atol=1e-8)
        k = np.array([0.123, 0.456, 0])
        total = np.tensordot(np.exp(2j * np.pi * (found.cells @ k)), matrices, 1)
        np.testing.assert_allclose(total, total.conj().T, atol=1e-8)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(MoireioError, match="not independent"):
        orthogonalise(chain(0.5), (2, 1, 1))
    with pytest.raises(MoireioError, match="not periodic along b"):
        orthogonalise(chain(0.1), (2, 2, 1))
    with pytest.raises(MoireioError, match="GiB"):
        orthogonalise(chain(0.1), (10**9, 1, 1))
    alone = chain(0.1)
    del alone.operators["overlap"]
    with pytest.raises(MoireioError, match="no overlap"):
        orthogonalise(alone, (2, 1, 1))


def test_meshes_as_text():
    assert parse_mesh("12x12x1") == (12, 12, 1)
    assert parse_mesh("6×6") == (6, 6, 1)
    for text in ("", "a", "0x1", "1x1x1x1", "-2", "1e3"):
        with pytest.raises(ValueError, match=r".*"):
            parse_mesh(text)
