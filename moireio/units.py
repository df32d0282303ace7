"""Constants of the block file: energies are eV, lengths Å.

The two conversion constants are those of OpenMX, so that coordinates and energies of a
converted calculation come back digit for digit; every block file records the pair it was
made with.
"""

BOHR_ANGSTROM = 0.529177249
HARTREE_EV = 27.2113845
