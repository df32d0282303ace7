"""Files that SIESTA writes beside its matrices."""

import numpy as np
import pytest
from siesta_files import BOHR, SHELLS, ion_plain, ion_xml, over_power, random_hsx

from moireio.errors import MoireioError
from moireio.formats.siesta.beside import read_ion
from moireio.formats.siesta.files import read
from moireio.integrals.sources import OrbitalIntegrals
from moireio.system.basis import Basis, SpeciesBasis


@pytest.mark.parametrize(("name", "text"), [("Si.ion.xml", ion_xml()), ("Si.ion", ion_plain())])
def test_radial_functions(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = read_ion(str(tmp_path / name))
    assert (found.label, found.number, found.valence, found.shells) == ("Si", 14, 4.0, (0, 1, 2))
    assert found.cutoff == pytest.approx(5.0 * BOHR, rel=1e-9)
    r, values = found.radial
    for (momentum, cutoff), mine in zip(SHELLS, values, strict=True):
        at = r / BOHR
        expected = over_power(at, cutoff, momentum) * at**momentum / BOHR**1.5
        assert np.abs(mine - expected).max() < 1e-6
        assert np.trapezoid((mine * r) ** 2, r) == pytest.approx(1, abs=1e-5)


def test_sisl_reads_the_same(tmp_path):
    sisl = pytest.importorskip("sisl")
    (tmp_path / "Si.ion.xml").write_text(ion_xml())
    atom = sisl.get_sile(str(tmp_path / "Si.ion.xml")).read_basis()
    r, values = read_ion(str(tmp_path / "Si.ion.xml")).radial
    shells = [orbital for orbital in atom.orbitals if orbital.m == 0]
    inside = r < 0.99 * min(cutoff for _, cutoff in SHELLS) * BOHR
    for mine, orbital in zip(values, shells, strict=True):
        assert np.abs(orbital.radial(r[inside]) - mine[inside]).max() < 1e-5


def test_overlap_of_an_atom_with_itself_is_one(tmp_path):
    """The radial functions serve for two-centre integrals as they are."""
    (tmp_path / "Si.ion").write_text(ion_plain())
    found = read_ion(str(tmp_path / "Si.ion"))
    species = SpeciesBasis(found.shells, cutoff=found.cutoff, radial=found.radial)
    integrals = OrbitalIntegrals(Basis({"Si": species}))
    block = integrals.overlap(0, 0, np.zeros((3, 1)))[:, :, 0]
    assert np.abs(block - np.eye(9)).max() < 1e-5


def test_ion_of_another_run(tmp_path):
    (tmp_path / "C.ion.xml").write_text(ion_xml("C"))
    structure, *_ = random_hsx(tmp_path / "x.HSX", seed=3)
    assert "C" in structure.species_of_atoms
    with pytest.raises(MoireioError, match=r"gives C the shells \(0, 1\), the files beside it"):
        read(str(tmp_path / "x.HSX"))


def test_entities_are_refused(tmp_path):
    path = tmp_path / "Si.ion.xml"
    path.write_text('<!DOCTYPE x [<!ENTITY a "aaaa">]>' + ion_xml())
    with pytest.raises(MoireioError, match="cannot be read as the orbitals of a species"):
        read_ion(str(path))
