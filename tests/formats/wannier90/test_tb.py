"""Wannier90's ``_tb.dat``."""

import shutil

import numpy as np
import pytest
from foreign_levels import assert_same_blocks
from wannier_files import bands, random_model, reference, tb_text

from moireio.errors import DamagedError, MoireioError
from moireio.formats.wannier90 import files
from moireio.system.pairs import Pairs


def naive(path):
    """Cells, degeneracies, H and r of a ``_tb.dat``, word by word."""
    words = path.read_text().split("\n", 1)[1].split()
    cell = np.array(words[:9], dtype=float).reshape(3, 3)
    n, count = int(words[9]), int(words[10])
    weights = np.array(words[11 : 11 + count], dtype=int)
    rest = np.array(words[11 + count :], dtype=float)
    size = 3 + 4 * n * n
    blocks = rest[: count * size].reshape(count, size)
    cells = blocks[:, :3].astype(int)
    H = blocks[:, 3:].reshape(count, n, n, 4)[..., 2:]
    r = rest[count * size :].reshape(count, 3 + 8 * n * n)[:, 3:].reshape(count, n, n, 8)[..., 2:]
    r = r.reshape(count, n, n, 3, 2)
    turn = (0, 2, 1)  # m is the fast index
    return (
        cell, cells, weights, (H[..., 0] + 1j * H[..., 1]).transpose(turn),
        (r[..., 0] + 1j * r[..., 1]).transpose(3, 0, 2, 1),
    )  # fmt: skip


@pytest.mark.parametrize(("folder", "name"), [("qe_w90_si", "si"), ("siesta_w90_si", "silicon")])
def test_bands_and_centres(shared, folder, name):
    path = shared / "foreign" / folder / f"{name}_tb.dat"
    known = reference(path.parent)
    assert files.detect(str(path))
    calculation = files.read(str(path))
    found = bands(calculation, known["k"])
    np.testing.assert_allclose(found, known["eV_use_ws_distance_true"], atol=1e-5)
    cell, cells, _, _, r = naive(path)
    home = int(np.flatnonzero(~cells.any(axis=1))[0])
    centres = np.diagonal(r[:, home].real, axis1=1, axis2=2).T
    np.testing.assert_allclose(calculation.structure.positions, centres, atol=1e-9)
    np.testing.assert_allclose(calculation.structure.cell, cell)


def test_position_is_the_hermitian_part_about_the_site_of_the_first(shared, tmp_path):
    folder = shared / "foreign" / "qe_w90_si"
    shutil.copy(folder / "si_tb.dat", tmp_path / "si_tb.dat")
    calculation = files.read(str(tmp_path / "si_tb.dat"))
    position = calculation.operators["position"]
    _, cells, weights, _, r = naive(folder / "si_tb.dat")
    r = r / weights[:, None, None]
    number = {tuple(cell): place for place, cell in enumerate(cells.tolist())}
    pairs: Pairs = position.pairs
    largest = 0.0
    for pair, (i, j) in enumerate(zip(pairs.i, pairs.j, strict=True)):
        R = pairs.R[pair]
        mine, theirs = number[tuple(R)], number[tuple(-R)]
        mean = 0.5 * (r[:, mine, i, j] + r[:, theirs, j, i].conj())
        if i == j and not R.any():
            mean = mean - calculation.structure.positions[i]
        np.testing.assert_allclose(position.data[:, pair], mean, atol=1e-9)
        largest = max(largest, np.abs(r[:, mine, i, j] - r[:, theirs, j, i].conj()).max())
    assert position.meta.residual == pytest.approx(largest)
    assert any("deviate from Hermitian" in note for note in calculation.notes)
    assert any("si_wsvec.dat" in note for note in calculation.notes)
    assert any("si.win" in note for note in calculation.notes)


def test_hamiltonian_is_that_of_the_other_file(shared):
    folder = shared / "foreign" / "siesta_w90_si"
    one = files.read(str(folder / "silicon_tb.dat")).hamiltonian
    two = files.read(str(folder / "silicon_hr.dat")).hamiltonian
    place = one.pairs.find(two.pairs.i, two.pairs.j, two.pairs.R)
    assert (place >= 0).all()
    np.testing.assert_allclose(one.data[place], two.data, atol=6e-7)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    2    1   -0.14696784E-02", "    3    1   -0.14696784E-02", "once|lack"),
        ("    2    1   -0.14696784E-02", "    9    1   -0.14696784E-02", "from 1 to 4"),
        ("-0.14696784E-02", "            NaN", "line 17"),
        ("  -2.6988037638089994", "  -2.6988037638x89994", "line 2"),
        ("   -2   -2    2", "   -2   -2", "3 numbers|2 numbers"),
    ],
)
def test_damage_is_named(shared, tmp_path, old, new, words):
    text = (shared / "foreign" / "qe_w90_si" / "si_tb.dat").read_text()
    assert old in text
    path = tmp_path / "si_tb.dat"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DamagedError, match=words):
        files.read(str(path))
    path.write_text(text[: len(text) // 3])
    with pytest.raises(DamagedError, match="cut short"):
        files.read(str(path))


def test_an_input_with_another_lattice_is_refused(shared, tmp_path):
    folder = shared / "foreign" / "qe_w90_si"
    shutil.copy(folder / "si_tb.dat", tmp_path / "si_tb.dat")
    (tmp_path / "si.win").write_text((folder / "si.win").read_text().replace("5.1000", "5.2000"))
    with pytest.raises(MoireioError, match="lattice vectors differ"):
        files.read(str(tmp_path / "si_tb.dat"))


@pytest.mark.parametrize("apart", [0.0, 0.1])
def test_positions_of_two_spins(tmp_path, apart):
    """They are kept where they are the same, as moireio writes them; a block file has one."""
    cells, up = random_model(3, 2)
    _, down = random_model(4, 2)
    _, found = random_model(5, 2)
    position = np.array([found, 2 * found, -found])
    for name, matrices, step in (("up", up, 0.0), ("dn", down, apart)):
        text = tb_text(cells, matrices, np.diag([3, 4, 5]), position + step)
        (tmp_path / f"w_{name}_tb.dat").write_text(text)
    one = files.read(str(tmp_path / "w_up_tb.dat"))
    both = files.read(str(tmp_path / "w_up_tb.dat"), companions=[str(tmp_path / "w_dn_tb.dat")])
    assert both.hamiltonian.meta.spin == "collinear"
    assert ("position" in both.operators) == (apart == 0)
    assert any("those of up and down differ" in note for note in both.notes) == (apart > 0)
    if apart == 0:
        assert_same_blocks(one.operators["position"], both.operators["position"], 0, 1e-12)
