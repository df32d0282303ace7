"""How a reduced model is made: its k points, its basis, its polynomials, its error."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh, svd
from scipy.linalg import solve as solve_positive

from moireio.errors import MoireioError, naming
from moireio.runtime.threads import blas_threads, cores
from moireio.spectrum.anchors.anchor import CLEAR, Anchor
from moireio.spectrum.anchors.basis import joined
from moireio.spectrum.anchors.bounds import quadratic_bounds
from moireio.spectrum.anchors.continuity import Place, follow
from moireio.spectrum.anchors.interpolation import GramSeries, Patch, term_count
from moireio.spectrum.anchors.model import ReducedModel, whole_multiplets
from moireio.spectrum.anchors.nodes import ChebyshevNodes
from moireio.spectrum.anchors.norms import norm_ratio
from moireio.spectrum.anchors.patches import LEFT_OUT
from moireio.spectrum.anchors.polynomials import chebyshev_nodes, line_tail, power_series
from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.reduced import Grams, RitzLevels, refined_levels
from moireio.spectrum.anchors.regions import Scales
from moireio.spectrum.anchors.settings import TOLERANCE, margin
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.sums import bloch_sums

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.runtime.progress import Progress

LARGEST = 0.1  # radius, fractional coordinates
STEP = 0.7  # from one radius to the next smaller one
SMALLEST = 1e-3
SHARE = 0.1  # of the tolerance, that the basis may take, and the polynomials
LIFTING = 0.1, 1.0  # eV, at least and at most; what is no state lies above by its leak² over this
NODES = {1: 24, 2: 12, 3: 8}  # of the polynomials along each axis, by dimension
CHECKS = 6  # k points inside the region, beside two of its corners, where the error is measured
BESIDE = 3  # levels on either side of the wanted ones that the basis has too
DEPTH = 4  # halvings of a step from k₀


def reduced_model(
    file: "BlockFile",
    k0: npt.ArrayLike,
    band_range: tuple[int, int],
    *,
    energy: float | None = None,
    radius: float | None = None,
    tolerance: float = TOLERANCE,
    channel: int = 0,
    states: bool = False,
    solver: str | SolverChoice = "auto",
    jobs: int | None = None,
    progress: "Progress | None" = None,
) -> ReducedModel:
    """Return some bands near a k point as a small matrix of polynomials.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    k0 : (3,) array
        Centre, fractional coordinates.
    band_range : tuple of two int
        First and last band (inclusive, from 0).
    energy : float, optional
        Energy near them, eV; by default the Fermi level.
    radius : float, optional
        Largest ``|k − k₀|`` along each periodic axis, fractional coordinates; by default 0.1,
        or less where that is too much for the tolerance.
    tolerance : float
        Largest error of a level, eV.
    channel : int
        Spin channel.
    states : bool
        Keep the basis functions too.
    solver : {"auto", "dense", "sparse", "slepc"} or SolverChoice
        How k₀ and the other anchors are solved.
    jobs : int, optional
        Threads, where `solver` is a name; by default one per core.
    progress : Progress, optional
        Steps are k points that may be solved.

    Returns
    -------
    ReducedModel
        Its error measured at k points in the region.

    Raises
    ------
    MoireioError
        If the cell is not periodic, the bands do not exist, or the tolerance is not reached.
    """
    sums, overlap, spin = bloch_sums(file)
    choice = SolverChoice(solver, jobs=jobs) if isinstance(solver, str) else solver
    k0 = np.asarray(k0, dtype=float)
    axes = np.flatnonzero(file.structure.pbc)
    with naming(file.label):
        _check(k0, axes, band_range, sums[0].n_orbitals, len(sums), channel, radius, choice)
        threads = choice.jobs or cores()
        products = BlochProducts(sums[channel], overlap, file.structure, threads)
        if energy is None:
            energy = file.electrons.fermi
        wide = _widened(band_range, margin(band_range), sums[0].n_orbitals)

        def solve(points: npt.NDArray) -> Iterator[Anchor]:
            count = wide[1] - wide[0] + 1
            with EigenproblemSet(
                [sums[channel]], overlap, points, choice, count, energy, states=True
            ) as problems:
                for (_, point), energies, vectors in problems.levels(
                    [(0, p) for p in range(len(points))], wide
                ):
                    if progress is not None:
                        progress(1, 2 * 3 ** len(axes))
                    yield Anchor(points[point], energies, vectors, wide[0])

        making = _Making(products, k0, axes, band_range, tolerance, solve, threads)
        making.choose(LARGEST if radius is None else radius)
        found = making.fitted(radius is None)
        return replace(
            found,
            reciprocal=file.structure.reciprocal,
            spin=spin,
            channel=channel,
            fermi=file.electrons.fermi,
            v=making.basis.astype(complex, copy=False) if states else None,
            places=products.places if states else None,
        )


def _check(
    k0: npt.NDArray,
    axes: npt.NDArray,
    band_range: tuple[int, int],
    n_orbitals: int,
    channels: int,
    channel: int,
    radius: float | None,
    choice: SolverChoice,
) -> None:
    """Refuse what makes no sense."""
    first, last = band_range
    if k0.shape != (3,) or not np.isfinite(k0).all():
        raise MoireioError("the centre of a reduced model is three numbers")
    if not len(axes):
        raise MoireioError("a reduced model needs a periodic axis, the structure has none")
    if not 0 <= first <= last < n_orbitals:
        raise MoireioError(
            f"bands {first + 1} to {last + 1} were asked for, there are {n_orbitals}"
        )
    if not 0 <= channel < channels:
        raise MoireioError(f"there is no spin channel {channel}, there are {channels}")
    if radius is not None and not SMALLEST <= radius <= 0.5:
        raise MoireioError(f"a radius of {radius:g} is not between {SMALLEST:g} and 0.5")
    if any(choice.options.get(name) for name in ("drop", "overlap_cutoff")):
        raise MoireioError(
            "a reduced model is of all of H and S: leave `drop` and `overlap_cutoff`"
        )


def _widened(bands: tuple[int, int], by: int, n_orbitals: int) -> tuple[int, int]:
    return max(bands[0] - by, 0), min(bands[1] + by, n_orbitals - 1)


@dataclass(eq=False)
class _Making:
    """The making of a model.

    Parameters
    ----------
    products : BlochProducts
        H and S.
    k0 : (3,) array
        Centre.
    axes : (d,) array of int
        Periodic axes.
    wanted : tuple of two int
        First and last band.
    tolerance : float
        eV.
    solve : callable
        Yields the `Anchor` at each of some k points.
    threads : int
        Threads.
    """

    products: BlochProducts
    k0: npt.NDArray[np.float64]
    axes: npt.NDArray[np.int64]
    wanted: tuple[int, int]
    tolerance: float
    solve: Callable[[npt.NDArray], Iterator[Anchor]]
    threads: int
    anchors: list[Anchor] = field(default_factory=list)
    ratio: float = 1.0

    def __post_init__(self) -> None:
        self.anchors = list(self.solve(self.k0[None]))
        self.basis = joined(None, self._periodic(self.anchors[0]))
        self.radius = LARGEST

    # ------------------------------------------------------------------ the region and its anchors

    def _periodic(self, anchor: Anchor) -> npt.NDArray[np.complex128]:
        return self.products.phases(anchor.k).conj()[:, None] * anchor.states

    def _square(self, radius: float) -> Patch:
        half = np.zeros((len(self.axes), 3))
        half[np.arange(len(self.axes)), self.axes] = radius
        return Patch(self.k0, half, np.arange(0))

    def _points(self, coordinates: npt.NDArray, radius: float) -> npt.NDArray[np.float64]:
        """Return k points from coordinates between −1 and 1."""
        return np.asarray(self.k0 + coordinates @ self._square(radius).axes)

    def _corners(self) -> npt.NDArray[np.float64]:
        """Return −1, 0 and 1 along each axis, corners first, without the centre."""
        mesh = np.meshgrid(*[(-1.0, 0.0, 1.0)] * len(self.axes), indexing="ij")
        rows = np.stack(mesh, axis=-1).reshape(-1, len(self.axes))
        rows = rows[np.abs(rows).max(axis=1) > 0]
        return rows[np.argsort(-np.abs(rows).sum(axis=1), kind="stable")]

    def choose(self, radius: float) -> None:
        """Choose the anchors.

        Parameters
        ----------
        radius : float
            Radius of the region, fractional coordinates.
        """
        self.radius = radius
        corners = self._corners()
        points = self._points(np.concatenate([corners, corners / 2]), radius)
        left = list(range(len(points)))
        while left:
            far = [min(np.abs(points[p] - a.k).sum() for a in self.anchors) for p in left]
            point = left.pop(int(np.argmax(np.round(far, 9))))
            found = self._true(points[point], self._follower(self._project))
            if found is None or found[1].max() > SHARE * self.tolerance:
                self.anchors += self.solve(points[point][None])
                self.basis = joined(self.basis, self._periodic(self.anchors[-1]))

    # ------------------------------------------------------------------ levels in the basis

    def _scales(self) -> Scales:
        """Return the window of the bands, and the width of residuals."""
        ends = np.array([anchor.range(self.wanted) for anchor in self.anchors])
        begin, end = (band - self.anchors[0].first for band in self.wanted)
        energies = np.array([anchor.energies for anchor in self.anchors])
        below, above = ends[:, 1] - ends[:, 0], ends[:, 3] - ends[:, 2]
        margins = [m for m in (below, above) if m.min() > 0]
        outer = float(np.mean(margins)) if margins else 1.0
        least = float(np.min(margins)) if margins else 1.0
        low = min(ends[:, 1].min() - outer / 2, energies[:, max(begin - BESIDE, 0)].min())
        last = energies.shape[1] - 1
        high = max(ends[:, 2].max() + outer / 2, energies[:, min(end + BESIDE, last)].max())
        return Scales((float(low), float(high)), min(max(0.25 * least, 2e-3), 0.05))

    def _lifting(self) -> float:
        """Return the energy by which L is divided, eV."""
        low, high = self._scales().window
        return min(max(high - low, LIFTING[0]), LIFTING[1])

    def _project(self, k: npt.NDArray) -> Grams:
        energy = self._scales().centre
        w, y = self.products(k, self.basis, energy)
        return Grams.of(self.basis, w, y, energy, self.threads)

    def _follower(self, grams_at: Callable[[npt.NDArray], Grams]) -> "_Follower":
        return _Follower(grams_at, self._scales(), self.anchors[0], self.wanted)

    def _true(
        self, k: npt.NDArray, follower: "_Follower"
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Return the wanted levels in the basis at a k point, and bounds on their errors, eV."""
        with blas_threads(1):
            levels, part = follower(k)
        if part is None:
            return None
        x = self.basis @ levels.vectors[:, part]
        if not self.products.orthogonal:
            w, y = self.products(k, x)
            residuals = w - y * levels.energies[part]
            self.ratio = max(self.ratio, norm_ratio(self.products, k, residuals))
        products = self.ratio**2 * levels.products
        return levels.energies[part], self._bounds(levels.energies, products, part)[part]

    def _bounds(
        self, energies: npt.NDArray, products: npt.NDArray, part: slice
    ) -> npt.NDArray[np.float64]:
        """Return bounds on the errors of levels; beyond the ends of the spectrum are none."""
        residuals = np.sqrt(np.maximum(np.diagonal(products).real, 0))
        low, high, known = 0, len(energies), [-np.inf, np.inf]
        if self.wanted[0] > 0:  # nothing is known of what lies below the first level
            low, known[0] = 1, energies[0] + residuals[0]
        if self.wanted[1] < len(self.basis) - 1:
            high, known[1] = high - 1, energies[-1] - residuals[-1]
        bounds = np.full(len(energies), np.inf)
        bounds[low:high] = quadratic_bounds(
            energies[low:high],
            products[low:high, low:high],
            slice(max(part.start - low, 0), part.stop - low),
            (float(known[0]), float(known[1])),
        )
        return bounds

    # ------------------------------------------------------------------ polynomials

    def fitted(self, shrink: bool) -> ReducedModel:
        """Return a model that keeps the tolerance, of a smaller region if need be.

        Parameters
        ----------
        shrink : bool
            Whether the region may be made smaller.

        Returns
        -------
        ReducedModel
            For the basis, which is reduced to what the bands need.
        """
        square = self._square(self.radius)
        counts = tuple(term_count(*self.products.turns(axis), LEFT_OUT) + 1 for axis in square.axes)
        series = GramSeries(square, ChebyshevNodes(counts), self._project)
        vectors = self._needed(series)
        series, self.basis = series.inside(vectors), self.basis @ vectors
        best = np.inf
        while self.radius >= SMALLEST:
            model = self._model(series)
            if model is not None:
                best = min(best, model.error)
                if model.error <= self.tolerance:
                    return model
            if not shrink:
                break
            self.radius *= STEP
        reached = "" if np.isinf(best) else f" (error {best:.1e} eV)"
        raise MoireioError(
            f"no reduced model has errors below {self.tolerance:.1e} eV{reached}",
            remedy="choose a smaller `reduced_radius`, other `bands` or a larger `tolerance`",
        )

    def _needed(self, series: GramSeries) -> npt.NDArray[np.complex128]:
        """Return the space of the levels at the nodes of a series; shape (m, c)."""
        scales = self._scales()
        low, high = scales.window
        lifting = self._lifting()

        def one(grams: Grams) -> npt.NDArray[np.complex128]:
            h, s, leak = _lifted(grams, lifting)
            energies, x = eigh(h, s, check_finite=False)
            squares = np.einsum("ij,ij->j", x.conj(), leak @ x).real
            inside = (energies > low) & (energies < high)
            return x[:, inside & (squares < scales.width**2)]

        with blas_threads(1), ThreadPoolExecutor(self.threads) as pool:
            vectors = list(pool.map(one, [*series.at_nodes, series.at(self.k0)]))
        u, sizes, _ = svd(np.concatenate(vectors, axis=1), full_matrices=False)
        least = 0.01 * np.sqrt(self.tolerance / 10)  # energies of some 10 eV go with its square
        return np.asarray(u[:, sizes > least])

    def _model(self, series: GramSeries) -> ReducedModel | None:
        """Return the model of the present region; None if polynomials do not serve there."""
        d = len(self.axes)
        nodes, allowed = chebyshev_nodes(NODES[d]), SHARE * self.tolerance
        lines = [*np.eye(d), np.ones(d), np.where(np.arange(d) == 0, -1.0, 1.0)][: d * d]
        for line in lines:
            h, s, _ = self._matrices(series, nodes[:, None] * line)
            if max(line_tail(h), line_tail(s)) > allowed:
                return None
        mesh = np.stack(np.meshgrid(*[nodes] * d, indexing="ij"), axis=-1).reshape(-1, d)
        found = [a.reshape(*(NODES[d],) * d, *a.shape[1:]) for a in self._matrices(series, mesh)]
        powers, found = power_series(found, [allowed, allowed / 10, allowed * self._lifting()])
        scale = self.radius ** -powers.sum(axis=1).astype(float)
        model = ReducedModel(
            k0=self.k0,
            axes=self.axes,
            powers=powers,
            h=found[0] * scale[:, None, None],
            s=found[1] * scale[:, None, None],
            leak=found[2] * scale[:, None, None],
            radius=self.radius,
            error=np.inf,
            bands=self.wanted,
            first=0,
            lifting=self._lifting(),
            width=self._scales().width,
            reciprocal=np.zeros((3, 3)),
            anchors=np.array([anchor.k for anchor in self.anchors]),
        )
        first = _first_of(self.anchors[0], model.place(self.k0).levels, self.wanted)
        model = replace(model, first=first)
        return replace(model, error=2 * self._error(model))

    def _matrices(
        self, series: GramSeries, coordinates: npt.NDArray
    ) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
        """Return V†HV + L/ε, V†SV and L at k points."""
        lifting = self._lifting()

        def one(k: npt.NDArray) -> npt.NDArray:
            return np.stack(_lifted(series.at(k), lifting))

        with blas_threads(1), ThreadPoolExecutor(self.threads) as pool:
            found = np.stack(list(pool.map(one, self._points(coordinates, self.radius))), axis=1)
        return found[0], found[1], found[2]

    def _error(self, model: ReducedModel) -> float:
        """Return the largest error of a wanted level at some k points, by true products."""
        rng = np.random.default_rng(0)
        d, worst, follower = len(self.axes), 0.0, self._follower(self._project)
        for x in [np.ones(d), -np.ones(d), *rng.uniform(-1, 1, (CHECKS, d))]:
            k = self._points(x, self.radius)
            there, found = model.place(k), self._true(k, follower)
            part = model.part(there)
            if part is None or found is None:
                return np.inf
            energies, bounds = found
            error = np.abs(there.levels.energies[part] - energies) + bounds
            worst = max(worst, float(error.max()))
        return worst


