"""Centres of Wannier functions, from ``X_centres.xyz`` or from ``X.wout``.

``X_centres.xyz``: the count, a comment, then lines ``X x y z`` (Å), one a function, and the atoms
after them. ``X.wout``: lines ``WF centre and spread n ( x, y, z )`` after ``Final State``, in the
unit that it names.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.formats.structures.text import Lines, labelled_element, read_text
from moireio.formats.wannier90.win import BOHR, Win

SAME_PLACE = 1e-2  # Å
OTHER_RUN = "it is of another run: give the one that belongs to this Hamiltonian"
_CENTRE = re.compile(r"WF centre and spread\s+(\d+)\s+\(([^)]*)\)")
_UNIT = re.compile(r"Length Unit\s*:\s*(\w+)", re.I)


def read_xyz(path: str, n: int) -> npt.NDArray[np.float64]:
    """Read ``X_centres.xyz``.

    Parameters
    ----------
    path : str
        The file.
    n : int
        Number of functions.

    Returns
    -------
    (n, 3) array
        Å.

    Raises
    ------
    MoireioError
        If it has another number of centres, or is damaged.
    """
    lines = Lines(read_text(path), path, "file of centres")
    lines.next("the number of centres and atoms")
    lines.next("a comment")
    found = sum(line.split()[:1] == ["X"] for line in lines.lines[2:])
    if found != n:
        raise MoireioError(
            f"has {found} centres, but there are {n} functions", path=path, remedy=OTHER_RUN
        )
    return lines.table(n, slice(1, 4), "the centre of a function (X x y z)")


def other_atoms(path: str, n: int, win: Win) -> str | None:
    """Return a note where the atoms of ``X_centres.xyz`` are not those of the input.

    Parameters
    ----------
    path : str
        ``X_centres.xyz``, which lists the atoms after the functions.
    n : int
        Number of functions.
    win : Win
        The input.

    Returns
    -------
    str or None
        None also where one of the two has no atoms. Their order, and lattice vectors between
        them, do not matter.
    """
    found = []
    for line in read_text(path).split("\n")[2 + n :]:
        words = line.split()
        try:
            point = [float(word) for word in words[1:4]]
        except ValueError:
            return None
        if len(point) == 3:
            found.append((labelled_element(words[0]) or 0, point))
    if not found or len(win.numbers) == 0 or win.cell is None:
        return None
    numbers = np.array([number for number, _ in found])
    apart = np.array([point for _, point in found])[:, None] - win.positions
    apart -= np.round(apart @ np.linalg.inv(win.cell)) @ win.cell
    near = (np.linalg.norm(apart, axis=2) < SAME_PLACE) & (numbers[:, None] == win.numbers)
    if len(found) == len(win.numbers) and near.any(axis=0).all() and near.any(axis=1).all():
        return None
    return f"{path} lists other atoms than {win.path}: one of the two is of another run"


def read_wout(path: str, n: int) -> npt.NDArray[np.float64] | None:
    """Read the centres of the final state in ``X.wout``.

    Parameters
    ----------
    path : str
        The file.
    n : int
        Number of functions.

    Returns
    -------
    (n, 3) array or None
        Å; None where the run did not come to its end.

    Raises
    ------
    MoireioError
        If it has another number of centres.
    """
    text = read_text(path)
    begin = text.rfind("Final State")
    if begin < 0:
        return None
    found = {}
    for match in _CENTRE.finditer(text, begin):
        try:
            point = [float(word) for word in match[2].split(",")]
        except ValueError:
            point = []
        if len(point) != 3 or not np.isfinite(point).all():
            raise DamagedError(f"the centre of function {match[1]} is no point", path=path)
        found[int(match[1])] = point
    if sorted(found) != list(range(1, n + 1)):
        raise MoireioError(
            f"has the centres of {len(found)} functions, but there are {n}",
            path=path,
            remedy=OTHER_RUN,
        )
    unit = _UNIT.search(text)
    scale = BOHR if unit is not None and unit[1].lower().startswith("bohr") else 1.0
    return scale * np.array([found[number] for number in range(1, n + 1)])
