"""xyz and extended xyz.

Layout: the number of atoms; a comment, in extended xyz with ``Lattice="…"`` (three vectors, Å),
``Properties=name:type:columns…`` and ``pbc="T T F"``; one line an atom; further images likewise.
Kept, of the last image: cell, pbc, elements, positions (Å), layers, magnetic moments. A file
without a lattice is a molecule.
"""

import re
from dataclasses import dataclass

import numpy as np

from moireio.formats.structures.text import (
    Lines,
    StructureText,
    atomic_number,
    last_digit,
    shown,
)

_PAIR = re.compile(
    r"""(?<![\w-])([A-Za-z_][\w-]*)\s*=(?:\s*"((?:[^"\\]|\\.)*)"|\s*'([^']*)'|\s*\{([^}]*)\}|(\S*))"""
)
LONGEST_COMMENT = 65536
_TRUE = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}


@dataclass(frozen=True)
class _Columns:
    names: dict  # lower case → (first column, type, columns)
    width: int


def looks_like(text: str) -> bool:
    """Return whether a text is laid out as xyz.

    Parameters
    ----------
    text : str
        The text of a file.

    Returns
    -------
    bool
        True if it begins with a number of atoms, a comment, and a line with an element.
    """
    lines = text.split("\n", 3)
    if len(lines) < 3 or not lines[0].strip().isdigit():
        return False
    words = lines[2].split()
    return "lattice=" in lines[1].lower() or (
        len(words) >= 4 and words[0].isalpha() and atomic_number(words[0]) is not None
    )


def read(text: str, path: str) -> StructureText:
    """Read the last image of an xyz file.

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
    lines = Lines(text, path, "xyz file")
    images = 0
    start, count = 0, 0
    while True:
        start, count = lines.at, _count(lines)
        lines.next("a comment")
        if count > len(lines.lines) - lines.at:
            left = sum(bool(row.strip()) for row in lines.lines[lines.at :])
            lines.fail(
                f"announces {count} atoms, but {left} lines follow",
                "the file is cut short, or the number is wrong",
                line=start + 1,
            )
        images += 1
        lines.at += count
        while lines.at < len(lines.lines) and not lines.lines[lines.at].strip():
            lines.at += 1
        if lines.at >= len(lines.lines):
            break
    lines.at = start + 1
    comment = lines.next("a comment")
    if len(comment) > LONGEST_COMMENT:
        lines.fail(
            f"the comment has {len(comment)} characters, at most {LONGEST_COMMENT} are read",
            "shorten it to Lattice, Properties and pbc",
        )
    fields = _fields(comment)
    columns = _columns(lines, fields.get("properties"))
    cell, precision = _lattice(lines, fields)
    rows = lines.lines[lines.at : lines.at + count]
    place = columns.names["pos"][0]
    first = lines.at
    positions = lines.table(count, slice(place, place + 3), "an element and three coordinates")
    if "properties" in fields:
        lines.same_width(first, rows, columns.width)
    numbers = _elements(lines, rows, columns, first)
    return StructureText(
        cell,
        numbers,
        positions,
        pbc=_pbc(lines, fields, cell, start + 2),
        layer=_integers(rows, columns, "layer"),
        magmoms=_magmoms(lines, rows, columns, first),
        precision=precision,
        images=images,
    )


def _count(lines):
    word = lines.next("a number of atoms")
    if not (word.isascii() and word.isdigit() and len(word) < 12):
        lines.fail(f"expected a number of atoms, found {shown(word)}")
    return int(word)


def _fields(comment):
    return {
        m[1].lower(): next(v for v in m.groups()[1:] if v is not None)
        for m in _PAIR.finditer(comment)
    }


def _columns(lines, properties):
    if properties is None:
        return _Columns({"species": (0, "S", 1), "pos": (1, "R", 3)}, 4)
    words = properties.split(":")
    names, at = {}, 0
    good = len(words) % 3 == 0
    for name, kind, columns in zip(words[::3], words[1::3], words[2::3], strict=False):
        if kind not in ("R", "I", "S", "L") or not columns.isdigit() or not 0 < int(columns) < 1000:
            good = False
            break
        names[name.lower()] = (at, kind, int(columns))
        at += int(columns)
    known = "species" in names or "z" in names
    if not good or not known or names.get("pos", (0, "", 0))[1:] != ("R", 3):
        lines.fail(
            f"Properties {shown(properties)} name no elements and positions",
            "as in Properties=species:S:1:pos:R:3",
        )
    return _Columns(names, at)


def _lattice(lines, fields):
    text = fields.get("lattice", fields.get("cell"))
    if text is None:
        return np.zeros((3, 3)), 0.0
    words = text.replace(",", " ").split()
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.empty(0)
    if len(values) != 9 or not np.isfinite(values).all():
        lines.fail(f"expected the nine numbers of a Lattice, found {shown(text)}")
    return values.reshape(3, 3), last_digit(words)


def _pbc(lines, fields, cell, line):
    if "pbc" not in fields:
        return None
    words = re.findall(r"[^\s,\[\]]+", fields["pbc"])
    flags = [_TRUE.get(w.lower()) for w in words]
    flags = flags * 3 if len(flags) == 1 else flags
    if len(flags) != 3 or None in flags:
        lines.fail(f'expected pbc as "T T F", found {shown(fields["pbc"])}', line=line)
    return np.array(flags) & cell.any(axis=1)


def _elements(lines, rows, columns, first):
    place = columns.names.get("species", columns.names.get("z"))[0]
    words = [row.split()[place] for row in rows]
    known = {word: atomic_number(word) for word in set(words)}
    if None in known.values():
        wrong = next(n for n, word in enumerate(words) if known[word] is None)
        lines.fail(f"{words[wrong]!r} is no element", line=first + wrong + 1)
    return np.array([known[word] for word in words], dtype=np.int32)


def _integers(rows, columns, name):
    if name not in columns.names or columns.names[name][1:] != ("I", 1):
        return None
    place = columns.names[name][0]
    try:
        return np.array([row.split()[place] for row in rows], dtype=np.int64)
    except (IndexError, ValueError, OverflowError):
        return None


def _magmoms(lines, rows, columns, first):
    name = next((n for n in ("initial_magmoms", "magmoms") if n in columns.names), None)
    if name is None or columns.names[name][2] not in (1, 3):
        return None
    place, _, count = columns.names[name]
    lines.at = first
    values = lines.table(len(rows), slice(place, place + count), "a magnetic moment")
    return values[:, 0] if count == 1 else values
