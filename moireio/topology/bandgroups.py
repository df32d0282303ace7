"""Groups of neighbouring bands: how users name them, and which bands they are."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import centred_range, mean_below, occupied_bands
from moireio.spectrum.sums import bloch_sums

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

FORMS = "expected A:B, counted from 1, v1:v3, c1:c2, or a number of bands"
_END = re.compile(r"([vc]?)([1-9][0-9]{0,8})", re.IGNORECASE)


@dataclass(frozen=True)
class BandGroup:
    """Neighbouring bands, numbered from 1, lowest first.

    Parameters
    ----------
    first, last : int
        Both inclusive.
    """

    first: int
    last: int

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.last - self.first + 1

    @property
    def band_range(self) -> tuple[int, int]:
        """First and last band counted from 0, both inclusive, as solvers take them."""
        return self.first - 1, self.last - 1

    def __str__(self) -> str:
        """Return ``A:B``."""
        return f"{self.first}:{self.last}"


@dataclass(frozen=True)
class BandSelection:
    """A group of bands as the user names it.

    Parameters
    ----------
    first, last : tuple of (str, int) or None
        Both ends: ("", 5) is band 5, ("v", 1) the highest filled band, ("c", 1) the lowest empty
        one; both None for a number of bands.
    count : int, optional
        Number of bands around an energy or the gap.
    shortened : bool
        Whether bands that are not there are left out, as long as one remains.
    """

    first: tuple[str, int] | None = None
    last: tuple[str, int] | None = None
    count: int | None = None
    shortened: bool = False

    @property
    def needs_filling(self) -> bool:
        """Whether the number of filled bands must be known."""
        return any(end is None or end[0] for end in (self.first, self.last))

    def resolve(self, n_occupied: float | None, n_bands: int) -> BandGroup:
        """Return the bands.

        Parameters
        ----------
        n_occupied : float or None
            Filled bands; None where the number is unknown or not needed.
        n_bands : int
            All bands.

        Returns
        -------
        BandGroup
            The bands.

        Raises
        ------
        MoireioError
            If there are no such bands, or the number of filled ones is needed and unknown or not
            whole.
        """
        if not self.needs_filling:
            n_occupied = n_occupied or 0.0
        elif n_occupied is None:
            raise MoireioError(
                f"`bands` {self}: the number of filled bands is unknown",
                remedy="give `energy` in eV, or bands as A:B",
            )
        if self.count is not None:
            first, last = centred_range(n_bands, self.count, n_occupied)
            return BandGroup(first + 1, last + 1)
        assert self.first is not None
        assert self.last is not None
        if self.needs_filling and n_occupied != round(n_occupied):
            raise MoireioError(
                f"`bands` {self}: {n_occupied:g} bands are filled, the highest only in part",
                remedy="give `energy` in eV, or bands as A:B",
            )
        ends = [
            {"": n, "v": round(n_occupied) + 1 - n, "c": round(n_occupied) + n}[kind]
            for kind, n in (self.first, self.last)
        ]
        first, last = min(ends), max(ends)
        if self.shortened and last >= 1 and first <= n_bands:
            first, last = max(first, 1), min(last, n_bands)
        if first < 1 or last > n_bands:
            filled = f", {n_occupied:g} of them filled" if self.needs_filling else ""
            raise MoireioError(
                f"`bands` {self}: there are {n_bands} bands{filled}",
                remedy=f"name others; 1:{n_bands} are all",
            )
        return BandGroup(first, last)

    def __str__(self) -> str:
        """Return the user's words."""
        if self.first is None or self.last is None:
            return str(self.count)
        return ":".join(f"{kind}{n}" for kind, n in (self.first, self.last))


def parse_group(text: str, *, shortened: bool = False) -> BandSelection:
    """Read the name of a group of bands.

    Parameters
    ----------
    text : str
        ``A:B`` (numbers from 1), ``v1:v3`` (down from the highest filled band), ``c1:c2`` (up from
        the lowest empty one), ``v2:c2``, one band as ``v1``, or a number of bands.
    shortened : bool
        Leave out bands that are not there, as long as one remains.

    Returns
    -------
    BandSelection
        The group.

    Raises
    ------
    MoireioError
        If the text names none.
    """
    parts = text.strip().split(":")
    found = [_END.fullmatch(part.strip()) for part in parts]
    if len(parts) > 2 or not all(found):
        raise MoireioError(f"`bands` {text!r} names no bands", remedy=FORMS)
    ends = [(match[1].lower(), int(match[2])) for match in found if match]
    if len(ends) == 1 and not ends[0][0]:
        return BandSelection(count=ends[0][1])
    first, last = ends[0], ends[-1]
    plain = [kind == "" for kind, _ in (first, last)]
    if any(plain) != all(plain) or (all(plain) and first[1] > last[1]):
        raise MoireioError(f"`bands` {text!r} names no bands", remedy=FORMS)
    return BandSelection(first, last, shortened=shortened)


def filled_bands(
    file: "BlockFile",
    energy: float | None = None,
    k: npt.ArrayLike = (0.0, 0.0, 0.0),
    solver: SolverChoice | None = None,
) -> float:
    """Return the number of bands below the gap, or below an energy.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian.
    energy : float, optional
        eV; by default the number of electrons decides, or the Fermi level where that is unknown.
    k : (nk, 3) or (3,) array
        Where bands below `energy` are counted, fractional; their mean is rounded.
    solver : SolverChoice, optional
        How they are counted.

    Returns
    -------
    float
        Without `energy` not whole for an odd number of electrons in bands of two.

    Raises
    ------
    MoireioError
        If neither the number of electrons nor a Fermi level is known.
    """
    if energy is None and "electrons" in file and file.electrons.count is None:
        energy = file.electrons.fermi  # other programs' files often have no more than that
    if energy is None:
        return occupied_bands(file)
    sums, overlap, _ = bloch_sums(file)
    points = np.atleast_2d(np.asarray(k, dtype=float))
    choice = solver or SolverChoice()
    with EigenproblemSet(sums, overlap, points, choice, 1, energy) as problems:
        return float(round(mean_below(problems, energy)))


def resolve_groups(
    file: "BlockFile",
    selections: tuple[BandSelection, ...],
    energy: float | None = None,
    k: npt.ArrayLike = (0.0, 0.0, 0.0),
    solver: SolverChoice | None = None,
) -> list[BandGroup]:
    """Return the bands of a block file that a user named.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian.
    selections : tuple of BandSelection
        Groups; none for all filled bands.
    energy, k, solver
        As in `filled_bands`.

    Returns
    -------
    list of BandGroup
        In the order given.

    Raises
    ------
    MoireioError
        If a group has no bands, or the number of filled ones is needed and unknown.
    """
    spinor = file.hamiltonian.meta.spin == "spinor"
    total = int(file.basis.sizes(file.structure).sum()) * (2 if spinor else 1)
    n_occupied = None
    if energy is not None or not selections or any(s.needs_filling for s in selections):
        n_occupied = filled_bands(file, energy, k, solver)
    if not selections:
        whole = BandSelection(("", 1), ("v", 1))
        return [whole.resolve(n_occupied, total)]
    return [selection.resolve(n_occupied, total) for selection in selections]
