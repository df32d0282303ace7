"""Groups of neighbouring bands: how users name them, and which bands they are."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.filled_bands import filled_of_spins
from moireio.spectrum.selection import centred_range

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
    channel : {0, 1} or None
        Spin up or down alone, of collinear spin.
    """

    first: int
    last: int
    channel: int | None = None

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


def resolve_groups(
    file: "BlockFile",
    selections: tuple[BandSelection, ...],
    energy: float | None = None,
    k: npt.ArrayLike = (0.0, 0.0, 0.0),
    solver: SolverChoice | None = None,
    *,
    by_spin: bool = False,
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
    by_spin : bool
        Whether groups may be those of one spin: where up and down of collinear spin have different
        numbers of filled bands, and a group is named by them.

    Returns
    -------
    list of BandGroup
        In the order given.

    Raises
    ------
    MoireioError
        If a group has no bands, the number of filled ones is needed and unknown, or it is
        not the same of both spins without `by_spin`.
    """
    spinor = file.hamiltonian.meta.spin == "spinor"
    total = int(file.basis.sizes(file.structure).sum()) * (2 if spinor else 1)
    filled: tuple[float | None, ...] = (None,)
    if energy is not None or not selections or any(s.needs_filling for s in selections):
        filled = filled_of_spins(file, energy, k, solver)
    selections = selections or (BandSelection(("", 1), ("v", 1)),)
    if len(set(filled)) == 1:
        return [selection.resolve(filled[0], total) for selection in selections]
    groups = []
    for selection in selections:
        if not selection.needs_filling:
            groups.append(selection.resolve(None, total))
            continue
        if not by_spin:
            raise MoireioError(
                f"`bands` {selection}: spin up has {filled[0]:g} filled bands, spin down "
                f"{filled[1]:g}: the name means other bands of either",
                path=file.label,
                remedy=f"give bands as A:B, numbered from 1 to {total}",
            )
        groups += _of_either_spin(selection, filled, total)
    return groups


def _of_either_spin(
    selection: BandSelection, filled: tuple[float | None, ...], total: int
) -> list[BandGroup]:
    """Return the bands of up and of down, or of the one that has them."""
    groups, missing = [], None
    for channel, n_occupied in enumerate(filled):
        try:
            groups.append(replace(selection.resolve(n_occupied, total), channel=channel))
        except MoireioError as error:
            missing = missing or error
    if not groups:
        assert missing is not None
        raise missing
    return groups
