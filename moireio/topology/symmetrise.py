"""H and S of a crystal averaged over its group: which group, what it removes, how bands move."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.kspace.corners import special_points
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import OperatorSource, row_bytes, slab_bounds
from moireio.operators.views import stored_as
from moireio.results.symmetry import POINTS
from moireio.runtime.memory import usable_memory
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import around
from moireio.spectrum.sums import bloch_sums
from moireio.symmetry.average import AveragedOperator, Removed, in_memory
from moireio.symmetry.finder import TOLERANCE, crystal_operations
from moireio.symmetry.operations import (
    Operation,
    chosen_operations,
    generated_operations,
    time_reversal,
)
from moireio.symmetry.positions import averaged_positions
from moireio.symmetry.rotations import TIME_REVERSAL

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

MOST_CHANGE = 0.02  # eV
SMALL = 6000  # orbitals up to which the shift of bands is computed unasked
SLAB_BYTES = 2 << 20  # blocks that are averaged at once, for each operation of the group
SHARE = 3  # an operator that takes a larger part of memory is read in runs of atoms


@dataclass
class Symmetrised:
    """Operators averaged over a group, to be written in this order.

    Parameters
    ----------
    sources : list of OperatorSource
        Hamiltonian first.
    names : list of str
        Operations that are reported: those chosen, or one of each cyclic subgroup.
    order : int
        Number of operations of the group.
    hamiltonian : AveragedOperator
        Has the parts that were removed, once its rows were made.
    band_shift : dict of str to float
        Largest shift of the bands next to the gap at labelled k points, eV; None without.
    notes : list of str
        Remarks for the user.
    """

    sources: list[OperatorSource]
    names: list[str]
    order: int
    hamiltonian: AveragedOperator
    band_shift: dict[str, float] | None = None
    notes: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Return the removed parts and the shift of bands, for JSON."""
        parts = self.hamiltonian.removed_by
        labels = self.band_shift if self.band_shift is not None else dict.fromkeys(POINTS)
        return {
            "operations": [_entry(name, parts[name]) for name in self.names],
            "group_order": self.order,
            **_entry("", self.hamiltonian.removed, named=False),
            "band_shift_eV": labels,
        }

    def check(self, max_change: float) -> None:
        """Refuse a change that is too large.

        Parameters
        ----------
        max_change : float
            Largest element that may be removed from H, eV.

        Raises
        ------
        MoireioError
            If more was removed.
        """
        removed = self.hamiltonian.removed.largest
        if removed <= max_change:
            return
        parts = self.hamiltonian.removed_by
        broken = [n for n in self.names if parts[n].largest > max_change]
        kept = [n for n in self.names if n not in broken]
        why = f", which breaks {', '.join(broken)}" if broken else ""
        remedy = f"choose a `group`, as {','.join(kept)}, or " if kept and broken else ""
        raise MoireioError(
            f"averaging would change H by {removed:.3g} eV{why}; {max_change:g} eV is allowed",
            remedy=f"{remedy}raise `max_change`",
        )


def _entry(name: str, removed: Removed, named: bool = True) -> dict[str, Any]:
    out: dict[str, Any] = {"name": name} if named else {}
    return out | {"max_removed_eV": removed.largest, "rms_removed_eV": removed.rms}


def symmetry_group(
    file: "BlockFile",
    names: Sequence[str] = (),
    position_tolerance: float = TOLERANCE,
    max_change: float = MOST_CHANGE,
) -> tuple[list[Operation], dict[str, Operation]]:
    """Return the group over which to average.

    Parameters
    ----------
    file : BlockFile
        With H.
    names : sequence of str
        Operations that generate it, as C3, C2x, T; by default all of the crystal, and time
        reversal where H obeys it within `max_change`.
    position_tolerance : float
        How far a moved atom may lie from the one that it replaces, Å.
    max_change : float
        eV.

    Returns
    -------
    group : list of Operation
        The identity first.
    reported : dict of str to Operation
        Those chosen, or one of each cyclic subgroup.

    Raises
    ------
    MoireioError
        If the crystal does not have an operation, or spins are collinear and T is wanted.
    """
    spatial = crystal_operations(file.structure, position_tolerance)
    reverse = time_reversal(file.structure)
    collinear = file.hamiltonian.meta.spin == "collinear"
    if names:
        available = [*spatial, *(o @ reverse for o in spatial)]
        chosen = chosen_operations(available, names)
        if collinear and any(o.time_reversal for o in chosen):
            raise MoireioError("collinear spin does not allow time reversal", path=file.label)
        return generated_operations(chosen), {o.name: o for o in chosen}
    reported: dict[str, Operation] = {}
    for operation in spatial:
        name = operation.name
        if name == "E" and operation is not spatial[0]:
            name = f"translation {len(reported) + 1}"
        if name != "E" and not name.endswith("^-1"):
            reported.setdefault(name, operation)
    group = spatial
    is_complex = np.dtype(file.hamiltonian.meta.dtype).kind == "c"
    if not collinear and is_complex and _reversal(file.hamiltonian) <= max_change:
        group = [*spatial, *(o @ reverse for o in spatial)]
        reported["T"] = reverse
    if not reported:
        raise MoireioError(
            "the crystal has no symmetry",
            path=file.label,
            remedy="a larger `position_tolerance` may find some",
        )
    return group, reported


