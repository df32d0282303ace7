"""Mulliken's gross populations: in which orbitals, atoms and layers states live.

The gross population of orbital μ in state n is w_μn = Re[c*_μn (S c)_μn] (Mulliken, J. Chem. Phys.
23, 1833 (1955)). Its sum over all orbitals is 1; single ones can be slightly negative.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from moireio.blockfile.reader import BlockFile
    from moireio.operators.bloch import BlochSum

CHUNK = 256  # states whose images under S are in memory at once
FEW = 20  # for fewer states than one of so many orbitals, products with a sparse S are faster


def gross_populations(
    overlap: "BlochSum | None",
    k: npt.ArrayLike,
    states: npt.NDArray[np.inexact],
    indicator: "csr_array | None" = None,
) -> npt.NDArray[np.float64]:
    """Return the gross populations of states, by orbital or summed over groups of orbitals.

    Parameters
    ----------
    overlap : BlochSum or None
        S; None where the basis is orthogonal.
    k : (3,) array
        Fractional coordinates.
    states : (n_orbitals, nb) array
        Coefficients, S-orthonormal.
    indicator : (ng, n_orbitals) sparse array, optional
        A 1 where an orbital belongs to a group; by default every orbital is a group.

    Returns
    -------
    (ng, nb) array
        Populations.
    """
    n_orbitals, count = states.shape
    matrix = None
    if overlap is not None:
        matrix = overlap.csr(k) if FEW * count < n_orbitals else overlap.dense(k)
    groups = n_orbitals if indicator is None else indicator.shape[0]
    populations = np.empty((groups, count))
    for begin in range(0, count, CHUNK):
        part = slice(begin, begin + CHUNK)
        coefficients = states[:, part]
        images = coefficients if matrix is None else matrix @ coefficients
        products = (coefficients.conj() * images).real
        populations[:, part] = products if indicator is None else indicator @ products
    return populations


@dataclass(frozen=True, eq=False)
class MullikenPopulations:
    """Gross populations of the atoms in some states.

    Parameters
    ----------
    atoms : (nb, N) array
        Populations Re Σ_α∈atom c_α* (S c)_α; each row adds up to 1.
    """

    atoms: npt.NDArray[np.float64]

    def by_layer(self, layer: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the sums over layers.

        Parameters
        ----------
        layer : (N,) array of int
            The layer of every atom.

        Returns
        -------
        (nb, layers) array
            Populations of the layers in every state.
        """
        return np.stack(
            [self.atoms[:, layer == n].sum(axis=1) for n in range(int(layer.max()) + 1)], axis=1
        )


def atomic_populations(
    file: "BlockFile", k: npt.ArrayLike, states: npt.NDArray[np.inexact]
) -> MullikenPopulations:
    """Return the populations of the atoms in some states at one k point.

    Parameters
    ----------
    file : BlockFile
        With the overlap, unless its basis is orthogonal.
    k : (3,) array
        Fractional coordinates.
    states : (n_orbitals, nb) array
        Coefficients, S-orthonormal, as of `moireio.spectrum.states.solve_states`.

    Returns
    -------
    MullikenPopulations
        Rows in the order of the states.
    """
    copies = 2 if file.hamiltonian.meta.spin == "spinor" else 1
    overlap = file.overlap
    if overlap is not None:
        overlap = overlap.assembler(spinor=copies == 2)
    orbitals = gross_populations(overlap, k, states)
    sizes = copies * file.basis.sizes(file.structure)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return MullikenPopulations(np.add.reduceat(orbitals, first, axis=0).T)
