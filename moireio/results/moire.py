"""How a moiré cell was built, the group ``/moire``."""

from dataclasses import dataclass, field

import numpy as np


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