def _first_of(anchor: Anchor, levels: RitzLevels, wanted: tuple[int, int]) -> int:
    """Return the number of the first of some levels at an anchor."""
    same = len(levels) == len(anchor.energies)
    if same and np.abs(levels.energies - anchor.energies).max() < CLEAR:
        return anchor.first
    return anchor.first_of(levels, wanted)


def _lifted(grams: Grams, lifting: float) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Return V†HV + L/ε, V†SV and L = W†W − W†Y (Y†Y)⁻¹ Y†W, W = (H − E₀S) V and Y = S V.

    L is the square of what H V has outside the space of S V, in the metric 1.
    """
    h, s, ww, wy, yy = grams.matrices
    leak = ww - wy @ solve_positive(yy, wy.conj().T, assume_a="pos", check_finite=False)
    leak = 0.5 * (leak + leak.conj().T)
    return h + grams.energy * s + leak / lifting, s, leak


@dataclass(eq=False)
class _Follower:
    """Levels at k points, and which of them are wanted, by continuity from k₀.

    Parameters
    ----------
    grams_at : callable
        Products of the basis at a k point.
    scales : Scales
        Energies and residuals of levels.
    anchor : Anchor
        At k₀.
    wanted : tuple of two int
        First and last band.
    """

    grams_at: Callable[[npt.NDArray], Grams]
    scales: Scales
    anchor: Anchor
    wanted: tuple[int, int]

    def __post_init__(self) -> None:
        with blas_threads(1):
            self._centre = self._place(self.anchor.k)
        self._first = _first_of(self.anchor, self._centre.levels, self.wanted)
        self._group = whole_multiplets(self._centre, self._first, self.wanted)

    def _place(self, k: npt.NDArray) -> Place:
        grams = self.grams_at(k)
        levels = refined_levels(grams, self.scales.window, self.scales.width)
        return Place.of(k, levels, grams.matrices[1])

    def __call__(self, k: npt.NDArray) -> tuple[RitzLevels, slice | None]:
        """Return the levels at a k point, and which are wanted; None if they are lost."""
        there = self._place(k)
        first: int | None = self._first
        if not self._centre.complete or not there.complete:
            first = follow(self._centre, there, self._first, self._group, self._place, DEPTH)
        if first is None:
            return there.levels, None
        start, stop = self.wanted[0] - first, self.wanted[1] + 1 - first
        inside = start >= 0 and stop <= len(there.levels)
        return there.levels, slice(start, stop) if inside else None
