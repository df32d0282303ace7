"""What commands compute and a block file keeps: bands, electrons, k paths."""

from dataclasses import dataclass

import numpy as np

from moireio.errors import MoireioError
from moireio.results.kpath import KPath

NAMES = {"fermi": "Fermi level", "vbm": "valence band maximum"}


def named_energy(level, **known):
    """Return the energy that a named level has.

    Parameters
    ----------
    level : {"fermi", "vbm", "none"} or float
        A name, or an energy in eV.
    **known : float or None
        What the names mean, eV; None where it is unknown.

    Returns
    -------
    float
        eV.

    Raises
    ------
    MoireioError
        If that level is unknown.
    """
    if level == "none":
        return 0.0
    if level not in NAMES:
        return float(level)
    if known[level] is None:
        others = "vbm or none" if level == "fermi" else "none"
        raise MoireioError(f"the {NAMES[level]} is unknown", remedy=f"use `zero` {others}")
    return known[level]


@dataclass(frozen=True, eq=False)
class BandStructure:
    """Energies along a path or at a list of k points.

    Parameters
    ----------
    path : KPath
        The k points.
    energies : (ns, nk, nb) array
        eV, ascending; ns = 2 for collinear spin (up, down), else 1.
    fermi : float, optional
        Fermi level, eV.
    electrons : float, optional
        Valence electrons in the cell.
    spinor : bool
        Whether a band holds one electron (spinors) or two.
    first_band : int
        Index from 0 of the lowest band that is kept.
    source : str
        Where the Hamiltonian came from: "dft", "model", …
    states : (ns, nk, nb, n) array, optional
        S-orthonormal states, complex, in the order of the rows of H(k) and in its phases; of what
        was just computed (a file gives those it keeps by `BlockFile.states`).
    """

    path: KPath
    energies: np.ndarray
    fermi: float | None = None
    electrons: float | None = None
    spinor: bool = False
    first_band: int = 0
    source: str = "dft"
    states: np.ndarray | None = None

    def vbm(self):
        """Return the valence band maximum of an insulator, eV.

        Returns
        -------
        float
            Maximum over k of the last occupied band.

        Raises
        ------
        MoireioError
            If the number of electrons is unknown, or the band is not among those kept.
        """
        if self.electrons is None:
            raise MoireioError("the valence band maximum needs the number of electrons")
        if len(self.energies) == 2:
            return self._collinear_vbm()
        filled = self.electrons if self.spinor else self.electrons / 2
        index = round(filled) - 1 - self.first_band
        if not 0 <= index < self.energies.shape[2]:
            raise MoireioError("the last occupied band is not among the bands that were kept")
        return float(self.energies[0, :, index].max())

    def _collinear_vbm(self):
        if self.first_band:
            raise MoireioError(
                "the valence band maximum of collinear spin needs the bands from the lowest"
            )
        both = np.sort(np.concatenate(list(self.energies), axis=1), axis=1)
        return float(both[:, round(self.electrons) - 1].max())

    def zero(self, level):
        """Return the energy that a named level has, eV.

        Parameters
        ----------
        level : {"fermi", "vbm", "none"} or float
            Fermi level, valence band maximum, no shift, or an energy in eV.

        Returns
        -------
        float
            The energy to subtract.

        Raises
        ------
        MoireioError
            If that level is unknown.
        """
        if level == "vbm":
            return self.vbm()
        return named_energy(level, fermi=self.fermi)
