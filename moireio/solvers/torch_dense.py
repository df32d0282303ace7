"""Dense eigenproblems with torch, on a GPU or on the CPU."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers.base import SolverDiagnostics, not_positive


class TorchSolver:
    """All eigenvalues of L⁻¹ H L⁻† with S = L L†, on a torch device.

    Parameters
    ----------
    device : str
        As "cuda", "cuda:1" or "cpu".
    cutoff : float
        Combinations of orbitals with smaller eigenvalues of S are left out.
    """

    name = "dense-torch"
    forks = False

    def __init__(self, device, cutoff=0.0):
        try:
            import torch
        except ImportError as error:
            raise MoireioError(
                "torch is not installed", remedy="pip install torch, or --device cpu"
            ) from error
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise MoireioError("torch finds no CUDA device", remedy="use --device cpu")
        self._torch, self._device, self._cutoff = torch, torch.device(device), cutoff
        self.diagnostics = SolverDiagnostics()

    def eigenvalues(self, problem, window=None):
        """Return energies in eV, ascending (see `moireio.solvers.base.Solver`)."""
        h, _ = self._reduced(problem)
        energies = self._torch.linalg.eigvalsh(h).cpu().numpy()
        return energies if window is None else energies[window[0] : window[1] + 1]

    def eigenpairs(self, problem, window=None):
        """Return energies and states (see `moireio.solvers.base.Solver`)."""
        torch = self._torch
        h, back = self._reduced(problem)
        energies, states = torch.linalg.eigh(h)
        if window is not None:
            wanted = slice(window[0], window[1] + 1)
            energies, states = energies[wanted], states[:, wanted]
        return energies.cpu().numpy(), back(states).cpu().numpy()

    def _reduced(self, problem):
        """Return H of an ordinary eigenproblem, and what makes states of its states."""
        torch = self._torch
        h, s = problem.dense()
        h = self._full(h)
        if s is None:
            return h, lambda states: states
        s = self._full(s).to(h.dtype)
        if self._cutoff > 0:
            values, vectors = torch.linalg.eigh(s)
            kept = values > self._cutoff
            basis = vectors[:, kept] / values[kept].sqrt()
            found = SolverDiagnostics(
                min_overlap_eigenvalue=float(values[0]), n_removed=int((~kept).sum())
            )
            self.diagnostics = self.diagnostics.merged(found)
            h = basis.mH @ (h @ basis)
            return (h + h.mH) / 2, lambda states: basis @ states
        lower, info = torch.linalg.cholesky_ex(s)
        if int(info) != 0:
            raise not_positive(problem.k)
        h = torch.linalg.solve_triangular(lower, h, upper=False)
        h = torch.linalg.solve_triangular(lower, h.mH, upper=False)
        return h, lambda states: torch.linalg.solve_triangular(lower.mH, states, upper=True)

    def count_below(self, problem, energy):
        """Return how many states lie below an energy (see `moireio.solvers.base.Solver`)."""
        return int(np.searchsorted(self.eigenvalues(problem), energy))

    def _full(self, matrix):
        """Send a matrix of which the upper triangle is filled, and complete it there."""
        upper = self._torch.triu(
            self._torch.from_numpy(np.ascontiguousarray(matrix)).to(self._device)
        )
        return upper + self._torch.triu(upper, diagonal=1).mH
