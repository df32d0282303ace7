"""What is lost where files of other programs are written is noted."""

import numpy as np
import pytest

from moireio.formats import matrices
from moireio.formats.calculations import open_calculation
from moireio.formats.registry import FORMATS, named_format
from moireio.system.structure import Structure

NAMES = {
    "siesta": "x.HSX", "hamgnn": "x.npz", "tbmodels": "x.hdf5", "wannier90": "x_hr.dat",
    "wanniertools": "wt_hr.dat",
}  # fmt: skip
#: Formats with a place for positions, and those without one for the Fermi level.
POSITIONS, NO_FERMI = {"abacus"}, {"hamgnn", "tbmodels", "wannier90", "deeptb"}
WRITTEN = [name for name, row in FORMATS.items() if row.write is not None and name != "moireio"]


@pytest.mark.parametrize("program", WRITTEN)
def test_operators_without_a_place(tmp_path, data, program):
    """OpenMX's files have position, momentum, density and a band path besides H and S."""
    if program == "siesta":
        pytest.importorskip("sisl")
    row = named_format(program)
    options = {"orthogonalise": "1x1"} if "orthogonalise" in row.options else {}
    with open_calculation(str(data / "gr_ab.scfout")) as calculation:
        calculation.notes.clear()
        row.write(calculation, str(tmp_path / NAMES.get(program, "folder")), **options)
        (note,) = [note for note in calculation.notes if "do not hold" in note]
    lost = note.split("do not hold ")[1].split(", ")
    expected = ["/position", "/momentum", "/density", "/kpath"]
    expected = [name for name in expected if program not in POSITIONS or name != "/position"]
    assert lost == expected + (["the Fermi level"] if program in NO_FERMI else [])


@pytest.mark.parametrize("program", ["abacus", "deeptb", "hamgnn"])
def test_shells_in_another_order(tmp_path, program):
    structure = Structure(3 * np.eye(3), np.zeros((1, 3)), [6], [0], ["C"], [True] * 3)
    h = {(0, 0, 0): np.diag([1.0, 1, 1, 2])}
    for shells, changed in (([0, 1], False), ([1, 0], True)):
        one = matrices.read(h, {(0, 0, 0): np.eye(4)}, structure=structure, shells={"C": shells})
        target = tmp_path / str(changed)
        target.mkdir()
        named_format(program).write(one, str(target / NAMES.get(program, "folder")))
        assert any("in the order of l" in note for note in one.notes) == changed
