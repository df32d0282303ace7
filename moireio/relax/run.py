"""Relaxation of a structure: minimisation of its energy in the forces of a calculator.

The minimiser is ASE's preconditioned L-BFGS (Packwood et al., J. Chem. Phys. 144, 164109 (2016)); a
cell that is free moves with the atoms as its exponential map (ASE's FrechetCellFilter).
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import Calculator, all_changes

from moireio.errors import MoireioError
from moireio.relax.calculators import ForceField
from moireio.relax.journal import Journal
from moireio.relax.symmetric import averaged_tensor, averaged_vectors, symmetric_positions
from moireio.runtime.progress import Progress
from moireio.symmetry.finder import crystal_operations
from moireio.symmetry.operations import Operation
from moireio.system.layers import layer_normal
from moireio.system.structure import Structure

CELLS = ("fixed", "free", "potential")
GROUP_TOLERANCE = 1e-3  # Å
#: How far two layers may move apart, and an atom may move, Å.
FARTHEST_LAYERS = 1.5
FARTHEST_ATOM = 6.0
PROGRESS = 1000
# A preconditioner reaches over the second neighbours, Å and nearest distances.
_REACH = 3.0
_REACH_OF_BOND = 1.87
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


@dataclass(frozen=True, eq=False)
class Relaxation:
    """A structure that was relaxed, and how.

    Parameters
    ----------
    structure : Structure
        With the positions and the cell at the end.
    start : Structure
        As it was at the beginning, its cell scaled where that was asked.
    energy_before, energy_after : float
        eV.
    fmax : float
        Largest component of the force on any atom at the end, eV/Å.
    evaluations, steps : int
        Calls of the calculator, and steps of the minimiser.
    converged : bool
        Whether `fmax` (and the stress of a free cell) are as small as asked.
    stress : (6,) array or None
        eV/Å³, of a free cell; in ASE's order.
    """

    structure: Structure
    start: Structure
    energy_before: float
    energy_after: float
    fmax: float
    evaluations: int
    steps: int
    converged: bool
    stress: npt.NDArray[np.float64] | None = None


class _Watched(Calculator):
    """A force field whose answers are counted, checked, and averaged over a group."""

    def __init__(
        self,
        field: ForceField,
        start: Structure,
        group: Sequence[Operation],
        with_stress: bool,
        evaluations: int = 0,
    ) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "free_energy", "forces", "stress"]
        self._field, self._start, self._group = field, start, group
        self._with_stress = with_stress
        self.evaluations = evaluations
        self._normal = layer_normal(start)
        self._gaps = self._layer_gaps(start.positions)

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute everything."""
        super().calculate(atoms, properties, system_changes)
        self._require_together(self.atoms)
        values = self._field.evaluate(self.atoms, self._with_stress)
        self.evaluations += 1
        energy, forces = float(values["energy"]), np.array(values["forces"])
        wrong = ~np.isfinite(forces).all(axis=1)
        if wrong.any() or not np.isfinite(energy):
            atom = int(wrong.argmax())
            what = f"the force on atom {atom}" if wrong.any() else "the energy"
            raise MoireioError(
                f"{self._field.label}: {what} is not finite after {self.evaluations} evaluations",
                remedy="atoms too close, or no parameters for them?",
            )
        self.results = {"energy": energy, "free_energy": energy}
        self.results["forces"] = averaged_vectors(self._group, forces) if self._group else forces
        if self._with_stress:
            stress = np.array(values["stress"])
            if not np.isfinite(stress).all():
                raise MoireioError(f"{self._field.label}: the stress is not finite")
            if self._group:
                xx, yy, zz, yz, xz, xy = stress
                tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
                stress = averaged_tensor(self._group, tensor)[_VOIGT]
            self.results["stress"] = stress

    def _layer_gaps(self, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        layer = self._start.layer
        if layer is None:
            return np.zeros(0)
        heights = np.bincount(layer, positions @ self._normal) / np.bincount(layer)
        return np.diff(heights)

    def _require_together(self, atoms: Any) -> None:
        """Refuse layers that fly apart, and atoms that fly away."""
        gaps = self._layer_gaps(atoms.positions)
        apart = gaps - self._gaps
        if len(apart) and apart.max() > FARTHEST_LAYERS:
            n = int(apart.argmax())
            raise MoireioError(
                f"layers {n + 1} and {n + 2} fly apart: their mean distance was "
                f"{self._gaps[n]:.2f} Å and is {gaps[n]:.2f} Å after {self.evaluations} "
                f"evaluations of {self._field.label}",
                remedy="does it hold dispersion? `d3` pbe adds it",
            )
        undeformed = atoms.positions @ np.linalg.inv(atoms.cell.array) @ self._start.cell
        moved = np.linalg.norm(undeformed - self._start.positions, axis=1)
        if moved.max(initial=0) > FARTHEST_ATOM:
            atom = int(moved.argmax())
            raise MoireioError(
                f"atom {atom} has moved by {moved[atom]:.1f} Å after {self.evaluations} "
                f"evaluations of {self._field.label}: the structure falls apart",
                remedy="another `calculator`, or a better start",
            )


def relax(
    structure: Structure,
    field: ForceField,
    *,
    fmax: float = 1e-4,
    free_cell: bool = False,
    keep_symmetry: bool = False,
    steps: int | None = None,
    journal: Journal | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Relaxation:
    """Relax a structure.

    Parameters
    ----------
    structure : Structure
        With `layer`, where it has layers.
    field : ForceField
        Gives energies and forces.
    fmax : float
        Largest component of the force on any atom at which it ends, eV/Å. Of a free cell also the
        largest component of its virial an atom, eV.
    free_cell : bool
        Relax the cell too: along its periodic vectors.
    keep_symmetry : bool
        Average positions, forces and stress over the operations that the structure has within
        `GROUP_TOLERANCE`.
    steps : int, optional
        Most steps of the minimiser.
    journal : Journal, optional
        Where every step is kept.
    resume : bool
        Go on from the journal.
    progress : Progress, optional
        Called with the progress of the largest force towards `fmax`.

    Returns
    -------
    Relaxation
        The structure, and how it came about.

    Raises
    ------
    MoireioError
        If forces are not finite, layers fly apart, or the minimiser cannot go on.
    """
    group: Sequence[Operation] = ()
    if keep_symmetry:
        group = crystal_operations(structure, GROUP_TOLERANCE)
        even = symmetric_positions(group, structure.cell, structure.positions)
        structure = replace(structure, positions=even)
    atoms = structure.to_ase()
    state = journal.load() if journal is not None and resume else None
    before = None
    count = done = 0
    if state is not None:
        atoms.set_cell(state["cell"], scale_atoms=False)
        atoms.positions = state["positions"]
        before, count, done = float(state["energy"]), int(state["evaluations"]), int(state["steps"])
    watched = _Watched(field, structure, group, free_cell, count)
    atoms.calc = watched
    target = _with_cell(atoms) if free_cell else atoms
    before = float(atoms.get_potential_energy()) if before is None else before
    minimiser = _minimiser(target, structure)
    largest = _largest_force(target, atoms)
    meter = _Meter(progress, largest, fmax)
    while largest > fmax and (steps is None or done < steps):
        try:
            with warnings.catch_warnings(), _quiet_line_search():
                warnings.simplefilter("ignore")
                minimiser.step()
        except RuntimeError:  # the line search finds nothing lower: noise of the forces
            break
        done += 1
        largest = _largest_force(target, atoms)
        if journal is not None:
            journal.save(
                positions=atoms.positions,
                cell=atoms.cell.array,
                energy=before,
                evaluations=watched.evaluations,
                steps=done,
            )
        meter.show(largest)
    meter.finish()
    return Relaxation(
        structure=replace(structure, cell=atoms.cell.array, positions=atoms.positions),
        start=structure,
        energy_before=before,
        energy_after=float(atoms.get_potential_energy()),
        fmax=float(np.abs(atoms.get_forces()).max(initial=0)),
        evaluations=watched.evaluations,
        steps=done,
        converged=bool(largest <= fmax),
        stress=np.asarray(atoms.get_stress()) if free_cell else None,
    )


@contextlib.contextmanager
def _quiet_line_search() -> Iterator[None]:
    """Leave out what ASE logs of a direction that leads upwards, which it leaves by itself."""
    logger = logging.getLogger("ase.utils.linesearcharmijo")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _with_cell(atoms: Any) -> Any:
    """Return atoms and the periodic part of their cell as what is minimised."""
    from ase.filters import FrechetCellFilter

    pbc = atoms.pbc
    if not pbc.all():
        flat = np.abs(atoms.cell.array[pbc][:, ~pbc]).max(initial=0) < 1e-8
        if not flat:
            raise MoireioError(
                "the periodic vectors do not lie along the axes", remedy="`cell` fixed"
            )
    xx, yy, zz = pbc
    return FrechetCellFilter(atoms, mask=[xx, yy, zz, yy and zz, xx and zz, xx and yy])


def _minimiser(target: Any, structure: Structure) -> Any:
    from ase.optimize.precon import Exp, PreconLBFGS
    from scipy.sparse.linalg import splu

    class Factored(Exp):
        """The preconditioner, whose factors serve until the matrix is made anew."""

        factored: Any = None
        factors: Any = None

        def solve(self, x: Any) -> Any:
            if self.factored is not self.P:
                self.factored = self.P
                self.factors = splu(
                    self.P.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}
                )
            return self.factors.solve(x)

    nearest = structure.closest_pair(4.0)
    precon = None
    if nearest is not None:
        reach = max(_REACH, _REACH_OF_BOND * nearest[0])
        precon = Factored(A=3, r_cut=reach, r_NN=nearest[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PreconLBFGS(target, precon=precon, logfile=None)


def _largest_force(target: Any, atoms: Any) -> float:
    """Return the largest component of a force, eV/Å, or of the virial an atom, eV."""
    n = len(atoms)
    largest = float(np.abs(atoms.get_forces()).max(initial=0))
    if target is not atoms:
        stress = atoms.get_stress(voigt=False) * target.mask
        largest = max(largest, float(np.abs(stress).max()) * atoms.get_volume() / n)
    return largest


class _Meter:
    """Shows how far the largest force has come down, on a logarithmic scale."""

    def __init__(self, progress: Progress | None, start: float, end: float) -> None:
        self._progress, self._end = progress, end
        self._span = max(np.log(max(start, 1e-300) / end), 1e-6)
        self._shown = 0

    def show(self, largest: float) -> None:
        left = max(np.log(max(largest, 1e-300) / self._end), 0.0)
        self._to(int(PROGRESS * (1 - min(left / self._span, 1.0))))

    def finish(self) -> None:
        self._to(PROGRESS)

    def _to(self, value: int) -> None:
        if self._progress is not None and value >= self._shown:
            self._progress(value - self._shown, PROGRESS)
            self._shown = value
