"""Neighbour lists: every pair of a brute-force search, and no other."""

import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moireio.errors import MoireioError
from moireio.system.neighbours import close_pairs, neighbour_list
from moireio.system.structure import Structure


def _structure(cell, pbc, positions, species=None):
    species = np.zeros(len(positions), int) if species is None else species
    return Structure(
        cell=cell,
        pbc=pbc,
        numbers=species + 1,
        positions=positions,
        species=species,
        species_names=("H", "He", "Li")[: species.max(initial=0) + 1],
    )


def _brute_force(structure, reach):
    """Return all (i, j, R) closer than the reach of their species, and their distances."""
    inverse, found = np.linalg.inv(structure.cell), {}
    spread = np.ptp(structure.positions @ inverse, axis=0)
    counts = np.ceil(reach.max() * np.linalg.norm(inverse, axis=0) + spread) + 1
    ranges = [
        range(-int(n), int(n) + 1) if periodic else [0]
        for n, periodic in zip(counts, structure.pbc, strict=True)
    ]
    limit = reach[structure.species[:, None], structure.species]
    for R in product(*ranges):
        vectors = structure.positions[None] - structure.positions[:, None] + R @ structure.cell
        distance = np.linalg.norm(vectors, axis=-1)
        for i, j in np.argwhere(distance < limit).tolist():
            if i != j or any(R):
                found[i, j, *R] = distance[i, j]
    return found


@st.composite
def structures(draw):
    """A few atoms anywhere, in a cell that may be small, skewed, and periodic along some axes."""
    cell = draw(arrays(int, (3, 3), elements=st.integers(-400, 400))) / 100.0
    volume = abs(np.linalg.det(cell))
    assume(volume > 0.5 and np.linalg.norm(np.linalg.inv(cell), axis=0).max() < 2)
    fractional = draw(arrays(float, (draw(st.integers(1, 5)), 3), elements=st.floats(-2, 3)))
    species = draw(arrays(int, len(fractional), elements=st.integers(0, 1)))
    species[0] = 1
    pbc = draw(arrays(bool, 3))
    return _structure(cell, pbc, fractional @ cell, species)


@given(structures(), arrays(float, 3, elements=st.floats(0.4, 4)))
def test_pairs_are_those_of_brute_force(structure, radii):
    reach = np.array([[radii[0], radii[1]], [radii[1], radii[2]]])
    wanted = _brute_force(structure, reach)
    edge = reach[structure.species[:, None], structure.species]
    near = _brute_force(structure, reach + 1e-8)
    assume(all(abs(d - edge[key[:2]]) > 1e-9 for key, d in near.items()))
    i, j, S, d, D = neighbour_list(structure, reach, "ijSdD")
    keys = [tuple(row) for row in np.column_stack([i, j, S]).tolist()]
    assert sorted(keys) == sorted(wanted)
    assert (np.diff(i) >= 0).all()
    np.testing.assert_allclose(d, [wanted[key] for key in keys], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), d, atol=1e-12)
    vectors = structure.positions[j] - structure.positions[i] + S @ structure.cell
    np.testing.assert_allclose(D, vectors, atol=1e-12)


@given(structures(), st.floats(0.5, 3))
def test_close_pairs_are_whole(structure, radius):
    assume(structure.closest_pair(0.31) is None)
    pairs = close_pairs(structure, np.full((2, 2), radius))
    rows = set(map(tuple, np.column_stack([pairs.i, pairs.j, pairs.R]).tolist()))
    assert len(rows) == len(pairs.j)
    assert {(n, n, 0, 0, 0) for n in range(len(structure))} <= rows
    assert {(j, i, -a, -b, -c) for i, j, a, b, c in rows} == rows
    (distances,) = neighbour_list(structure, radius, "d")
    assert len(rows) == len(structure) + len(distances)


def test_every_quantity_alone():
    structure = _structure(np.eye(3) * 2, np.ones(3, bool), np.zeros((1, 3)))
    (distances,) = neighbour_list(structure, 2.1, "d")
    np.testing.assert_allclose(distances, 2.0)
    assert len(distances) == 6


def test_atoms_in_one_place_are_refused():
    positions = np.array([[0.0, 0, 0], [0, 0, 5], [0, 0, 0]])
    structure = _structure(np.eye(3) * 9, np.ones(3, bool), positions)
    assert structure.closest_pair(0.3)[0] == 0
    with pytest.raises(MoireioError, match=r"atoms 0 and 2 are 0\.000 Å apart"):
        close_pairs(structure, np.array([[3.0]]))
    apart = replace(structure, positions=positions + np.diag([0.0, 0, 1.0]))
    assert len(close_pairs(apart, np.array([[3.0]])).j) == 3 + 2


def test_no_atoms_no_pairs():
    structure = _structure(np.eye(3), np.ones(3, bool), np.zeros((0, 3)))
    assert len(close_pairs(structure, np.zeros((1, 1))).j) == 0


