import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.structures import files as structure_files
from moireio.moire import build, cells, layers
from moireio.system.structure import Structure


@pytest.fixture(scope="module")
def bilayer():
    one = layers.named("MoTe2")
    return build.build([one, one], cells.from_index(one.lattice, one.lattice, 2, 1))[0]


@pytest.mark.parametrize("name", ["POSCAR", "a.vasp", "a.cif", "a.xyz", "a.dat"])
def test_round_trip(bilayer, tmp_path, name):
    path = str(tmp_path / name)
    structure_files.write(path, bilayer)
    back = structure_files.read(path)
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
    structure_files.write(path, bilayer)
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
    layer = structure_files.read_layer(str(tmp_path / "one.vasp"))
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
    layer = structure_files.read_layer(str(made["hbn_soc"]))
    assert layer.symbols == ("B", "N")
    assert layer.bravais_class == "hexagonal"


def test_what_is_no_layer(tmp_path):
    with pytest.raises(MoireioError, match="known: graphene"):
        structure_files.read_layer("graphenee")
    (tmp_path / "a.vasp").write_text("rubbish\n")
    with pytest.raises(MoireioError, match="cannot be read as a structure"):
        structure_files.read_layer(str(tmp_path / "a.vasp"))
    from ase import Atoms

    Atoms("C2", [[0, 0, 0], [1.4, 0, 0]]).write(tmp_path / "m.xyz")
    with pytest.raises(MoireioError, match="no lattice"):
        structure_files.read_layer(str(tmp_path / "m.xyz"))


def test_what_is_not_read(tmp_path):
    ran = tmp_path / "ran"
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "castep").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (bin_ / "castep").chmod(0o755)
    cell = "%BLOCK LATTICE_CART\n2 0 0\n0 2 0\n0 0 9\n%ENDBLOCK LATTICE_CART\n"
    for name in ("c.cell", "c.cell.gz", "a.traj", "a.json", "a.db", "a.pkl"):
        (tmp_path / name).write_text(cell)
        with pytest.raises(MoireioError, match=r"which is not read \(convert it to cif"):
            structure_files.read(str(tmp_path / name))
    (tmp_path / "c.txt").write_text(cell)
    with pytest.raises(MoireioError, match=r"none of the structure files .*POSCAR, cif, xyz"):
        structure_files.read(str(tmp_path / "c.txt"))
    assert not ran.exists()


def test_names_with_an_at_sign(tmp_path):
    text = "{0}\n1.0\n 2.46 0 0\n 1.23 2.13 0\n 0 0 20\n{0}\n1\nCartesian\n0 0 0\n"
    (tmp_path / "POSCAR").write_text(text.format("B"))
    (tmp_path / "POSCAR@0").write_text(text.format("C"))
    assert structure_files.read(str(tmp_path / "POSCAR@0")).formula == "C"


def test_atoms_that_are_no_structure(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text('0\nLattice="2 0 0 0 2 0 0 0 9"\n')
    with pytest.raises(MoireioError, match=r"a\.xyz: holds no atoms"):
        structure_files.read(str(path))
    path.write_text('1\nLattice="2 0 0 0 2 0 0 0 9"\nC 0 0 1e12\n')
    with pytest.raises(MoireioError, match=r"a\.xyz: .*atom 0 has the coordinate 1e\+12 Å"):
        structure_files.read(str(path))
    path.write_text('1\nLattice="2 0 0 4 0 0 0 0 9"\nC 0 0 0\n')
    with pytest.raises(MoireioError, match=r"a\.xyz: .*not independent \(correct the lattice"):
        structure_files.read(str(path))


def test_molecules_and_layers_without_a_third_vector(tmp_path):
    path = tmp_path / "m.xyz"
    path.write_text("2\nwater\nH 0 0 0\nH 0.74 0 0\n")
    with pytest.warns(UserWarning, match="no lattice: taken as a molecule"):
        molecule = structure_files.read(str(path))
    assert np.allclose(molecule.cell, np.diag([20.74, 20, 20]))
    assert not molecule.pbc.any()
    path.write_text('1\nLattice="2 0 0 0 2 0 0 0 0"\nC 0 0 1\n')
    layer = structure_files.read(str(path))
    assert np.allclose(layer.cell, np.diag([2, 2, 20]))
    assert layer.pbc.tolist() == [True, True, False]


def test_layers_count_from_1_in_files(bilayer, tmp_path):
    path = tmp_path / "a.xyz"
    structure_files.write(str(path), bilayer)
    labels = [int(row.split()[-1]) for row in path.read_text().split("\n")[2:-1]]
    assert sorted(set(labels)) == [1, 2]
    for name in ("a.xyz", "a.lmp"):
        structure_files.write(str(tmp_path / name), bilayer)
        assert structure_files.read(str(tmp_path / name)).layer.tolist() == bilayer.layer.tolist()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.gen", "gen"),
        ("a.cfg", "cfg"),
        ("a.xsd", "xsd"),
        ("a.abi", "abinit-in"),
        ("a.ascii", "v-sim"),
        ("geometry.in", "aims"),
    ],
)
def test_formats_that_ase_writes(tmp_path, name, form):
    """ASE reads the same atoms, up to lattice vectors."""
    import ase.io

    rng = np.random.default_rng(2)
    cell = [[4.0, 0, 0], [-2.0, 3.6, 0], [0.3, 0.2, 11.0]]
    made = Structure(
        cell, rng.random((4, 3)) * 4, [6, 5, 7, 6], [0, 1, 2, 0], ["C", "B", "N"], [True] * 3
    )
    path = tmp_path / name
    structure_files.write(str(path), made)
    found = ase.io.read(path, format=form)
    np.testing.assert_allclose(found.cell[:], cell, atol=1e-6)
    for number in (5, 6, 7):
        ours = made.positions[made.numbers == number]
        theirs = found.positions[found.numbers == number]
        apart = (theirs[:, None] - ours) @ np.linalg.inv(cell)
        apart = np.abs(apart - np.round(apart)).max(axis=2)
        assert len(ours) == len(theirs)
        assert (apart.min(axis=1) < 1e-6).all()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.cif", "cif"),
        ("a.ascii", "v-sim"),
        ("a.lmp", "lammps-data"),
        ("a.cfg", "cfg"),
        ("a.vasp", "vasp"),
        ("a.xyz", "extxyz"),
    ],
)
def test_left_handed_cells_keep_chirality(tmp_path, name, form):
    """Four atoms with four different elements near each other are no mirror image of themselves."""
    import ase.io

    cell = [[-2.0, 3.6, 0.1], [4.0, 0, 0], [0.3, 0.2, 11.0]]
    assert np.linalg.det(cell) < 0
    positions = np.array([[0.9, 1.5, 4.0], [1.6, 1.6, 4.1], [0.8, 2.2, 3.8], [1.1, 1.4, 5.0]])
    made = Structure(cell, positions, [1, 5, 6, 7], range(4), ["H", "B", "C", "N"], [True] * 3)
    structure_files.write(str(tmp_path / name), made)
    found = ase.io.read(tmp_path / name, format=form)
    order = np.argsort(found.numbers)
    bonds = found.get_distances(order[0], order[1:], mic=True, vector=True)
    assert np.linalg.det(bonds) == pytest.approx(
        np.linalg.det(positions[1:] - positions[0]), rel=1e-4
    )
