"""What both layouts of DeepH's data folders share."""

import json
import os
import re

import h5py
import numpy as np
import pytest
from deeph_folders import folder_of, write_dock_folder, write_folder

from moireio.errors import DamagedError, MoireioError
from moireio.formats.calculations import open_calculation
from moireio.formats.deeph import dock
from moireio.formats.deeph import folder as deeph
from moireio.formats.deeph.common import files_of


def test_unknown_operator(tmp_path):
    with pytest.raises(MoireioError, match=r"has no overlaps\.h5"):
        deeph.open_folder(str(write_folder(tmp_path / "a"))).operator("overlap")


def test_calculations_take_the_hamiltonian_asked_for(tmp_path):
    folder = write_folder(tmp_path / "a")
    os.rename(folder / "hamiltonians.h5", folder / "hamiltonians_pred.h5")
    with pytest.raises(MoireioError, match="has no Hamiltonian or overlap"):
        deeph.read(str(folder))
    with deeph.read(str(folder), predicted=True, label="a model's") as calculation:
        assert calculation.label == "a model's"
        assert list(calculation.operators) == ["hamiltonian"]
        assert calculation.hamiltonian.meta.source == "model"
        assert calculation.overlap is None
        assert calculation.electrons.fermi == -1.0
    write_folder(tmp_path / "b")
    with pytest.raises(MoireioError, match="has no predicted Hamiltonian"):
        deeph.read(str(tmp_path / "b"), predicted=True)