def test_commands_that_need_neighbours_import_no_torch(tmp_path):
    """vesin imported torch, which takes seconds, unless sys.modules pretended that it is absent."""
    script = """
import sys
from moireio.tools.main import main
main(["build-twist", "graphene", "--index", "2", "1", "-o", "g.h5", "-q"], standalone_mode=False)
main(["overlap", "g.h5", "-o", "s.h5", "-q"], standalone_mode=False)
main(["tb-h", "g.h5", "-o", "h.h5", "-q", "--model", "moon-koshino"], standalone_mode=False)
assert "moireio.system.neighbours" in sys.modules
assert "torch" not in sys.modules
assert None not in sys.modules.values()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@given(structures(), st.floats(0.5, 3), arrays(int, (3, 3), elements=st.integers(-300, 300)))
def test_any_cell_of_the_same_lattice(structure, radius, shears):
    """Skewed cells and atoms many cells away have the pairs of the compact cell."""
    change = np.eye(3, dtype=int) + np.tril(shears, -1)
    change[~structure.pbc] = np.eye(3, dtype=int)[~structure.pbc]
    change[:, ~structure.pbc] = np.eye(3, dtype=int)[:, ~structure.pbc]
    steps = np.resize(shears, (len(structure), 3)) * structure.pbc
    other = replace(
        structure,
        cell=change @ structure.cell,
        positions=structure.positions + steps @ structure.cell,
    )
    i, j, d, S = neighbour_list(structure, radius, "ijdS")
    wanted = sorted(
        zip(i, j, map(tuple, (S - steps[j] + steps[i]).tolist()), strict=True), key=repr
    )
    edge = [d] if len(d) else []
    assume(all(abs(radius - v).min() > 1e-6 for v in edge))
    a, b, e, T, E = neighbour_list(other, radius, "ijdSD")
    assert (np.diff(a) >= 0).all()
    found = sorted(zip(a, b, map(tuple, (T @ change).tolist()), strict=True), key=repr)
    assert found == wanted
    # Fractional coordinates in a skewed cell lose what its condition number takes.
    rounding = 1e-15 * np.linalg.cond(other.cell) * abs(other.positions).max() + 1e-12
    np.testing.assert_allclose(np.sort(e), np.sort(d), atol=rounding)
    vectors = other.positions[b] - other.positions[a] + T @ other.cell
    np.testing.assert_allclose(E, vectors, atol=rounding)


@pytest.mark.parametrize("pbc", [[1, 1, 0], [1, 0, 0], [0, 0, 0]])
def test_atoms_far_apart_where_nothing_is_periodic(pbc):
    """These ended the process: matscipy's bins overflow."""
    places = np.array([[0.0, 0, 0], [1.4, 0, 0], [0, 0, 1e6], [1.4, 0, 1e6], [0.7, 0, -1e6]])
    cell = np.array([[2.46, 0, 0], [1.23, 2.13, 0], [0, 0, 20]])
    structure = _structure(cell, np.array(pbc, bool), places)
    i, j, d = neighbour_list(structure, 1.5, "ijd")
    order = np.lexsort((j, i))
    aside = [] if not pbc[0] else [1.06]  # 2.46 − 1.4
    assert set(np.round(d, 6)) == {1.4, *aside}
    pairs = {(0, 1), (1, 0), (2, 3), (3, 2)}
    assert set(zip(i[order].tolist(), j[order].tolist(), strict=True)) == pairs


def test_a_cell_that_is_wound_up():
    cell = np.array([[2.46, 0, 0], [1.23, 2.13, 0], [0, -2147483.0, 20]])
    places = np.array([[0.0, 0, 0], [1.23, 0.71, 0]])
    structure = _structure(cell, np.ones(3, bool), places)
    pairs = close_pairs(structure, np.array([[2.0]]))
    assert len(pairs) == 2 + 2 * 3
    straight = replace(structure, cell=cell * [[1], [1], [0]] + [[0, 0, 0], [0, 0, 0], [0, 0, 20]])
    assert len(close_pairs(straight, np.array([[2.0]]))) == 2 + 2 * 3


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (np.eye(3) * 5e6, r"a cell of 5e\+06 × 5e\+06 × 5e\+06 Å is too large"),
        (np.diag([1e-3, 1e-3, 1e3]), r"shortest lattice vector is 0\.001 Å long"),
    ],
)
def test_cells_of_no_sense(cell, words):
    structure = _structure(cell, np.ones(3, bool), np.zeros((1, 3)))
    with pytest.raises(MoireioError, match=words):
        neighbour_list(structure, 1000.0 if cell[0, 0] < 1 else 5.0, "ijS")


def test_a_crowd_in_one_place():
    """All pairs of 50,000 atoms in one place would not fit into memory."""
    positions = np.zeros((50_000, 3))
    positions[-1] = 4.0
    structure = _structure(np.eye(3) * 9, np.ones(3, bool), positions)
    with pytest.raises(MoireioError, match=r"atoms 0 and 1 are 0\.000 Å apart"):
        close_pairs(structure, np.array([[3.0]]))
