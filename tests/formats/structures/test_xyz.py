"""xyz and extended xyz."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.structures import xyz

LATTICE = 'Lattice="2.46 0 0 1.23 2.13 0 0 0 20.0"'
ATOMS = "B 0 0 10\nN 1.23 0.71 10\n"


def read(text):
    return xyz.read(text, "a.xyz")


def test_extended():
    columns = "Properties=species:S:1:pos:R:3:layer:I:1:initial_magmoms:R:1"
    found = read(
        f'2\n{LATTICE} {columns} pbc="T T F" note= "a = b"\nB 0 0 10 1 0.5\nN 1.23 0.71 10 2 -0.5\n'
    )
    assert found.cell[1].tolist() == [1.23, 2.13, 0]
    assert found.pbc.tolist() == [True, True, False]
    assert found.layer.tolist() == [1, 2]
    assert found.magmoms.tolist() == [0.5, -0.5]
    assert found.precision == pytest.approx(5e-3)


def test_plain_and_last_image():
    found = read(f"2\nfirst\n{ATOMS}1\nsecond\n6 1 2 3\n\n")
    assert not found.cell.any()
    empty = read(f'2\n{LATTICE} comment= pbc="T T F"\n{ATOMS}')
    assert empty.pbc.tolist() == [True, True, False]
    assert found.numbers.tolist() == [6]
    assert np.array_equal(found.positions, [[1, 2, 3]])
    assert found.images == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"3\n{LATTICE}\n{ATOMS}", "announces 3 atoms, but 2 lines follow"),
        (f"1\n{LATTICE}\n{ATOMS}", "line 4.*expected a number of atoms, found 'N 1.23"),
        (f'2\n{LATTICE[:-3]}"\n{ATOMS.replace("B", "Bq")}', "line 3.*'Bq' is no element"),
        (f'2\nLattice="1 2 3"\n{ATOMS}', "nine numbers of a Lattice"),
        (f'2\n{LATTICE} pbc="T X F"\n{ATOMS}', 'line 2.*expected pbc as "T T F"'),
        (f"2\n{LATTICE} Properties=pos:R:3\n{ATOMS}", "name no elements"),
        (f"2\n{LATTICE}\n{ATOMS.replace('0.71', '1e999')}", "line 4.*three coordinates"),
        (
            f"2\n{LATTICE} Properties=species:S:1:pos:R:3\n{ATOMS.replace('0.71', '0 71')}",
            "line 4.*has 5 columns instead of 4",
        ),
        (f"-1\n{LATTICE}\n{ATOMS}", "line 1.*found '-1'"),
        (f"99999999999\n{LATTICE}\n{ATOMS}", "announces 99999999999 atoms"),
    ],
)
def test_wrong_lines(text, words):
    with pytest.raises(MoireioError, match=words):
        read(text)
