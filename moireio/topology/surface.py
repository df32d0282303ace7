"""Edges of half-infinite layers, by decimation of Green's functions.

M. P. López Sancho, J. M. López Sancho, J. Rubio, J. Phys. F 15, 851 (1985), with overlap: a layer
is cut into principal layers as wide as H and S reach, of which only neighbours are coupled by
z S₀₁ − H₀₁, z = E + iη. Every step doubles the layers that are eliminated. The weight at the edge
is −Im Tr(G S₀₀)/π, in states per eV.

An edge state E₀(k) is a pole of G, an eigenvalue of G that goes as 1/(E − E₀): where it changes
its sign through infinity as k grows, the state passes E. Poles are looked for where the weight has
a maximum over k, and between all k where the sign of the largest eigenvalue changes.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.results.edges import EdgeGap, EdgeMap, EdgeStates
from moireio.runtime.memory import size_text, usable_memory
from moireio.runtime.progress import Progress
from moireio.runtime.threads import blas_threads
from moireio.spectrum.sums import bloch_sums
from moireio.topology.correspondence import narrowest
from moireio.topology.edges import OFFSET, Crossing, count_by_edge

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.operators.bloch import BlochSum

STEPS = 60  # of decimation: 2^60 principal layers
CONVERGED = 1e-13  # of the couplings that are left
SHARP = 1e-9  # eV, η of counts: it only keeps matrices regular in a gap
CLOSE = 2.0 ** -np.arange(4, 10.5, 0.5)  # of a reciprocal vector: more k where the gap is small
BROAD = 0.25  # of the distance to the next band: η of the weights whose maxima are looked at
FLAT, ROUNDS = 0.7, 20  # of a maximum, at the ends of its interval; halvings of that
WINDOW = 9  # k in an interval, at which the sign of 1/λ is looked at
SHRUNK = 0.02  # of 1/λ at the ends of an interval that has a pole, once it is found
EVALUATIONS = 30  # in an interval
TWICE = 1e-4  # of a reciprocal vector


@dataclass(frozen=True, eq=False)
class _Layer:
    """H and S of one spin channel of a layer that ends along one vector."""

    hamiltonian: "BlochSum"
    overlap: "BlochSum | None"
    periodic: int
    open: int
    reach: int  # cells along the open vector

    def principal(self, fraction: float) -> tuple[Any, ...]:
        """Return H₀₀, H₀₁, S₀₀, S₀₁ at one k along the edge."""
        out: list[Any] = []
        for operator in (self.hamiltonian, self.overlap):
            cells = self._by_cell(operator, fraction)
            count, p = len(cells[0]), self.reach
            inside = np.zeros((p * count, p * count), dtype=complex)
            across = np.zeros_like(inside)
            for a in range(p):
                for b in range(p):
                    place = slice(a * count, (a + 1) * count), slice(b * count, (b + 1) * count)
                    inside[place] = cells[b - a]
                    if b <= a:
                        across[place] = cells[p + b - a]
            out += [inside, across]
        return tuple(out)

    def _by_cell(self, operator: "BlochSum | None", fraction: float) -> dict[int, Any]:
        """Return Σ over R with one component along the open vector, for each, at one k."""
        if operator is None:
            one = np.eye(self.hamiltonian.n_orbitals)
            return {m: one * (m == 0) for m in range(-self.reach, self.reach + 1)}
        count = 2 * self.reach + 1
        k = np.zeros((count, 3))
        k[:, self.periodic] = fraction
        k[:, self.open] = np.arange(count) / count
        whole = np.array([operator.dense(one) for one in k], dtype=complex)
        turns = np.arange(count) / count
        return {
            m: np.tensordot(np.exp(-2j * np.pi * m * turns) / count, whole, 1)
            for m in range(-self.reach, self.reach + 1)
        }


def edge_green(
    z: complex, matrices: Sequence[npt.NDArray[Any]]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return G at the edges of two half-infinite layers, by decimation.

    Parameters
    ----------
    z : complex
        Energy, eV, with an imaginary part above zero.
    matrices : sequence of four (m, m) arrays
        H₀₀, H₀₁, S₀₀, S₀₁ of principal layers.

    Returns
    -------
    low, high : (m, m) arrays
        1/eV; of the layer 0, 1, 2, … in layer 0, and of …, −1, 0 in layer 0.
    """
    h00, h01, s00, s01 = matrices
    inner = z * s00 - h00
    forth = z * s01 - h01
    back = z * s01.conj().T - h01.conj().T
    low, high = inner.copy(), inner.copy()
    scale = max(np.abs(inner).max(), 1e-300)
    for _ in range(STEPS):
        if max(np.abs(forth).max(), np.abs(back).max()) < CONVERGED * scale:
            break
        solved = np.linalg.solve(inner, np.concatenate([forth, back], axis=1))
        to_forth, to_back = np.hsplit(solved, 2)
        low -= forth @ to_back
        high -= back @ to_forth
        inner = inner - forth @ to_back - back @ to_forth
        forth, back = -forth @ to_forth, -back @ to_back
    return np.linalg.inv(low), np.linalg.inv(high)


