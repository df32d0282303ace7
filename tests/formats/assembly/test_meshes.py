"""From H(k) on a mesh to H(R)."""

import numpy as np
import pytest
from foreign_levels import matrices_at

from moireio.errors import MoireioError
from moireio.formats.assembly.meshes import Images, RegularMesh, calculation_on_mesh
from moireio.formats.assembly.orders import NATURAL
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

CELL = np.array([[3.0, 0, 0], [-1.4, 2.8, 0], [0.3, 0.2, 3.5]])
POSITIONS = np.array([[0.1, 0.2, 0.3], [1.2, -4.0, 2.0]])


def structure_of(pbc=(True, True, True)):
    return Structure(CELL, POSITIONS, [1, 6], [0, 1], ["H", "C"], pbc)


def points(shape, shift=(0, 0, 0)):
    return (np.indices(shape).reshape(3, -1).T + np.array(shift)) / np.array(shape)


def short_ranged(rng):
    """Random H(R), S(R) of s and p orbitals that reach nearest images only, and their sums."""
    images = Images.shortest(structure_of(), (3, 3, 3))
    kept = [n for n, one in enumerate(images.cells.tolist()) if np.abs(one).max() <= 1]
    atoms = np.repeat([0, 1], [1, 4])
    near = (images.lengths < 3.4) & (images.weights == 1)
    parts = {}
    for n in kept:
        mask = near[n][np.ix_(atoms, atoms)]
        if mask.any():
            parts[tuple(images.cells[n])] = mask * rng.normal(size=(5, 5))
    whole = {}
    for R, matrix in parts.items():
        for cell, one in ((R, matrix), (tuple(-np.array(R)), matrix.T)):
            whole[cell] = whole.get(cell, 0) + one
    return whole


def at(parts, k):
    return sum(np.exp(2j * np.pi * np.dot(k, R)) * one for R, one in parts.items())


@pytest.mark.parametrize("decay", [0.0, 0.4])
def test_images_do_not_depend_on_the_lattice_vectors(decay):
    """a, b + 9 a, c - 7 b are vectors of the same lattice, and 3 x 3 x 3 the same mesh."""
    change = np.array([[1, 0, 0], [9, 1, 0], [0, -7, 1]])
    skewed = Structure(change @ CELL, POSITIONS, [1, 6], [0, 1], ["H", "C"], (True, True, True))
    found = []
    for structure, matrix in ((structure_of(), np.eye(3, dtype=int)), (skewed, change)):
        images = Images.shortest(structure, (3, 3, 3), decay)
        order = np.lexsort((images.cells @ matrix).T)
        found.append(((images.cells @ matrix)[order], images.weights[order]))
    (cells, weights), (others, same) = found
    strong, few = weights.max(axis=(1, 2)) > 1e-3, same.max(axis=(1, 2)) > 1e-3
    assert np.array_equal(cells[strong], others[few])
    np.testing.assert_allclose(weights[strong], same[few], rtol=0, atol=1e-4)


BASIS = Basis({"H": SpeciesBasis((0,)), "C": SpeciesBasis((0, 1))})


@pytest.mark.parametrize("shift", [(0, 0, 0), (0.5, 0.5, 0.5)])
def test_what_is_short_ranged_comes_back(shift):
    """Also between the points of the mesh, and with atoms outside the cell."""
    rng = np.random.default_rng(1)
    h, s = short_ranged(rng), short_ranged(rng)
    s = {R: 0.02 * one + np.eye(5) * (R == (0, 0, 0)) for R, one in s.items()}
    k = points((3, 3, 3), shift)
    order = rng.permutation(len(k))
    k = k[order] + rng.integers(-1, 2, (27, 3))
    matrices = [np.array([at(parts, one) for one in k]) for parts in (h, s)]
    calculation = calculation_on_mesh("x", structure_of(), BASIS, NATURAL, k, *matrices)
    for one in rng.random((3, 3)):
        for source, parts in ((calculation.hamiltonian, h), (calculation.overlap, s)):
            np.testing.assert_allclose(matrices_at(source, one)[0], at(parts, one), atol=1e-12)
    assert calculation.hamiltonian.data.dtype == np.float64
    (note,) = (note for note in calculation.notes if "mesh" in note)
    assert "27 x" not in note
    assert "3 x 3 x 3" in note


