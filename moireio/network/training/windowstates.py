"""States near the Fermi level of training structures, and how errors of H show in their levels.

A small error of many elements of H can move the levels next to the gap by tens of meV, and a large
one of an element between orbitals that are empty not at all. To first order an error ΔH changes the
levels of a group of states C, C†SC = 1, as the matrix C†ΔH(k)C does, whose diagonal is the first
order of perturbation theory and whose other elements mix the states of the group. C comes from the
Hamiltonian that is learnt, once; no eigenvalue problem is solved or differentiated in a training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import OperatorSource

if TYPE_CHECKING:
    from moireio.network.training.loss import BlockErrors

CANDIDATES = 64  # for each k point next to the Fermi level
WORK = 1e9  # cubes of the number of orbitals, candidates together


@dataclass(frozen=True)
class BandWindow:
    """Which states count.

    Parameters
    ----------
    low, high : float
        Lowest and highest energy, relative to the Fermi level of each structure, eV.
    points : int
        k points of each structure. One half is spread over the zone, the other half are those where
        levels come nearest to the Fermi level, of many more.

    Raises
    ------
    MoireioError
        If no energy lies between `low` and `high`, or there are no k points.
    """

    low: float = -1.5
    high: float = 1.5
    points: int = 12

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.low < self.high:
            raise MoireioError(f"`band_window` {self.low:g} to {self.high:g} eV is empty")
        if self.points < 1:
            raise MoireioError(f"`band_points` {self.points} is not positive")


@dataclass(eq=False)
class WindowStates:
    """States of one structure at some k points.

    Parameters
    ----------
    coefficients : list of (orbitals, m) tensors
        S-orthonormal states in lattice gauge, by k point; m differs.
    phases : (nk, edges) tensor
        e^{2πi k·R} of every edge: bonds, then the atoms' own.
    rows, columns : (edges,) tensors of int
        First orbital of the atoms at both ends.
    points : (nk, 3) tensor
        k, fractional.
    """

    coefficients: list[torch.Tensor]
    phases: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    points: torch.Tensor

    def __len__(self) -> int:
        """Return the number of k points."""
        return len(self.coefficients)

    def projected(self, errors: "BlockErrors", number: int) -> torch.Tensor:
        """Return C†ΔH(k)C.

        Parameters
        ----------
        errors : list of (SpeciesPairBlocks, tensor)
            Error of every block, from `block_errors`.
        number : int
            Number of the k point.

        Returns
        -------
        (m, m) tensor
            eV.
        """
        states = self.coefficients[number]
        m = states.shape[1]
        total = states.new_zeros(m, m)
        for group, blocks in errors:
            _, n_rows, n_columns = blocks.shape
            left = _places(self.rows[group.edges], n_rows)
            right = _places(self.columns[group.edges], n_columns)
            bras = states.index_select(0, left)
            kets = states.index_select(0, right).reshape(-1, n_columns, m)
            phase = self.phases[number, group.edges].reshape(-1, 1, 1)
            moved = (blocks.to(states.dtype) * phase) @ kets
            total = total + bras.mH @ moved.reshape(-1, m)
        return total

    def loss(self, errors: "BlockErrors", number: int) -> torch.Tensor:
        """Return the mean over the states of Σ_m |(C†ΔH(k)C)_nm|².

        Parameters
        ----------
        errors : list of (SpeciesPairBlocks, tensor)
            Error of every block.
        number : int
            Number of the k point.

        Returns
        -------
        tensor
            eV².
        """
        matrix = self.projected(errors, number)
        return torch.view_as_real(matrix).square().sum() / len(matrix)

    def mean_loss(self, errors: "BlockErrors") -> torch.Tensor:
        """Return the mean of `loss` over all k points.

        Parameters
        ----------
        errors : list of (SpeciesPairBlocks, tensor)
            Error of every block.

        Returns
        -------
        tensor
            eV².
        """
        return sum(self.loss(errors, n) for n in range(len(self))) / len(self)


def _places(first: torch.Tensor, count: int) -> torch.Tensor:
    return (first[:, None] + torch.arange(count, device=first.device)).reshape(-1)


def spread_points(periodic: Sequence[bool], count: int) -> npt.NDArray[np.float64]:
    """Return k points that fill the zone evenly, however many there are; the first is Γ.

    They are multiples of an irrational vector, whose components are powers of the root of
    x^{d+1} = x + 1 for d periodic directions (the additive recurrence R_d of M. Roberts).

    Parameters
    ----------
    periodic : sequence of bool
        Which axes are periodic.
    count : int
        Number of points.

    Returns
    -------
    (count, 3) array
        Fractional coordinates.
    """
    axes = np.flatnonzero(periodic)
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (len(axes) + 1))
    k = np.zeros((count, 3))
    k[:, axes] = np.arange(count)[:, None] * root ** -np.arange(1.0, len(axes) + 1) % 1
    return k


def points_near_level(
    H: BlochSum, S: BlochSum, periodic: Sequence[bool], energy: float, count: int
) -> npt.NDArray[np.float64]:
    """Return those of many k points where a level comes nearest to an energy.

    The levels next to a gap often lie in small parts of the zone, as those of graphene around K,
    which evenly spread points miss: there alone the two sublattices do not mix.

    Parameters
    ----------
    H, S : BlochSum
        Hamiltonian, eV, and overlap.
    periodic : sequence of bool
        Which axes are periodic.
    energy : float
        eV.
    count : int
        Number of k points.

    Returns
    -------
    (n, 3) array
        Fractional coordinates, the nearest first; fewer than `count`, or none, of large cells,
        whose levels are folded into a small zone.
    """
    from scipy.linalg import eigh

    orbitals = len(H.dense(np.zeros(3)))
    candidates = min(CANDIDATES * count, int(WORK / orbitals**3))
    points = spread_points(periodic, 1 + candidates)[1:]
    if not any(periodic):
        return points[:0]
    gaps = [
        np.abs(eigh(H.dense(k), S.dense(k), eigvals_only=True, check_finite=False) - energy).min()
        for k in points
    ]
    count = min(count, candidates // 2)
    return points[np.argsort(gaps, kind="stable")[:count]]


def window_states(
    hamiltonian: OperatorSource,
    overlap: OperatorSource | None,
    periodic: Sequence[bool],
    fermi: float | None,
    window: BandWindow,
    edge_of_pair: npt.NDArray[np.int64],
    dtype: torch.dtype,
    label: str,
) -> WindowStates:
    """Solve for the states of a structure in a window around its Fermi level.

    Parameters
    ----------
    hamiltonian, overlap : OperatorSource
        H as it was computed and S, spinless or spinor.
    periodic : sequence of bool
        Which axes are periodic.
    fermi : float or None
        Fermi level, eV.
    window : BandWindow
        Energies and number of k points; those without states in the window are left out.
    edge_of_pair : (p,) array of int
        Edge of every pair of H.
    dtype : torch.dtype
        Complex type of the states.
    label : str
        Name of the structure, for messages.

    Returns
    -------
    WindowStates
        The states.

    Raises
    ------
    MoireioError
        If the Fermi level or S is unknown, or no state lies in the window at any k point.
    """
    if fermi is None or overlap is None:
        what = "Fermi level" if fermi is None else "overlap"
        raise MoireioError(
            f"has no {what}, which the error of bands needs",
            path=label,
            remedy="leave the structure out, or train without `band_weight`",
        )
    from scipy.linalg import eigh

    H = BlochSum.from_source(hamiltonian)
    S = BlochSum.from_source(overlap, spinor=hamiltonian.meta.spin == "spinor")
    near = points_near_level(H, S, periodic, fermi, window.points // 2)
    spread = spread_points(periodic, window.points - len(near))
    points = np.concatenate([spread, near])
    states, kept = [], []
    for number, k in enumerate(points):
        _, vectors = eigh(
            H.dense(k),
            S.dense(k),
            subset_by_value=(fermi + window.low, fermi + window.high),
            check_finite=False,
        )
        if vectors.shape[1]:
            states.append(torch.as_tensor(vectors).to(dtype))
            kept.append(number)
    if not states:
        raise MoireioError(
            f"has no states between {window.low:g} and {window.high:g} eV around its Fermi level",
            path=label,
            remedy="give a wider `band_window`",
        )
    pairs = hamiltonian.pairs
    phases = np.empty((len(kept), len(pairs)), dtype=complex)
    phases[:, edge_of_pair] = np.exp(2j * np.pi * points[kept] @ pairs.R.T)
    rows, columns = (np.empty(len(pairs), dtype=np.int64) for _ in range(2))
    rows[edge_of_pair] = H.atom_start[pairs.i]
    columns[edge_of_pair] = H.atom_start[pairs.j]
    return WindowStates(
        states,
        torch.as_tensor(phases).to(dtype),
        torch.as_tensor(rows),
        torch.as_tensor(columns),
        torch.as_tensor(points[kept]),
    )
