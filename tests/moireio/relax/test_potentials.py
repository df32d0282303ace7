"""The table of layer pairs, and LAMMPS inputs of one's own."""

from dataclasses import replace

import numpy as np
import pytest
from relaxing import bilayer, needs_lammps, twisted

from moireio.errors import MoireioError
from moireio.moire import layers
from moireio.relax.calculators import open_calculator
from moireio.relax.lattice import layer_scales, monolayer
from moireio.relax.potentials import (
    atom_types,
    automatic_setup,
    layer_materials,
    pair_potential,
    potential_table,
)
from moireio.relax.run import relax

TMD = ("MoS2", "MoSe2", "WS2", "WSe2")
KNOWN = [("graphene",) * 2, ("hBN",) * 2, ("graphene", "hBN"), *((a, b) for a in TMD for b in TMD)]
UNKNOWN = [("MoTe2",) * 2, ("MoTe2", "WSe2"), ("graphene", "MoS2")]


def energy(name, structure):
    with open_calculator(name, structure) as field:
        return float(field.evaluate(structure.to_ase(), False)["energy"])


@pytest.mark.parametrize(("lower", "upper"), KNOWN)
def test_pairs_of_the_table(lower, upper):
    structure = bilayer(lower, upper, 6.5 if lower in TMD else 3.4)
    assert layer_materials(structure) == [lower, upper]
    assert pair_potential([lower, upper]).style.startswith("ilp/")


@pytest.mark.parametrize(("lower", "upper"), UNKNOWN)
def test_other_pairs_are_refused_with_the_ways_out(lower, upper):
    with pytest.raises(MoireioError, match=r"no potential between .*deepmd:FILE.*lammps:FILE.in"):
        automatic_setup(bilayer(lower, upper, 7.0))


def test_layers_that_are_in_no_row_are_refused():
    with pytest.raises(MoireioError, match=r"layer 1 \(P\): no potential .*`d3` pbe"):
        automatic_setup(bilayer("phosphorene", "phosphorene", 5.2))
    janus = bilayer("MoS2", "MoS2", 6.2)
    numbers = janus.numbers.copy()
    numbers[1] = 34
    with pytest.raises(MoireioError, match=r"layer 1 \(MoSSe\)"):
        layer_materials(replace(janus, numbers=numbers))


def test_every_row_has_a_source():
    rows, pairs = potential_table()
    assert all(row.source for row in (*rows.values(), *pairs))


def test_types_of_a_corrugated_layer_follow_the_metals():
    structure, _ = twisted(("MoS2", "MoS2"), 4, 3)
    middle = [structure.positions[structure.layer == n, 2].mean() for n in (0, 1)]
    above = structure.positions[:, 2] > np.take(middle, structure.layer) + 0.5
    below = structure.positions[:, 2] < np.take(middle, structure.layer) - 0.5
    expected = 3 * structure.layer + 1 + below + 2 * above
    bent = structure.positions.copy()
    wave = bent @ np.linalg.inv(structure.cell)[:, 0]
    bent[:, 2] += 1.8 * np.sin(2 * np.pi * wave)  # more than the sulphur's height
    types, labels = atom_types(replace(structure, positions=bent), [True, True])
    assert [label[1:] for label in labels] == [("Mo", 0), ("S", -1), ("S", 1)] * 2
    np.testing.assert_array_equal(types, expected)


@needs_lammps
def test_trilayers_are_sums_of_pairs_and_layers():
    pair = bilayer("graphene", "hBN", 3.4)
    third = bilayer("graphene", "graphene", 6.9)
    triple = replace(
        pair,
        cell=pair.cell + np.diag([0, 0, 10.0]),
        positions=np.concatenate([pair.positions, third.positions[2:]]),
        numbers=np.concatenate([pair.numbers, third.numbers[2:]]),
        species=np.concatenate([pair.species, third.species[2:]]),
        layer=[0, 0, 1, 1, 2, 2],
    )

    def part(*members):
        chosen = np.isin(triple.layer, members)
        layer = np.searchsorted(members, triple.layer[chosen])
        arrays = {n: getattr(triple, n)[chosen] for n in ("positions", "numbers", "species")}
        return energy("auto", replace(triple, layer=layer, **arrays))

    pairs = part(0, 1) + part(0, 2) + part(1, 2)
    layers_alone = part(0) + part(1) + part(2)
    assert energy("auto", triple) == pytest.approx(pairs - layers_alone, abs=1e-8)


@needs_lammps
@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("graphene", 2.4602),
        ("hBN", 2.5040),
        ("MoS2", 3.1175),
        ("MoSe2", 3.3114),
        ("WS2", 3.1282),
        ("WSe2", 3.2884),
        ("MoTe2", 3.5755),
    ],
)
def test_lattice_constants_of_the_potentials(name, constant):
    structure = monolayer(layers.named(name))
    with open_calculator("auto", structure) as field:
        found = relax(structure, field, fmax=1e-5, free_cell=True)
    assert np.linalg.norm(found.structure.cell[:2], axis=1) == pytest.approx(constant, abs=1e-4)
    assert found.converged


@needs_lammps
def test_scales_of_a_moire_cell():
    _, moire = twisted(("graphene", "graphene"), 2, 1)
    scales = layer_scales(moire, lambda structure: open_calculator("auto", structure))
    assert scales == {"graphene": pytest.approx(2.4602 / 2.46, abs=4e-5)}


INPUT = """\
# types: side
units metal
pair_style hybrid/overlay sw/mod sw/mod &
  ilp/tmd 16.0 1
pair_coeff * * sw/mod 1 tmd.sw.mod Mo S S NULL NULL NULL   # a remark
pair_coeff * * sw/mod 2 tmd.sw.mod NULL NULL NULL Mo S S
pair_coeff * * ilp/tmd TMD.ILP Mo S S Mo S S
"""


@needs_lammps
def test_an_input_of_ones_own(tmp_path):
    path = tmp_path / "a potential.in"
    path.write_text(INPUT)
    structure = bilayer("MoS2", "MoS2", 6.3, (0.3, 0.1))
    assert energy(f"lammps:{path}", structure) == pytest.approx(energy("auto", structure), abs=1e-8)
    with open_calculator(f"lammps:{path}", structure) as field:
        assert set(field.files) == {"a potential.in", "tmd.sw.mod", "TMD.ILP"}


@needs_lammps
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shell rm x\npair_style zero 5.0", "the command 'shell' has no place in it"),
        ("pair_coeff * * 1 1", "has no pair_style"),
        ("units real\npair_style zero 5.0", "units are metal"),
        ("# types: atom\npair_style zero 5.0", "types: atom is not known"),
        ("pair_style nonsense 5.0", "LAMMPS: .*nonsense"),
        ("pair_style rebo\npair_coeff * * CH.rebo C N", "LAMMPS: "),
    ],
)
def test_inputs_that_are_refused(tmp_path, text, message):
    path = tmp_path / "x.in"
    path.write_text(text)
    with pytest.raises(MoireioError, match=message):
        energy(f"lammps:{path}", bilayer("hBN", "hBN", 3.4))
