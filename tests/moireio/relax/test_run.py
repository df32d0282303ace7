"""Relaxations against reference runs, and what is refused on the way."""

from dataclasses import replace

import numpy as np
import pytest
from relaxing import bilayer, needs_lammps, springs, twisted

from moireio.errors import MoireioError
from moireio.relax.calculators import open_calculator
from moireio.relax.groups import group_symbol, loses_symmetry
from moireio.relax.journal import Journal
from moireio.relax.lattice import deformed_moire, scaled
from moireio.relax.record import make_record
from moireio.relax.run import relax

# Twisted graphene: ASE's PreconLBFGS on LAMMPS' energies, separate runs (larger cells:
# tests/bench/bench_relax.py; index, fmax, energies in
# eV, distances in Å, largest displacement in the plane in Å, evaluations).
GRAPHENE = [
    ((6, 5), 1e-4, (-2699.773814, -2699.963495), (3.5978, 3.3661, 3.3857), 0.0093, 25),
]
SETTINGS = {"cell": "fixed", "symmetry": "check"}


@needs_lammps
@pytest.mark.parametrize(("index", "fmax", "energies", "distances", "inplane", "count"), GRAPHENE)
def test_twisted_graphene(index, fmax, energies, distances, inplane, count):
    structure, moire = twisted(("graphene", "graphene"), *index)
    with open_calculator("auto", structure) as field:
        found = relax(structure, field, fmax=fmax)
        record, _ = make_record(found, field, moire, fmax_asked=fmax, **SETTINGS)
    assert found.converged
    assert found.fmax <= fmax
    assert found.energy_before == pytest.approx(energies[0], abs=1e-5)
    assert -0.02 < found.energy_after - energies[1] < 1e-3
    named = dict(zip(("AA", "AB", "SP"), distances, strict=True)) | {"BA": distances[1]}
    assert record.distances == pytest.approx(named, abs=2e-3)
    assert record.inplane == pytest.approx([inplane] * 2, abs=5e-4)
    assert (record.group_before, record.group_after) == ("P622", "P622")
    assert found.evaluations <= count + 5


@needs_lammps
@pytest.mark.parametrize("strain", [(0.01, 0.01), (0.012, -0.008)])
def test_a_strained_bilayer_returns_to_its_own_lattice(strain):
    natural = bilayer("graphene", "graphene", 3.37, (1 / 3, 1 / 3))
    factors = np.array([1 + strain[0], 1 + strain[1], 1.0])
    strained = replace(natural, cell=natural.cell * factors, positions=natural.positions * factors)
    with open_calculator("auto", natural) as field:
        found = [relax(s, field, fmax=1e-5, free_cell=True) for s in (natural, strained)]
        lattice = found[1].structure.cell[:2, :2]
        # the energy of the bilayer at other lattice constants is higher
        around = []
        for scale in (0.999, 1.001):
            factors = np.array([scale, scale, 1.0])
            end = found[1].structure
            moved = replace(end, cell=end.cell * factors, positions=end.positions * factors)
            around.append(relax(moved, field, fmax=1e-5).energy_after)
    assert all(f.converged for f in found)
    assert found[1].energy_after == pytest.approx(found[0].energy_after, abs=1e-7)
    lengths = np.linalg.norm([*lattice, lattice[1] - lattice[0]], axis=1)
    assert lengths == pytest.approx(np.linalg.norm(found[0].structure.cell[0]), abs=2e-5)
    assert lengths == pytest.approx(2.4602, abs=1.5e-3)  # a layer by itself
    assert min(around) > found[1].energy_after
    assert np.abs(found[1].stress[[0, 1, 5]]).max() < 1e-5
    assert found[1].structure.cell[2] == pytest.approx(natural.cell[2], abs=1e-12)


