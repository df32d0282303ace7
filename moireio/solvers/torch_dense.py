"""Dense eigenproblems with torch, on a GPU or on the CPU."""

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.solvers.base import EigenProblem, SolverCapabilities, not_positive
from moireio.solvers.dense import DenseSolver
from moireio.solvers.near_dependence import smallest_eigenvalue
from moireio.solvers.options import DenseOptions


class TorchSolver(DenseSolver):
    """All eigenvalues of L⁻¹ H L⁻† with S = L L†, on a torch device.

    Parameters
    ----------
    options : DenseOptions
        Its options; the device as "cuda", "cuda:1" or "cpu".

    Raises
    ------
    MoireioError
        If torch or the device is absent.
    """

    def __init__(self, options: DenseOptions):
        super().__init__(options)
        try:
            import torch
        except ImportError as error:
            raise MoireioError(
                "torch is not installed", remedy="pip install torch, or `device` cpu"
            ) from error
        try:
            self._device = torch.device(options.device)
        except RuntimeError as error:
            raise MoireioError(f"torch knows no device {options.device!r}") from error
        if self._device.type == "cuda" and not torch.cuda.is_available():
            raise MoireioError("torch finds no CUDA device", remedy="use `device` cpu")
        self._torch, self._checked = torch, False
        self.capabilities = SolverCapabilities(elsewhere=self._device.type != "cpu")

    def eigenvalues(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> npt.NDArray:
        """Return energies in eV, ascending (see `moireio.solvers.base.Solver`)."""
        h, _ = self._standard_form(problem)
        return self._torch.linalg.eigvalsh(h).cpu().numpy()[_columns(band_range)]

    def eigenpairs(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> tuple[npt.NDArray, npt.NDArray]:
        """Return energies and states (see `moireio.solvers.base.Solver`)."""
        h, transform = self._standard_form(problem)
        energies, states = self._torch.linalg.eigh(h)
        columns = _columns(band_range)
        energies, states = energies[columns], states[:, columns]
        return energies.cpu().numpy(), transform(states).cpu().numpy()

    def _standard_form(self, problem):
        """Return H of an ordinary eigenproblem, and the map from its states to those wanted."""
        torch = self._torch
        h, s = problem.dense()
        h = self._full(h)
        if s is None:
            return h, lambda states: states
        s = self._full(s)
        dtype = torch.promote_types(h.dtype, s.dtype)
        h, s = h.to(dtype), s.to(dtype)
        if self.options.overlap_cutoff > 0:
            values, vectors = torch.linalg.eigh(s)
            kept = values > self.options.overlap_cutoff
            basis = vectors[:, kept] / values[kept].sqrt()
            self._note(min_overlap_eigenvalue=float(values[0]), n_removed=int((~kept).sum()))
            h = basis.mH @ (h @ basis)
            return (h + h.mH) / 2, lambda states: basis @ states
        lower, info = torch.linalg.cholesky_ex(s)
        if int(info) != 0:
            raise not_positive(problem.k)
        if not self._checked:
            self._check(lower)
        h = torch.linalg.solve_triangular(lower, h, upper=False)
        h = torch.linalg.solve_triangular(lower, h.mH, upper=False)
        return h, lambda states: torch.linalg.solve_triangular(lower.mH, states, upper=True)

    def _check(self, lower):
        """Look at the smallest eigenvalue of S, once."""
        torch = self._torch

        def solve(right):
            columns = torch.from_numpy(right).to(self._device, lower.dtype)
            return torch.cholesky_solve(columns, lower).cpu().numpy()

        dtype = np.dtype(complex if lower.is_complex() else float)
        self._note(min_overlap_eigenvalue=smallest_eigenvalue(solve, len(lower), dtype))
        self._checked = True

    def _full(self, matrix):
        """Send a matrix of which the upper triangle is filled, and complete it there."""
        upper = self._torch.triu(
            self._torch.from_numpy(np.ascontiguousarray(matrix)).to(self._device)
        )
        return upper + self._torch.triu(upper, diagonal=1).mH


def _columns(band_range):
    return slice(None) if band_range is None else slice(band_range[0], band_range[1] + 1)
