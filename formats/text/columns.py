"""Columns of numbers in lines of one length, read from the digits below each other.

A column is blanks, at most one sign, digits, perhaps a point and perhaps an exponent, with point
and exponent at the same place in all lines: what Fortran and C print with fixed widths. Numbers of
up to 15 digits come out as exactly as a reader of single words has them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NEWLINE, BLANK, PLUS, MINUS, POINT, ZERO, CAPITAL_E, SMALL_E = b"\n +-.0Ee"
#: Digits that a double has for certain; with a divisor up to 10^22 the quotient is exact too.
MOST_DIGITS = 15
MOST_POWER = 22


def table_of(text: bytes, lines: int) -> npt.NDArray[np.uint8] | None:
    """Return the characters of lines of one length.

    Parameters
    ----------
    text : bytes
        Whole lines.
    lines : int
        Their number.

    Returns
    -------
    (lines, length) array or None
        Without the ends of lines; None if one is longer than another.
    """
    length = text.find(b"\n") + 1
    if length == 0 or length * lines != len(text):
        return None
    table = np.frombuffer(text, dtype=np.uint8).reshape(lines, length)
    return table[:, :-1] if (table[:, -1] == NEWLINE).all() else None


def word_ends(line: npt.NDArray[np.uint8]) -> list[int]:
    """Return where the words of a line end.

    Parameters
    ----------
    line : (length,) array
        Characters.

    Returns
    -------
    list of int
        The place after each word.
    """
    filled = line > BLANK
    after = np.append(filled[1:], False)
    return [int(place) + 1 for place in np.flatnonzero(filled & ~after)]


def numbers(characters: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64] | None:
    """Return the numbers of one column.

    Parameters
    ----------
    characters : (lines, width) array
        What stands in the column, from the end of that before it.

    Returns
    -------
    (lines,) array or None
        None if it is no column of numbers as described above.
    """
    rows = np.ascontiguousarray(characters.T)
    exponent = None
    marks = np.flatnonzero((rows[:, 0] == CAPITAL_E) | (rows[:, 0] == SMALL_E))
    if len(marks):
        place = int(marks[0])
        if not (rows[place] == rows[place, 0]).all():
            return None
        exponent = _digits(rows[place + 1 :], np.zeros(rows.shape[1], dtype=bool))
        rows = rows[:place]
        if exponent is None:
            return None
    points = np.flatnonzero(rows[:, 0] == POINT)
    point = int(points[0]) if len(points) else len(rows)
    negative = np.zeros(rows.shape[1], dtype=bool)
    whole = _digits(rows[:point], negative, signed=False)
    after = rows[point + 1 :]
    if whole is None or len(after) > MOST_DIGITS or not (rows[point : point + 1] == POINT).all():
        return None
    power = len(after)
    if power:
        fraction = _digits(after, np.zeros(rows.shape[1], dtype=bool), plain=True)
        if fraction is None or whole.max(initial=0) >= 10 ** (MOST_DIGITS - power):
            return None
        whole = whole * float(10**power)
        whole += fraction
    elif len(rows) > point:
        return None
    value = whole if exponent is None else _raised(whole, power - exponent)
    if exponent is None and power:
        value = whole / float(10**power)
    if value is not None and negative.any():
        value = np.where(negative, -value, value)
    return None if value is None else np.asarray(value, dtype=np.float64)


def _raised(
    whole: npt.NDArray[np.number], power: npt.NDArray[np.number]
) -> npt.NDArray[np.float64] | None:
    """Return whole / 10^power; a power that is no double costs the last bit."""
    power = power.astype(np.int64)
    if np.abs(power).max(initial=0) > 300:
        return None
    magnitude = np.abs(power)
    exact = 10.0 ** np.arange(MOST_POWER + 1)
    scale = np.where(
        magnitude > MOST_POWER, 10.0 ** magnitude.astype(float), exact[np.minimum(magnitude, 22)]
    )
    return np.where(power >= 0, whole / scale, whole * scale)


def _digits(
    rows: npt.NDArray[np.uint8],
    negative: npt.NDArray[np.bool_],
    *,
    signed: bool = True,
    plain: bool = False,
) -> npt.NDArray[np.float64] | None:
    """Return a whole number for each line, from its digits in (width, lines), or None.

    Parameters
    ----------
    rows : (width, lines) array of uint8
        Blanks, at most one sign, and digits.
    negative : (lines,) array of bool
        Set where there is a minus.
    signed : bool
        Give negative numbers their sign.
    plain : bool
        Only digits are allowed.
    """
    width = len(rows)
    if width == 0 or width > 2 * MOST_DIGITS:
        return None
    digit = rows - np.uint8(ZERO)  # wraps around below "0"
    other = digit > 9
    if other.any():
        if plain or other[-1].any() or (other[1:] & ~other[:-1]).any():
            return None  # digits go on to the end
        minus = rows == MINUS
        sign = minus | (rows == PLUS)
        if not ((rows == BLANK) | sign | ~other).all() or (sign[:-1] & other[1:]).any():
            return None
        np.logical_or(negative, minus.any(axis=0), out=negative)
        digit[other] = 0
    first = int(digit.any(axis=1).argmax()) if digit.any() else width - 1
    digit = digit[first:]
    if len(digit) > MOST_DIGITS:
        return None
    total = _joined(digit)
    if signed and negative.any():
        total = np.where(negative, -total, total)
    return total


def _joined(digit: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return Σ digit · 10^place over the rows, pairs of digits first: short types are fast."""
    count = -(-len(digit) // 4) * 4
    padded = np.zeros((count, digit.shape[1]), dtype=np.uint8)
    padded[count - len(digit) :] = digit
    pairs = padded[0::2] * np.uint8(10) + padded[1::2]
    fours = pairs[0::2].astype(np.uint16) * np.uint16(100) + pairs[1::2]
    total = fours[0].astype(np.float64)
    for row in fours[1:]:
        total *= 10000.0
        total += row
    return total
