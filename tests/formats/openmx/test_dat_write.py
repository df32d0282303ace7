import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.openmx import dat, dat_write
from moireio.moire import build, cells, layers
from moireio.system.structure import Structure


@pytest.fixture(scope="module")
def bilayer():
    one = layers.named("MoTe2")
    return build.build([one, one], cells.from_index(one.lattice, one.lattice, 2, 1))[0]


def test_input_says_what_was_asked(bilayer):
    settings = dat_write.OpenMXSettings(name="x", spin_orbit=True, cutoff=250, criterion=1e-7)
    text = dat_write.text(bilayer, settings)
    found = dat.parse(text, "x.dat")
    assert np.abs(found.positions - bilayer.positions).max() < 1e-11
    assert np.abs(found.cell - bilayer.cell).max() < 1e-11
    assert found.symbols == bilayer.element_symbols
    assert found.species == {"Mo": "Mo7.0-s3p2d1", "Te": "Te7.0-s3p2d2"}
    assert found.charges.sum() == 14 * 14 + 28 * 16
    assert found.spin == "spinor"
    assert found.keywords.word("scf.energycutoff") == "250"
    assert found.keywords.word("scf.criterion") == "1e-07"
    assert found.keywords.word("hs.fileout") == "on"
    assert "Mo_PBE19" in text


def test_input_is_like_one_that_openmx_has_read(shared, bilayer):
    """Every keyword but the band path of a real input, with the same meaning."""
    theirs = dat.read(shared / "openmx" / "tmt_2-1" / "tmt_2-1.dat")
    settings = dat_write.OpenMXSettings(name="tmt_2-1", spin_orbit=True)
    ours = dat.parse(dat_write.text(bilayer, settings), "x")
    skipped = {"band.dispersion", "band.nkpath", "data.path", "scf.kgrid", "scf.maxiter"}
    for name, words in theirs.keywords.values.items():
        if name in skipped:
            continue
        value, own = " ".join(words), " ".join(ours.keywords.values[name])
        try:
            assert float(own) == pytest.approx(float(value)), name
        except ValueError:
            assert own.lower() == value.lower(), name
    assert ours.charges.sum() == theirs.charges.sum()


def test_electrons_are_those_of_the_orbital_files(shared):
    for path in sorted((shared / "pao").glob("*.pao")):
        element = path.stem.rstrip("0123456789.")
        with open(path, encoding="utf-8", errors="replace") as stream:
            line = next(n for n in stream if n.startswith("valence.electron"))
        basis = dat_write.named_basis(element, f"{path.stem}-s1")
        assert basis.valence in (float(line.split()[1]), None)


def test_template_keeps_the_users_settings(bilayer):
    template = (
        "System.Name old\nscf.XcType LDA   # mine\nscf.SpinPolarization NC\nscf.Kgrid 9 9 9\n"
        "<Atoms.SpeciesAndCoordinates\n 1 H 0 0 0 0.5 0.5\nAtoms.SpeciesAndCoordinates>\n"
        "<MO.kpoint\n 0 0 0\nMO.kpoint>\nscf.Hubbard.U on\n"
    )
    text = dat_write.text(bilayer, dat_write.OpenMXSettings(name="new", template=template))
    found = dat.parse(text, "x")
    assert found.keywords.word("system.name") == "new"
    assert found.keywords.word("scf.xctype") == "LDA"
    assert found.keywords.word("scf.hubbard.u") == "on"
    assert "MO.kpoint>" in text
    assert "Mo_CA19" in text
    assert len(found.symbols) == len(bilayer)
    assert found.keywords.values["scf.kgrid"] == ["3", "3", "1"]
    assert " 0 off" in text  # spinors need their columns


def test_mesh_by_density(bilayer):
    for spacing in (0.1, 0.3, 0.7):
        counts = dat_write.mesh(bilayer, spacing)
        lengths = np.linalg.norm(bilayer.reciprocal, axis=1)
        assert counts[2] == 1
        for count, length in zip(counts[:2], lengths, strict=False):
            assert length / count <= spacing * (1 + 1e-9)
            assert count == 1 or length / (count - 1) > spacing


def test_bases_that_do_not_fit(bilayer):
    with pytest.raises(MoireioError, match="not one of Mo"):
        dat_write.default_basis(bilayer, {"Mo": "W7.0-s2p2d1"})
    with pytest.raises(MoireioError, match="no atom"):
        dat_write.default_basis(bilayer, {"Xe": "Xe7.0-s2p2d1"})
    with pytest.raises(MoireioError, match="not a basis name"):
        dat_write.default_basis(bilayer, {"Mo": "Mo7.0"})


def test_empty_atoms_of_an_input():
    """Orbitals of any element, the pseudopotential E, no electrons."""
    cell = np.diag([3.0, 3.0, 20.0])
    structure = Structure(cell, [[0, 0, 0], [1, 1, 1.0]], [6, 0], [0, 1], ["C", "X"], [True] * 3)
    with pytest.raises(
        MoireioError, match=r"no default basis for the empty atoms \(give `basis` X"
    ):
        dat_write.default_basis(structure)
    basis = dat_write.default_basis(structure, {"X": "H6.0-s2p1"})
    assert basis["X"].valence == 0.0
    found = dat.parse(dat_write.text(structure, dat_write.OpenMXSettings(), basis), "x")
    assert found.pseudopotentials == {"C": "C_PBE19", "X": "E"}
    assert found.charges.tolist() == [4.0, 0.0]
    assert found.structure(found.basis()[1]).numbers.tolist() == [6, 0]


def test_template_is_read_as_openmx_reads_it(bilayer):
    """The first of two keywords; what belongs to another structure is left out."""
    template = (
        "scf.SpinPolarization off\nscf.SpinPolarization NC\nscf.fixed.grid 1 2 3\n"
        "<Band.KPath.UnitCell\n 1 0 0\n 0 1 0\n 0 0 1\nBand.KPath.UnitCell>\nscf.Hubbard.U on\n"
    )
    text = dat_write.text(bilayer, dat_write.OpenMXSettings(template=template))
    assert dat.parse(text, "x").spin == "none"
    assert "UnitCell" not in text
    assert "fixed.grid" not in text
    settings = dat_write.OpenMXSettings(template="<Band.kpath\n 3 0 0 0 1 1 1\nscf.maxIter 9")
    with pytest.raises(MoireioError, match=r"template: the table <Band\.kpath of line 1 does not"):
        dat_write.text(bilayer, settings)
