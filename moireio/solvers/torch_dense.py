"""Dense eigenproblems with torch, on a GPU or on the CPU."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers import not_positive


class TorchSolver:
    """All eigenvalues of L⁻¹ H L⁻† with S = L L†, on a torch device.

    Parameters
    ----------
    device : str
        As "cuda", "cuda:1" or "cpu".
    """

    name = "dense-torch"
    forks = False

    def __init__(self, device):
        try:
            import torch
        except ImportError as error:
            raise MoireioError(
                "torch is not installed", remedy="pip install torch, or --device cpu"
            ) from error
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise MoireioError("torch finds no CUDA device", remedy="use --device cpu")
        self._torch, self._device = torch, torch.device(device)

    def energies(self, problem, window=None):
        """Return energies in eV, ascending (see `moireio.solvers.Solver`)."""
        torch = self._torch
        h, s = problem.dense()
        h = self._full(h)
        if s is not None:
            lower, info = torch.linalg.cholesky_ex(self._full(s).to(h.dtype))
            if int(info) != 0:
                raise not_positive(problem.k)
            h = torch.linalg.solve_triangular(lower, h, upper=False)
            h = torch.linalg.solve_triangular(lower, h.mH, upper=False)
        energies = torch.linalg.eigvalsh(h).cpu().numpy()
        return energies if window is None else energies[window[0] : window[1] + 1]

    def count_below(self, problem, energy):
        """Return how many states lie below an energy (see `moireio.solvers.Solver`)."""
        return int(np.searchsorted(self.energies(problem), energy))

    def _full(self, matrix):
        """Send a matrix of which the upper triangle is filled, and complete it there."""
        upper = self._torch.triu(
            self._torch.from_numpy(np.ascontiguousarray(matrix)).to(self._device)
        )
        return upper + self._torch.triu(upper, diagonal=1).mH
