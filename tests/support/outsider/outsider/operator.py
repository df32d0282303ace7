"""The on-site blocks of H: orbital energies and crystal fields of the atoms."""

import numpy as np

from moireio.operators.blocks import read_pairs
from moireio.operators.catalogue import OperatorType
from moireio.system.pairs import Pairs

ONSITE = OperatorType(
    "x_onsite", "eV", "⟨i,0|H|i,0⟩", spins=("none", "collinear", "spinor"), within="hamiltonian"
)


class OnsiteBlocks:
    """The on-site blocks of a Hamiltonian, as a source of the operator ``x_onsite``.

    Parameters
    ----------
    hamiltonian : moireio.operators.blocks.OperatorSource
        From a file or from anything else that gives blocks.
    """

    def __init__(self, hamiltonian):
        meta = hamiltonian.meta
        self.meta = ONSITE.meta(spin=meta.spin, dtype=meta.dtype, source=meta.source)
        self.sizes = hamiltonian.sizes
        atoms = np.arange(hamiltonian.pairs.n_atoms)
        self.pairs = Pairs(np.arange(len(atoms) + 1), atoms, np.zeros((len(atoms), 3)))
        self._hamiltonian, self._indices = hamiltonian, hamiltonian.pairs.onsite()

    def rows(self, i0, i1):
        """Return the blocks of the atoms ``i0 <= i < i1``, (n,) or (components, n)."""
        return read_pairs(self._hamiltonian, self._indices[i0:i1])[0]
