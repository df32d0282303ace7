"""Occupation of the bands, the group ``/electrons``."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Electrons:
    """Occupation of the bands.

    Parameters
    ----------
    count : float, optional
        Valence electrons in the cell.
    fermi : float, optional
        Fermi level, eV.
    temperature : float, optional
        Electronic temperature, K.
    spin : float, optional
        Total S_z, ħ.
    """

    count: float | None = None
    fermi: float | None = None
    temperature: float | None = None
    spin: float | None = None
