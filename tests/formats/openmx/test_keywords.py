"""Keywords and tables of OpenMX's text files."""

import pytest

from moireio.errors import MoireioError
from moireio.formats.openmx.keywords import read_integer, read_number, split

TEXT = """# made by a test
First 1 two   # and a comment
FIRST 2
<Table  # of two lines
 a 1

 b 2 # c
TABLE>
<Table
 c
Table>
Empty
<Open
 Inside 3
"""


def test_the_first_of_each_name_counts():
    found = split(TEXT, "x.dat")
    assert found.values["first"] == ["1", "two"]
    assert (found.word("First"), found.word("Empty", "none"), found.word("None")) == (
        "1",
        "none",
        "",
    )
    assert found.tables["table"] == [["a", "1"], ["b", "2"]]
    assert [row.line for row in found.table("Table", 2)] == [5, 7]
    assert found.number("First", 0.0) == 1.0
    assert found.number("Absent", 0.5) == 0.5


def test_a_table_that_does_not_end():
    """Where nobody needs it, its lines are keywords like others."""
    assert split(TEXT, "x.dat").values["inside"] == ["3"]
    with pytest.raises(MoireioError, match=r"x.dat: the table <Open of line 13 does not end"):
        split(TEXT, "x.dat", ["open"])


@pytest.mark.parametrize(
    ("word", "value"), [("1", 1.0), ("-.5", -0.5), ("3.", 3.0), ("+1.5e-3", 0.0015), ("0e9", 0.0)]
)
def test_numbers_of_c(word, value):
    assert read_number(word, "x", "here") == value


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("1e999", "1e999 is out of range"),
        ("-2e12", "-2e12 is out of range (at most 1e+12)"),
        ("1.0d2", "'1.0d2' stands where a number is expected (OpenMX stops reading at the D"),
        ("inf", "'inf' stands"),
        ("1_0", "'1_0' stands"),
        ("٣", "'٣' stands"),
        ("", "nothing stands where a number is expected"),
        ("1" * 101, "stands where a number is expected"),
    ],
)
def test_words_that_are_no_numbers(word, complaint):
    with pytest.raises(MoireioError) as error:
        read_number(word, "x.dat", "line 3: an angle")
    assert str(error.value).startswith("x.dat: line 3: an angle: ")
    assert complaint in str(error.value)


@pytest.mark.parametrize("word", ["1.0", "", "-", "٣", "1e3", "-1", "11", "9" * 5000])
def test_words_that_are_no_integers_in_range(word):
    assert read_integer("+7", "x.dat", "here") == 7
    with pytest.raises(MoireioError, match=r"x\.dat: here: "):
        read_integer(word, "x.dat", "here", 0, 10)