@pytest.mark.parametrize("shape", [(2, 2, 2), (4, 1, 3), (1, 1, 1)])
def test_points_of_the_mesh_come_back(shape):
    """Whatever H is: elements at the border of the Wigner–Seitz cell are shared."""
    rng = np.random.default_rng(2)
    k = points(shape)
    h = rng.normal(size=(len(k), 5, 5)) + 1j * rng.normal(size=(len(k), 5, 5))
    h += h.conj().transpose(0, 2, 1)
    calculation = calculation_on_mesh(
        "x", structure_of(), BASIS, NATURAL, k, h, np.array([np.eye(5)] * len(k))
    )
    for one, matrix in zip(k, h, strict=True):
        np.testing.assert_allclose(matrices_at(calculation.hamiltonian, one)[0], matrix, atol=1e-12)


def test_the_error_along_a_vector_with_one_point_is_estimated():
    """A chain at Γ alone: nothing is known of its dispersion."""
    cell, at = np.diag([2.0, 20, 20]), [[0, 0, 0], [0.9, 0, 0]]
    chain = Structure(cell, at, [1, 1], [0, 0], ["H"], (True, False, False))
    basis = Basis({"H": SpeciesBasis((0,))})
    h, s = [[0.3, -1.5], [-1.5, 0.1]], [[1.0, 0.15], [0.15, 1.0]]
    found = calculation_on_mesh("x", chain, basis, NATURAL, [[0, 0, 0]], [h], [s])
    words = next(note for note in found.notes if "estimated error" in note).split()
    assert float(words[words.index("is") + 1]) > 0.05


def test_images_are_the_shortest():
    """By looking at all images of every pair."""
    structure = structure_of((True, True, False))
    shape = (3, 2, 1)
    images = Images.shortest(structure, shape)
    many = np.array([(a, b, 0) for a in range(-9, 10) for b in range(-9, 10)])
    assert not images.cells[:, 2].any()
    for i in range(2):
        for j in range(2):
            lengths = np.linalg.norm(POSITIONS[j] + many @ CELL - POSITIONS[i], axis=1)
            classes = (many % shape) @ [1, 10, 0]
            for one in np.unique(classes):
                least = lengths[classes == one].min()
                nearest = many[(classes == one) & (lengths < least + 1e-4)]
                places = [images.cells.tolist().index(cell) for cell in nearest.tolist()]
                np.testing.assert_allclose(images.weights[places, i, j], 1 / len(nearest))
                np.testing.assert_allclose(images.lengths[places, i, j], least, atol=1e-4)
    np.testing.assert_allclose(images.weights.sum(axis=0), 6)


def test_meshes_are_recognised():
    for shape, shift in (
        ((4, 2, 1), (0.5, 0, 0)),
        ((5, 5, 5), (0, 0, 0)),
        ((1, 1, 1), (0.3, 0, 0)),
    ):
        k = points(shape, shift)
        mesh, added = RegularMesh.of(np.round(k - np.rint(k), 6), "x")
        assert mesh.shape == shape
        np.testing.assert_allclose(mesh.shift, shift, atol=1e-4)
        assert len(added) == 0
    k = points((3, 3, 1))
    half = np.array([one for one in k if tuple((-one) % 1) >= tuple(one)])
    mesh, added = RegularMesh.of(half, "x")
    assert mesh.shape == (3, 3, 1)
    assert len(half) + len(added) == 9
    for wrong in (half[1:], k[1:], np.concatenate([k, k[:1]]), [[0, 0, np.nan]]):
        with pytest.raises(MoireioError):
            RegularMesh.of(wrong, "x")
    with pytest.raises(MoireioError, match="without reduction by symmetry"):
        RegularMesh.of(half, "x", pairs=False)
