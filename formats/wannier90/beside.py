"""The files beside a Hamiltonian of Wannier90: input, images, centres."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import MissingFileError, MoireioError
from moireio.formats.structures import files as structure_files
from moireio.formats.structures.text import COMPRESSED, plain_name
from moireio.formats.wannier90.centres import read_wout, read_xyz
from moireio.formats.wannier90.matrices import read_tb
from moireio.formats.wannier90.win import Win, read_win

HAMILTONIANS = ("_hr.dat", "_tb.dat")
SUFFIXES = (".win", "_wsvec.dat", "_centres.xyz", ".wout", "_tb.dat")


@dataclass(eq=False)
class Beside:
    """Files that belong to one Hamiltonian.

    Parameters
    ----------
    seed : str
        Name that they have in common, with the folder; "" where it is not known.
    paths : dict of str to str
        By suffix (`SUFFIXES`).
    structure : str, optional
        A structure file that the user gives for the lattice.
    files : list of str
        Those that were read.
    """

    seed: str
    paths: dict[str, str] = field(default_factory=dict)
    structure: str | None = None
    files: list[str] = field(default_factory=list)

    def take(self, suffix: str) -> str | None:
        """Return a file that will be read.

        Parameters
        ----------
        suffix : str
            One of `SUFFIXES`.

        Returns
        -------
        str or None
            Its path.
        """
        path = self.paths.get(suffix)
        if path is not None and path not in self.files:
            self.files.append(path)
        return path

    def name_of(self, suffix: str) -> str:
        """Return the name that a missing file would have.

        Parameters
        ----------
        suffix : str
            One of `SUFFIXES`.

        Returns
        -------
        str
            Without folder.
        """
        return (os.path.basename(self.seed) if self.seed else "SEED") + suffix

    def win(self, n: int) -> Win | None:
        """Read the input, if there is one.

        Parameters
        ----------
        n : int
            Number of functions.

        Returns
        -------
        Win or None
            What it says.

        Raises
        ------
        MoireioError
            If it is of another number of functions.
        """
        path = self.take(".win")
        if path is None:
            return None
        win = read_win(path)
        stated = win.count("num_wann")
        if stated is not None and stated != n:
            raise MoireioError(
                f"has num_wann = {stated}, but the Hamiltonian has {n} functions",
                path=path,
                remedy="it is of another run: give the one that belongs to this Hamiltonian",
            )
        return win

    def centres(self, n: int, moved: bool) -> npt.NDArray[np.float64] | None:
        """Read the centres of the functions, where a file has them.

        Parameters
        ----------
        n : int
            Number of functions.
        moved : bool
            Whether ``_centres.xyz`` has them moved into the home cell, away from the R of H.

        Returns
        -------
        (n, 3) array or None
            Å.
        """
        if "_centres.xyz" in self.paths and not moved:
            return read_xyz(str(self.take("_centres.xyz")), n)
        if ".wout" in self.paths:
            found = read_wout(str(self.take(".wout")), n)
            if found is not None:
                return found
        if "_tb.dat" in self.paths:
            return diagonal_centres(str(self.take("_tb.dat")), n)
        return None

    def lattice(self) -> npt.NDArray[np.float64] | None:
        """Return the lattice vectors of a structure file that the user gives, or None."""
        if self.structure is None:
            return None
        self.files.append(self.structure)
        return np.array(structure_files.read_foreign(self.structure)[0].cell)


def diagonal_centres(path: str, n: int) -> npt.NDArray[np.float64] | None:
    """Return the centres that the position matrices of ``_tb.dat`` hold.

    Parameters
    ----------
    path : str
        The file.
    n : int
        Number of functions.

    Returns
    -------
    (n, 3) array or None
        Å; None where it has no position matrices.
    """
    matrices = read_tb(path)
    if matrices.n != n:
        raise MoireioError(f"has {matrices.n} functions, but the Hamiltonian has {n}", path=path)
    return centres_of(matrices.cells, matrices.position)


def centres_of(
    cells: npt.NDArray[np.int64], position: npt.NDArray[np.complex128] | None
) -> npt.NDArray[np.float64] | None:
    """Return ⟨m,0|r|m,0⟩.

    Parameters
    ----------
    cells : (n_cells, 3) array of int64
        The lattice vectors R.
    position : (3, n_cells, n, n) array or None
        ⟨m,0|r|n,R⟩, Å.

    Returns
    -------
    (n, 3) array or None
        Å.
    """
    home = np.flatnonzero(~cells.any(axis=1))
    if position is None or len(home) == 0:
        return None
    return np.ascontiguousarray(np.diagonal(position[:, home[0]].real, axis1=1, axis2=2).T)


def find_beside(path: str, companions: Sequence[str]) -> Beside:
    """Find the files that belong to a Hamiltonian.

    Parameters
    ----------
    path : str
        The Hamiltonian.
    companions : sequence of str
        Files that the user gives; they come before those beside it. One with another name than
        those of Wannier90 is a structure file, for the lattice.

    Returns
    -------
    Beside
        Its files.

    Raises
    ------
    MissingFileError
        If a companion does not exist.
    """
    seed = seed_of(path)
    beside = Beside(seed)
    for companion in companions:
        if not os.path.exists(companion):
            raise MissingFileError(path=companion)
        name = plain_name(companion).lower()
        suffix = next((s for s in SUFFIXES if name.endswith(s)), None)
        if name.startswith("wt.in"):
            raise MoireioError(
                "is WannierTools' input",
                path=companion,
                remedy="a Hamiltonian with it is of the format wanniertools, which is to be named",
            )
        known = beside.paths.get(suffix) if suffix is not None else beside.structure
        if known is not None:
            raise MoireioError(
                f"is given besides {known}: one of the two is enough", path=companion
            )
        if suffix is not None:
            beside.paths[suffix] = companion
        elif not is_hamiltonian(companion):  # the other form of the same is left out
            beside.structure = companion
    for suffix in SUFFIXES:
        found = _existing(seed + suffix) if seed else None
        if suffix not in beside.paths and found is not None:
            beside.paths[suffix] = found
    return beside


def is_hamiltonian(path: str) -> bool:
    """Return whether a name is that of a Hamiltonian.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By its ending.
    """
    return plain_name(path).lower().endswith(HAMILTONIANS)


def seed_of(path: str) -> str:
    """Return the part of a Hamiltonian's name that the files beside it share.

    Parameters
    ----------
    path : str
        Such as ``run/si_hr.dat.gz``.

    Returns
    -------
    str
        Such as ``run/si``; "" where the name has not that form.
    """
    name = plain_name(path)
    ending = next((s for s in HAMILTONIANS if name.lower().endswith(s)), None)
    if ending is None or len(name) == len(ending):
        return ""
    return os.path.join(os.path.dirname(path), name[: -len(ending)])


def is_other_form(path: str, hamiltonian: str) -> bool:
    """Return whether a Hamiltonian is the other form, ``_hr`` or ``_tb``, of another.

    Parameters
    ----------
    path, hamiltonian : str
        Two Hamiltonians.

    Returns
    -------
    bool
        By their names: those of two spins differ before their endings, or lie in two folders.
    """
    one, two = (plain_name(name).lower() for name in (path, hamiltonian))
    return one != two and plain_name(seed_of(path)) == plain_name(seed_of(hamiltonian)) != ""


def other_spin(path: str) -> str | None:
    """Return the file that may hold the other spin of a collinear calculation.

    Parameters
    ----------
    path : str
        A Hamiltonian.

    Returns
    -------
    str or None
        A file beside it with "down", "dn" or "2" where its name has "up" or "1"; None if there is
        none.
    """
    folder, name = os.path.split(path)
    for up, down in (("up", "down"), ("up", "dn"), ("UP", "DN"), (".1_", ".2_")):
        for before, after in ((up, down), (down, up)):
            other = os.path.join(folder, name.replace(before, after, 1))
            if before in name and os.path.exists(other):
                return other
    return None


def _existing(path: str) -> str | None:
    """Return a file, or its compressed form, if there is one."""
    for suffix in ("", *COMPRESSED):
        if os.path.isfile(path + suffix):
            return path + suffix
    return None
