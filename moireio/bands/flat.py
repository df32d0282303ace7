"""Flat bands: width, gaps to the other bands, and where in space they live."""

from dataclasses import dataclass

import numpy as np

from moireio.bands.solve import solve_bands
from moireio.errors import MoireioError
from moireio.results.bands import BandStructure
from moireio.spectrum.selection import occupied_bands


@dataclass(frozen=True, eq=False)
class FlatBands:
    """Some neighbouring bands, and the next ones on both sides.

    Parameters
    ----------
    bands : BandStructure
        With at least one band more on each side, where there is one.
    first, count : int
        Index (from 0) of the first of them among all bands of H, and their number.
    """

    bands: BandStructure
    first: int
    count: int

    @property
    def energies(self):
        """Of the bands themselves, eV; shape (nk, count)."""
        start = self.first - self.bands.first_band
        return self.bands.energies[0, :, start : start + self.count]

    @property
    def width(self):
        """From the lowest to the highest energy, eV."""
        return float(np.ptp(self.energies))

    @property
    def widths(self):
        """Of every band by itself, eV; shape (count,)."""
        return np.ptp(self.energies, axis=0)

    @property
    def gap_below(self):
        """From the highest energy of the band below, eV; negative where they overlap.

        None if there is no band below.
        """
        index = self.first - self.bands.first_band - 1
        if index < 0:
            return None
        return float(self.energies.min() - self.bands.energies[0, :, index].max())

    @property
    def gap_above(self):
        """To the lowest energy of the band above, eV; negative where they overlap.

        None if there is no band above.
        """
        index = self.first - self.bands.first_band + self.count
        if index >= self.bands.energies.shape[2]:
            return None
        return float(self.bands.energies[0, :, index].min() - self.energies.max())

    @property
    def isolated(self):
        """Whether there is a gap on both sides."""
        return all(gap is None or gap > 0 for gap in (self.gap_below, self.gap_above))


def flat_bands(file, path, below=2, above=2, around=None, margin=2, **how):
    """Return the bands next to charge neutrality.

    Parameters
    ----------
    file : BlockFile
        With H, and S unless its basis is orthogonal; or with bands.
    path : KPath or None
        Where; None for the bands that the file keeps.
    below, above : int
        How many of the filled and of the empty bands.
    around : float, optional
        Energy in eV that separates them, instead of the number of electrons: the mean number of
        states below it on the path.
    margin : int
        Further bands on both sides.
    **how
        Of `moireio.solve_bands`: solver, jobs, record, resume, progress.

    Returns
    -------
    FlatBands
        Of spin-degenerate or spinor bands.

    Raises
    ------
    MoireioError
        If the number of electrons is unknown, spins are collinear, or bands that were kept do not
        suffice.
    """
    if below + above < 1:
        raise MoireioError("no bands were asked for", remedy="--below or --above")
    if path is None:
        return _kept(file, below, above, around)
    if file.hamiltonian.meta.spin == "collinear":
        raise MoireioError("collinear spin has two sets of bands", path=file.label)
    filled = None if around is not None else round(occupied_bands(file))
    wide = max(below, above) + margin
    if filled is None:
        bands = solve_bands(file, path, bands=2 * wide, around=around, **how)
        filled = _below(bands, around)
    else:
        size = int(file.basis.sizes(file.structure).sum())
        size *= 2 if file.hamiltonian.meta.spin == "spinor" else 1
        window = max(filled - below - margin, 0), min(filled + above + margin, size) - 1
        if window[0] > filled - below or window[1] < filled + above - 1:
            raise MoireioError(f"there are only {size} bands, {filled} of them filled")
        bands = solve_bands(file, path, window=window, **how)
    return _checked(bands, filled - below, below + above, file.label)


def _kept(file, below, above, around):
    bands = file.bands()
    if len(bands.energies) == 2:
        raise MoireioError("collinear spin has two sets of bands", path=file.label)
    if around is not None:
        filled = _below(bands, around)
    elif bands.electrons is None:
        raise MoireioError(
            "the number of electrons is unknown", path=file.label, remedy="say --around E in eV"
        )
    else:
        filled = round(bands.electrons / (1 if bands.spinor else 2))
    return _checked(bands, filled - below, below + above, file.label)


def _below(bands, energy):
    mean = (bands.energies[0] < energy).sum(axis=1).mean()
    return bands.first_band + round(float(mean))


def _checked(bands, first, count, label):
    kept = bands.energies.shape[2]
    if first < bands.first_band or first + count > bands.first_band + kept:
        raise MoireioError(
            f"keeps bands {bands.first_band + 1} to {bands.first_band + kept}, "
            f"needed are {first + 1} to {first + count}",
            path=label,
            remedy="keep more bands (band --bands)",
        )
    return FlatBands(bands, first, count)
