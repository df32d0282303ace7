"""Irreducible representations of levels at the corners of the Brillouin zone, and parities.

Only the operations of the crystal that keep a k point enter its little group. Characters are those
of operations about a common origin, so that they are a representation of the point group where
the group is symmorphic. Z2 from parities: Fu and Kane, PRB 76, 045302 (2007).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.kspace.corners import special_points
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.sums import bloch_sums
from moireio.symmetry.action import BlochAction
from moireio.symmetry.finder import TOLERANCE, crystal_operations
from moireio.symmetry.operations import Operation
from moireio.symmetry.pointgroups import PointGroup, common_origin
from moireio.system.neighbours import reduced
from moireio.topology.bandgroups import BandGroup

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.operators.bloch import BlochSum

MARGIN = 4  # bands beyond both ends that are looked at
ROUNDING = 1e-6  # eV
MOST_BREAKING = 0.02  # eV: operations that H breaks by more are left out
MOST_DEVIATION = 0.2  # of a multiplicity from a whole number, where a level gets a label
LEAST_PARITY = 0.8


@dataclass(frozen=True, eq=False)
class Level:
    """Levels that belong together at one k point.

    Parameters
    ----------
    bands : BandGroup
        Their numbers.
    energy : float
        Mean, eV.
    characters : dict of str to complex
        By operation of the little group.
    deviation : float
        Largest difference of a character from that of the nearest sum of irreps.
    label : str
        Irreps, joined by "+"; "?" where there are none so near or, off Γ, no common origin.
    """

    bands: BandGroup
    energy: float
    characters: dict[str, complex]
    deviation: float
    label: str


@dataclass(frozen=True, eq=False)
class PointLevels:
    """Levels at one k point.

    Parameters
    ----------
    k : (3,) array
        Fractional.
    little_group : str
        Name of its point group.
    origin : (3,) array or None
        Point that all operations keep, Å; None if the group is not symmorphic.
    levels : list of Level
        Ascending.
    """

    k: npt.NDArray[np.float64]
    little_group: str
    origin: npt.NDArray[np.float64] | None
    levels: list[Level] = field(default_factory=list)


def little_group(
    operations: Sequence[Operation], k: npt.ArrayLike, cell: npt.NDArray, pbc: npt.NDArray
) -> tuple[list[Operation], npt.NDArray[np.float64] | None]:
    """Return the operations that keep a k point, one of each rotation.

    Parameters
    ----------
    operations : sequence of Operation
        A group, the identity first.
    k : (3,) array
        Fractional.
    cell, pbc : arrays
        Lattice vectors, Å, and periodic axes.

    Returns
    -------
    group : list of Operation
        About a common origin where there is one.
    origin : (3,) array or None
        Å.
    """
    k = np.asarray(k, dtype=float)
    kept: dict[bytes, list[Operation]] = {}
    for operation in operations:
        moved = (operation.of_k(k) - k)[pbc]
        if np.abs(moved - np.rint(moved)).max(initial=0) < 1e-6:
            kept.setdefault(operation.lattice.tobytes(), []).append(operation)
    group = [same[0] for same in kept.values()]
    smaller = _smallest_cell([o.translation for o in next(iter(kept.values()))], cell)
    found = common_origin([o.rotation for o in group], [o.translation for o in group], smaller, pbc)
    if found is None:
        return group, None
    origin, inverse = found[0], np.linalg.inv(cell)
    moved_group = []
    for same in kept.values():
        needed = [((np.eye(3) - o.rotation) @ origin - o.translation) @ inverse for o in same]
        cells = np.rint(needed)
        best = int(np.argmin(np.linalg.norm((needed - cells) @ cell, axis=1)))
        o, c = same[best], cells[best].astype(np.int64)
        moved_group.append(replace(o, translation=o.translation + c @ cell, cells=o.cells + c))
    return moved_group, origin


def _smallest_cell(translations: Sequence[npt.NDArray], cell: npt.NDArray) -> npt.NDArray:
    """Return the cell of the lattice that translations of a crystal add to that of its cell, Å."""
    count = len(translations)
    fractions = np.rint(np.array(translations) @ np.linalg.inv(cell) * count).astype(np.int64)
    rows = [*fractions, *(count * np.eye(3, dtype=np.int64))]
    found = []
    for axis in range(3):  # Euclid's algorithm on one column after another
        while True:
            least = min(
                (n for n, row in enumerate(rows) if row[axis]), key=lambda n: abs(rows[n][axis])
            )
            pivot = rows.pop(least)
            rows = [row - row[axis] // pivot[axis] * pivot for row in rows]
            if not any(row[axis] for row in rows):
                break
            rows.append(pivot)
        found.append(pivot)
    vectors = np.array(found) / count @ cell
    return np.asarray(reduced(vectors) @ vectors) if count > 1 else cell


def levels_by_irreps(
    file: "BlockFile",
    bands: BandGroup,
    labels: Sequence[str] = (),
    *,
    channel: int = 0,
    position_tolerance: float = TOLERANCE,
    solver: SolverChoice | None = None,
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
) -> dict[str, PointLevels]:
    """Return irreps of levels at labelled k points.

    Parameters
    ----------
    file : BlockFile
        With H, and S unless its basis is orthogonal.
    bands : BandGroup
        Completed to whole groups at every point.
    labels : sequence of str
        Corners, as G, K, M; by default all of the lattice.
    channel : {0, 1}
        Spin up or down, of collinear spin.
    position_tolerance : float
        Å.
    solver : SolverChoice, optional
        How to solve.
    progress : Progress, optional
        Steps are k points.
    note : callable, optional
        Called with a remark on operations that the atoms have and H breaks.

    Returns
    -------
    dict of str to PointLevels
        By label.

    Raises
    ------
    MoireioError
        If a label is unknown, or an incomplete shell forbids an operation.
    """
    with naming(file.label):
        structure = file.structure
        sums, overlap, spin = bloch_sums(file)
        corners, _ = special_points(structure)
        unknown = [label for label in labels if label not in corners]
        if unknown:
            raise MoireioError(
                f"there is no corner {unknown[0]}", remedy=f"known: {', '.join(corners)}"
            )
        chosen = list(labels) or list(corners)
        operations = crystal_operations(structure, position_tolerance)
        total = sums[0].n_orbitals
        first, last = bands.band_range
        wanted = max(first - MARGIN, 0), min(last + MARGIN, total - 1)
        k = np.array([corners[label] for label in chosen])
        out: dict[str, PointLevels] = {}
        left_out: dict[str, None] = {}
        with EigenproblemSet(
            sums,
            overlap,
            k,
            solver or SolverChoice(),
            wanted[1] - wanted[0] + 1,
            file.electrons.fermi,
            states=True,
        ) as problems:
            tasks = [(channel, point) for point in range(len(k))]
            for (_, point), energies, states in problems.levels(tasks, wanted):
                group, origin = little_group(operations, k[point], structure.cell, structure.pbc)
                near = slice(max(first - 2 - wanted[0], 0), last + 3 - wanted[0])
                turns, broken = _representation(
                    group,
                    file,
                    (sums[channel], overlap),
                    k[point],
                    energies,
                    states,
                    near,
                    spin == "spinor",
                )
                kept = broken <= MOST_BREAKING
                for operation in np.array(group)[~kept]:
                    left_out.setdefault(operation.name)
                group = [o for o, obeyed in zip(group, kept, strict=True) if obeyed]
                turns = [m for m, obeyed in zip(turns, kept, strict=True) if obeyed]
                own = PointGroup(
                    np.array([o.rotation for o in group]),
                    np.array([o.lattice for o in group]),
                    spin == "spinor",
                )
                found = PointLevels(k[point], own.name, origin)
                # at Γ lattice translations have no phase
                known = origin is not None or not k[point].any()
                low = wanted[0]
                for a, b in _groups(energies, max(3 * float(broken[kept].max()), ROUNDING)):
                    complete = (a > 0 or low == 0) and (
                        b < len(energies) or low + b == total or b == len(energies) < wanted[1]
                    )
                    if low + b <= first or low + a > last:
                        continue
                    if not complete:
                        raise MoireioError(
                            f"bands {bands} at {chosen[point]}: the group of levels at the end is "
                            "incomplete",
                            remedy="choose bands between gaps",
                        )
                    found.levels.append(_level(own, group, turns, energies, (a, b), low, known))
                out[chosen[point]] = found
                if progress:
                    progress(1, len(k))
    if left_out and note is not None:
        of_spin = f" of spin {('up', 'down')[channel]}" if spin == "collinear" else ""
        note(f"operations of the atoms that H{of_spin} breaks are left out: {', '.join(left_out)}")
    return out


def _groups(energies: npt.NDArray[np.float64], threshold: float) -> list[tuple[int, int]]:
    """Return where groups of levels closer than a threshold begin and end."""
    cuts = np.flatnonzero(np.diff(energies) >= threshold) + 1
    return list(zip([0, *cuts.tolist()], [*cuts.tolist(), len(energies)], strict=True))


def _representation(
    group: Sequence[Operation],
    file: "BlockFile",
    matrices: "tuple[BlochSum, BlochSum | None]",
    k: npt.NDArray[np.float64],
    energies: npt.NDArray[np.float64],
    states: npt.NDArray[Any],
    inner: slice,
    spinor: bool,
) -> tuple[list[npt.NDArray[Any]], npt.NDArray[np.float64]]:
    """Return C†S D C of every operation, and by how much H breaks it for `inner` states, eV."""
    total, overlap = matrices
    h = total.csr(k)
    weighted = states if overlap is None else overlap.csr(k) @ states
    turns, broken = [], []
    for operation in group:
        action = BlochAction(operation, file.structure, file.basis, spinor)
        turned = action.turn(k, states)
        turns.append(weighted.conj().T @ turned)
        near = turned[:, inner]
        felt = near.conj().T @ (h @ near) - np.diag(energies[inner])
        broken.append(float(np.abs(felt).max(initial=0)))
    return turns, np.array(broken)


def _level(
    own: PointGroup,
    group: Sequence[Operation],
    turns: Sequence[npt.NDArray[Any]],
    energies: npt.NDArray[np.float64],
    part: tuple[int, int],
    low: int,
    known: bool,
) -> Level:
    """Return one group of levels with its characters and label."""
    a, b = part
    characters = np.array([np.trace(m[a:b, a:b]) for m in turns])
    times, deviation = own.decompose(characters)
    whole = np.rint(times)
    label = "?"
    if known and np.abs(times - whole).max() < MOST_DEVIATION and whole.sum() > 0:
        names = own.irreps[1]
        parts = [
            name if n == 1 else f"{int(n)}·{name}"
            for name, n in zip(names, whole, strict=True)
            if n
        ]
        label = " + ".join(parts)
    names = _distinct([o.name for o in group])
    return Level(
        BandGroup(low + a + 1, low + b),
        float(energies[a:b].mean()),
        dict(zip(names, characters.tolist(), strict=True)),
        deviation,
        label,
    )


def _distinct(names: list[str]) -> list[str]:
    return [
        n if names.count(n) == 1 else f"{n} #{names[: i + 1].count(n)}" for i, n in enumerate(names)
    ]


def parity_z2(
    file: "BlockFile", filled: int, position_tolerance: float = TOLERANCE
) -> tuple[int, list[int]] | None:
    """Return Z2 of a layer with inversion from parities at the four time-reversal invariant k.

    Parameters
    ----------
    file : BlockFile
        Spinors that obey time reversal.
    filled : int
        Number of filled bands, even.
    position_tolerance : float
        Å.

    Returns
    -------
    z2 : int
        0 or 1.
    signs : list of int
        Product of the parities of the filled Kramers pairs at each k.

    None without an inversion centre, or for other than layers of spinors.

    Raises
    ------
    MoireioError
        If a parity is not ±1, or the number of bands is odd.
    """
    structure = file.structure
    sums, overlap, spin = bloch_sums(file)
    operations = crystal_operations(structure, position_tolerance)
    whole, _ = little_group(operations, np.zeros(3), structure.cell, structure.pbc)
    inversion = [o for o in whole if o.name == "I"]
    if not inversion or spin != "spinor" or structure.pbc.sum() != 2:
        return None
    if filled % 2:
        raise MoireioError(f"{filled} bands are no Kramers pairs", path=file.label)
    plane = np.flatnonzero(structure.pbc)
    k = np.zeros((4, 3))
    k[:, plane] = list(product((0, 0.5), repeat=2))
    action = BlochAction(inversion[0], structure, file.basis, True)
    signs = []
    with EigenproblemSet(sums, overlap, k, SolverChoice(), states=True) as problems:
        for (_, point), _, states in problems.levels([(0, p) for p in range(4)], None):
            below = states[:, :filled]
            weighted = below if overlap is None else overlap.csr(k[point]) @ below
            parities = np.linalg.eigvals(weighted.conj().T @ action.turn(k[point], below)).real
            if (np.abs(parities) < LEAST_PARITY).any():
                worst = parities[np.abs(parities).argmin()]
                raise MoireioError(
                    f"a parity is {worst:.2f}: H breaks the inversion",
                    path=file.label,
                    remedy="symmetrise-h averages it",
                )
            odd = int((parities < 0).sum())
            signs.append(-1 if odd // 2 % 2 else 1)
    return (0 if np.prod(signs) > 0 else 1), signs


def irreps_object(points: dict[str, PointLevels]) -> dict[str, Any]:
    """Return levels at labelled points for JSON.

    Parameters
    ----------
    points : dict of str to PointLevels
        From `levels_by_irreps`.

    Returns
    -------
    dict
        Characters as [re, im].
    """
    return {
        label: {
            "k": point.k.tolist(),
            "little_group": point.little_group,
            "origin": None if point.origin is None else point.origin.tolist(),
            "levels": [
                {
                    "bands": [level.bands.first, level.bands.last],
                    "energy": level.energy,
                    "characters": {n: [c.real, c.imag] for n, c in level.characters.items()},
                    "deviation": level.deviation,
                    "label": level.label,
                }
                for level in point.levels
            ],
        }
        for label, point in points.items()
    }


def irreps_table(points: dict[str, PointLevels]) -> str:
    """Return levels at labelled points as text.

    Parameters
    ----------
    points : dict of str to PointLevels
        From `levels_by_irreps`.

    Returns
    -------
    str
        A line for each group of levels.
    """
    lines = []
    for label, point in points.items():
        where = "no common origin"
        if point.origin is not None:
            x, y, z = np.where(np.abs(point.origin) < 5e-5, 0.0, point.origin)
            where = f"origin {x:.4f} {y:.4f} {z:.4f} Å"
        lines.append(f"# {label.replace('G', 'Γ')}: little group {point.little_group}, {where}")
        names = list(point.levels[0].characters) if point.levels else []
        lines.append("# bands energy label deviation " + " ".join(f"χ({n})" for n in names))
        for level in point.levels:
            chi = " ".join(_number(c) for c in level.characters.values())
            lines.append(
                f"{level.bands} {level.energy:z.5f} {level.label.replace(' ', '')} "
                f"{level.deviation:.1e} {chi}"
            )
    return "\n".join(lines) + "\n"


def _number(value: complex) -> str:
    real, imaginary = (0.0 if abs(v) < 5e-4 else v for v in (value.real, value.imag))
    return f"{real:z.3f}" if imaginary == 0 else f"{real:z.3f}{imaginary:+.3f}i"