def test_the_digest_is_that_of_all_files_that_are_read(tmp_path):
    folder = write_folder(tmp_path / "a")
    first = deeph.read(str(folder)).digest(["hamiltonian"])
    assert deeph.read(str(folder)).digest(["hamiltonian"]) == first
    (folder / "notes.txt").write_text("not read")
    assert deeph.read(str(folder)).digest(["hamiltonian"]) == first
    np.savetxt(folder / "site_positions.dat", np.array([[0.0, 0, 0], [1.5, 0, 0]]).T)
    assert deeph.read(str(folder)).digest(["hamiltonian"]) != first


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize(("write", "layout"), [(write_folder, deeph), (write_dock_folder, dock)])
def test_symmetrised_blocks_are_the_mean_with_their_partners(tmp_path, write, layout, spin):
    write(tmp_path / "a", spin)
    data = layout.open_folder(str(tmp_path / "a"))
    raw = data.operator("hamiltonian", symmetrise=False)
    mean = data.operator("hamiltonian")
    assert list(zip(raw.pairs.i, raw.pairs.j, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    n, m = raw.sizes
    start = n * n
    before, after = (x.data[start : start + n * m].reshape(n, m) for x in (raw, mean))
    partner = raw.data[start + n * m : start + 2 * n * m].reshape(m, n).conj().T
    np.testing.assert_allclose(after, (before + partner) / 2, atol=1e-15)
    assert mean.meta.residual >= np.abs(before - partner).max() > 1e-5


@pytest.mark.parametrize(
    ("write", "layout", "place"),
    [
        (write_folder, deeph, ("hamiltonians.h5", "[0, 0, 0, 1, 1]")),
        (write_dock_folder, dock, ("hamiltonian.h5", "entries")),
    ],
)
def test_numbers_that_are_not_finite(tmp_path, write, layout, place):
    """One line that names the file of the operator."""
    write(tmp_path / "a")
    name, array = place
    with h5py.File(tmp_path / "a" / name, "r+") as file:
        file[array][0] = np.nan
    with pytest.raises(DamagedError, match=rf"{name}: an element of block .* is not finite"):
        layout.open_folder(str(tmp_path / "a")).operator("hamiltonian")


def test_files_that_there_are(tmp_path):
    (tmp_path / "s.h5").touch()
    names = {"overlap": "s.h5", "hamiltonian": "h.h5"}
    assert files_of(str(tmp_path), names) == {"overlap": (str(tmp_path / "s.h5"),)}


def test_pieces_that_there_are(tmp_path):
    """One for each process: in order, in the folder or in output, none left out."""
    names = {"overlap": "overlaps.h5"}
    out = tmp_path / "output"
    out.mkdir()
    for number in range(11):
        (out / f"overlaps_{number}.h5").touch()
    expected = tuple(str(out / f"overlaps_{number}.h5") for number in range(11))
    assert files_of(str(tmp_path), names, pieces=True) == {"overlap": expected}
    assert files_of(str(tmp_path), names) == {}
    (out / "overlaps_3.h5").unlink()
    with pytest.raises(MoireioError, match=r"has overlaps_10\.h5, but not overlaps_3\.h5"):
        files_of(str(tmp_path), names, pieces=True)
    (tmp_path / "overlaps_1.h5").touch()  # numbers may begin at 1
    (tmp_path / "overlaps_2.h5").touch()
    beside = tuple(str(tmp_path / f"overlaps_{number}.h5") for number in (1, 2))
    assert files_of(str(tmp_path), names, pieces=True) == {"overlap": beside}
    (tmp_path / "overlaps.h5").touch()
    whole = (str(tmp_path / "overlaps.h5"),)
    assert files_of(str(tmp_path), names, pieces=True) == {"overlap": whole}


LAYOUTS = [
    (write_folder, deeph, "hamiltonians.h5", "[0, 0, 0, 1, 2]"),
    (write_dock_folder, dock, "hamiltonian.h5", "[0, 0, 0, 0, 1]"),
]


def element(folder, name, block):
    """The file, array and place of the first element of a block."""
    with h5py.File(folder / name) as file:
        if "entries" not in file:
            return block, (0, 0)
        row = [str(pair.tolist()) for pair in file["atom_pairs"][()]].index(block)
        return "entries", int(file["chunk_boundaries"][row])


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize(("write", "layout", "name", "block"), LAYOUTS)
def test_blocks_further_from_hermitian_than_rounding(tmp_path, write, layout, name, block, spin):
    """5 eV in one element: named with block, elements and deviation, not averaged."""
    write(tmp_path / "a", spin)
    array, place = element(tmp_path / "a", name, block)
    with h5py.File(tmp_path / "a" / name, "r+") as file:
        values = file[array][()]
        values[place] += 5
        file[array][...] = values
    message = (
        rf"{name}: the hamiltonian of block {re.escape(block)} \(C and N\) and of its partner "
    )
    with pytest.raises(DamagedError, match=message + r"differ by 5\.0e\+00 eV \(at most 1e-03 eV"):
        layout.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    raw = layout.open_folder(str(tmp_path / "a")).operator("hamiltonian", symmetrise=False)
    assert np.abs(raw.data).max() > 3
    os.rename(tmp_path / "a" / name, tmp_path / "a" / name.replace(".h5", "_pred.h5"))
    predicted = layout.open_folder(str(tmp_path / "a")).operator("predicted")
    assert 4.9 < predicted.meta.residual < 5.1  # DeepH-E3's networks are not Hermitian


@pytest.mark.parametrize(("write", "layout", "name", "block"), LAYOUTS)
def test_numbers_that_no_element_can_be(tmp_path, write, layout, name, block):
    write(tmp_path / "a")
    array, place = element(tmp_path / "a", name, block)
    with h5py.File(tmp_path / "a" / name, "r+") as file:
        values = file[array][()]
        values[place] = 1e300
        file[array][...] = values
    message = rf"an element of block {re.escape(block)} \(C and N\) is 1\.0e\+300: larger than any"
    with pytest.raises(DamagedError, match=message):
        layout.open_folder(str(tmp_path / "a")).operator("hamiltonian")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda S: S.update({(0, 0): -0.1}), "overlap of an orbital with itself is not positive"),
        (lambda S: S.update({(0, 5): 1.1, (5, 0): 1.1}), "overlap by more than their norms"),
        (lambda S: S.update({(0, 5): 0.1}), "differ by 1.0e-01"),
    ],
)
def test_overlaps_that_none_can_be(tmp_path, change, complaint):
    """S of two atoms, 4 and 2 orbitals, with one or two elements changed."""
    folder = write_folder(tmp_path / "a")
    changes, S = {}, np.eye(6)
    change(changes)
    for place, value in changes.items():
        S[place] = value
    ranges = slice(0, 4), slice(4, 6)
    with h5py.File(folder / "overlaps.h5", "w") as file:
        for i in range(2):
            for j in range(2):
                file[str([0, 0, 0, i + 1, j + 1])] = S[ranges[i], ranges[j]]
    with pytest.raises(DamagedError, match=complaint) as error:
        deeph.open_folder(str(folder)).operator("overlap")
    assert "overlaps.h5" in str(error.value)
    assert "block [0, 0, 0, 1," in str(error.value)