@needs_lammps
def test_kept_symmetry_is_exact():
    structure, _ = twisted(("MoS2", "MoS2"), 2, 1)
    noise = np.random.default_rng(0).normal(size=(len(structure), 3)) * 1e-4
    uneven = replace(structure, positions=structure.positions + noise)
    assert group_symbol(uneven) == group_symbol(structure) == "P321"
    rough = replace(structure, positions=structure.positions + 100 * noise)
    assert loses_symmetry(structure, rough)
    assert not loses_symmetry(rough, structure)
    assert not loses_symmetry(structure, uneven)
    with open_calculator("auto", uneven) as field:
        kept = relax(uneven, field, fmax=1e-3, keep_symmetry=True)
        free = relax(uneven, field, fmax=1e-3)
    assert group_symbol(kept.structure, 1e-8) == "P321"
    assert kept.energy_after == pytest.approx(free.energy_after, abs=1e-4)


def test_forces_that_are_not_finite(tmp_path):
    structure = bilayer("graphene", "graphene", 3.4)
    with pytest.raises(MoireioError, match="the force on atom 3 is not finite after 3 evaluations"):
        relax(structure, springs(fails_at=3))


def test_layers_that_fly_apart():
    structure = bilayer("graphene", "graphene", 3.4)
    message = r"layers 1 and 2 fly apart: .* was 3.40 Å and is .*`d3` pbe"
    with pytest.raises(MoireioError, match=message):
        relax(structure, springs(1e-6, push=0.3))


@needs_lammps
def test_directions_that_lead_upwards_are_no_news(caplog):
    structure = bilayer("graphene", "graphene", 0.6)  # repelled so much that a step overshoots
    single = replace(structure, layer=np.zeros(len(structure), dtype=int))
    with open_calculator("auto", single) as field:
        relax(single, field, steps=20)
    assert caplog.records == []


def test_steps_end_a_run_and_a_journal_goes_on(tmp_path):
    structure = bilayer("MoS2", "MoS2", 6.3)
    path = str(tmp_path / "x.part.npz")
    settings = {"fmax": 1e-6}
    whole = relax(structure, springs(), **settings)
    field = springs()
    journal = Journal(path, structure, field.identity)
    part = relax(structure, field, steps=1, journal=journal, **settings)
    assert (part.steps, part.converged) == (1, False)
    rest = relax(structure, field, journal=journal, resume=True, **settings)
    assert rest.converged
    assert rest.steps > 1
    assert rest.energy_before == part.energy_before == whole.energy_before
    assert rest.energy_after == pytest.approx(whole.energy_after, abs=1e-8)
    assert rest.evaluations > part.evaluations
    np.testing.assert_allclose(rest.structure.positions, whole.structure.positions, atol=1e-5)


def test_a_journal_of_something_else_is_refused(tmp_path):
    structure = bilayer("MoS2", "MoS2", 6.3)
    path, field = str(tmp_path / "x.part.npz"), springs()
    relax(structure, field, steps=1, journal=Journal(path, structure, field.identity))
    moved = replace(structure, positions=structure.positions + 1e-9)
    with pytest.raises(MoireioError, match="with another structure"):
        Journal(path, moved, field.identity).load()
    with pytest.raises(MoireioError, match="with another version"):
        Journal(path, structure, field.identity | {"version": "2"}).load()
    with open(path, "r+b") as stream:
        stream.truncate(200)
    with pytest.raises(MoireioError, match="is damaged"):
        Journal(path, structure, field.identity).load()
    with pytest.raises(MoireioError, match="nothing to go on with"):
        Journal(path + "x", structure, field.identity).load()


def test_records_of_cells_that_change():
    structure, moire = twisted(("graphene", "graphene"), 2, 1)
    larger, record = scaled(structure, moire, 1.01)
    for layer in record.layers:
        np.testing.assert_allclose(layer.cell, larger.cell[:2, :2], atol=1e-10)
        np.testing.assert_allclose(layer.strain, 0, atol=1e-12)
    shear = np.eye(3)
    shear[:2, :2] += [[0.01, 0.004], [0.002, -0.003]]
    cell = structure.cell @ shear
    for layer, was in zip(
        deformed_moire(moire, structure.cell, cell).layers, moire.layers, strict=True
    ):
        np.testing.assert_allclose(layer.cell, cell[:2, :2], atol=1e-10)
        np.testing.assert_allclose(layer.strain, layer.strain.T, atol=1e-14)
        assert layer.angle == pytest.approx(was.angle, abs=0.2)
