"""Chern numbers by the method of Fukui, Hatsugai and Suzuki, with conditions on every plaquette.

T. Fukui, Y. Hatsugai, H. Suzuki, J. Phys. Soc. Jpn. 74, 1674 (2005); for several bands the links
are determinants of overlaps. The sum over the zone is an integer on every mesh, right or wrong. So
a plaquette counts only when the smallest singular value of each of its links is above 0.7 and its
flux below π/2; otherwise it is divided in four, and the links that it shares are divided for its
neighbours too, so that the sum remains an integer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.topology.bandgroups import BandGroup
from moireio.topology.links import Links, Plane, unitary_part
from moireio.topology.mesh_states import Gap, MeshStates

LEAST_LINK = 0.7  # smallest singular value of a link that counts
MOST_FLUX = np.pi / 2
DEPTH = 10  # how often a plaquette may be divided
MOST_DIVISIONS = 4000  # of plaquettes: enough for bands that nearly meet along a line
CLOSED = 1e-6  # eV
FINER = 1.5
# k points where bands often touch, along the two reciprocal vectors: Γ, M, K of either cell
SPECIAL = np.array([[0, 0], [3, 0], [0, 3], [3, 3], [2, 2], [4, 4], [2, 4], [4, 2]]) / 6

Edge = tuple[int, int, int, int]  # x, y, direction (0, 1), length
Square = tuple[int, int, int]  # x, y, length


class Subspace(Protocol):
    """States at every k point that span what is asked about."""

    def prepare(self, k: npt.NDArray[np.float64]) -> None:
        """Find the states at some k points, shape (n, 3)."""

    def at(self, k: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return S-orthonormal states at a k point that was prepared, (n_orbitals, nb)."""

    def link(
        self, links: Links, k: npt.NDArray[np.float64], k2: npt.NDArray[np.float64]
    ) -> npt.NDArray[Any]:
        """Return ⟨u_m(k)|u_n(k')⟩ between two k points that were prepared, (nb, nb)."""

    def smallest_gap(self) -> Gap:
        """Return the smallest gap that separates them, over all k points so far."""


