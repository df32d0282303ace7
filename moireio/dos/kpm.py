"""The kernel polynomial method for H ψ = E S ψ of large, sparse matrices.

With A = S⁻¹H, scaled so that its levels lie in [−1, 1], the density of states is a series in
Chebyshev polynomials whose coefficients are the moments Tr T_n(A), damped with Jackson's kernel
(Weiße, Wellein, Alvermann, Fehske, Rev. Mod. Phys. 78, 275 (2006), equations 34 to 38 and 71).

The traces are means over random vectors v with E[v vᴴ] = S⁻¹. For t_n = T_n(A) v and u_n = S t_n
then E[t_m u_nᴴ] = T_m(A) T_n(A), so that two moments come from one step,

    μ_2n = 2 u_nᴴ t_n − μ_0        μ_2n+1 = 2 u_nᴴ t_n+1 − μ_1,

and the part of a sum that belongs to a group of orbitals is Tr[P T_m(A) T_n(A)]: the moment of the
density of Mulliken's gross populations in that group. All groups come from the same vectors.
"""

from dataclasses import dataclass

import numpy as np

from moireio.dos.cholesky import NotPositiveError, factorise
from moireio.errors import MoireioError
from moireio.solvers import mkl, not_positive

RANGE_STEPS = 60
MARGIN = 0.01  # of the width of the spectrum, on either side
MOST_MOMENTS = 200_000


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of the density of states at one k point.

    Parameters
    ----------
    centre, half : float
        Levels lie between centre ± half, eV.
    values : (vectors, 1 + ng, n) array
        Σ over states of T_n, of each random vector: of all states, then in every group.
    """

    centre: float
    half: float
    values: np.ndarray

    @property
    def width(self):
        """Standard deviation of a single level in the middle of the spectrum, eV."""
        return np.pi * self.half / self.values.shape[2]

    def below(self, energies):
        """Return how many states lie below some energies.

        Parameters
        ----------
        energies : (ne,) array
            eV.

        Returns
        -------
        (vectors, 1 + ng, ne) array
            Numbers of states.
        """
        count = self.values.shape[2]
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


def jackson(count):
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


def moments(problem, *, width, count=None, vectors=8, seed=0, indicator=None, threads=1, progress):
    """Find the moments at one k point.

    Parameters
    ----------
    problem : EigenProblem
        H and S at a k point.
    width : float
        Resolution wanted: standard deviation of a level, eV. It tells how many moments.
    count : int, optional
        Number of moments instead.
    vectors : int
        Random vectors; the error falls with the square root of their number.
    seed : int
        Of the random numbers.
    indicator : (ng, n) sparse array, optional
        A 1 where an orbital belongs to a group.
    threads : int
        Of MKL, if it is installed.
    progress : callable
        Called with the share of the work done since the last call, together 1.

    Returns
    -------
    Moments
        With a trace of exactly n states.

    Raises
    ------
    MoireioError
        If S is not positive definite, or more moments are needed than is sensible.
    """
    operator = _Operator(problem, threads)
    rng = np.random.default_rng(seed)
    low, high = _range(operator, rng)
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    if count is None:
        count = int(np.ceil(np.pi * half / width))
        if count > MOST_MOMENTS:
            raise MoireioError(
                f"a width of {width:g} eV in a spectrum of {2 * half:.0f} eV takes {count} moments",
                remedy="choose a larger --width",
            )
    count = max(2, count + count % 2)
    noise = _noise(rng, problem.size, vectors, operator.complex)
    t = operator.whiten(noise)
    u = operator.overlap(t)
    groups = 0 if indicator is None else indicator.shape[0]
    values = np.empty((vectors, 1 + groups, count))

    def traces(left, right):
        product = (left.conj() * right).real
        parts = [product.sum(axis=0)[:, None]]
        return np.hstack(parts if indicator is None else [*parts, (indicator @ product).T])

    # t_-1 = t_1, so that the first step is half of the others
    values[..., 0] = traces(u, t)
    before = None
    for n in range(count // 2):
        image = (operator.hamiltonian(t) - centre * u) / half
        following = image if before is None else 2 * image - before
        before, u_n = u, u
        t_next = operator.solve(following)
        if n == 0:
            values[..., 1] = traces(u_n, t_next)
        else:
            values[..., 2 * n] = 2 * traces(u_n, t) - values[..., 0]
            values[..., 2 * n + 1] = 2 * traces(u_n, t_next) - values[..., 1]
        u, t = following, t_next
        progress(2 / count)
    if not np.abs(values[:, 0]).max() < 1.5 * problem.size:
        raise MoireioError(
            "the kernel polynomial method diverges: levels lie outside the range found",
            remedy="use --solver dense",
        )
    return Moments(centre, half, values)


class _Operator:
    """Products with H and S, and S⁻¹, at one k point."""

    def __init__(self, problem, threads):
        h = problem.hamiltonian.csr(problem.k)
        s = None if problem.overlap is None else problem.overlap.csr(problem.k)
        h, s = (None if m is None else _double(m) for m in (h, s))
        self.size = problem.size
        self.complex = "c" in (h.dtype.kind, "f" if s is None else s.dtype.kind)
        self.hamiltonian = _product(h, threads)
        if s is None:
            self.overlap = self.solve = self.whiten = np.copy
            return
        self.overlap = _product(s, threads)
        try:
            factor = factorise(s, threads)
        except NotPositiveError as error:
            raise not_positive(problem.k) from error
        self.solve, self.whiten = factor.solve, factor.whiten


def _double(matrix):
    kind = np.complex128 if matrix.dtype.kind == "c" else np.float64
    return matrix.astype(kind)


def _product(matrix, threads):
    return matrix.__matmul__ if mkl.library() is None else mkl.Product(matrix, threads)


def _noise(rng, n, vectors, is_complex):
    """Return random phases, which have the smallest variance; signs for real matrices."""
    if is_complex:
        return np.exp(2j * np.pi * rng.random((n, vectors)))
    return rng.choice([-1.0, 1.0], size=(n, vectors))


def _range(operator, rng):
    """Return energies that enclose all levels: Lanczos in the inner product of S, with a margin."""
    v = operator.whiten(_noise(rng, operator.size, 1, operator.complex))
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


def chemical_potential(parts, electrons, degeneracy):
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
        own = sum(w * m.below(np.array([energy]))[:, 0, 0] for w, m in parts)
        return degeneracy * own

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
