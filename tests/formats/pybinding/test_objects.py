"""Lattices of pybinding."""

from types import SimpleNamespace

import numpy as np
import pytest
from foreign_levels import levels, matrices_at

from moireio.errors import MoireioError
from moireio.formats import pybinding as ours


@pytest.fixture
def lattice():
    pb = pytest.importorskip("pybinding")
    a = 0.25
    made = pb.Lattice([a, 0], [a / 2, a * 3**0.5 / 2])
    made.add_sublattices(("A", [0, 0], 0.3), ("B", [a / 2, 0.1], [[-0.3, 0.1j], [-0.1j, 0.2]]))
    hop = np.array([[0.4 + 0.3j, -1.1 + 0.2j]])
    made.add_hoppings(([0, 0], "A", "B", hop), ([0, -1], "A", "B", 1.1 * hop))
    made.add_hoppings(([1, 0], "A", "A", 0.2j), ([0, 1], "A", "A", 0.1 - 0.2j))
    return made


def test_matrices_of_a_finite_piece(lattice):
    """pybinding's own matrix between two cells that lie side by side."""
    pb = pytest.importorskip("pybinding")
    model = pb.Model(lattice, pb.primitive(2, 1))
    points = np.stack([model.system.x, model.system.y], axis=1)
    first, second = sorted(
        (n for n, sub in enumerate(model.system.sublattices) if sub == 0),
        key=lambda n: points[n, 0],
    )
    assert points[second, 0] > points[first, 0]
    whole = model.hamiltonian.toarray()
    calculation = ours.read(lattice)
    source = calculation.hamiltonian
    place = source.pairs.find([0], [0], [[1, 0, 0]])[0]
    offsets = np.concatenate([[0], np.cumsum(source.pairs.block_elements(source.sizes))])
    assert source.data[offsets[place]] == pytest.approx(whole[first, second], abs=1e-7)
    np.testing.assert_allclose(calculation.structure.cell[0], [2.5, 0, 0])


def test_bands_of_pybinding(lattice):
    """Its wave vector has the opposite sign."""
    pb = pytest.importorskip("pybinding")
    solver = pb.solver.lapack(pb.Model(lattice, pb.translational_symmetry()))
    calculation = ours.read(lattice)
    reciprocal = 2 * np.pi * np.linalg.inv(np.array(lattice.vectors)[:, :2]).T
    for k in np.random.default_rng(2).random((4, 2)):
        solver.set_wave_vector(-k @ reciprocal)
        np.testing.assert_allclose(
            levels(calculation, [*k, 0])[0], solver.eigenvalues, atol=2e-6
        )  # single precision
    assert matrices_at(calculation.hamiltonian, [0, 0, 0]).shape == (1, 3, 3)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_lattice_by_its_attributes_alone(dimension):
    """Any object like pybinding's: H(k) is the sum of all terms and their adjoints, nm become Å."""
    rng = np.random.default_rng(dimension)
    flat = np.arange(3) < dimension
    places = rng.uniform(-2, 2, (2, 3)) * flat
    energies = np.array([0.3, -0.2]), np.array([[0.7]])
    sublattices = {
        name: SimpleNamespace(unique_id=n, alias_id=n, position=places[n], energy=energies[n])
        for n, name in enumerate("AB")
    }
    rows, hoppings = (slice(0, 2), slice(2, 3)), {}
    for n, (i, j) in enumerate(((0, 1), (1, 0), (0, 0), (1, 1))):
        shape = len(energies[i]), len(energies[j])
        energy = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        R = rng.integers(-2, 3, dimension)
        R[0] = n + 1
        term = SimpleNamespace(relative_index=R, from_id=i, to_id=j)
        hoppings[f"h{n}"] = SimpleNamespace(family_id=n, energy=energy, terms=[term])
    vectors = [tuple(row) for row in 0.3 * np.eye(3)[:dimension] + 0.05 * flat]
    lattice = SimpleNamespace(vectors=vectors, sublattices=sublattices, hoppings=hoppings)
    calculation = ours.read(lattice)
    assert calculation.structure.pbc.tolist() == flat.tolist()
    np.testing.assert_allclose(calculation.structure.cell[:dimension], 10 * np.array(vectors))
    np.testing.assert_allclose(calculation.structure.positions, 10 * places, atol=1e-12)
    for k in rng.uniform(-1, 1, (4, 3)) * flat:
        H = np.diag([0.3, -0.2, 0.7]).astype(complex)
        for hopping in hoppings.values():
            (term,) = hopping.terms
            one = np.zeros((3, 3), dtype=complex)
            one[rows[term.from_id], rows[term.to_id]] = hopping.energy
            one *= np.exp(2j * np.pi * k[:dimension] @ term.relative_index)
            H += one + one.conj().T
        np.testing.assert_allclose(levels(calculation, k)[0], np.linalg.eigvalsh(H), atol=1e-12)


def test_what_is_no_lattice_is_refused():
    with pytest.raises(MoireioError, match="a Lattice or Model of pybinding is expected"):
        ours.read(object())
