"""The kernel polynomial method for H ψ = E S ψ of large, sparse matrices.

With A = S⁻¹H, scaled so that its levels lie in [−1, 1], the density of states is a series in
Chebyshev polynomials whose coefficients are the moments Tr T_n(A), damped with Jackson's kernel
(Weiße, Wellein, Alvermann, Fehske, Rev. Mod. Phys. 78, 275 (2006), equations 34 to 38 and 71).

The traces are means over random vectors v with E[v vᴴ] = S⁻¹. For t_n = T_n(A) v and u_n = S t_n
two moments come from one step,

    μ_2n = 2 u_nᴴ t_n − μ_0        μ_2n+1 = 2 u_nᴴ t_n+1 − μ_1.

A step is one product with (H − c S)/half-width, subtracted in place from the step before, and one
solution with S. Without S it is taken in single precision, whose rounding is far below the noise
of random vectors; and Tr A and Tr A² are sums over elements of A, so that the noise of every other
moment that is correlated with that of these two is taken off (`_calibrated`).

For Tr[P T_n(A)], the part of a group of orbitals, products such as u_0ᴴ P t_n would do, but their
noise hides what is sought: v holds states of all energies. So the vectors are filtered first,
φ = K(E, A) v with Jackson's kernel of half as many moments, and the group's share of the density at
E is its Mulliken population Re φᴴ P S φ / φᴴ S φ. States there mix in φ, with random phases, and
that alone is noise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.dos.shifted import ShiftedOperator, random_phases, spectral_range, traces
from moireio.errors import MoireioError
from moireio.runtime.memory import size_text, usable_memory
from moireio.runtime.progress import Progress
from moireio.solvers.base import EigenProblem

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SINGLE_MOMENTS = 20_000  # whose rounding errors in single precision stay below the noise
LEAST_FACTOR = 0.5  # to which densities may be calibrated
MAX_MOMENTS = 200_000
STEP = 1.5  # distance of filters, in parts of their resolution
BATCH, ROWS = 32, 8192
TICKS = 100  # steps of progress for one k point
FILTER_BYTES = 4e9  # filtered vectors take at most so much


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of the density of states at one k point.

    Parameters
    ----------
    centre, half : float
        Levels lie between centre ± half, eV.
    values : (vectors, n) array
        Moments from each random vector, the sums of T_n over states.
    places : (np,) array
        Energies at which shares are known, eV, ascending.
    shares : (ng, np) array
        The part of each group in the density of states there.
    """

    centre: float
    half: float
    values: npt.NDArray[np.float64]
    places: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    shares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def width(self) -> float:
        """Standard deviation of a single level in the middle of the spectrum, eV."""
        return np.pi * self.half / self.values.shape[1]

    def resolution(self, energy: float) -> float:
        """Return the standard deviation of a single level near an energy, eV."""
        x = (energy - self.centre) / self.half
        return self.width * float(np.sqrt(max(1 - x * x, 1e-4)))

    def below(self, energies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the numbers of states below some energies.

        Parameters
        ----------
        energies : (ne,) array
            eV.

        Returns
        -------
        (vectors, ne) array
            Numbers of states.
        """
        count = self.values.shape[1]
        damped = self.values * jackson(count)
        x = np.clip((np.asarray(energies) - self.centre) / self.half, -1, 1)
        angle = np.arccos(x)
        out = damped[..., :1] * (1 - angle / np.pi)
        orders = np.arange(1, count)
        for begin in range(0, len(angle), 512):
            part = slice(begin, begin + 512)
            waves = np.sin(orders[:, None] * angle[part]) * (-2 / (np.pi * orders))[:, None]
            out[..., part] += damped[..., 1:] @ waves
        return out

    def parts(self, energies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the share of each group at some energies.

        Parameters
        ----------
        energies : (ne,) array
            eV.

        Returns
        -------
        (ng, ne) array
            Interpolated.
        """
        rows = [np.interp(energies, self.places, share) for share in self.shares]
        return np.array(rows).reshape(len(self.shares), len(energies))


def jackson(count: int) -> npt.NDArray[np.float64]:
    """Return the damping factors of Jackson's kernel.

    Parameters
    ----------
    count : int
        Number of moments.

    Returns
    -------
    (count,) array
        g_n of Weiße et al., equation 71.
    """
    n, q = np.arange(count), np.pi / (count + 1)
    return ((count - n + 1) * np.cos(q * n) + np.sin(q * n) / np.tan(q)) / (count + 1)


def moments(
    problem: EigenProblem,
    *,
    width: float,
    count: int | None = None,
    vectors: int = 8,
    seed: int | Sequence[int] = 0,
    noise: npt.NDArray[np.inexact] | None = None,
    indicator: "csr_array | None" = None,
    energy_window: Callable[[float, float], npt.ArrayLike] | None = None,
    threads: int = 1,
    memory: float | None = None,
    progress: Progress | None = None,
) -> Moments:
    """Return the moments at one k point.

    Parameters
    ----------
    problem : EigenProblem
        H and S at a k point.
    width : float
        Resolution: standard deviation of a level, eV, from which the number of moments follows.
    count : int, optional
        Number of moments instead.
    vectors : int
        Random vectors; the error falls with the square root of their number.
    seed : int or sequence of int
        Seed of the random numbers.
    noise : (n_orbitals, vectors) array, optional
        Vectors r with E[r rᴴ] = 1, instead of random phases; with those of a whole basis the sum
        of the moments over the vectors is exact.
    indicator : (ng, n_orbitals) sparse array, optional
        A 1 where an orbital belongs to a group.
    energy_window : callable, optional
        Returns from the lowest and the highest level the energies between which shares of groups
        are wanted; by default all.
    threads : int
        Threads of MKL, if it is installed.
    memory : float, optional
        Bytes that may be used; by default nearly all that are free.
    progress : Progress, optional
        Steps are pairs of moments.

    Returns
    -------
    Moments
        The first is the number of states.

    Raises
    ------
    MoireioError
        If S is not positive definite, memory does not suffice, or more moments are needed than is
        sensible.
    """
    vectors = vectors if noise is None else noise.shape[1]
    single = noise is None and problem.overlap is None
    operator = ShiftedOperator(problem, threads, vectors, usable_memory(memory), single)
    rng = np.random.default_rng(seed)
    low, high = spectral_range(operator, rng)
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    if count is None:
        count = int(np.ceil(np.pi * half / width))
        if count > MAX_MOMENTS:
            raise MoireioError(
                f"a width of {width:g} eV in a spectrum of {2 * half:.0f} eV takes {count} moments",
                remedy="choose a larger `width`",
            )
    count = max(4, count + count % 2)
    if single and count > SINGLE_MOMENTS:
        operator = ShiftedOperator(problem, threads, vectors, usable_memory(memory), False)
    operator.scale(centre, half)
    random = noise is None
    if noise is None:
        noise = random_phases(rng, problem.n_orbitals, vectors, operator.complex)
    t = operator.whiten(np.ascontiguousarray(noise, dtype=operator.dtype))
    u = operator.overlap(t)
    values = np.empty((vectors, count))
    filtered = None
    if indicator is not None:
        bounds = (low, high) if energy_window is None else energy_window(low, high)
        filtered = _Filter(t, centre, half, bounds, count // 2, operator.free)
    values[:, 0] = (np.abs(noise) ** 2).sum(axis=0)
    before = None
    for n in range(count // 2):
        if filtered:
            filtered.add(t)
        following = operator.following(t, before)
        t_next = operator.solve(following)
        if n == 0:
            values[:, 1] = traces(u, t_next)
        else:
            values[:, 2 * n] = 2 * traces(u, t) - values[:, 0]
            values[:, 2 * n + 1] = 2 * traces(u, t_next) - values[:, 1]
        before, u, t = u, following, t_next
        if progress:
            progress(1, count // 2)
    if not np.abs(values).max() < 1.5 * problem.n_orbitals:
        raise MoireioError(
            "the kernel polynomial method diverges: levels lie outside the range found",
            remedy="use `solver` dense",
        )
    if random and operator.exact is not None:
        values = _calibrated(values, operator.exact)
    if filtered is None:
        return Moments(centre, half, values)
    return Moments(centre, half, values, *filtered.shares(operator.overlap, indicator))


def _calibrated(values, exact):
    """Return moments whose second and third are exact, the density times a quadratic polynomial.

    As T_m T_n = (T_n+m + T_|n−m|)/2, the factor Σ_m c_m T_m (m ≤ 2) mixes neighbouring moments. Of
    all changes with the right sums it is that of least squares, weighted with the density. Moments
    beyond the last are taken as zero, as the kernel does.

    Parameters
    ----------
    values : (vectors, n) array
        From random vectors.
    exact : (2,) array
        The second and the third moment.

    Returns
    -------
    (vectors, n) array
        Unchanged where the polynomial would be far from 1.
    """
    count = values.shape[1]
    orders = np.arange(count)
    padded = np.pad(values, ((0, 0), (0, 2)))
    mixed = [0.5 * (padded[:, orders + m] + padded[:, np.abs(orders - m)]) for m in range(3)]
    gram = np.stack([m[:, :3] for m in mixed], axis=2)
    missing = np.zeros((len(values), 3))
    missing[:, 1:] = exact - values[:, 1:3]
    x = np.linspace(-1, 1, 41)
    chebyshev = np.stack([np.ones_like(x), x, 2 * x * x - 1])
    out = values.copy()
    for row, matrix, gap in zip(range(len(values)), gram, missing, strict=True):
        factor, *_ = np.linalg.lstsq(matrix, gap, rcond=1e-6)
        possible = np.abs(matrix @ factor - gap).max() < 1e-9 * count * matrix[0, 0]
        if possible and (1 + factor @ chebyshev).min() > LEAST_FACTOR:
            out[row] += sum(c * m[row] for c, m in zip(factor, mixed, strict=True))
    return out


class _Filter:
    """Random vectors, filtered so that only states next to each of many energies are left.

    Parameters
    ----------
    t : (n_orbitals, b) array
        Vectors before they are filtered.
    centre, half : float
        Centre and half width of the spectrum, eV.
    bounds : (float, float)
        Lowest and highest energy wanted, eV.
    count : int
        Number of moments of the filter.
    free : float
        Bytes that may be used.
    """

    def __init__(self, t, centre, half, bounds, count, free):
        x = np.clip((np.asarray(bounds) - centre) / half, -1, 1)
        first, last = np.arccos(x[::-1])
        # energies as dense as the filter resolves
        angles = np.linspace(last, first, max(2, int((last - first) * count / STEP) + 2))
        self._places = centre + half * np.cos(angles)
        self._angles = angles
        size = len(t) * len(angles) * t.itemsize
        limit = min(FILTER_BYTES, free)
        self._vectors = min(t.shape[1], int(limit // size))
        if not self._vectors:
            raise MoireioError(
                f"projections at {len(angles)} energies need at least {size_text(size)}, "
                f"{size_text(limit)} may be used",
                remedy="choose a smaller `energy_window` or a larger `width`",
            )
        self._factors = jackson(count) * np.where(np.arange(count), 2, 1)
        self._type = t.real.dtype
        self._sums = np.zeros((len(t) * self._vectors, len(angles)), dtype=t.dtype)
        self._waiting, self._n = [], 0

    def add(self, t):
        """Add the next Chebyshev vector."""
        self._waiting.append(t[:, : self._vectors].copy().ravel())  # t is written over
        if len(self._waiting) == BATCH:
            self._flush()

    def _flush(self):
        if not self._waiting:
            return
        orders = self._n + np.arange(len(self._waiting))
        waves = self._factors[orders][:, None] * np.cos(orders[:, None] * self._angles)
        waves = waves.astype(self._type)
        columns = np.stack(self._waiting, axis=1)
        for begin in range(0, len(columns), ROWS):
            rows = slice(begin, begin + ROWS)
            self._sums[rows] += columns[rows] @ waves
        self._n, self._waiting = self._n + len(orders), []

    def shares(self, overlap, indicator):
        """Return energies, and the share of each group there; shapes (np,) and (ng, np)."""
        self._flush()
        n = len(self._sums) // self._vectors
        states = self._sums.reshape(n, self._vectors, -1)
        held = np.zeros((indicator.shape[0], states.shape[2]))
        norm = np.zeros(states.shape[2])
        for begin in range(0, states.shape[2], BATCH):
            part = slice(begin, begin + BATCH)
            for vector in range(self._vectors):
                phi = np.ascontiguousarray(states[:, vector, part])
                populations = (phi.conj() * overlap(phi)).real.astype(np.float64)
                held[:, part] += indicator @ populations
                norm[part] += populations.sum(axis=0)
        return self._places, held / np.maximum(norm, 1e-300)


class Ticker:
    """Progress of one k point after another as steps of the whole.

    Parameters
    ----------
    progress : Progress or None
        Is called with the steps that are done, and their number in all.
    count : int
        Number of calls of `moments`.
    """

    def __init__(self, progress: Progress | None, count: int) -> None:
        self._progress, self._count = progress, count * TICKS
        self._done, self._reported = 0.0, 0

    def __call__(self, steps: int, total: int) -> None:
        """Add some of the steps of one k point."""
        self._done += TICKS * steps / total
        steps = int(self._done + 1e-6) - self._reported
        if steps > 0 and self._progress:
            self._reported += steps
            self._progress(steps, self._count)
