"""Hamiltonians in DeepH-pack's local frames."""

import os

import h5py
import numpy as np
import pytest
from deeph_systems import MOMENTA, local_folder, openmx_order

from moireio.errors import MoireioError
from moireio.formats.deeph import folder as deeph


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_blocks_are_turned_back(tmp_path, spin, kind):
    globally = local_folder(tmp_path / "a", spin, kind)
    operator = deeph.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    pairs, at = operator.pairs, 0
    assert len(pairs) == len(globally)
    for i, j, R in zip(pairs.i, pairs.j, pairs.R, strict=True):
        block = globally[(*R.tolist(), int(i), int(j))]
        found = operator.data[at : at + block.size].reshape(block.shape)
        np.testing.assert_allclose(found, block, atol=1e-12)
        at += block.size
    assert operator.meta.residual < 1e-12


def edit(stem, change):
    def damage(folder):
        with h5py.File(folder / f"{stem}.h5", "r+") as file:
            change(file)

    return damage


def put(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


KEY = "[0, 0, 0, 1, 2]"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda d: os.remove(d / "rc.h5"), "has rh.h5, but neither rc.h5 nor rc.npz"),
        (edit("rc", lambda f: f.pop(KEY)), "rc.h5: lacks [0, 0, 0, 1, 2], which rh.h5 has"),
        (edit("rc", put(KEY, -np.eye(3))), "[0, 0, 0, 1, 2] are not orthonormal and right-handed"),
        (edit("rc", put(KEY, np.full((3, 3), np.nan))), "are not orthonormal and right-handed"),
        (edit("rc", put(KEY, np.eye(2))), "(2, 2), the axes of a frame (3, 3) expected"),
        (edit("rc", put(KEY, np.eye(3, dtype=int))), "int64 (3, 3), the axes of a frame"),
        (edit("rh", put(KEY, np.eye(3))), "has 3 x 3 numbers, 9 x 8 expected"),
        (edit("rh", put(KEY, np.ones((9, 8)))), "and of its partner differ by"),
    ],
)
def test_damage(tmp_path, damage, complaint):
    local_folder(tmp_path / "a", False)
    damage(tmp_path / "a")
    with pytest.raises(MoireioError) as error:
        deeph.read(str(tmp_path / "a")).hamiltonian.rows(0, 3)
    assert complaint in str(error.value)


def test_global_blocks_count_where_there_are_both(tmp_path):
    globally = local_folder(tmp_path / "a", False)
    names = {str([*k[:3], k[3] + 1, k[4] + 1]): k for k in globally}
    shells = [MOMENTA[6], MOMENTA[7], MOMENTA[6]]
    with h5py.File(tmp_path / "a" / "hamiltonians.h5", "w") as file:
        for name, key in names.items():
            orders = [openmx_order(shells[a]) for a in key[3:]]
            file[name] = globally[key][np.ix_(*orders)]
    os.remove(tmp_path / "a" / "rc.h5")
    operator = deeph.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    np.testing.assert_array_equal(operator.data[: 9 * 9], globally[(-1, 0, 0, 0, 0)].ravel())


def test_predictions_in_local_frames(tmp_path):
    globally = local_folder(tmp_path / "a", False)
    os.rename(tmp_path / "a" / "rh.h5", tmp_path / "a" / "rh_pred.h5")
    with pytest.raises(MoireioError, match="with `predicted` the predicted one is read"):
        deeph.read(str(tmp_path / "a"))
    with deeph.read(str(tmp_path / "a"), predicted=True) as found:
        block = found.hamiltonian.rows(0, 1)[: 9 * 9].reshape(9, 9)
        np.testing.assert_allclose(block, globally[-1, 0, 0, 0, 0], atol=1e-12)
        assert found.hamiltonian.meta.source == "model"
