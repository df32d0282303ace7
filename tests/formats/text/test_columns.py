"""Columns of numbers in lines of one length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moireio.formats.text.columns import numbers, table_of, word_ends


def column(lines):
    """The characters of one column."""
    text = "".join(line + "\n" for line in lines).encode()
    return table_of(text, len(lines))


@given(
    st.lists(st.floats(-9999, 99999).map(lambda x: round(x, 9)), min_size=1, max_size=20),
    st.sampled_from(["{:12.6f}", "{:16.9E}", "{:+14.8f}", "{:13.5e}", "{:20.3f}"]),
)
@settings(max_examples=60)
def test_numbers_are_those_of_float(values, layout):
    lines = [layout.format(value) for value in values]
    width = max(map(len, lines))
    found = numbers(column([line.rjust(width) for line in lines]))
    np.testing.assert_array_equal(found, [float(line) for line in lines])


@given(st.lists(st.integers(-9999, 99999), min_size=1, max_size=20))
def test_whole_numbers(values):
    found = numbers(column([f"{value:5d}" for value in values]))
    np.testing.assert_array_equal(found, values)


def test_small_exponents_are_right_to_the_last_bit_but_one():
    lines = [" 0.65158979E-17", "-0.25025400E-30", " 0.00000000E+00"]
    np.testing.assert_allclose(numbers(column(lines)), [float(x) for x in lines], rtol=3e-16)


@pytest.mark.parametrize(
    "line",
    ["1 2", "1-2", "--1", "- 1", "1.2.3", " nan", "****", "1.", "0x10", "1_000", "  ", "+", "1 ",
     "1.23456789012345678", "123456789012345678901", "1.5 E3", "E5", "1E"],
)  # fmt: skip
def test_anything_else_is_left_to_the_reader_of_words(line):
    assert numbers(column([line, line])) is None


def test_lines_of_one_length_and_their_words():
    assert table_of(b"ab\ncd\n", 2).shape == (2, 2)
    assert table_of(b"ab\ncde\n", 2) is None
    assert table_of(b"abc\nd\n\n", 2) is None
    assert table_of(b"ab", 1) is None
    assert word_ends(np.frombuffer(b"  1 -2.5 x ", dtype=np.uint8)) == [3, 8, 10]
