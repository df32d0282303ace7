"""Flat bands: their width, and the gaps to the other bands."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.bands.solve import solve_bands
from moireio.blockfile.reader import ADDED_BY
from moireio.errors import MoireioError
from moireio.results.bands import BandStructure
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.filled_bands import filled_of_spins
from moireio.spectrum.selection import occupied_bands

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.results.kpath import KPath


@dataclass(frozen=True, eq=False)
class FlatBands:
    """Some neighbouring bands, and the next ones on both sides.

    Parameters
    ----------
    bands : BandStructure
        With at least one more band on each side, where there is one.
    first, count : int
        Index (from 0) of the first flat band among all bands of H, and the number of flat bands.
    total : int, optional
        Number of all bands of H.
    """

    bands: BandStructure
    first: int
    count: int
    total: int | None = None

    @property
    def energies(self) -> npt.NDArray[np.float64]:
        """Energies of the flat bands, eV; shape (nk, count)."""
        start = self.first - self.bands.first_band
        return self.bands.energies[0, :, start : start + self.count]

    @property
    def width(self) -> float:
        """Difference of the highest and the lowest energy, eV."""
        return float(np.ptp(self.energies))

    @property
    def widths(self) -> npt.NDArray[np.float64]:
        """Width of every single band, eV; shape (count,)."""
        return np.ptp(self.energies, axis=0)

    @property
    def gap_below(self) -> float | None:
        """Gap to the highest energy of the band below, eV; negative where they overlap.

        None if there is no band below, or it was not kept.
        """
        index = self.first - self.bands.first_band - 1
        if index < 0:
            return None
        return float(self.energies.min() - self.bands.energies[0, :, index].max())

    @property
    def gap_above(self) -> float | None:
        """Gap to the lowest energy of the band above, eV; negative where they overlap.

        None if there is no band above, or it was not kept.
        """
        index = self.first - self.bands.first_band + self.count
        if index >= self.bands.energies.shape[2]:
            return None
        return float(self.bands.energies[0, :, index].min() - self.energies.max())

    @property
    def isolated(self) -> bool | None:
        """Whether there is a gap on both sides; None where a neighbouring band was not kept."""
        gaps = self.gap_below, self.gap_above
        if any(gap is not None and gap <= 0 for gap in gaps):
            return False
        ends = self.first == 0, self.first + self.count == self.total
        known = all(gap is not None or end for gap, end in zip(gaps, ends, strict=True))
        return True if known else None


def flat_bands(
    file: "BlockFile",
    path: "KPath | None",
    below: int = 2,
    above: int = 2,
    gap_energy: float | None = None,
    margin: int = 2,
    **options: Any,
) -> FlatBands:
    """Return the bands next to charge neutrality.

    Parameters
    ----------
    file : BlockFile
        With H, and S unless its basis is orthogonal; or with bands.
    path : KPath or None
        The k points; None for the bands that the file keeps.
    below, above : int
        How many of the filled and of the empty bands.
    gap_energy : float, optional
        Energy in eV between filled and empty bands, instead of the number of electrons: the mean
        number of levels below it on the path is taken.
    margin : int
        Further bands on both sides.
    **options
        Options of `moireio.solve_bands`: solver, jobs, checkpoint, resume, progress, note.

    Returns
    -------
    FlatBands
        Spin-degenerate or spinor bands.

    Raises
    ------
    MoireioError
        If the number of electrons is unknown, spins are collinear (see `flat_bands_of_spins`),
        bands that were kept do not suffice, or the problem cannot be solved.
    """
    if _channels(file) == 2:
        raise MoireioError("collinear spin has two sets of bands", path=file.label)
    return flat_bands_of_spins(file, path, below, above, gap_energy, margin, **options)[0]


def flat_bands_of_spins(
    file: "BlockFile",
    path: "KPath | None",
    below: int = 2,
    above: int = 2,
    gap_energy: float | None = None,
    margin: int = 2,
    **options: Any,
) -> tuple[FlatBands, ...]:
    """Return the bands next to charge neutrality, of each spin where these are apart.

    Parameters
    ----------
    file, path, below, above, gap_energy, margin
        As in `flat_bands`. The electrons of a magnet fill the lowest levels of both spins; of bands
        that a file keeps, those below its Fermi level are filled.
    **options
        As in `flat_bands`.

    Returns
    -------
    tuple of FlatBands
        One, or those of up and of down of collinear spin, each with bands of one channel.

    Raises
    ------
    MoireioError
        As in `flat_bands`.
    """
    if below + above < 1:
        raise MoireioError("no bands were asked for", remedy="give `below` or `above`")
    if path is None:
        return _kept(file, below, above, gap_energy)
    if _channels(file) == 2:
        return _of_either_spin(file, path, below, above, gap_energy, margin, options)
    if gap_energy is not None:
        count = 2 * (max(below, above) + margin)
        bands = solve_bands(file, path, bands=count, energy=gap_energy, **options)
        filled = _below(bands, gap_energy)
    else:
        filled = _occupied(file)
        band_range = _range(file, [filled], below, above, margin)
        bands = solve_bands(file, path, band_range=band_range, **options)
    return (_checked(bands, filled, below, above, file),)


def _channels(file):
    if "hamiltonian" in file:
        return 2 if file.hamiltonian.meta.spin == "collinear" else 1
    return len(file.bands().energies) if "bands" in file else 1


def _range(file, filled, below, above, margin):
    """Return the first and last band needed; `filled` has a number for each channel."""
    total = _total(file)
    for count, spin in zip(filled, _spin_names(filled), strict=True):
        if count < below or count + above > total:
            raise MoireioError(
                f"{spin}has only {total} bands, {count} of them filled", path=file.label
            )
    first = max(min(filled) - below - margin, 0)
    return first, min(max(filled) + above + margin, total) - 1


def _spin_names(channels):
    """Return how messages begin about each channel."""
    return ("",) if len(channels) == 1 else ("spin up ", "spin down ")


def _of_either_spin(file, path, below, above, gap_energy, margin, options):
    """Solve both spins, and return the flat bands of each."""
    if gap_energy is None and file.electrons.count is None:
        raise _unknown_electrons(file)
    solver = options.get("solver", "auto")
    choice = solver if isinstance(solver, SolverChoice) else SolverChoice(solver)
    filled = [round(n) for n in filled_of_spins(file, gap_energy, path.k, choice)]
    band_range = _range(file, filled, below, above, margin)
    bands = solve_bands(file, path, band_range=band_range, **options)
    return _of_channels(_apart(bands), filled, below, above, file)


def _apart(bands):
    """Return the bands of each channel."""
    return [replace(bands, energies=energies[None]) for energies in bands.energies]


def _kept(file, below, above, gap_energy):
    if "bands" not in file:
        raise MoireioError(
            "has neither /hamiltonian nor /bands", path=file.label, remedy=ADDED_BY["hamiltonian"]
        )
    bands = file.bands()
    apart = _apart(bands)
    between = bands.fermi if gap_energy is None and len(apart) == 2 else gap_energy
    if between is not None:
        filled = [_below(one, between) for one in apart]
    elif bands.electrons is None or len(apart) == 2:
        raise _unknown_electrons(file)
    else:
        filled = [round(bands.electrons / (1 if bands.spinor else 2))]
    return _of_channels(apart, filled, below, above, file)


def _of_channels(apart, filled, below, above, file):
    """Return the flat bands of the only channel, or those of spin up and down."""
    return tuple(
        _checked(one, count, below, above, file, spin)
        for one, count, spin in zip(apart, filled, _spin_names(apart), strict=True)
    )


def _total(file):
    """Return the number of all bands; None where the file has no H."""
    if "hamiltonian" not in file:
        return None
    held = 2 if file.hamiltonian.meta.spin == "spinor" else 1
    return held * int(file.basis.sizes(file.structure).sum())


def _occupied(file):
    if file.electrons.count is None:
        raise _unknown_electrons(file)
    return round(occupied_bands(file))


def _unknown_electrons(file):
    return MoireioError(
        "the number of electrons is unknown", path=file.label, remedy="give `gap_energy` in eV"
    )


def _below(bands, energy):
    mean = (bands.energies[0] < energy).sum(axis=1).mean()
    return bands.first_band + round(float(mean))


def _checked(bands, filled, below, above, file, spin=""):
    label, total = file.label, _total(file)
    first, count = filled - below, below + above
    kept = bands.energies.shape[2]
    if first < bands.first_band or first + count > bands.first_band + kept:
        if first < 0:
            raise MoireioError(f"{spin}has only {filled} filled bands, not {below}", path=label)
        raise MoireioError(
            f"{spin}keeps bands {bands.first_band + 1} to {bands.first_band + kept}, "
            f"needed are {first + 1} to {first + count}",
            path=label,
            remedy="compute them anew with `path`, or keep more of them with the command band",
        )
    return FlatBands(bands, first, count, total)
