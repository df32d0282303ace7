"""The LAMMPS calculator: its energies are LAMMPS', forces and stress their derivatives."""

from dataclasses import replace

import numpy as np
import pytest
from relaxing import bilayer, needs_lammps

from moireio.errors import MoireioError
from moireio.relax.lammps import LammpsCalculator
from moireio.relax.potentials import automatic_setup

pytestmark = needs_lammps
# Minima of rigid bilayers, Å, and binding energies of a cell, meV (separate runs of LAMMPS).
RIGID = {
    ("graphene", "AA"): (3.613, -74.97),
    ("graphene", "AB"): (3.371, -97.23),
    ("hBN", "AA"): (3.565, None),
    ("hBN", "AB"): (3.239, None),
}
PAIRS = [("graphene", "graphene"), ("graphene", "hBN"), ("MoS2", "MoS2"), ("MoSe2", "WS2")]


def with_calculator(structure):
    atoms = structure.to_ase()
    atoms.calc = LammpsCalculator(automatic_setup(structure))
    return atoms


def rattled(lower, upper, distance):
    atoms = with_calculator(bilayer(lower, upper, distance, (0.2, 0.1)))
    atoms.rattle(0.03, seed=1)
    return atoms


@pytest.mark.parametrize(("name", "stacking"), RIGID)
def test_rigid_bilayers(name, stacking):
    expected, binding = RIGID[name, stacking]
    shift = (0, 0) if stacking == "AA" else (1 / 3, 1 / 3)
    atoms = with_calculator(bilayer(name, name, 3.4, shift))
    upper = np.arange(2, 4)
    distances = expected + np.array([-0.04, -0.02, 0.0, 0.02, 0.04, 20.0])
    energies = []
    for distance in distances:
        atoms.positions[upper, 2] = distance
        energies.append(atoms.get_potential_energy())
    fit = np.polynomial.Polynomial.fit(distances[:5], energies[:5], 4)
    minimum = next(r.real for r in fit.deriv().roots() if abs(r - expected) < 0.03)
    assert minimum == pytest.approx(expected, abs=1e-3)
    if binding is not None:
        assert 1e3 * (fit(minimum) - energies[-1]) == pytest.approx(binding, abs=0.02)


@pytest.mark.parametrize(("lower", "upper"), PAIRS)
def test_forces_are_derivatives_of_the_energy(lower, upper):
    atoms = rattled(lower, upper, 3.4 if "S" not in lower + upper else 6.4)
    forces, step = atoms.get_forces(), 1e-4
    for atom, axis in ((0, 0), (len(atoms) - 1, 2), (len(atoms) // 2, 1)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[atom, axis] += sign * step
            energies.append(moved.get_potential_energy())
        slope = (energies[1] - energies[0]) / (2 * step)
        assert forces[atom, axis] == pytest.approx(slope, abs=2e-5)


@pytest.mark.parametrize(("lower", "upper"), PAIRS)
def test_stress_is_the_derivative_of_the_energy(lower, upper):
    atoms = rattled(lower, upper, 3.4 if "S" not in lower + upper else 6.4)
    stress, volume, step = atoms.get_stress(voigt=False), atoms.get_volume(), 1e-5
    for i, j in ((0, 0), (1, 1), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.set_cell(atoms.cell.array @ strain, scale_atoms=False)
            moved.positions = atoms.positions @ strain
            energies.append(moved.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step * volume)
        assert stress[i, j] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("turn", ["axes", "mirror", "wrapped", "skew"])
def test_the_description_of_a_structure_does_not_matter(turn):
    first = bilayer("MoS2", "WSe2", 6.3, (0.2, 0.1))
    expected = with_calculator(first)
    if turn == "axes":  # vacuum along x
        order = [2, 0, 1]
        other = replace(
            first,
            cell=first.cell[order][:, order],
            positions=first.positions[:, order],
            pbc=first.pbc[order],
        )
        forces = expected.get_forces()[:, order]
    elif turn == "mirror":
        flip = np.array([1.0, -1.0, 1.0])
        other = replace(first, cell=first.cell * flip, positions=first.positions * flip)
        forces = expected.get_forces() * flip
    elif turn == "wrapped":
        steps = np.random.default_rng(0).integers(-2, 3, (len(first), 3)) * [1, 1, 0]
        other = replace(first, positions=first.positions + steps @ first.cell)
        forces = expected.get_forces()
    else:
        other = replace(first, cell=np.array([[1, 0, 0], [3, 1, 0], [0, 0, 1]]) @ first.cell)
        forces = expected.get_forces()
    atoms = with_calculator(other)
    assert atoms.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-8)


def test_layers_may_move_beyond_the_first_padding():
    atoms = with_calculator(bilayer("graphene", "graphene", 3.4))
    atoms.get_potential_energy()
    atoms.positions[2:, 2] += 40.0
    far = atoms.get_potential_energy()
    alone = [with_calculator(bilayer("graphene", "graphene", d)) for d in (20.0, 25.0)]
    assert far == pytest.approx(alone[0].get_potential_energy(), abs=1e-9)
    assert far == pytest.approx(alone[1].get_potential_energy(), abs=1e-9)


def test_another_number_of_atoms_is_refused():
    atoms = with_calculator(bilayer("graphene", "graphene", 3.4))
    other = atoms[:3]
    other.calc = atoms.calc
    with pytest.raises(MoireioError, match="set up for 4 atoms, not 3"):
        other.get_potential_energy()
