"""What commands compute and a block file keeps: bands, electrons, k paths."""

from dataclasses import dataclass, field

import numpy as np

from moireio.errors import MoireioError


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


@dataclass(frozen=True, eq=False)
class MoireLayer:
    """How one layer lies in a moiré cell.

    A vector r of the layer by itself becomes F r with F = (1 + strain) R(angle), and the moiré
    cell has the rows ``matrix @ lattice @ F.T``.

    Parameters
    ----------
    name : str
        Of the layer.
    lattice : (2, 2) array
        Its lattice vectors before strain and rotation, Å, as rows.
    matrix : (2, 2) array of int
        Rows of the moiré cell in `lattice`.
    strain : (2, 2) array
        Symmetric tensor in the axes of the structure.
    angle : float
        Degrees, counter-clockwise seen from +z.
    turned : bool
        The layer's atoms were turned by 180 degrees before.
    shift : (2,) array
        Displacement before the rotation, Å.
    centre : (2,) array
        The rotation axis in the structure, Å.
    """

    name: str
    lattice: np.ndarray
    matrix: np.ndarray
    strain: np.ndarray
    angle: float
    turned: bool = False
    shift: np.ndarray = field(default_factory=lambda: np.zeros(2))
    centre: np.ndarray = field(default_factory=lambda: np.zeros(2))

    @property
    def gradient(self):
        """Deformation gradient F of the layer; shape (2, 2)."""
        c, s = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        return (np.eye(2) + self.strain) @ np.array([[c, -s], [s, c]])

    @property
    def cell(self):
        """Moiré lattice vectors as rows, Å; shape (2, 2)."""
        return self.matrix @ self.lattice @ self.gradient.T

    @property
    def multiple(self):
        """Number of the layer's cells in the moiré cell."""
        (a, b), (c, d) = self.matrix
        return abs(int(a) * int(d) - int(b) * int(c))


@dataclass(frozen=True, eq=False)
class Moire:
    """How a moiré structure was built.

    Parameters
    ----------
    layers : tuple of MoireLayer
        From the bottom to the top; the entries of `Structure.layer` point here.
    place : {"first", "second", "shared", "none"}
        Where the mismatch of the lattices went.
    repeat : (int, int)
        Moiré cells in the structure along the first and second vector.
    open_axis : {0, 1, 2}
        Lattice vector along which a ribbon is open; 0 for none.
    """

    layers: tuple
    place: str = "none"
    repeat: tuple = (1, 1)
    open_axis: int = 0


@dataclass(frozen=True, eq=False)
class KPath:
    """Points along a path in the Brillouin zone.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates in the reciprocal cell.
    distance : (nk,) array
        Length of the path so far, Å⁻¹ with the 2π; a jump between two segments has none.
    label_index : (nl,) array of int
        Points that carry a label.
    labels : tuple of str
        Their labels.
    """

    k: np.ndarray
    distance: np.ndarray
    label_index: np.ndarray
    labels: tuple

    def __len__(self):
        """Return the number of points."""
        return len(self.k)

    @property
    def breaks(self):
        """Indices at which a new, unconnected segment begins."""
        moved = np.abs(np.diff(self.k, axis=0)).max(axis=1, initial=0) > 1e-9
        return np.flatnonzero(moved & (np.diff(self.distance) == 0)) + 1


NAMES = {"fermi": "Fermi level", "vbm": "valence top"}


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
        raise MoireioError(f"the {NAMES[level]} is unknown", remedy=f"use --zero {others}")
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

    def valence_top(self):
        """Return the highest energy of the occupied bands of an insulator, eV.

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
            raise MoireioError("the number of electrons is unknown, so there is no valence top")
        if len(self.energies) == 2:
            return self._collinear_top()
        filled = self.electrons if self.spinor else self.electrons / 2
        index = round(filled) - 1 - self.first_band
        if not 0 <= index < self.energies.shape[2]:
            raise MoireioError("the last occupied band is not among the bands that were kept")
        return float(self.energies[0, :, index].max())

    def _collinear_top(self):
        if self.first_band:
            raise MoireioError("the valence top of collinear spin needs the bands from the lowest")
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
            return self.valence_top()
        return named_energy(level, fermi=self.fermi)
