"""OpenMX's orbital files (``.pao``).

Layout: text. ``valence.electron N``, ``radial.cutoff.pao R`` (Bohr), ``PAO.Lmax``, ``PAO.Mul``,
then for every l a table between ``<pseudo.atomic.orbitals.L=l`` and
``pseudo.atomic.orbitals.L=l>``: columns ln r, r (Bohr), and PAO.Mul functions R(r) (Bohr^(−3/2)).
A basis ``C6.0-s2p2d1`` of ``C6.0.pao`` takes the first 2, 2 and 1 of them. Kept: those, the cutoff
of the name, the electrons. Lost: everything else.
"""

import os
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, unreadable
from moireio.system.basis import SHELL_LETTERS, SpeciesBasis, parse_name
from moireio.units import BOHR_ANGSTROM

SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Pao:
    """Contents of an orbital file, as far as moireio uses them.

    Parameters
    ----------
    path : str
        The file.
    r : (n,) array
        Grid, Bohr.
    functions : dict of int to (m, n) array
        Radial functions of each l, Bohr^(−3/2).
    electrons : float or None
        Electrons of the neutral pseudo-atom.
    """

    path: str
    r: npt.NDArray[np.float64]
    functions: dict[int, npt.NDArray[np.float64]]
    electrons: float | None


def read(path: str | os.PathLike[str]) -> Pao:
    """Read an orbital file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Pao
        Its tables.

    Raises
    ------
    MoireioError
        If it cannot be read, or a table is malformed.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise unreadable(error, path) from error
    functions, grid, electrons, number = {}, None, None, 0
    while number < len(lines):
        words = lines[number].split()
        number += 1
        if len(words) > 1 and words[0] == "valence.electron":
            electrons = _number(words[1], path)
        if not words or not words[0].startswith("<pseudo.atomic.orbitals.L="):
            continue
        momentum, end = words[0].partition("=")[2], f"{words[0][1:]}>"
        rows = []
        while number < len(lines) and lines[number].strip() != end:
            rows.append([_number(w, path) for w in lines[number].split()])
            number += 1
        if number == len(lines) or len({len(row) for row in rows}) != 1 or len(rows) < 4:
            raise MoireioError(f"the table of l = {momentum} is damaged", path=path)
        table = np.array(rows)
        if not np.isfinite(table).all() or (np.diff(table[:, 1]) <= 0).any():
            raise MoireioError(f"the grid of l = {momentum} does not rise", path=path)
        grid = table[:, 1] if grid is None else grid
        if table.shape[0] != len(grid) or np.abs(table[:, 1] - grid).max() > SAME:
            raise MoireioError("its tables have different grids", path=path)
        functions[int(_number(momentum, path))] = table[:, 2:].T.copy()
    if not functions:
        raise MoireioError("holds no radial functions", path=path, remedy="expected a .pao file")
    return Pao(path, grid, functions, electrons)


def _number(word, path):
    try:
        return float(word)
    except ValueError:
        raise MoireioError(f"{word[:20]!r} stands where a number is expected", path=path) from None


def species_basis(folder: str, name: str, element: str | None = None) -> SpeciesBasis:
    """Return a basis with its radial functions.

    Parameters
    ----------
    folder : str
        Holds the orbital files; also OpenMX's data folder with ``PAO`` in it.
    name : str
        Such as ``Mo7.0-s3p2d1``.
    element : str, optional
        The element that it must be of.

    Returns
    -------
    SpeciesBasis
        r in Å, R in Å^(−3/2).

    Raises
    ------
    MoireioError
        If the file is missing, or has too few functions.
    """
    parsed, symbol = parse_name(name)
    if element is not None and symbol != element:
        raise MoireioError(f"basis {name} is not one of {element}")
    if parsed.cutoff is None:
        raise MoireioError(f"basis {name} gives no cutoff", remedy="as in Mo7.0-s3p2d1")
    stem = name.partition("-")[0]
    places = [os.path.join(folder, *p, f"{stem}.pao") for p in ((), ("PAO",))]
    path = next((p for p in places if os.path.exists(p)), None)
    if path is None:
        raise MoireioError(f"has no {stem}.pao", path=folder, remedy=f"needed for basis {name}")
    file = read(path)
    values = []
    for momentum in sorted(set(parsed.l)):
        wanted = parsed.l.count(momentum)
        have = len(file.functions.get(momentum, ()))
        if have < wanted:
            raise MoireioError(
                f"has {have} functions with l = {momentum} ({SHELL_LETTERS[momentum]}), "
                f"{name} needs {wanted}",
                path=path,
            )
        values += list(file.functions[momentum][:wanted])
    cutoff = parsed.cutoff / BOHR_ANGSTROM
    if not cutoff <= file.r[-1] * (1 + SAME):
        raise MoireioError(f"ends at {file.r[-1]:.3f} Bohr, before the cutoff of {name}", path=path)
    radial = (file.r * BOHR_ANGSTROM, np.array(values) * BOHR_ANGSTROM**-1.5)
    return replace(parsed, valence=file.electrons, radial=radial)
