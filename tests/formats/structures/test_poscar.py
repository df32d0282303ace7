"""POSCAR, of VASP 4 and 5."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.structures import poscar

CELL = " 2.46 0 0\n 1.23 2.13 0\n 0 0 20\n"
ATOMS = "0 0 0.5\n0.25 0.5 0.5\n"


def read(text):
    return poscar.read(text, "POSCAR")


def test_direct_and_cartesian():
    cell = np.array([[2.46, 0, 0], [1.23, 2.13, 0], [0, 0, 20]])
    one = read(f"x\n2.0\n{CELL}B N\n1 1\nDirect\n{ATOMS}")
    assert np.allclose(one.cell, 2 * cell)
    assert np.allclose(one.positions[1], [0.25, 0.5, 0.5] @ one.cell)
    assert one.numbers.tolist() == [5, 7]
    assert one.precision == pytest.approx(0.01)
    two = read(f"x\n2.0\n{CELL}B_h N/ab12\n1 1\nSelective dynamics\ncart\n0 0 1 T T F\n1 1 1 T F F")
    assert np.allclose(two.positions, [[0, 0, 2], [2, 2, 2]])


def test_scales():
    volume = 2.46 * 2.13 * 20
    shrunk = read(f"x\n-{volume / 8}\n{CELL}B\n2\nDirect\n{ATOMS}")
    assert np.allclose(np.diag(shrunk.cell), [1.23, 1.065, 10])
    three = read(f"x\n1 1 0.5\n{CELL}B\n2\nDirect\n{ATOMS}")
    assert np.allclose(np.diag(three.cell), [2.46, 2.13, 10])


def test_symbols_before_vasp_5(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "POTCAR").write_text(" VRHFIN =Mo: 4p5s4d\n")  # a file that nobody named
    assert read(f"B N\n1.0\n{CELL}1 1\nDirect\n{ATOMS}").numbers.tolist() == [5, 7]
    ends = ATOMS.replace("0.5\n", "0.5 C\n")
    assert read(f"my layer\n1.0\n{CELL}1 1\nDirect\n{ends}").numbers.tolist() == [6, 6]
    with pytest.raises(MoireioError, match=r"VASP 4.*add a line"):
        read(f"my layer\n1.0\n{CELL}1 1\nDirect\n{ATOMS}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"x\n1.0\n{CELL}B N\n1 1\nDirect\n\n{ATOMS}", "line 9.*found nothing"),
        (f"x\n1.0\n{CELL}B N\n1 2\nDirect\n{ATOMS}\n", "ends after 2 of 3 lines"),
        (f"x\n1.0\n{CELL}B\n1\nDirect\n{ATOMS}", "line 10.*go on after the 1 atoms"),
        (f"x\n1.0\n{CELL}B N C\n1 1\nDirect\n{ATOMS}", "3 symbols"),
        (f"x\n1.0\n{CELL}B Qq\n1 1\nDirect\n{ATOMS}", "'Qq' is no element"),
        (f"x\n1.0\n{CELL}B\n999999999\nDirect\n{ATOMS}", "announces 999999999 atoms"),
        (f"x\n1.0\n{CELL}B\n2\nDirect\n{ATOMS.replace('0.25', 'nan')}", "line 10.*three coord"),
        (f"x\nnan\n{CELL}B\n2\nDirect\n{ATOMS}", "line 2.*expected a scale"),
        (f"x\n1.0\n{CELL}B\n2\n{ATOMS}", "line 8.*'Direct' or 'Cartesian'"),
        (f"x\n1.0\n{CELL}B\n2\nDirect\n{ATOMS.replace('0.25', '0 25')}", "line 10.*found '0 25"),
        ("x\n1.0\n2.46 0\n", "line 3.*lattice vector"),
    ],
)
def test_wrong_lines(text, words):
    with pytest.raises(MoireioError, match=words):
        read(text)
