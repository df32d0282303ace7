"""The space that the anchors' states span, with what is added to it: how they change with k."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from moireio.runtime.threads import blas_threads
from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.basis import combined, joined
from moireio.spectrum.anchors.bounds import quadratic_bounds
from moireio.spectrum.anchors.completeness import velocity
from moireio.spectrum.anchors.factors import AnchorFactors
from moireio.spectrum.anchors.interpolation import Patch
from moireio.spectrum.anchors.norms import norm_ratio
from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.projections import Projections
from moireio.spectrum.anchors.reduced import Grams, RitzLevels, refined_levels
from moireio.spectrum.anchors.regions import Scales

PARALLEL = 1 - 1e-6  # cosine of the angle of two lines
STEP = 0.02  # of a patch, for derivatives
# Bands beyond each end whose changes with k are in the basis too, where there are no corrections.
# With them all bands are that may come near, since what is not followed counts as missing.
OUTER, OUTER_OF_PLANE = 8, 2
# Vectors for each change on lines without corrections: (H − σS)⁻¹ f, and (H − σS)⁻¹ S times it.
# With the second, bounds are ten times smaller and more.
ORDER = 2

# Tolerance (eV) and orbitals from which on products in single precision do: errors of some 1e-5 eV
# in H V are small against residuals. What they make of levels, some 1e-7 eV where S is far from
# singular, is measured: bounds get a multiple of the largest error seen, of which a share of the
# tolerance is allowed.
SINGLE, SINGLE_SIZE = 1e-6, 2000
ROUNDING, ROUNDING_SHARE = 3, 0.1
WORST = 8  # residuals whose norm in S⁻¹ is measured

WORTH = 0.1  # share of the largest residual of a wanted level from which on one is corrected


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
    factors : AnchorFactors, optional
        Those of anchors.
    tolerance : float
        Largest bound on the error of an energy, eV.
    room : float
        Bytes that H and S times the basis may take (see `Projections`).
    threads : int
        Threads.

    Attributes
    ----------
    basis : (n, m) array
        Orthonormal columns.
    velocity : float
        Largest velocity of the anchors' states, eV Å.
    single : bool
        H and S are multiplied with the basis in single precision.
    rounded : float
        About what H and S that were rounded make of levels, eV.
    projections : Projections
        Products of the basis.
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
        factors: AnchorFactors | None = None,
        tolerance: float = 0.0,
        room: float = np.inf,
        threads: int = 1,
    ) -> None:
        self.products, self._reciprocal, self._wanted = products, reciprocal, wanted
        self._patches, self._axes, self._lines = patches, axes, lines
        self._factors, self._threads = factors or AnchorFactors(), threads
        self.single = tolerance >= SINGLE and products.n_orbitals >= SINGLE_SIZE
        self._allowed = ROUNDING_SHARE * tolerance
        self.basis = np.zeros((products.n_orbitals, 0), products.kind)
        self.velocity = 0.0
        self.rounded = self._offset = 0.0
        self._count = self._measured = 0
        self.projections = Projections(products, room, threads)
        self._plane = any(len(patch.axes) > 1 for patch in patches)

    def checked(self, anchor: Anchor) -> Anchor:
        """Return an anchor that was just solved, right to its share of the tolerance.

        Its solver had products with H and S as they are here. Where these were rounded too much,
        they are made as precise as they were given, and energies and states found anew by Ritz's
        method among the states: what those lack changes energies by its square only.

        Parameters
        ----------
        anchor : Anchor
            With its states.

        Returns
        -------
        Anchor
            With states of the type that products have.
        """
        if self._rounding_of(anchor) > self._allowed:
            self._restore()
            energies, states, _ = self._ritz(anchor)
            anchor = replace(anchor, energies=energies, states=states)
        states = anchor.states.astype(self.products.kind, copy=False)
        return replace(anchor, states=states)

    def _ritz(
        self, anchor: Anchor
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray, npt.NDArray[np.complex128]]:
        """Return energies by Ritz's method among the states of an anchor, states, and residuals."""
        phases = self.products.phases(anchor.k)[:, None]
        with blas_threads(self._threads):
            u = phases.conj() * anchor.states
            w, y = self.products(anchor.k, u)
            energies, turn = eigh(u.conj().T @ w, u.conj().T @ y)
            return energies, phases * (u @ turn), w @ turn - (y @ turn) * energies

    def error(self, anchor: Anchor) -> float:
        """Return a bound on the errors of the energies of an anchor, of those that are wanted.

        Parameters
        ----------
        anchor : Anchor
            One of the same H and S, perhaps found with another tolerance.

        Returns
        -------
        float
            The largest, eV.
        """
        energies, _, residuals = self._ritz(anchor)
        part = slice(self._wanted[0] - anchor.first, self._wanted[1] + 1 - anchor.first)
        ratio = 1.0
        if not self.products.orthogonal:
            largest = np.argsort(-np.linalg.norm(residuals, axis=0))[:WORST]
            ratio = norm_ratio(self.products, anchor.k, residuals[:, largest])
        squares = max(ratio, 1.0) ** 2 * (residuals.conj().T @ residuals)
        bounds = quadratic_bounds(energies, squares, part, anchor.ends(len(anchor.states)))
        off = np.abs(energies - anchor.energies) + bounds
        return float(off[part].max()) + self._rounding_of(anchor)

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
        if self.rounded > self._allowed:
            self._restore()

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
            self.rounded = max(self.rounded, self._rounding_of(anchor))
        self._measured = len(anchors)

    def _rounding_of(self, anchor: Anchor) -> float:
        """Return about what rounded H and S make of the levels of an anchor, eV."""
        energy, size = np.abs(anchor.energies).max(), np.linalg.norm(anchor.states, axis=0)
        return self.products.rounding(float(energy)) * float(size.max()) ** 2

    def _join(self, vectors: npt.NDArray) -> None:
        if vectors.shape[1]:
            with blas_threads(self._threads):
                given = self.basis if self.basis.shape[1] else None
                self.basis = joined(given, vectors, self.products.kind)

    def _along(self, anchor: Anchor) -> npt.NDArray[np.bool_] | slice:
        """Return which of the changes of an anchor's states are along the patches."""
        own = [axis for patch in self._patches if patch.holds(anchor.k) for axis in patch.axes]
        if anchor.axes is None or self._plane or not own:
            return slice(None)
        cosines = _unit(anchor.axes) @ _unit(np.array(own)).T
        return np.asarray((np.abs(cosines) > PARALLEL).any(axis=1))

    @property
    def rounding(self) -> float:
        """What rounding may make of levels, eV."""
        return ROUNDING * self._offset + self.rounded

    def _use_double(self) -> None:
        """Multiply in double precision from now on."""
        self.single, self._offset = False, 0.0
        self.projections.clear()

    def _restore(self) -> None:
        """Take H and S, and the basis, in double precision from now on."""
        self.products.restore()
        self.rounded, self.basis = 0.0, self.basis.astype(self.products.kind, copy=False)
        self._use_double()

    def levels(self, k: npt.NDArray[np.float64], scales: Scales) -> RitzLevels:
        """Return the levels at a k by products there; go to double precision where that is due.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        scales : Scales
            Which levels are of interest.

        Returns
        -------
        RitzLevels
            In the window.
        """
        grams = self.project(k, scales.centre)
        with blas_threads(1):
            levels = refined_levels(grams, scales.window, scales.width)
        if self.single and not self._offset:
            if len(levels):
                self.residuals(k, levels, self.vectors(levels.vectors))
            if not len(levels) or ROUNDING * self._offset > self._allowed:
                self._use_double()
                return self.levels(k, scales)
        return levels

    def residuals(
        self, k: npt.NDArray[np.float64], levels: RitzLevels, vectors: npt.NDArray
    ) -> npt.NDArray[np.complex128]:
        """Return the residuals of levels by true products; note how far levels are off.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        levels : RitzLevels
            Their energies.
        vectors : (n, c) array
            Their states, in the gauge with positions.

        Returns
        -------
        (n, c) array
            (H − ES) ψ, eV.
        """
        w, y = self.products(k, vectors)
        residuals = w - y * levels.energies
        offsets = np.einsum("ij,ij->j", vectors.conj(), residuals).real
        offsets = offsets / np.einsum("ij,ij->j", vectors.conj(), y).real
        self._offset = max(self._offset, float(np.abs(offsets).max()))
        return residuals

    def project(self, k: npt.NDArray[np.float64], energy: float) -> Grams:
        """Return the products of the basis at a k, by products with H and S.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        energy : float
            About the middle of the levels, eV.

        Returns
        -------
        Grams
            Products of the whole basis.
        """
        return self.projections.at(k, self.basis, energy, self.single)

    def vectors(self, inner: npt.NDArray) -> npt.NDArray[np.complex128]:
        """Return combinations of the basis, (n, c), in the gauge with positions."""
        with blas_threads(self._threads):
            return combined(self.basis, inner)

    def responses(
        self, anchor: Anchor, within: float = np.inf
    ) -> tuple[npt.NDArray[np.complexfloating], npt.NDArray[np.float64]] | None:
        """Return how the states that are wanted change with k, to first order.

        The change of a state u with energy E is −(H − ES)⁻¹ f, f = (H′ − ES′) u, without the states
        that the anchor has. Only factors of H − σS are available; with K = (H − σS)⁻¹ it is Kf +
        (E − σ) KSKf + …, the vectors of a block Krylov space, which also holds what the states next
        to those of the anchor contribute farther away.

        Parameters
        ----------
        anchor : Anchor
            Solved last.
        within : float
            Distance from the wanted levels, eV, within which states are followed; infinite for a
            few bands on each side.

        Returns
        -------
        changes : (n, c) array
            For every direction of the patches and of other lines at that k, in the phases of H(k).
        axes : (c, 3) array
            These directions, fractional.
        """
        if not self._factors.are_given:
            return None
        phase = self.products.phases(anchor.k)[:, None].astype(self.products.kind)
        order = 1 if self._plane or self._factors.are_kept else ORDER
        part = self._changing(anchor, within)
        u = phase.conj() * anchor.states
        energies = anchor.energies[part]
        s0 = self.products.overlap(anchor.k, u)
        forces, axes = [], self._directions(anchor.k)
        for axis in axes:
            # both sides: what is of second order cancels
            (wa, ya), (wb, yb) = (
                self.products(anchor.k + step * axis, u[:, part], single=self.single)
                for step in (STEP, -STEP)
            )
            force = ((wa - wb - (ya - yb) * energies) / (2 * STEP)).astype(phase.dtype, copy=False)
            forces.append(force - s0 @ (u.conj().T @ force))
        if not forces:
            return None
        right, parts = np.concatenate(forces, axis=1), []
        for left in reversed(range(order)):
            found = self._factors(phase * right)
            if found is None:
                return None
            parts.append(_unit(found.T).T.astype(phase.dtype, copy=False))
            if not left:
                break
            right = self.products.overlap(anchor.k, phase.conj() * parts[-1])
            right = right - s0 @ (u.conj().T @ right)
        if self._plane:  # no corrections there
            self._factors.free()
        else:
            self._factors.keep_or_free(anchor.k)
        every = np.tile(np.repeat(np.array(axes), len(energies), axis=0), (order, 1))
        return np.concatenate(parts, axis=1), every

    def _changing(self, anchor: Anchor, within: float) -> slice:
        """Return which states change next to an anchor, as far as that matters."""
        begin, end = (band - anchor.first for band in self._wanted)
        if np.isinf(within):
            outer = OUTER_OF_PLANE if self._plane else OUTER
            return slice(max(begin - outer, 0), end + 1 + outer)
        e = anchor.energies
        low, high = np.searchsorted(e, [e[begin] - within, e[end] + within])
        return slice(int(low), int(high))

    def correct(self, wanted: Sequence[tuple[npt.NDArray, RitzLevels, slice]]) -> bool:
        """Add to the space what levels lack most, by the factors of an anchor nearby.

        The error of a state is (H − ES)⁻¹ r, r its residual. With the factors of an anchor at the
        end of a line residuals in its middle become some five times smaller.

        Parameters
        ----------
        wanted : sequence of ((3,) array, RitzLevels, slice)
            k points, fractional, the levels that were found there, and which of them are wanted.

        Returns
        -------
        bool
            False where there are no factors.
        """
        parts = []
        for k, levels, part in wanted:
            near = self._factors.nearest(k, self._reciprocal)
            if near is None:
                return False
            place, respond = near
            # others too: what is not followed beyond the wanted ones may come back unseen
            least = WORTH * levels.residuals[part].max()
            residuals = self.residuals(k, levels, self.vectors(levels.vectors))
            chosen = residuals[:, levels.residuals > least]
            phase = self.products.phases(place)[:, None].astype(self.products.kind)
            found = respond(phase * chosen.astype(phase.dtype, copy=False))
            assert found is not None
            parts.append(phase.conj() * _unit(found.T).T.astype(phase.dtype, copy=False))
        self._join(np.concatenate(parts, axis=1))
        return True

    def _directions(self, k: npt.NDArray) -> list[npt.NDArray]:
        """Return the axes of the patches, and of other lines, on which a k point lies."""
        found: list[npt.NDArray] = []
        for patch in [*self._patches, *self._lines]:
            for axis in patch.axes if patch.holds(k) else ():
                if all(abs(_unit(axis) @ _unit(other)) < PARALLEL for other in found):
                    found.append(axis)
        return found


def _unit(vectors: npt.NDArray) -> npt.NDArray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
