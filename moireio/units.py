"""Constants of the block file: energies are eV, lengths Å.

The two conversion constants are those of OpenMX, so that coordinates and energies of a
converted calculation come back digit for digit; every block file records the pair it was
made with.
"""

from typing import NamedTuple

BOHR_ANGSTROM = 0.529177249
HARTREE_EV = 27.2113845


class Constants(NamedTuple):
    """The two constants with which a program's numbers became Å and eV.

    Parameters
    ----------
    bohr_angstrom : float
        Bohr radius, Å.
    hartree_ev : float
        Hartree, eV.
    """

    bohr_angstrom: float = BOHR_ANGSTROM
    hartree_ev: float = HARTREE_EV
