"""Wannier90's input, ``X.win``: cell, atoms, and whether the functions are spinors.

Layout: lines ``keyword = value`` (also ``:`` or a blank between them) and blocks ``begin NAME`` …
``end NAME``, in any case; ``!`` and ``#`` begin comments. Lengths are Å unless the first line of a
block is ``bohr``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.structures.text import labelled_element, read_text, shown

#: Wannier90's own (CODATA 2006), Å.
BOHR = 0.52917720859
_COMMENT = re.compile(r"[!#].*")
_KEYWORD = re.compile(r"([A-Za-z_0-9]+)\s*[=:\s]\s*(.*)")
_SPIN = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, eq=False)
class Win:
    """What an input says.

    Parameters
    ----------
    path : str
        The file.
    cell : (3, 3) array or None
        Lattice vectors as rows, Å.
    numbers : (N,) array of int
        Atomic numbers; 0 for labels that are no elements.
    positions : (N, 3) array
        Cartesian, Å.
    keywords : dict of str to str
        All others, in lower case.
    projections : tuple of str
        Lines of that block.
    """

    path: str
    cell: npt.NDArray[np.float64] | None
    numbers: npt.NDArray[np.int32]
    positions: npt.NDArray[np.float64]
    keywords: dict[str, str] = field(default_factory=dict)
    projections: tuple[str, ...] = ()

    def flag(self, name: str, default: bool) -> bool:
        """Return a logical keyword.

        Parameters
        ----------
        name : str
            In lower case.
        default : bool
            Its value where it is absent.

        Returns
        -------
        bool
            As Fortran reads it.
        """
        text = self.keywords.get(name, "").strip(". ").lower()
        return text[:1] in ("t", "1", "y") if text else default

    def count(self, name: str) -> int | None:
        """Return a whole number.

        Parameters
        ----------
        name : str
            In lower case.

        Returns
        -------
        int or None
            None where it is absent, or is none.
        """
        words = self.keywords.get(name, "").split()
        return int(words[0]) if words and words[0].isdecimal() and len(words[0]) < 10 else None

    @property
    def mesh(self) -> tuple[int, int, int] | None:
        """Numbers of k points, ``mp_grid``."""
        words = re.split(r"[\s,;]+", self.keywords.get("mp_grid", "").strip())
        if len(words) != 3 or not all(word.isdecimal() and len(word) < 6 for word in words):
            return None
        return int(words[0]), int(words[1]), int(words[2])

    @property
    def one_spin_projections(self) -> bool:
        """Whether projections name one spin, ``(u)`` or ``(d)``, so that they may not alternate."""
        named = [_SPIN.findall(line.lower()) for line in self.projections]
        return any(text.strip() in ("u", "d") for spins in named for text in spins)


def read_win(path: str) -> Win:
    """Read an input.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Win
        What it says.

    Raises
    ------
    MoireioError
        If a block has no end, or cell or atoms are not numbers.
    """
    keywords: dict[str, str] = {}
    blocks: dict[str, list[tuple[int, str]]] = {}
    inside = None
    for number, raw in enumerate(read_text(path).split("\n"), 1):
        line = _COMMENT.sub("", raw).strip()
        words = line.split()
        if not words:
            continue
        first = words[0].lower()
        if inside is not None:
            if first == "end":
                inside = None
            else:
                blocks[inside].append((number, line))
        elif first == "begin" and len(words) > 1:
            inside = words[1].lower()
            blocks[inside] = []
        elif (found := _KEYWORD.fullmatch(line)) is not None:
            keywords[found[1].lower()] = found[2]
    if inside is not None:
        raise MoireioError(f"its block {shown(inside)} has no end", path=path)
    cell = None
    if "unit_cell_cart" in blocks:
        rows, scale = _lengths(blocks["unit_cell_cart"])
        cell = scale * _points(rows, path, 0)
        if cell.shape != (3, 3):
            raise MoireioError(f"unit_cell_cart has {len(cell)} vectors, 3 expected", path=path)
    numbers, positions = _atoms(blocks, cell, path)
    lines = tuple(line for _, line in blocks.get("projections", []))
    return Win(path, cell, numbers, positions, keywords, lines)


def _lengths(rows: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], float]:
    """Return the rows of a block without its unit, and the unit in Å."""
    unit = rows[0][1].lower() if rows else ""
    if unit.startswith(("ang", "bohr")):
        return rows[1:], BOHR if unit.startswith("bohr") else 1.0
    return rows, 1.0


def _points(rows: list[tuple[int, str]], path: str, begin: int) -> npt.NDArray[np.float64]:
    """Return three numbers of each line, from the word `begin` on."""
    values = []
    for number, line in rows:
        words = line.replace(",", " ").split()[begin : begin + 3]
        try:
            found = [float(word.lower().replace("d", "e")) for word in words]
        except ValueError:
            found = []
        if len(found) != 3 or not np.isfinite(found).all():
            raise MoireioError(
                f"line {number}: three numbers expected, found {shown(line)}", path=path
            )
        values.append(found)
    return np.array(values, dtype=np.float64).reshape(-1, 3)


def _atoms(
    blocks: dict[str, list[tuple[int, str]]], cell: npt.NDArray[np.float64] | None, path: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Return atomic numbers and positions."""
    if "atoms_cart" in blocks:
        rows, scale = _lengths(blocks["atoms_cart"])
        positions = scale * _points(rows, path, 1)
    elif "atoms_frac" in blocks and cell is not None:
        rows = blocks["atoms_frac"]
        positions = _points(rows, path, 1) @ cell
    else:
        return np.zeros(0, dtype=np.int32), np.zeros((0, 3))
    numbers = [labelled_element(line.split()[0]) or 0 for _, line in rows]
    return np.array(numbers, dtype=np.int32), positions