@dataclass(frozen=True, eq=False)
class BandSpace:
    """The states of a group of bands.

    Parameters
    ----------
    states : MeshStates
        Finds them.
    group : BandGroup
        The bands.
    channel : int
        Spin channel.
    """

    states: MeshStates
    group: BandGroup
    channel: int = 0

    def prepare(self, k: npt.NDArray[np.float64]) -> None:
        """Find the states at some k points."""
        self.states.prepare(k)

    def at(self, k: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the states at a k point."""
        return self.states.group(k, self.group, self.channel)

    def link(
        self, links: Links, k: npt.NDArray[np.float64], k2: npt.NDArray[np.float64]
    ) -> npt.NDArray[Any]:
        """Return the overlaps of the states at two k points."""
        return self.states.overlaps(k, k2, self.group, links, self.channel)

    def smallest_gap(self) -> Gap:
        """Return the smallest direct gap to the neighbouring bands."""
        return self.states.smallest_gap(self.group, self.channel)


class UnresolvedError(MoireioError):
    """A Chern number that does not stand."""


class _Plaquettes:
    """Plaquettes of a mesh over the zone, and of all meshes that come from dividing it."""

    def __init__(self, shape: tuple[int, int], space: Subspace, links: Links, name: str) -> None:
        self.shape, self._space, self._links, self._name = shape, space, links, name
        self._plane: Plane = links.plane
        self._orientation = links.plane.orientation
        self._unit = 2**DEPTH
        self._period = shape[0] * self._unit, shape[1] * self._unit
        self._edges: dict[Edge, tuple[complex, float]] = {}
        self._split: set[Edge] = set()

    def _k(self, x: int, y: int) -> npt.NDArray[np.float64]:
        return self._plane.k(x / self._period[0], y / self._period[1])[0]

    def _wrapped(self, edge: Edge) -> Edge:
        x, y, direction, length = edge
        return x % self._period[0], y % self._period[1], direction, length

    def halves(self, edge: Edge) -> tuple[Edge, Edge] | None:
        """Return the two halves of an edge that was divided, else None."""
        x, y, direction, length = edge
        if self._wrapped(edge) not in self._split:
            return None
        h = length // 2
        second = (x + h, y) if direction == 0 else (x, y + h)
        return (x, y, direction, h), (*second, direction, h)

    def link(self, edge: Edge) -> npt.NDArray[Any]:
        """Return the overlaps of the states at both ends of an edge."""
        x, y, direction, length = self._wrapped(edge)
        k = self._k(x, y)
        k2 = self._k(x + length, y) if direction == 0 else self._k(x, y + length)
        return self._space.link(self._links, k, k2)

    def _phase(self, edge: Edge) -> tuple[complex, float]:
        """Return det U/|det U| along an edge, and the smallest singular value of its parts."""
        halves = self.halves(edge)
        if halves is not None:
            (one, least), (two, least2) = map(self._phase, halves)
            return one * two, min(least, least2)
        key = self._wrapped(edge)
        if key not in self._edges:
            unitary, singular = unitary_part(self.link(key))
            self._edges[key] = complex(np.linalg.det(unitary)), float(singular[-1])
        return self._edges[key]

    def _flux_of(self, square: Square) -> tuple[float, float]:
        """Return ∫Ω over a square, counter-clockwise, and the smallest link around it."""
        x, y, s = square
        sides = [self._phase(e) for e in ((x, y, 0, s), (x + s, y, 1, s))]
        back = [self._phase(e) for e in ((x, y + s, 0, s), (x, y, 1, s))]
        turn = np.prod([p for p, _ in sides]) * np.conj(np.prod([p for p, _ in back]))
        least = min(link for _, link in sides + back)
        return -float(np.angle(turn)) * self._orientation, least

    def _unresolved(self) -> UnresolvedError:
        gap = self._space.smallest_gap()
        return unresolved(self._name, gap, "links between neighbouring k points stay poor")


class _Point(_Plaquettes):
    """The plaquettes around one k point, however small."""

    def require_resolved(self, k: npt.NDArray[np.float64]) -> None:
        """Raise if plaquettes at a k point do not meet the conditions at any size.

        A mesh divides them in the same steps, with these states and links, and fails in the end:
        nothing is solved here that it would not solve.
        """
        first, second = (
            k[axis] * period for axis, period in zip(self._plane.axes, self._period, strict=True)
        )
        for x in self._beside(first):
            for y in self._beside(second):
                if self._stays_poor(x, y):
                    raise self._unresolved()

    @staticmethod
    def _beside(place: float) -> list[int]:
        """Return the smallest parts of an axis that hold a place: two where they meet there."""
        near = round(place)
        return [near - 1, near] if abs(place - near) < 1e-6 else [int(np.floor(place))]

    def _stays_poor(self, x: int, y: int) -> bool:
        """Return whether the plaquettes of all sizes that hold the smallest one are poor."""
        s = self._unit
        while s:
            a, b = x // s * s, y // s * s
            corners = [(a, b), (a + s, b), (a, b + s), (a + s, b + s)]
            self._space.prepare(np.array([self._k(*corner) for corner in corners]))
            if _counts(*self._flux_of((a, b, s))):
                return False
            s //= 2
        return True


class FluxMesh(_Plaquettes):
    """Links and fluxes on a mesh over the zone, divided where it is too coarse.

    Parameters
    ----------
    shape : (int, int)
        Plaquettes along the two reciprocal vectors.
    space : Subspace
        The states.
    links : Links
        Their overlaps.
    name : str
        What they are, for messages.

    Attributes
    ----------
    chern : int
        Chern number, counter-clockwise in the right-handed reciprocal cell.
    flux : (N1, N2) array
        ∫Ω over every plaquette of the mesh.
    least_link : float
        Smallest singular value of a link.
    most_flux : float
        Largest |∫Ω| of a plaquette or a part that it was divided into.
    divided : int
        Number of divisions.

    Raises
    ------
    UnresolvedError
        If a plaquette does not meet the conditions however small.
    """

    def __init__(self, shape: tuple[int, int], space: Subspace, links: Links, name: str = "bands"):
        super().__init__(shape, space, links, name)
        self.divided = 0
        self._solve()

    def points(self) -> npt.NDArray[np.float64]:
        """Return the corners of the plaquettes, (N1·N2, 3) fractional."""
        return mesh_points(self._plane, self.shape)

    def _solve(self) -> None:
        unit = self._unit
        self._space.prepare(self.points())
        whole = [(a * unit, b * unit) for a in range(self.shape[0]) for b in range(self.shape[1])]
        squares: list[Square] = [(x, y, unit) for x, y in whole]
        most = len(squares) + MOST_DIVISIONS
        while True:
            found = {square: self._flux_of(square) for square in squares}
            poor = [s for s, (flux, link) in found.items() if not _counts(flux, link)]
            if not poor:
                break
            if any(s[2] == 1 for s in poor) or self.divided + len(poor) > most:
                raise self._unresolved()
            squares = [s for s in squares if s not in set(poor)] + self._divide(poor)
        self.flux = np.zeros(self.shape)
        for (x, y, _), (flux, _) in found.items():
            self.flux[x // unit, y // unit] += flux
        total = self.flux.sum() / (2 * np.pi)
        self.chern = round(total)
        self.most_flux = max(abs(flux) for flux, _ in found.values())
        self.least_link = min(link for _, link in found.values())

    def _divide(self, squares: list[Square]) -> list[Square]:
        """Divide squares in four, and their edges in two."""
        parts, points = [], []
        for x, y, s in squares:
            h = s // 2
            for edge in ((x, y, 0, s), (x, y + s, 0, s), (x, y, 1, s), (x + s, y, 1, s)):
                self._split.add(self._wrapped(edge))
            points += [(x + h, y), (x, y + h), (x + h, y + h), (x + s, y + h), (x + h, y + s)]
            parts += [(x, y, h), (x + h, y, h), (x, y + h, h), (x + h, y + h, h)]
        self._space.prepare(np.array([self._k(*point) for point in points]))
        self.divided += len(squares)
        return parts


def _counts(flux: float, link: float) -> bool:
    return abs(flux) < MOST_FLUX and link > LEAST_LINK


def unresolved(name: str, gap: Gap, why: str) -> UnresolvedError:
    """Return the error of a Chern number that does not stand.

    Parameters
    ----------
    name : str
        The bands.
    gap : Gap
        The smallest that was found.
    why : str
        What is wrong.

    Returns
    -------
    UnresolvedError
        With the k point of the smallest gap.
    """
    k = ", ".join(f"{v:.5f}" for v in gap.k)
    place = f"the smallest gap found is {1e3 * gap.value:.3g} meV at k = ({k})"
    if gap.value < CLOSED:
        what = f"{name}: the gap to the neighbouring bands closes at k = ({k})"
        return UnresolvedError(what, remedy="choose other `bands`")
    return UnresolvedError(
        f"{name}: {why}; {place}", remedy="take a finer `mesh`, or other `bands`"
    )


def mesh_points(plane: Plane, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the k points of a mesh with Γ, (N1·N2, 3) fractional, the second index fastest."""
    first, second = np.indices(shape).reshape(2, -1)
    return plane.k(first / shape[0], second / shape[1])


def finer(shape: tuple[int, int]) -> tuple[int, int]:
    """Return a mesh 1.5 times finer."""
    return int(np.ceil(FINER * shape[0])), int(np.ceil(FINER * shape[1]))


def require_separated(
    space: Subspace, links: Links, shape: tuple[int, int], name: str = "bands"
) -> None:
    """Look at points of high symmetry, where bands touch most often, before a mesh is solved.

    Parameters
    ----------
    space : Subspace
        The states.
    links : Links
        Their overlaps.
    shape : (int, int)
        Plaquettes along the two reciprocal vectors.
    name : str
        What they are, for messages.

    Raises
    ------
    UnresolvedError
        If a gap closes there, or is so small that no plaquette of the mesh resolves it.
    """
    space.prepare(links.plane.k(*SPECIAL.T))
    _require_gap(space, links, shape, name)


def _require_gap(space: Subspace, links: Links, shape: tuple[int, int], name: str) -> None:
    """Raise if the smallest gap so far is closed, or no plaquette resolves it."""
    gap = space.smallest_gap()
    if gap.value < CLOSED:
        raise unresolved(name, gap, "")
    if np.isfinite(gap.value):
        _Point(shape, space, links, name).require_resolved(np.array(gap.k))


def chern_number(
    space: Subspace, links: Links, shape: tuple[int, int], name: str = "bands"
) -> tuple[FluxMesh, FluxMesh]:
    """Return a Chern number that two meshes agree on.

    Parameters
    ----------
    space : Subspace
        The states.
    links : Links
        Their overlaps.
    shape : (int, int)
        The coarser mesh; the other is 1.5 times finer.
    name : str
        What they are, for messages.

    Returns
    -------
    coarse, fine : FluxMesh
        Both with the same Chern number.

    Raises
    ------
    UnresolvedError
        If they disagree, links stay poor, or a gap closes.
    """
    require_separated(space, links, shape, name)
    plane, refined = links.plane, finer(shape)
    space.prepare(np.concatenate([mesh_points(plane, shape), mesh_points(plane, refined)]))
    _require_gap(space, links, shape, name)
    coarse, fine = (FluxMesh(s, space, links, name) for s in (shape, refined))
    if coarse.chern != fine.chern:
        why = f"Chern numbers {coarse.chern} on {shape[0]} × {shape[1]} and {fine.chern} on "
        raise unresolved(name, space.smallest_gap(), why + f"{refined[0]} × {refined[1]} disagree")
    return coarse, fine
