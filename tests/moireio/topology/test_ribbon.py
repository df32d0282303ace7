"""Ribbons: H and S cut alike, from full and upper storage; written and read again."""

import numpy as np
import pytest
import toymodels
from helpers import naive_at_k

import moireio
from moireio.blockfile.stream import write_target
from moireio.errors import MoireioError
from moireio.operators.views import stored_as
from moireio.topology.ribbon import RibbonSource, cut_ribbon, own_ribbon, ribbon_structure

WIDTH = 4


def cut(blocks, n_atoms, axis):
    """Blocks of the ribbon, one cell after another."""
    out = {}
    for (i, j, R), block in blocks.items():
        rest = tuple(0 if n == axis else R[n] for n in range(3))
        for x in range(WIDTH):
            if 0 <= x + R[axis] < WIDTH:
                out[x * n_atoms + i, (x + R[axis]) * n_atoms + j, rest] = block
    return out


@pytest.fixture(scope="module")
def model():
    return toymodels.random_c3(119, filled=1)


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    return model.write(tmp_path_factory.mktemp("ribbon") / "x.h5")


@pytest.mark.parametrize("axis", [0, 1])
def test_h_and_s_are_those_of_rows_inside(model, written, axis):
    k = np.array([0.0, 0.0, 0.0])
    k[1 - axis] = 0.31
    with moireio.open(written) as file:
        ribbon = cut_ribbon(file, WIDTH, axis)
    dims = np.tile(model.dims, WIDTH)
    H = naive_at_k(cut(model.hamiltonian, 2, axis), dims, k)
    S = naive_at_k(cut(model.overlap, 2, axis), dims, k)
    assert (ribbon.periodic, ribbon.open, ribbon.width) == (1 - axis, axis, WIDTH)
    assert np.abs(ribbon.sums[0].dense(k) - H).max() < 1e-13
    assert np.abs(ribbon.overlap.csr(k).toarray() - S).max() < 1e-13
    assert np.linalg.eigvalsh(S)[0] > 0.3
    assert ribbon.handedness == (-1, 1)[axis]


def test_spinors(tmp_path):
    model = toymodels.kane_mele()
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        ribbon = cut_ribbon(file, WIDTH, 0)
    k = (0, 0.2, 0)
    H = naive_at_k(cut(model.hamiltonian, 2, 0), np.tile(model.dims, WIDTH), k)
    assert ribbon.spin == "spinor"
    assert np.abs(ribbon.sums[0].dense(k) - H).max() < 1e-13


def test_upper_storage_gives_the_same(written):
    with moireio.open(written) as file:
        full = RibbonSource(file.hamiltonian, WIDTH, 0)
        upper = RibbonSource(stored_as(file.hamiltonian, "upper"), WIDTH, 0)
        assert np.array_equal(full.pairs.keys(), upper.pairs.keys())
        assert np.allclose(full.rows(0, 2 * WIDTH), upper.rows(0, 2 * WIDTH), rtol=0, atol=1e-15)
        parts = [full.rows(n, n + 1) for n in range(2 * WIDTH)]
        assert np.array_equal(np.concatenate(parts), full.rows(0, 2 * WIDTH))


def test_written_it_is_a_ribbon_of_its_own(written, tmp_path):
    with moireio.open(written) as file:
        with write_target(str(tmp_path / "r.h5")) as out:
            out.structure(ribbon_structure(file.structure, WIDTH, 1))
            out.basis(file.basis)
            for operator in (file.hamiltonian, file.overlap):
                out.operator(RibbonSource(operator, WIDTH, 1))
        made = cut_ribbon(file, WIDTH, 1)
        with pytest.raises(MoireioError, match="periodic along 2 vectors, a ribbon along one"):
            own_ribbon(file)
    with moireio.open(tmp_path / "r.h5") as file:
        own = own_ribbon(file)
        with pytest.raises(MoireioError, match=r"periodic along two vectors.*along 1"):
            cut_ribbon(file, 2, 1)
        with pytest.raises(MoireioError, match="the ribbon is periodic along vector 1"):
            own_ribbon(file, 0)
    assert (own.periodic, own.open, own.width) == (0, 1, None)
    assert own.handedness == made.handedness == 1
    k = (0.37, 0, 0)
    for one, other in ((own.sums[0], made.sums[0]), (own.overlap, made.overlap)):
        assert np.array_equal(one.dense(k), other.dense(k))
    assert np.allclose(own.heights(), made.heights())


def test_positions_and_heights():
    structure = toymodels.haldane().structure
    ribbon = ribbon_structure(structure, 3, 0)
    assert ribbon.pbc.tolist() == [False, True, False]
    assert np.allclose(ribbon.cell, structure.cell * [[3], [1], [1]])
    assert np.allclose(ribbon.positions[4:], structure.positions + 2 * structure.cell[0])


@pytest.mark.parametrize(("width", "axis", "what"), [(2, 2, "along 1, 2"), (0, 0, "at least one")])
def test_what_cannot_be_cut(written, width, axis, what):
    with moireio.open(written) as file, pytest.raises(MoireioError, match=what):
        cut_ribbon(file, width, axis)
