"""What DeepH's two layouts of data folders have in common."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation, Operators
from moireio.errors import MoireioError
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, symmetrised
from moireio.results.electrons import Electrons
from moireio.runtime.files import digest_files
from moireio.system.basis import Basis
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure


@dataclass(eq=False)
class DataFolder(ABC):
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
    described : tuple of str
        Files of structure and basis.
    """

    path: str
    structure: Structure
    basis: Basis
    spinful: bool
    electrons: Electrons
    files: dict[str, str] = field(default_factory=dict)

    names: ClassVar[dict[str, str]] = {}
    described: ClassVar[tuple[str, ...]] = ()

    def calculation(self, *, label: str | None = None, predicted: bool = False) -> Calculation:
        """Return the folder as a calculation.

        Parameters
        ----------
        label : str, optional
            The name that messages show.
        predicted : bool
            Take the predicted Hamiltonian instead of that of the DFT calculation.

        Returns
        -------
        Calculation
            Its operators are read when they are asked for.

        Raises
        ------
        MoireioError
            If the folder has no operator, or no predicted Hamiltonian.
        """
        files = {"hamiltonian": "predicted" if predicted else "hamiltonian", "overlap": "overlap"}
        present = [name for name, file in files.items() if file in self.files]
        if not present or (predicted and "hamiltonian" not in present):
            wanted = "predicted Hamiltonian" if predicted else "Hamiltonian or overlap"
            raise MoireioError(f"has no {wanted}", path=label or self.path)

        def digest(operators: Sequence[str]) -> str:
            paths = [os.path.join(self.path, name) for name in self.described]
            paths += [self.files[files[name]] for name in operators]
            return digest_files(*(path for path in paths if os.path.exists(path)))

        return Calculation(
            label or self.path,
            self.structure,
            self.basis,
            Operators(present, lambda name: self.operator(files.get(name, name))),
            electrons=self.electrons,
            usual_residual={"hamiltonian": 1e-6, "overlap": 1e-6},
            digest=digest,
        )

    def operator(self, name: str, symmetrise: bool = True) -> ArraySource:
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
            raise MoireioError(f"has no {self.names.get(name, name)}", path=self.path)
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

    @abstractmethod
    def _read(
        self, path: str, sizes: npt.NDArray[np.int64], spinor: bool
    ) -> tuple[Pairs, npt.NDArray[np.inexact]]:
        """Return the pairs and the blocks of a file, flat and in the order of the pairs."""


def files_of(path: str, names: Mapping[str, str]) -> dict[str, str]:
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
    paths = {operator: os.path.join(path, name) for operator, name in names.items()}
    return {operator: file for operator, file in paths.items() if os.path.exists(file)}