def edge_weights(
    file: "BlockFile",
    axis: int,
    k: npt.ArrayLike,
    energies: npt.ArrayLike,
    broadening: float,
    progress: Progress | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the weight of states at the edges of half-infinite layers.

    Parameters
    ----------
    file : BlockFile
        Periodic along two vectors.
    axis : {0, 1, 2}
        Lattice vector along which the layer ends.
    k : (nk,) array
        In the reciprocal vector of the other.
    energies : (ne,) array
        eV.
    broadening : float
        η, eV.
    progress : Progress, optional
        Steps are k points.

    Returns
    -------
    low, high : (nk, ne) arrays
        −Im Tr(G S₀₀)/π of one principal layer, states per eV, both spins.
    """
    layers = _layers(file, axis)
    k, energies = np.atleast_1d(k), np.atleast_1d(energies)
    out = np.zeros((2, len(k), len(energies)))
    with naming(file.label), blas_threads(1):
        for n, fraction in enumerate(k):
            for layer in layers:
                matrices = layer.principal(float(fraction))
                for m, energy in enumerate(energies):
                    for edge, green in enumerate(edge_green(energy + 1j * broadening, matrices)):
                        out[edge, n, m] -= (green.T * matrices[2]).sum().imag / np.pi
            if progress:
                progress(1, len(k))
    return out[0], out[1]


def semi_infinite_edges(
    file: "BlockFile",
    axis: int,
    energies: Sequence[float],
    *,
    points: int = 101,
    energy_window: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> EdgeStates:
    """Count the edge states of half-infinite layers that pass some energies.

    Parameters
    ----------
    file : BlockFile
        Periodic along two vectors.
    axis : {0, 1, 2}
        Lattice vector along which the layer ends: at cell 0 (the low edge), going on to
        positive cells, or coming from negative ones (the high edge).
    energies : sequence of float
        eV, each in a gap of the layer.
    points : int
        k points along the edge to begin with; more lie around 0 and 1/2.
    energy_window : tuple of two float, optional
        Lowest and highest energy, eV, of a map of the weights at the edges.
    progress : Progress, optional
        Steps are k points.

    Returns
    -------
    EdgeStates
        Without bands; Chern numbers are left open.

    Raises
    ------
    MoireioError
        If the layer is not periodic along two vectors, that one among them, or memory does not
        suffice.
    """
    layers = _layers(file, axis)
    periodic = layers[0].periodic
    k = (np.arange(points) + OFFSET) / points
    found: list[list[Crossing]] = [[] for _ in energies]
    with naming(file.label), blas_threads(1):
        for energy, own in zip(energies, found, strict=True):
            distance, places = narrowest(file, energy)
            centres = np.unique(np.concatenate([[0, 0.5], places[:, periodic] % 1.0]))
            close = [centre + sign * CLOSE for centre in centres for sign in (1, -1)]
            scanned = np.unique(np.concatenate([k, np.concatenate(close) % 1.0]))

            def step(total: int = len(scanned) * len(layers) * len(energies)) -> None:
                if progress:
                    progress(1, total)

            for channel, layer in enumerate(layers):
                poles = _Poles(layer, file, energy, (1 - 2 * channel) * (len(layers) - 1))
                own.extend(poles.crossings(scanned, BROAD * distance, step))
    gaps = tuple(
        EdgeGap(float(energy), *count_by_edge(own, file.hamiltonian.meta.spin != "none"))
        for energy, own in zip(energies, found, strict=True)
    )
    drawn = None
    if energy_window is not None:
        grid = np.linspace(*energy_window, points)
        low, high = edge_weights(file, axis, k, grid, 1.5 * float(grid[1] - grid[0]))
        drawn = EdgeMap(grid, low, high)
    empty = np.zeros((len(k), 0))
    return EdgeStates(
        k,
        empty,
        empty,
        empty,
        gaps,
        periodic,
        axis,
        None,
        period=float(np.linalg.norm(file.structure.cell[periodic])),
        semi_infinite=True,
        map=drawn,
    )


def _layers(file: "BlockFile", axis: int) -> list[_Layer]:
    """Return the layer of every spin channel."""
    structure = file.structure
    periodic = [n for n in range(3) if structure.pbc[n] and n != axis]
    if not structure.pbc[axis] or len(periodic) != 1:
        raise MoireioError(
            f"half-infinite layers end along vector {axis + 1} of a structure that is periodic "
            "along two vectors, that one among them",
            path=file.label,
            remedy="give another `open`",
        )
    sums, overlap, _ = bloch_sums(file)
    operators = [file.hamiltonian] + ([] if file.overlap is None else [file.overlap])
    reach = max(1, *(int(np.abs(one.pairs.R[:, axis]).max(initial=0)) for one in operators))
    need = 16.0 * 16 * (reach * sums[0].n_orbitals) ** 2
    if need > usable_memory():
        raise MoireioError(
            f"Green's functions of {reach * sums[0].n_orbitals} orbitals need {size_text(need)}",
            path=file.label,
            remedy="cut a ribbon with `cut`, which is sparse",
        )
    return [_Layer(one, overlap, periodic[0], axis, reach) for one in sums]


@dataclass(frozen=True)
class _Pole:
    """The largest eigenvalue of G at one k, and its state."""

    k: float
    value: float  # 1/λ, eV: about E − E₀
    spin: float


class _Poles:
    """Poles of the Green's functions of one spin channel at one energy."""

    def __init__(self, layer: _Layer, file: "BlockFile", energy: float, channel_spin: int) -> None:
        self.layer, self.energy, self.channel_spin = layer, energy, channel_spin
        self.spin: npt.NDArray[np.float64] | None = None
        if file.hamiltonian.meta.spin == "spinor":
            sizes = file.hamiltonian.sizes
            signs = [np.repeat([1.0, -1.0], size // 2) for size in sizes]
            self.spin = np.tile(np.concatenate(signs), layer.reach)

    def crossings(
        self, scanned: npt.NDArray[np.float64], broadening: float, progress: Callable[[], object]
    ) -> list[Crossing]:
        """Return the states that pass the energy at either edge.

        Parameters
        ----------
        scanned : (nk,) array
            k to begin with, ascending in 0 … 1.
        broadening : float
            η of the weights whose maxima over k are looked at, eV.
        progress : callable
            Called after each of these k.
        """
        weights, ends = {}, []
        for k in scanned.tolist():
            weights[k] = self._weights(k, broadening)
            ends.append(self._poles(k))
            progress()
        ends.append([replace(pole, k=pole.k + 1) for pole in ends[0]])
        found: list[Crossing] = []
        for edge in (0, 1):
            self._add(found, [pair[edge] for pair in ends], edge)
            own = np.array([weights[k][edge] for k in scanned.tolist()])
            for n in np.flatnonzero((own > np.roll(own, 1)) & (own >= np.roll(own, -1))):
                left = scanned[n - 1] - (n == 0)
                right = scanned[(n + 1) % len(scanned)] + (n == len(scanned) - 1)
                begin, end = self._around(left, scanned[n], right, weights, broadening, edge)
                own_ends = [self._poles(k)[edge] for k in np.linspace(begin, end, WINDOW).tolist()]
                self._add(found, own_ends, edge)
        return found

    def _add(self, found: list[Crossing], poles: list[_Pole], edge: int) -> None:
        """Add the states that pass between neighbouring k, where they are new."""
        for a, b in itertools.pairwise(poles):
            crossing = self._passing(a, b, edge)
            if crossing is not None and not any(_same(crossing, c) for c in found):
                found.append(crossing)

    def _around(
        self,
        left: float,
        middle: float,
        right: float,
        weights: dict[float, Any],
        broadening: float,
        edge: int,
    ) -> tuple[float, float]:
        """Return an interval of k that is a few times as wide as a maximum of the weight."""

        def weight(k: float) -> float:
            if k not in weights:
                weights[k] = self._weights(k, broadening)
            return weights[k][edge]

        for _ in range(ROUNDS):
            top = weight(middle)
            if min(weight(left % 1.0), weight(right % 1.0)) > FLAT * top:
                break
            inner = [left, (left + middle) / 2, middle, (middle + right) / 2, right]
            at = 1 + int(np.argmax([weight(k % 1.0) for k in inner[1:4]]))
            left, middle, right = inner[at - 1 : at + 2]
        reach = max(right - middle, middle - left)
        return middle - 2 * reach, middle + 2 * reach

    def _weights(self, fraction: float, broadening: float) -> list[float]:
        """Return −Im Tr(G S₀₀)/π at both edges."""
        matrices = self.layer.principal(fraction)
        greens = edge_green(self.energy + 1j * broadening, matrices)
        return [-(green.T * matrices[2]).sum().imag / np.pi for green in greens]

    def _poles(self, fraction: float) -> list[_Pole]:
        """Return the largest eigenvalue of G at both edges."""
        matrices = self.layer.principal(fraction)
        factor = np.linalg.cholesky(matrices[2])
        found = []
        for green in edge_green(self.energy + 1j * SHARP, matrices):
            inner = factor.conj().T @ green @ factor
            values, vectors = np.linalg.eigh((inner + inner.conj().T) / 2)
            at = int(np.abs(values).argmax())
            spin = float(self.channel_spin)
            if self.spin is not None:
                state = np.linalg.solve(factor.conj().T, vectors[:, at])
                spin = float((self.spin * (state.conj() * (matrices[2] @ state)).real).sum())
            found.append(_Pole(fraction, 1 / float(values[at]), spin))
        return found

    def _passing(self, a: _Pole, b: _Pole, edge: int) -> Crossing | None:
        """Return the state that passes between two k; None if the sign changes without one."""
        if (a.value < 0) == (b.value < 0):
            return None
        direction, widest = (1 if a.value > 0 else -1), abs(a.value) + abs(b.value)
        for n in range(EVALUATIONS):
            if max(abs(a.value), abs(b.value)) < SHRUNK * widest:
                k = a.k + (b.k - a.k) * abs(a.value) / (abs(a.value) + abs(b.value))
                return Crossing(k % 1.0, direction, 1.0 - edge, float(edge), (a.spin + b.spin) / 2)
            share = 0.5 if n % 3 == 2 else abs(a.value) / (abs(a.value) + abs(b.value))
            share = min(max(share, 0.02), 0.98)
            middle = self._poles(a.k + share * (b.k - a.k))[edge]
            if (middle.value < 0) == (a.value < 0):
                a = middle
            else:
                b = middle
        return None


def _same(one: Crossing, other: Crossing) -> bool:
    """Return whether two crossings are one, found twice."""
    apart = abs((one.k - other.k + 0.5) % 1.0 - 0.5)
    return apart < TWICE and (one.direction, one.low) == (other.direction, other.low)
