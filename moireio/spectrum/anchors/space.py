"""The space that the anchors' states span, with what is added to it: how they change with k."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from moireio.runtime.threads import blas_threads
from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.basis import joined
from moireio.spectrum.anchors.completeness import velocity
from moireio.spectrum.anchors.interpolation import Patch
from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.reduced import Grams

PARALLEL = 1 - 1e-6  # cosine of the angle of two lines
OUTER = 2  # bands beyond each end whose changes with k are in the basis too
STEP = 0.02  # of a patch, for derivatives

Respond = Callable[[npt.NDArray], npt.NDArray | None]


class AnchorSpace:
    """The space that the cell-periodic parts of the anchors' states span.

    Parameters
    ----------
    products : BlochProducts
        H and S.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row, Å⁻¹ with the 2π.
    wanted : tuple of two int
        First and last band that are wanted (inclusive, from 0).
    patches : sequence of Patch
        Where k varies.
    axes : (d, 3) array
        Orthonormal directions along which it does, Cartesian.
    lines : sequence of Patch
        Other lines, along which the states of new anchors change too.
    respond : callable, optional
        Returns (H − σS)⁻¹ times some vectors, with the factors of the anchor solved last, or None.
    threads : int
        Threads.

    Attributes
    ----------
    basis : (n, m) array
        Orthonormal columns.
    velocity : float
        Largest velocity of the anchors' states, eV Å.
    n_projections : int
        k points where H and S were multiplied with the whole basis.
    """

    def __init__(
        self,
        products: BlochProducts,
        reciprocal: npt.NDArray[np.float64],
        wanted: tuple[int, int],
        patches: Sequence[Patch],
        axes: npt.NDArray[np.float64],
        *,
        lines: Sequence[Patch] = (),
        respond: Respond | None = None,
        threads: int = 1,
    ) -> None:
        self.products, self._reciprocal, self._wanted = products, reciprocal, wanted
        self._patches, self._axes, self._lines = patches, axes, lines
        self._respond, self._threads = respond, threads
        self.basis = np.zeros((products.n_orbitals, 0), complex)
        self.velocity, self.n_projections = 0.0, 0
        self._count = self._measured = 0

    def take(self, anchors: Sequence[Anchor]) -> None:
        """Add the states of anchors, and how they change with k along the patches.

        Parameters
        ----------
        anchors : sequence of Anchor
            Those that were added before come first.
        """
        for anchor in anchors[self._count :]:
            back = self.products.phases(anchor.k).conj()[:, None]
            self._join(back * anchor.states)
            if anchor.responses is not None:
                self._join(back * anchor.responses[:, self._along(anchor)])
        self._count = len(anchors)
        self.measure(anchors)

    def measure(self, anchors: Sequence[Anchor]) -> None:
        """Find the velocity of the states of anchors, also of some that are not to be added yet.

        Parameters
        ----------
        anchors : sequence of Anchor
            Those that were measured before come first.
        """
        for anchor in anchors[self._measured :]:
            own = velocity(self.products, anchor, self._axes, self._reciprocal)
            self.velocity = max(self.velocity, own)
        self._measured = len(anchors)

    def _join(self, vectors: npt.NDArray) -> None:
        if vectors.shape[1]:
            with blas_threads(1):
                self.basis = joined(self.basis if self.basis.shape[1] else None, vectors)

    def _along(self, anchor: Anchor) -> npt.NDArray[np.bool_] | slice:
        """Return which of the changes of an anchor's states are along the patches."""
        own = [axis for patch in self._patches if patch.holds(anchor.k) for axis in patch.axes]
        plane = any(len(patch.axes) > 1 for patch in self._patches)
        if anchor.axes is None or plane or not own:
            return slice(None)
        cosines = _unit(anchor.axes) @ _unit(np.array(own)).T
        return np.asarray((np.abs(cosines) > PARALLEL).any(axis=1))

    def project(self, k: npt.NDArray[np.float64], energy: float) -> Grams:
        """Return the products of the basis at a k, by true products with H and S.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        energy : float
            From which H is counted, eV.

        Returns
        -------
        Grams
            Products of the whole basis.
        """
        w, y = self.products(k, self.basis, energy)
        self.n_projections += 1
        return Grams.of(self.basis, w, y, energy, self._threads)

    def vectors(self, inner: npt.NDArray) -> npt.NDArray[np.complex128]:
        """Return combinations of the basis, (n, c), in the gauge with positions."""
        with blas_threads(self._threads):
            return self.basis @ inner

    def responses(
        self, anchor: Anchor
    ) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64]] | None:
        """Return how the states that are wanted change with k, to first order.

        The change of a state u with energy E is −(H − ES)⁻¹ (H′ − ES′) u, without the states that
        the anchor has. Of what is left most is far from E, so that (H − σS)⁻¹ does as well, whose
        factors are available.

        Parameters
        ----------
        anchor : Anchor
            Solved last.

        Returns
        -------
        changes : (n, c) array
            For every direction of the patches and of other lines at that k, in the phases of H(k).
        axes : (c, 3) array
            These directions, fractional.
        """
        if self._respond is None:
            return None
        phase = self.products.phases(anchor.k)[:, None]
        begin = max(self._wanted[0] - anchor.first - OUTER, 0)
        part = slice(begin, self._wanted[1] + 1 - anchor.first + OUTER)
        u = phase.conj() * anchor.states
        energies = anchor.energies[part]
        s0 = self.products.overlap(anchor.k, u)
        forces, axes = [], self._directions(anchor.k)
        for axis in axes:
            # both sides: what is of second order cancels
            (wa, ya), (wb, yb) = (
                self.products(anchor.k + step * axis, u[:, part]) for step in (STEP, -STEP)
            )
            force = (wa - wb - (ya - yb) * energies) / (2 * STEP)
            forces.append(force - s0 @ (u.conj().T @ force))
        if not forces:
            return None
        found = self._respond(phase * np.concatenate(forces, axis=1))
        if found is None:
            return None
        lengths = np.linalg.norm(found, axis=0)
        every = np.repeat(np.array(axes), len(energies), axis=0)
        return found[:, lengths > 0] / lengths[lengths > 0], every[lengths > 0]

    def _directions(self, k: npt.NDArray) -> list[npt.NDArray]:
        """Return the axes of the patches, and of other lines, on which a k point lies."""
        found: list[npt.NDArray] = []
        for patch in [*self._patches, *self._lines]:
            for axis in patch.axes if patch.holds(k) else ():
                if all(abs(_unit(axis) @ _unit(other)) < PARALLEL for other in found):
                    found.append(axis)
        return found


def _unit(vectors: npt.NDArray) -> npt.NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