def test_blocks_of_both_layouts(tmp_path):
    """Which counts is for the user to say."""
    write_folder(tmp_path / "a")
    write_dock_folder(tmp_path / "b")
    for name in ("POSCAR", "info.json", "hamiltonian.h5"):
        os.replace(tmp_path / "b" / name, tmp_path / "a" / name)
    with pytest.raises(MoireioError, match=r"holds hamiltonian\.h5 and hamiltonians\.h5"):
        open_calculation(str(tmp_path / "a"))
    os.remove(tmp_path / "a" / "hamiltonian.h5")
    (tmp_path / "a" / "info.json").write_text('{"isspinful": false, "fermi_level": 2.0}')
    with open_calculation(str(tmp_path / "a")) as calculation:  # a POSCAR beside the old layout
        assert calculation.electrons.fermi == 2.0


@pytest.mark.parametrize("layout", ["deeph-dock", "deeph"])
def test_a_layer_on_both_sides_of_the_border(tmp_path, made, layout):
    """A folder whose atoms are in other cells along the vacuum: R of all pairs becomes 0 there."""
    import moireio

    folder = folder_of(made["gr_ab"], tmp_path / "a", layout)
    moves = np.outer([0, 0, 2, 2], [0, 0, 1])
    with moireio.open(made["gr_ab"]) as file:
        cell, positions = file.structure.cell, file.structure.positions
        pairs_before = file.hamiltonian.pairs
        expected = file.operator("hamiltonian").rows(0, 4)
    moved = positions + moves @ cell
    if layout == "deeph":
        np.savetxt(folder / "site_positions.dat", moved.T)
    else:
        lines = (folder / "POSCAR").read_text().splitlines()
        lines[8:] = [" ".join(f"{v:.15f}" for v in row) for row in moved]
        (folder / "POSCAR").write_text("\n".join(lines) + "\n")
    for path in folder.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            if layout == "deeph-dock":
                pairs = file["atom_pairs"][()]
                pairs[:, :3] += moves[pairs[:, 3]] - moves[pairs[:, 4]]
                file["atom_pairs"][...] = pairs
                continue
            blocks = {name: file.pop(name)[()] for name in list(file)}
            for name, block in blocks.items():
                *R, i, j = json.loads(name)
                file[str([*map(int, R + moves[i - 1] - moves[j - 1]), i, j])] = block
    with open_calculation(str(folder)) as calculation:
        assert calculation.structure.pbc.tolist() == [True, True, False]
        np.testing.assert_allclose(calculation.structure.positions, positions, atol=1e-9)
        assert "2 of 4 atoms moved" in " ".join(calculation.notes)
        for name in ("hamiltonian", "overlap"):
            assert not calculation.operator(name).pairs.R[:, 2].any()
        found = calculation.hamiltonian
        assert (found.pairs.R == pairs_before.R).all()
        np.testing.assert_allclose(found.rows(0, 4), expected, atol=1e-12)
