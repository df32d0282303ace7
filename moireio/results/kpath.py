"""Points along a path in the Brillouin zone."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class KPath:
    """Points along a path in the Brillouin zone.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates in the reciprocal cell.
    distance : (nk,) array
        Length of the path so far, Å⁻¹ with the 2π; a jump between two segments has none.
    label_index : (nl,) array of int
        Points that carry a label.
    labels : tuple of str
        Their labels.
    """

    k: np.ndarray
    distance: np.ndarray
    label_index: np.ndarray
    labels: tuple

    def __len__(self):
        """Return the number of points."""
        return len(self.k)

    @property
    def breaks(self):
        """Indices at which a new, unconnected segment begins."""
        moved = np.abs(np.diff(self.k, axis=0)).max(axis=1, initial=0) > 1e-9
        return np.flatnonzero(moved & (np.diff(self.distance) == 0)) + 1