def _reversal(source: OperatorSource) -> float:
    """Return the largest element that averaging over time reversal removes."""
    spinor = source.meta.spin == "spinor"
    worst = 0.0
    for i0, i1 in slab_bounds(row_bytes(source)):
        data = source.rows(i0, i1)
        if not spinor:
            worst = max(worst, float(np.abs(data.imag).max(initial=0)))
            continue
        pairs, at = source.pairs, 0
        i = np.repeat(np.arange(i0, i1), np.diff(pairs.indptr[i0 : i1 + 1]))
        for rows, columns in zip(
            source.sizes[i], source.sizes[pairs.j[pairs.rows(i0, i1)]], strict=True
        ):
            block = data[at : at + rows * columns].reshape(2, rows // 2, 2, columns // 2)
            at += rows * columns
            turned = np.einsum(
                "ab,bicj,dc->aidj", TIME_REVERSAL, block.conj(), TIME_REVERSAL, optimize=False
            )
            worst = max(worst, float(np.abs(block - turned).max(initial=0)) / 2)
    return worst


def symmetrise(
    file: "BlockFile",
    names: Sequence[str] = (),
    *,
    position_tolerance: float = TOLERANCE,
    max_change: float = MOST_CHANGE,
    bands: int | None = None,
    memory: float | None = None,
    progress: Progress | None = None,
) -> Symmetrised:
    """Average the operators of a file over its group.

    Parameters
    ----------
    file : BlockFile
        With H.
    names : sequence of str
        See `symmetry_group`.
    position_tolerance : float
        Å.
    max_change : float
        Largest element that may be removed from H, eV.
    bands : int, optional
        Bands around the gap whose shift is computed; 0 for none. By default 8 for up to `SMALL`
        orbitals.
    memory : float, optional
        Bytes that may be used; by default nearly all that are free.
    progress : Progress, optional
        Steps are k points of the shift of bands.

    Returns
    -------
    Symmetrised
        H, S, position and momentum matrices. Those of H are in memory where the shift is computed;
        else all are made while they are written, and `Symmetrised.check` comes after.

    Raises
    ------
    MoireioError
        If the crystal does not have an operation, or H would change by more than `max_change`.
    """
    with naming(file.label):
        structure, basis = file.structure, file.basis
        group, reported = symmetry_group(file, names, position_tolerance, max_change)
        limit = usable_memory(memory) / SHARE

        def near(name: str, storage: str | None = None) -> OperatorSource:
            """Return an operator in memory, if it is small enough."""
            source = stored_as(file.operator(name), storage)
            return in_memory(source) if row_bytes(source).sum() < limit else source

        def mean(name: str, **options: Any) -> AveragedOperator:
            return AveragedOperator(near(name), group, structure, basis, **options)

        h = mean("hamiltonian", watched=reported)
        found = Symmetrised([h], list(reported), len(group), h)
        total = int(basis.sizes(structure).sum()) * h.meta.spin_factor
        asked = (8 if total <= SMALL else 0) if bands is None else bands
        if asked:
            found.sources = [in_memory(h, SLAB_BYTES)]
            found.check(max_change)
        s: OperatorSource | None = None
        if "overlap" in file:
            s = in_memory(mean("overlap"), SLAB_BYTES) if asked else mean("overlap")
            found.sources.append(s)
        if "position" in file and s is not None:
            found.sources.append(
                averaged_positions(
                    near("position"), near("overlap", "full"), s, group, structure, basis
                )
            )
        if "momentum" in file:
            found.sources.append(mean("momentum", vector=True))
        if asked:
            found.band_shift = _band_shift(file, found.sources[0], s, asked, progress)
    return found


def _band_shift(
    file: "BlockFile",
    hamiltonian: OperatorSource,
    overlap: OperatorSource | None,
    bands: int,
    progress: Progress | None,
) -> dict[str, float]:
    """Return how far the bands next to the gap move at labelled k points, eV."""
    before, s, spin = bloch_sums(file)
    channels = (0, 1) if spin == "collinear" else (0,)
    after = [BlochSum.from_source(hamiltonian, component=c) for c in channels]
    s_after = s
    if overlap is not None and s is not None:
        s_after = BlochSum.from_source(overlap, spinor=spin == "spinor")
    corners, _ = special_points(file.structure)
    k = np.array(list(corners.values()))
    count = min(bands, before[0].n_orbitals)
    energies: list[npt.NDArray[np.float64]] = []
    band_range: tuple[int, int] | None = None
    for sums, total in ((before, s), (after, s_after)):
        with EigenproblemSet(
            sums, total, k, SolverChoice(), count, file.electrons.fermi
        ) as problems:
            if band_range is None:
                known = file.electrons.count is not None
                level = file.electrons.fermi
                if not known and level is None:
                    band_range = 0, before[0].n_orbitals - 1
                else:
                    band_range = around(problems, count, None if known else level, file)
            tasks = [(c, p) for c in range(len(sums)) for p in range(len(k))]
            found = []
            for _, levels, _ in problems.levels(tasks, band_range):
                found.append(levels)
                if progress:
                    progress(1, 2 * len(tasks))
            energies.append(np.array(found).reshape(len(sums), len(k), -1))
    moved = np.abs(energies[1] - energies[0]).max(axis=(0, 2))
    return {label: float(v) for label, v in zip(corners, moved, strict=True)}
