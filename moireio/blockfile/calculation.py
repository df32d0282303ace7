"""A structure with H and S, wherever they come from."""

from dataclasses import dataclass

from moireio.system.basis import Basis
from moireio.system.structure import Structure


@dataclass(eq=False)
class Calculation:
    """A structure with H and S in memory or in an open file.

    Parameters
    ----------
    label : str
        Where it comes from.
    structure : Structure
        The atoms.
    basis : Basis
        Their orbitals.
    hamiltonian : OperatorSource
        Full storage, eV.
    overlap : OperatorSource or None
        Full storage.
    file : BlockFile or None
        To be closed.
    electrons : Electrons or None
        Fermi level and so on.
    moire : Moire or None
        How the cell was built.
    """

    label: str
    structure: Structure
    basis: Basis
    hamiltonian: object
    overlap: object
    file: object = None
    electrons: object = None
    moire: object = None

    def __enter__(self):
        """Return itself."""
        return self

    def __exit__(self, *exc):
        """Close the file."""
        if self.file is not None:
            self.file.close()
