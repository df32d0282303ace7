"""VASP's POSCAR and CONTCAR.

Layout: a comment; a scale (negative: the volume) or three; three lattice vectors; symbols (since
VASP 5; before, they are taken from the comment or from the ends of the atoms' lines); numbers of
atoms; optional ``Selective dynamics``; ``Direct`` or ``Cartesian``; one line an atom. Kept: cell,
elements, positions. Lost: constraints and velocities. No other file (POTCAR, OUTCAR) is read.
"""

import numpy as np

from moireio.formats.structures.text import (
    Lines,
    StructureText,
    labelled_element,
    last_digit,
    shown,
)

MOST_ATOMS = 10_000_000


def looks_like(text: str) -> bool:
    """Return whether a text is laid out as a POSCAR.

    Parameters
    ----------
    text : str
        The text of a file.

    Returns
    -------
    bool
        True if the second line has one or three scales, and three lines of three numbers follow.
    """
    lines = text.split("\n", 6)[1:5]
    scales = lines[0].split()[:4] if len(lines) == 4 else []
    if not _is_numbers(scales[:1]) or not scales or (len(scales) > 3 and _is_numbers(scales)):
        return False
    try:
        return all(len([float(w) for w in line.split()[:3]]) == 3 for line in lines[1:])
    except ValueError:
        return False


def read(text: str, path: str) -> StructureText:
    """Read a POSCAR.

    Parameters
    ----------
    text : str
        The text of the file.
    path : str
        The file, for messages.

    Returns
    -------
    StructureText
        Its structure.

    Raises
    ------
    MoireioError
        With the line, if one does not fit.
    """
    lines = Lines(text, path, "POSCAR")
    comment = lines.next("a comment")
    scale = _scale(lines)
    start = lines.at
    rows = [lines.next("a lattice vector") for _ in range(3)]
    cell = np.array(
        [
            lines.numbers("three numbers of a lattice vector", 3, row.split(), start + n)
            for n, row in enumerate(rows, 1)
        ]
    )
    precision = last_digit(rows)
    if len(scale) == 1 and scale[0] < 0:
        with np.errstate(all="ignore"):
            volume = abs(np.linalg.det(cell))
        if not (np.isfinite(volume) and volume > 0):
            lines.fail("the three lattice vectors are not independent")
        scale = [(-scale[0] / volume) ** (1 / 3)]
    cell = cell * scale
    words = lines.next("symbols or numbers of atoms").split()
    names = None
    if words and not words[0].isdigit():
        names, words = words, lines.next("numbers of atoms").split()
    counts = _counts(lines, words)
    mode = lines.next("'Direct' or 'Cartesian'")
    if mode[:1] in ("S", "s"):
        mode = lines.next("'Direct' or 'Cartesian'")
    if not mode[:1].isalpha():
        lines.fail(f"expected 'Direct' or 'Cartesian', found {shown(mode)}")
    total = sum(counts)
    start = lines.at
    positions = lines.table(total, slice(0, 3), "three coordinates of an atom")
    rows = lines.lines[start : start + total]
    _check_columns(lines, rows, start)
    numbers = _elements(lines, names, counts, comment, rows)
    rest = lines.lines[lines.at] if lines.at < len(lines.lines) else ""
    if len(rest.split()) >= 3 and _is_numbers(rest.split()[:3]):
        lines.at += 1
        lines.fail(
            f"coordinates go on after the {total} atoms that are announced",
            "correct the numbers of atoms",
        )
    with np.errstate(all="ignore"):
        positions = positions * scale if mode[0] in "CcKk" else positions @ cell
    return StructureText(cell, numbers, positions, precision=precision * float(max(np.abs(scale))))


def _scale(lines):
    words = lines.next("a scale").split()
    values = []
    for word in words[:3]:
        if not _is_numbers([word]):
            break
        values.append(float(word))
    if len(values) == 2:
        values = values[:1]
    if not values or not np.isfinite(values).all() or 0 in values:
        lines.fail(f"expected a scale, found {shown(' '.join(words))}")
    if len(values) == 3 and min(values) < 0:
        lines.fail("of three scales none may be negative")
    return values


def _is_numbers(words):
    try:
        [float(w) for w in words]
    except ValueError:
        return False
    return True


def _counts(lines, words):
    counts = []
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 12):
            break  # a comment may follow
        counts.append(int(word))
    if not counts or (len(counts) < len(words) and words[len(counts)][0] not in "!#"):
        lines.fail(f"expected the numbers of atoms, found {shown(' '.join(words))}")
    if sum(counts) > MOST_ATOMS or sum(counts) > len(lines.lines):
        lines.fail(
            f"announces {sum(counts)} atoms, but the file has {len(lines.lines)} lines",
            "correct the numbers of atoms; the file may be cut short",
        )
    return counts


def _check_columns(lines, rows, first):
    """Refuse a row with more numbers than the others, as where a digit became a blank."""
    if len({len(row.split()) for row in rows}) > 1:
        for number, row in enumerate(rows, first + 1):
            fourth = row.split()[3:4]
            if fourth and _is_numbers(fourth):
                lines.fail(
                    f"expected three coordinates of an atom, found {shown(row)}", line=number
                )


def _elements(lines, names, counts, comment, rows):
    """Return the atomic numbers, from the symbols or what VASP 4 had instead."""
    if names is not None:
        names = [n for n in names if n not in ("!", "#")][: max(len(counts), len(names))]
        if len(names) != len(counts):
            lines.fail(
                f"{len(names)} symbols ({shown(' '.join(names))}), but {len(counts)} numbers of "
                "atoms",
                line=7,
            )
        species = [labelled_element(n) for n in names]
        if None in species:
            wrong = names[species.index(None)]
            lines.fail(f"{wrong!r} is no element", line=6)
        return np.repeat(species, counts).astype(np.int32)
    ends = [row.split()[-1] for row in rows if len(row.split()) in (4, 7)]
    species = [labelled_element(w) for w in ends]
    if len(species) == sum(counts) and species and None not in species:
        return np.array(species, np.int32)
    named = [labelled_element(w) for w in comment.split()[: len(counts)]]
    if len(named) == len(counts) and None not in named:
        return np.repeat(named, counts).astype(np.int32)
    lines.fail(
        "has no symbols of the elements (the layout of VASP 4)",
        "add a line with them above the numbers of atoms",
        line=6,
    )
