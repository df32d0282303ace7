"""Chern numbers modulo 3 from the eigenvalues of C3 at Γ, K and K′.

e^{2πiC/3} = Π (−1)^F ξ(Γ) ξ(K) ξ(K′) over the bands (Fang, Gilbert and Bernevig, PRB 86, 115112,
2012), with the signs of `docs/conventions.md`: (C3 ψ)(r) = ψ(C3⁻¹ r), counter-clockwise seen
from +z, and C counter-clockwise in the plane of k.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.kspace.corners import special_points
from moireio.operators.bloch import BlochSum
from moireio.results.symmetry import POINTS, RotationEigenvalues
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.sums import bloch_sums
from moireio.symmetry.action import BlochAction, spin_matrix
from moireio.symmetry.average import AveragedOperator, in_memory
from moireio.symmetry.operations import Operation, cyclic, time_reversal
from moireio.topology.bandgroups import BandGroup
from moireio.topology.threefold import (
    TOLERANCE,
    ThreefoldAxes,
    nearest_root,
    threefold_axes,
)

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

MARGIN = 10  # bands beyond both ends that are looked at first: multiplets next to flat bands
NEAR = 2  # those of them that decide which levels are one group
MOST_MORE = 32  # bands by which a group may reach beyond those asked for
ROUNDING = 1e-6  # eV: levels closer than this are one group
REVERSIBLE = 1e-5  # eV: largest matrix element that breaks time reversal where it holds
WRONG_ANGLE, WRONG_SIZE = 0.2, 0.9
WARN_DEVIATION = 1e-3
MOST_BREAKING = 0.03  # eV: of C3 by H, where levels of the whole spectrum are one group
LEAST_SPIN = 0.1
PAIR = 1e-3  # eV


@dataclass(eq=False)
class _Point:
    """Neighbouring states at one k, and C3 between them."""

    low: int  # index (from 0) of the first state
    energies: npt.NDArray[np.float64]
    turn: npt.NDArray[Any]  # C†S D C
    spin: npt.NDArray[Any] | None  # C†(σ_z S)C
    threshold: float
    bottom: bool
    top: bool

    def start(self, band: int) -> int | None:
        """Return the first band of the group of a band; None if it may begin lower."""
        at = band - self.low
        while at > 0 and self.energies[at] - self.energies[at - 1] < self.threshold:
            at -= 1
        return None if at == 0 and not self.bottom else self.low + at

    def end(self, band: int) -> int | None:
        """Return the last band of the group of a band; None if it may end higher."""
        at, last = band - self.low, len(self.energies) - 1
        while at < last and self.energies[at + 1] - self.energies[at] < self.threshold:
            at += 1
        return None if at == last and not self.top else self.low + at

    def states(self, first: int, last: int, fermion: bool) -> list["_State"]:
        """Return eigenstates of C3, group by group."""
        out: list[_State] = []
        band = first
        while band <= last:
            stop = self.end(band)
            stop = last if stop is None else min(stop, last)
            part = slice(band - self.low, stop - self.low + 1)
            spin = None if self.spin is None else self.spin[part, part]
            out += _eigenstates(self.energies[part], self.turn[part, part], spin, fermion, band)
            band = stop + 1
        return out


@dataclass(frozen=True)
class _State:
    energy: float
    xi: complex
    n: int
    sz: float
    group: int


def _eigenstates(
    energies: npt.NDArray[np.float64],
    turn: npt.NDArray[Any],
    spin: npt.NDArray[Any] | None,
    fermion: bool,
    group: int,
) -> list[_State]:
    """Return the eigenstates of C3 in one group of levels: C3 first, then spin inside each root."""
    from scipy.linalg import polar, schur

    unitary, _ = polar(turn)
    triangle, vectors = schur(unitary, output="complex")
    found = nearest_root(np.diag(triangle), fermion)
    states = []
    for n in np.unique(found):
        chosen = vectors[:, found == n]
        if spin is not None and chosen.shape[1] > 1:
            inside = chosen.conj().T @ spin @ chosen
            chosen = chosen @ np.linalg.eigh((inside + inside.conj().T) / 2)[1]
        for state in chosen.T[::-1]:
            states.append(
                _State(
                    float(np.abs(state) ** 2 @ energies),
                    complex(state.conj() @ turn @ state),
                    int(n),
                    float("nan") if spin is None else float((state.conj() @ spin @ state).real),
                    group,
                )
            )
    # the levels as they are; states that C3 separates mix those of one group
    states.sort(key=lambda s: s.energy)
    return [replace(s, energy=float(e)) for s, e in zip(states, energies, strict=True)]


def threefold_eigenvalues(
    file: "BlockFile",
    bands: BandGroup,
    *,
    symmetrise: bool = False,
    position_tolerance: float = TOLERANCE,
    solver: SolverChoice | None = None,
    progress: Progress | None = None,
) -> RotationEigenvalues:
    """Return the eigenvalues of C3 on some bands at Γ, K and K′.

    Parameters
    ----------
    file : BlockFile
        A hexagonal layer with H, and S unless its basis is orthogonal.
    bands : BandGroup
        Completed to whole groups of levels.
    symmetrise : bool
        Average H and S over C3 first.
    position_tolerance : float
        How far a turned atom may lie from the one that it replaces, Å.
    solver : SolverChoice, optional
        How to solve.
    progress : Progress, optional
        Steps are k points.

    Returns
    -------
    RotationEigenvalues
        About all three axes. Where time reversal holds, K′ follows from K.

    Raises
    ------
    MoireioError
        If there is no threefold axis, a group cannot be completed, or an eigenvalue is no root.
    """
    with naming(file.label):
        axes = threefold_axes(file.structure, position_tolerance)
        sums, overlap, spin = bloch_sums(file)
        removed = None
        if symmetrise:
            sums, overlap, removed = _averaged(file, axes.operation, spin)
        choice = solver or SolverChoice()
        work = _Work(file, axes, sums, overlap, spin == "spinor", choice, progress)
        found = [work.channel(channel, bands) for channel in range(len(sums))]
        first = min(f[0] for f in found)
        last = max(f[1] for f in found)
        while any((f[0], f[1]) != (first, last) for f in found):
            whole = BandGroup(first + 1, last + 1)
            found = [work.channel(channel, whole) for channel in range(len(sums))]
            first, last = min(f[0] for f in found), max(f[1] for f in found)
        notes = list(work.notes)
        if (first, last) != bands.band_range:
            notes.append(
                f"bands {bands} were completed to whole groups of levels, {first + 1}:{last + 1}"
            )
        rows = [_rows(states, first, last) for _, _, states in found]
        k = work.points
        centres = axes.centres
        phases = np.exp(-2j * np.pi * (axes.cells @ (axes.operation.of_k(k)).T))  # axis, point
        xi0 = np.array([r[1] for r in rows])
        xi = xi0[:, None] * phases[None, :, :, None]
        shift = np.rint(np.angle(phases) * 3 / np.pi).astype(np.int64)
        n = np.array([r[2] for r in rows])[:, None] + shift[None, :, :, None]
        moire = file.moire
        angle = None
        if moire is not None and len(moire.layers) > 1:
            angle = moire.layers[1].angle - moire.layers[0].angle
        result = RotationEigenvalues(
            first_band=first + 1,
            k=k,
            centres=centres,
            energies=np.array([r[0] for r in rows]),
            xi=xi,
            n=(n + 2) % 6 - 2,
            sz=np.array([r[3] for r in rows]),
            group=np.array([r[4] for r in rows]),
            spinor=work.spinor,
            angle=angle,
            symmetrised=symmetrise,
            removed=removed,
            notes=tuple(notes),
        )
        _check(result)
    return result


def _averaged(
    file: "BlockFile", operation: Operation, spin: str
) -> tuple[list[BlochSum], BlochSum | None, float]:
    """Return H(k) and S(k) averaged over C3, and the largest element removed from H, eV."""
    group = cyclic(operation)
    mean = AveragedOperator(file.hamiltonian, group, file.structure, file.basis)
    kept = in_memory(mean)
    channels = (0, 1) if spin == "collinear" else (0,)
    sums = [BlochSum.from_source(kept, component=c) for c in channels]
    overlap = None
    if file.overlap is not None:
        s = AveragedOperator(file.overlap, group, file.structure, file.basis)
        overlap = BlochSum.from_source(in_memory(s), spinor=spin == "spinor")
    return sums, overlap, mean.removed.largest


class _Work:
    """States at Γ, K and K′ of one file, and C3 between them."""

    def __init__(
        self,
        file: "BlockFile",
        axes: ThreefoldAxes,
        sums: list[BlochSum],
        overlap: BlochSum | None,
        spinor: bool,
        choice: SolverChoice,
        progress: Progress | None,
    ) -> None:
        structure, basis = file.structure, file.basis
        corners, _ = special_points(structure)
        self.points = np.array([corners[label] for label in POINTS])
        self.spinor, self._sums, self._overlap = spinor, sums, overlap
        self._choice, self._progress = choice, progress
        self._sizes, self._sigma = basis.sizes(structure), file.electrons.fermi
        self._action = BlochAction(axes.operation, structure, basis, spinor)
        self._reverse = BlochAction(time_reversal(structure), structure, basis, spinor)
        self.notes: dict[str, None] = {}
        self._done = 0

    def channel(self, channel: int, bands: BandGroup) -> tuple[int, int, list[list[_State]]]:
        """Return first and last band (from 0) of whole groups, and their states at each point."""
        first, last = bands.band_range
        n_orbitals = self._sums[channel].n_orbitals
        if not 0 <= first <= last < n_orbitals:
            raise MoireioError(f"bands {bands} were asked for, there are {n_orbitals}")
        margin = MARGIN
        while True:
            points = self._solve(
                channel,
                (max(first - margin, 0), min(last + margin, n_orbitals - 1)),
                (first, last),
            )
            ends = _ends(points, first, last)
            if ends is not None:
                break
            margin *= 2
            if margin > MOST_MORE:
                raise MoireioError(
                    f"bands {bands}: the group of levels at the end is incomplete, even with "
                    f"{MOST_MORE} bands more",
                    remedy="choose bands between gaps, or average H over C3 with `symmetrise`",
                )
        breaking = max(p.threshold for p in points) / 3
        if ends == (0, n_orbitals - 1) != (first, last) and breaking > MOST_BREAKING:
            raise MoireioError(
                f"bands {bands}: H breaks C3 by {breaking:.2g} eV, which leaves no groups of "
                "levels apart",
                remedy="average H over C3 with `symmetrise`",
            )
        first, last = ends
        return first, last, [p.states(first, last, self.spinor) for p in points]

    def _solve(self, channel: int, wanted: tuple[int, int], asked: tuple[int, int]) -> list[_Point]:
        """Return states at Γ, K and K′; where time reversal holds those at K′ are those at K."""
        count = wanted[1] - wanted[0] + 1
        points: list[_Point] = []
        with EigenproblemSet(
            [self._sums[channel]],
            self._overlap,
            self.points,
            self._choice,
            count,
            self._sigma,
            states=True,
        ) as problems:
            for (_, at), energies, states in problems.levels([(0, 0), (0, 1)], wanted):
                points.append(
                    self._point(channel, wanted[0], self.points[at], energies, states, count, asked)
                )
                self._step()
            k = self.points[1]
            turned = self._reverse.turn(k, states)
            broken = turned.conj().T @ (self._sums[channel].csr(-k) @ turned) - np.diag(energies)
            if np.abs(broken).max() >= REVERSIBLE:
                ((_, energies, turned),) = problems.levels([(0, 2)], wanted)
            points.append(self._point(channel, wanted[0], -k, energies, turned, count, asked))
            self._step()
            for line in problems.notes():
                self.notes.setdefault(line)
        return points

    def _step(self) -> None:
        """Count a k point; more than three where bands are looked at again."""
        if self._progress:
            self._progress(1, 3 * (self._done // 3 + 1))
        self._done += 1

    def _point(
        self,
        channel: int,
        low: int,
        k: npt.NDArray[np.float64],
        energies: npt.NDArray[np.float64],
        states: npt.NDArray[Any],
        count: int,
        asked: tuple[int, int],
    ) -> _Point:
        """Return C3 and spin between states, and how far levels that C3 joins may be apart."""
        from scipy.sparse import eye_array

        total, (first, last) = self._sums[channel], asked
        h = total.csr(k)
        s = eye_array(total.n_orbitals).tocsr() if self._overlap is None else self._overlap.csr(k)
        turned = self._action.turn(k, states)
        weighted = (s @ states).conj().T
        near = slice(max(first - NEAR - low, 0), last + NEAR - low + 1)
        felt = turned[:, near].conj().T @ (h @ turned[:, near]) - np.diag(energies[near])
        spin = None
        if self.spinor:
            spin = states.conj().T @ (spin_matrix(s, self._sizes) @ states)
        threshold = max(3 * float(np.abs(felt).max()), ROUNDING)
        # solvers that leave combinations of orbitals out end below the last band
        top = low + len(energies) >= total.n_orbitals or len(energies) < count
        return _Point(low, energies, weighted @ turned, spin, threshold, low == 0, top)


def _ends(points: list[_Point], first: int, last: int) -> tuple[int, int] | None:
    """Return the ends of bands that are whole groups at all points; None if more are needed."""
    while True:
        starts, stops = [p.start(first) for p in points], [p.end(last) for p in points]
        if None in starts or None in stops:
            return None
        wider = min(s for s in starts if s is not None), max(s for s in stops if s is not None)
        if wider == (first, last):
            return wider
        first, last = wider


def _up_first(states: list[_State]) -> list[_State]:
    """Return states, of which those of a pair of one group are in the order up, down."""
    out, at = list(states), 0
    while at + 1 < len(out):
        one, two = out[at : at + 2]
        if one.group != two.group or two.energy - one.energy > PAIR or one.sz * two.sz >= 0:
            at += 1
            continue
        if one.sz < -LEAST_SPIN:  # each place keeps its energy
            out[at] = replace(two, energy=one.energy)
            out[at + 1] = replace(one, energy=two.energy)
        at += 2
    return out


def _rows(
    states: list[list[_State]], first: int, last: int
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]:
    """Return energies, ξ, n, ⟨σ_z⟩, (3, nb) each, and the groups, (nb,).

    Bands that touch at one point at least are one group. Rows ascend in energy at every point;
    in pairs that are split by less than `PAIR`, spin up comes first.
    """
    count = last - first + 1
    joined = np.zeros(count, dtype=bool)  # with the band before
    for at_point in states:
        groups = np.array([s.group for s in sorted(at_point, key=lambda s: s.group)])
        joined[1:] |= np.diff(groups) == 0
    starts = np.flatnonzero(~joined)
    group = first + 1 + starts[np.cumsum(~joined) - 1]
    ordered = [
        _up_first(sorted(at_point, key=lambda s: (s.group, s.energy))) for at_point in states
    ]
    energies, xi, n, sz = (
        np.array([[getattr(s, name) for s in at_point] for at_point in ordered])
        for name in ("energy", "xi", "n", "sz")
    )
    return energies, xi, n, sz, group


def _check(result: RotationEigenvalues) -> None:
    """Refuse eigenvalues that are no roots."""
    xi = result.xi[:, 0]
    off = np.abs(np.angle(xi * np.exp(-1j * np.pi * result.n[:, 0] / 3)))
    wrong = (off > WRONG_ANGLE) | (np.abs(xi) < WRONG_SIZE)
    if not wrong.any():
        return
    channel, point, row = np.argwhere(wrong)[0]
    value = xi[channel, point, row]
    name = POINTS[point].replace("G", "Γ")
    kind = "−1" if result.spinor else "1"
    raise MoireioError(
        f"band {result.first_band + row} at {name}: C3 has the eigenvalue {abs(value):.3f}·"
        f"e^({np.angle(value):.3f}i), which is no cube root of {kind}",
        remedy="H breaks the symmetry that the atoms have: `symmetrise` averages it"
        if not result.symmetrised
        else "the atoms are too far from the symmetry",
    )
