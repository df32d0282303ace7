"""The kernel polynomial method for H ψ = E S ψ of large, sparse matrices.

With A = S⁻¹H, scaled so that its levels lie in [−1, 1], the density of states is a series in
Chebyshev polynomials whose coefficients are the moments Tr T_n(A), damped with Jackson's kernel
(Weiße, Wellein, Alvermann, Fehske, Rev. Mod. Phys. 78, 275 (2006), equations 34 to 38 and 71).

The traces are means over random vectors v with E[v vᴴ] = S⁻¹. For t_n = T_n(A) v and u_n = S t_n
two moments come from one step,

    μ_2n = 2 u_nᴴ t_n − μ_0        μ_2n+1 = 2 u_nᴴ t_n+1 − μ_1.

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

from moireio.errors import MoireioError
from moireio.runtime.memory import size_text, usable_memory
from moireio.runtime.progress import Progress
from moireio.solvers import mkl
from moireio.solvers.base import EigenProblem, NotPositiveError, not_positive, too_large
from moireio.solvers.cholesky import factorise

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RANGE_STEPS = 60
MARGIN = 0.01  # of the width of the spectrum, on either side
MAX_MOMENTS = 200_000
STEP = 1.5  # distance of filters, in parts of their resolution
BATCH, ROWS = 32, 8192
FILTER_BYTES = 4e9  # filtered vectors take at most so much
VECTORS = 8  # arrays of all random vectors are in memory at once


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
    operator = _Operator(problem, threads, vectors, usable_memory(memory))
    rng = np.random.default_rng(seed)
    low, high = _range(operator, rng)
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    if count is None:
        count = int(np.ceil(np.pi * half / width))
        if count > MAX_MOMENTS:
            raise MoireioError(
                f"a width of {width:g} eV in a spectrum of {2 * half:.0f} eV takes {count} moments",
                remedy="choose a larger `width`",
            )
    count = max(4, count + count % 2)
    if noise is None:
        noise = _random_phases(rng, problem.n_orbitals, vectors, operator.complex)
    t = operator.whiten(noise.astype(operator.dtype))
    u = operator.overlap(t)
    values = np.empty((vectors, count))
    filtered = None
    if indicator is not None:
        bounds = (low, high) if energy_window is None else energy_window(low, high)
        filtered = _Filter(t, centre, half, bounds, count // 2, operator.free)

    def traces(left, right):
        return (left.conj() * right).real.sum(axis=0)

    values[:, 0] = traces(u, t)
    before = None
    for n in range(count // 2):
        if filtered:
            filtered.add(t)
        image = (operator.hamiltonian(t) - centre * u) / half
        following = image if before is None else 2 * image - before
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
    if filtered is None:
        return Moments(centre, half, values)
    return Moments(centre, half, values, *filtered.shares(operator.overlap, indicator))


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
        self._sums = np.zeros((len(t) * self._vectors, len(angles)), dtype=t.dtype)
        self._waiting, self._n = [], 0

    def add(self, t):
        """Add the next Chebyshev vector."""
        self._waiting.append(t[:, : self._vectors].ravel())
        if len(self._waiting) == BATCH:
            self._flush()

    def _flush(self):
        if not self._waiting:
            return
        orders = self._n + np.arange(len(self._waiting))
        waves = self._factors[orders][:, None] * np.cos(orders[:, None] * self._angles)
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
                populations = (phi.conj() * overlap(phi)).real
                held[:, part] += indicator @ populations
                norm[part] += populations.sum(axis=0)
        return self._places, held / np.maximum(norm, 1e-300)


class _Operator:
    """Products with H and S, and S⁻¹, at one k point, within some bytes of memory."""

    def __init__(self, problem, threads, vectors, limit):
        h = problem.hamiltonian.csr(problem.k)
        s = None if problem.overlap is None else problem.overlap.csr(problem.k)
        h, s = (None if m is None else _double(m) for m in (h, s))
        self.size = problem.n_orbitals
        self.complex = "c" in (h.dtype.kind, "f" if s is None else s.dtype.kind)
        self.dtype = np.dtype(np.complex128 if self.complex else np.float64)
        need = sum(m.data.nbytes + m.indices.nbytes for m in (h, s) if m is not None)
        need += VECTORS * vectors * self.size * self.dtype.itemsize
        self.free = limit - need
        if self.free < 0:
            remedy = "choose fewer `vectors`, or raise `memory`"
            raise too_large("kernel polynomial", self.size, need, limit, remedy)
        self.hamiltonian = _product(h, threads)
        if s is None:
            self.overlap = self.solve = self.whiten = np.copy
            return
        self.overlap = _product(s, threads)
        try:
            factor = factorise(s, threads, self.free)
        except NotPositiveError as error:
            raise not_positive(problem.k) from error
        self.free -= factor.nbytes
        self.solve, self.whiten = factor.solve, factor.whiten


def _double(matrix):
    kind = np.complex128 if matrix.dtype.kind == "c" else np.float64
    return matrix.astype(kind)


def _product(matrix, threads):
    return matrix.__matmul__ if mkl.library() is None else mkl.Product(matrix, threads)


def _random_phases(rng, n, vectors, is_complex):
    """Return random phases, whose traces have the smallest variance; signs for real matrices."""
    if is_complex:
        return np.exp(2j * np.pi * rng.random((n, vectors)))
    return rng.choice([-1.0, 1.0], size=(n, vectors))


def _range(operator, rng):
    """Return energies that enclose all levels: Lanczos in the inner product of S, with a margin."""
    # not signs: in a small model they can be a state
    v = operator.whiten(rng.normal(size=(operator.size, 1)).astype(operator.dtype))
    u = operator.overlap(v)
    norm = np.sqrt((u.conj() * v).sum().real)
    v, u = v / norm, u / norm
    diagonal, off = [], []
    old_u = np.zeros_like(v)
    beta = 0.0
    for _ in range(min(RANGE_STEPS, operator.size)):
        image = operator.hamiltonian(v) - beta * old_u
        diagonal.append(float((v.conj() * image).sum().real))
        image = image - diagonal[-1] * u
        old_u = u
        v = operator.solve(image)
        beta = float(np.sqrt(max((image.conj() * v).sum().real, 0.0)))
        off.append(beta)
        if beta < 1e-9 * max(1.0, np.abs(diagonal).max()):
            break
        v, u = v / beta, image / beta
    from scipy.linalg import eigh_tridiagonal

    theta, y = eigh_tridiagonal(np.array(diagonal), np.array(off[:-1]))
    residual = off[-1] * np.abs(y[-1])
    low, high = theta[0] - residual[0], theta[-1] + residual[-1]
    margin = MARGIN * (high - low) + 1e-3
    return low - margin, high + margin


def chemical_potential(
    parts: list[tuple[float, Moments]], electrons: float, degeneracy: float
) -> tuple[float, float]:
    """Return the level to which electrons fill the states, and its error.

    Parameters
    ----------
    parts : list of (float, Moments)
        Weight of every k point (and spin), and its moments.
    electrons : float
        Electrons in the cell.
    degeneracy : float
        Electrons that a state holds.

    Returns
    -------
    level, error : float
        eV. The middle, and half the width, of the energies at which the number of states agrees
        with that of the electrons within its standard error.

    Raises
    ------
    MoireioError
        If the states cannot hold as many electrons.
    """
    from scipy.optimize import brentq

    low = min(m.centre - m.half for _, m in parts)
    high = max(m.centre + m.half for _, m in parts)

    def filled(energy):
        return degeneracy * sum(w * m.below(np.array([energy]))[:, 0] for w, m in parts)

    most = filled(high).mean()
    if not 0 < electrons < most:
        raise MoireioError(f"{electrons:g} electrons do not fit into {most:g} states")

    def at(number):
        number = min(max(number, 1e-6), most - 1e-6)
        return brentq(lambda e: filled(e).mean() - number, low, high, xtol=1e-5)

    spread = filled(at(electrons))
    error = spread.std(ddof=1) / np.sqrt(len(spread)) if len(spread) > 1 else 0.0
    below, above = at(electrons - max(error, 1e-3)), at(electrons + max(error, 1e-3))
    return 0.5 * (below + above), 0.5 * (above - below)
