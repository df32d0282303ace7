"""What DeepH's two layouts of data folders have in common."""

import os
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from moireio.errors import MoireioError
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, symmetrised
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis
from moireio.system.structure import Structure


@dataclass(eq=False)
class DataFolder:
    """A structure with operators; each layout is a class with its own `_read`.

    Parameters
    ----------
    path : str
        The folder.
    structure : Structure
        One species per element.
    basis : Basis
        Without radial functions.
    spinful : bool
        Whether H has spinor blocks.
    electrons : Electrons
        The Fermi level.
    files : dict of str to str
        Paths of the operators that there are.
    """

    path: str
    structure: Structure
    basis: Basis
    spinful: bool
    electrons: Electrons
    files: dict = field(default_factory=dict)

    names: ClassVar[dict] = {}

    def operator(self, name, symmetrise=True):
        """Read an operator.

        Parameters
        ----------
        name : {"hamiltonian", "overlap", "predicted"}
            Which.
        symmetrise : bool
            Take the mean of every block and its partner's adjoint; the deviation is recorded.

        Returns
        -------
        ArraySource
            In moireio's order of orbitals, in memory.

        Raises
        ------
        MoireioError
            If the file is absent, damaged, or does not fit the structure.
        """
        if name not in self.files:
            raise MoireioError(f"has no {self.names[name]}", path=self.path)
        path = self.files[name]
        row = operator_type("hamiltonian" if name == "predicted" else name)
        spinor = row.spin_of("spinor" if self.spinful else "none") == "spinor"
        sizes = self.basis.sizes(self.structure) * (2 if spinor else 1)
        try:
            pairs, data = self._read(path, sizes, spinor)
        except MoireioError as error:
            raise MoireioError(error.what, path=path, remedy=error.remedy) from error
        if not np.isfinite(data).all():
            raise MoireioError("contains numbers that are not finite", path=path)
        meta = row.meta(
            spin="spinor" if spinor else "none",
            dtype=str(data.dtype),
            source="model" if name == "predicted" else "dft",
        )
        source = ArraySource(meta, sizes, pairs, data)
        return symmetrised(source, path) if symmetrise else source

    def _read(self, path, sizes, spinor):
        """Return the pairs and the blocks of a file, flat and in the order of the pairs."""
        raise NotImplementedError


def files_of(path, names):
    """Return which operators a folder has.

    Parameters
    ----------
    path : str
        The folder.
    names : dict of str to str
        File name of every operator.

    Returns
    -------
    dict of str to str
        Paths of those that exist.
    """
    found = {operator: os.path.join(path, name) for operator, name in names.items()}
    return {operator: file for operator, file in found.items() if os.path.exists(file)}
