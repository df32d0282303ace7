"""Hamiltonians in DeepH-pack's local frames."""

import json
import os

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from systems import rotation_of_orbitals, rotation_of_spin

from moireio.errors import MoireioError
from moireio.formats.deeph import folder as deeph

SHELLS = {6: (0, 1, 2), 7: (0, 3)}
# x y z; 3z²−r² x²−y² xy xz yz; as OpenMX's manual lists f
OPENMX = {0: [0], 1: [1, -1, 0], 2: [0, 2, -2, 1, -1], 3: [0, 1, -1, 2, -2, 3, -3]}


def openmx_order(shells):
    """Where OpenMX's orbitals stand in moireio's order."""
    out, start = [], 0
    for momentum in shells:
        out += [start + momentum + m for m in OPENMX[momentum]]
        start += 2 * momentum + 1
    return np.array(out)


def make(folder, spin, kind="h5", seed=3):
    """Two folders of one Hamiltonian: global blocks in moireio's order, and local ones in files."""
    os.makedirs(folder)
    rng = np.random.default_rng(seed)
    atoms = [6, 7, 6]
    np.savetxt(folder / "lat.dat", np.diag([4.0, 5.0, 9.0]))
    np.savetxt(folder / "site_positions.dat", rng.uniform(0, 3, size=(3, 3)))
    np.savetxt(folder / "element.dat", atoms, fmt="%d")
    (folder / "orbital_types.dat").write_text("0 1 2\n0 3\n0 1 2\n")
    (folder / "info.json").write_text(json.dumps({"isspinful": spin, "fermi_level": -1.0}))
    keys = [(R, 0, 0, i, j) for R in (-1, 0, 1) for i in range(3) for j in range(3)]
    globally, rh, rc = {}, {}, {}
    factor = 2 if spin else 1
    for key in keys:
        partner = (-key[0], 0, 0, key[4], key[3])
        shells = SHELLS[atoms[key[3]]], SHELLS[atoms[key[4]]]
        shape = [factor * sum(2 * v + 1 for v in s) for s in shells]
        block = rng.normal(size=shape) + (1j * rng.normal(size=shape) if spin else 0)
        if partner in globally:
            block = globally[partner].conj().T
        elif partner == key:
            block = block + block.conj().T
        globally[key] = block
        turn = Rotation.random(random_state=rng).as_matrix()
        # Local functions are Y(R⁻¹ r) = D(R⁻¹) Y(r).
        left, right = (rotation_of_orbitals(s, turn.T) for s in shells)
        orders = [openmx_order(s) for s in shells]
        if spin:
            U = rotation_of_spin(turn)
            left, right = np.kron(U.conj().T, left), np.kron(U.conj().T, right)
            orders = [np.r_[o, o + len(o)] for o in orders]
        name = str([*key[:3], key[3] + 1, key[4] + 1])
        rh[name] = (left @ block @ right.conj().T)[np.ix_(*orders)]
        rc[name] = turn
    if kind == "npz":
        np.savez(folder / "rh.npz", **rh)
        np.savez(folder / "rc.npz", **rc)
        return globally
    for stem, blocks in (("rh", rh), ("rc", rc)):
        with h5py.File(folder / f"{stem}.h5", "w") as file:
            for name, block in blocks.items():
                file[name] = block
    return globally


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_blocks_are_turned_back(tmp_path, spin, kind):
    globally = make(tmp_path / "a", spin, kind)
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
    make(tmp_path / "a", False)
    damage(tmp_path / "a")
    with pytest.raises(MoireioError) as error:
        deeph.read(str(tmp_path / "a")).hamiltonian.rows(0, 3)
    assert complaint in str(error.value)


def test_global_blocks_count_where_there_are_both(tmp_path):
    globally = make(tmp_path / "a", False)
    names = {str([*k[:3], k[3] + 1, k[4] + 1]): k for k in globally}
    shells = [SHELLS[6], SHELLS[7], SHELLS[6]]
    with h5py.File(tmp_path / "a" / "hamiltonians.h5", "w") as file:
        for name, key in names.items():
            orders = [openmx_order(shells[a]) for a in key[3:]]
            file[name] = globally[key][np.ix_(*orders)]
    os.remove(tmp_path / "a" / "rc.h5")
    operator = deeph.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    np.testing.assert_array_equal(operator.data[: 9 * 9], globally[(-1, 0, 0, 0, 0)].ravel())
