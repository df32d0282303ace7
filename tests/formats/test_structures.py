import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats import structures
from moireio.moire import build, cells, layers


@pytest.fixture(scope="module")
def bilayer():
    one = layers.named("MoTe2")
    return build.build([one, one], cells.from_index(one.lattice, one.lattice, 2, 1))[0]


@pytest.mark.parametrize("name", ["POSCAR", "a.vasp", "a.cif", "a.xyz", "a.dat"])
def test_round_trip(bilayer, tmp_path, name):
    path = str(tmp_path / name)
    structures.write(path, bilayer)
    back = structures.read(path)
    lengths = np.linalg.norm(bilayer.cell, axis=1)
    assert np.allclose(np.linalg.norm(back.cell, axis=1), lengths, atol=1e-6)
    assert sorted(back.numbers) == sorted(bilayer.numbers)
    for number in set(bilayer.numbers.tolist()):
        a, b = (s.positions[s.numbers == number] @ np.linalg.inv(s.cell) for s in (bilayer, back))
        delta = a[:, None] - b
        gap = np.linalg.norm((delta - np.round(delta)) @ bilayer.cell, axis=2)
        assert gap.min(axis=1).max() < 1e-4


def test_lammps_keeps_distances(bilayer, tmp_path):
    import ase.io

    path = str(tmp_path / "a.lmp")
    structures.write(path, bilayer)
    back = ase.io.read(path, format="lammps-data")
    assert len(back) == len(bilayer)
    assert np.isclose(back.get_volume(), abs(np.linalg.det(bilayer.cell)), rtol=1e-6)


def test_layer_of_a_file(tmp_path):
    """A layer keeps its crystal when its file has 120 degrees, another origin, a rotated cell."""
    one = layers.named("MoS2")
    from ase import Atoms

    cell = np.zeros((3, 3))
    cell[0, :2] = one.lattice[0]
    cell[1, :2] = one.lattice[1] - one.lattice[0]
    cell[2, 2] = 15.0
    atoms = Atoms(one.symbols, one.positions, cell=cell, pbc=True)
    atoms.rotate(25, "z", rotate_cell=True)
    atoms.positions[:, 2] -= 1.0
    atoms.wrap()
    atoms.write(tmp_path / "one.vasp")
    layer = structures.read_layer(str(tmp_path / "one.vasp"))
    assert np.abs(layer.lattice - one.lattice).max() < 1e-6
    assert layer.thickness == pytest.approx(one.thickness, abs=1e-6)
    assert layer.bond == pytest.approx(one.bond, abs=1e-6)
    shift = layer.positions[0] - one.positions[0]
    delta = layer.positions - one.positions - shift
    fractions = delta[:, :2] @ np.linalg.inv(one.lattice)
    assert np.abs(fractions - np.round(fractions)).max() < 1e-6
    assert np.abs(delta[:, 2]).max() < 1e-6
    assert layer.spacing is None


def test_block_file_as_a_layer(made, tmp_path):
    layer = structures.read_layer(str(made["hbn_soc"]))
    assert layer.symbols == ("B", "N")
    assert layer.bravais_class == "hexagonal"


def test_what_is_no_layer(tmp_path):
    with pytest.raises(MoireioError, match="known: graphene"):
        structures.read_layer("graphenee")
    (tmp_path / "a.vasp").write_text("rubbish\n")
    with pytest.raises(MoireioError, match="cannot be read as a structure"):
        structures.read_layer(str(tmp_path / "a.vasp"))
    from ase import Atoms

    Atoms("C2", [[0, 0, 0], [1.4, 0, 0]]).write(tmp_path / "m.xyz")
    with pytest.raises(MoireioError, match="no lattice"):
        structures.read_layer(str(tmp_path / "m.xyz"))
