"""Small models from H and S: Wannier functions nearest to some trial orbitals.

At each k of a mesh the states ψ_n, weighted by a window w(ε), are projected onto trial orbitals,
A_nα = w(ε_n) ⟨ψ_n|χ_α⟩. The orthonormal functions nearest to the result follow from its singular
value decomposition A = P Σ Q†: U = P Q†, and H̃(k) = U† ε U. No iteration, no choice of phases.
States of a frozen window, if there is one, are kept as they are: the subspace is theirs and that of
the largest singular values of the others [2]_. H̃(R) follows by the Fourier sum over the mesh.

References
----------
.. [1] T. Ozaki, Phys. Rev. B 110, 125115 (2024): closest Wannier functions.
.. [2] I. Souza, N. Marzari, D. Vanderbilt, Phys. Rev. B 65, 035109 (2001): frozen states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.downfold.cells import source_from_cells
from moireio.downfold.functions import function_positions
from moireio.downfold.images import nearest_images, require_mesh
from moireio.downfold.projector import Comparison, Populations, Projector, Window
from moireio.downfold.trial import NAMES, Orbital, TrialOrbitals
from moireio.errors import MoireioError
from moireio.kspace.mesh import KMesh
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import read_pairs
from moireio.results.electrons import Electrons
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import check_energies

SMEARING = 2.0  # eV
SMALLEST = 1e-3  # of singular values; below it the window does not hold the trial orbitals
LARGEST = 4 << 30  # bytes of coefficients on the mesh
SAMPLED = 16  # k points from which radial functions are combined
TESTED = 12  # k points between those of the mesh


@dataclass(frozen=True)
class LevelErrors:
    """How far levels of a small model are from those of H and S, between the points of the mesh.

    Parameters
    ----------
    low, high : float
        Window of the levels, eV.
    count : int
        Levels of the model in it, at the k points that were tried.
    missing : int
        Levels of H and S in it beyond those.
    mean_square : float
        Root of the mean square deviation, eV.
    largest : float
        Largest deviation, eV.
    """

    low: float
    high: float
    count: int
    missing: int
    mean_square: float
    largest: float


@dataclass(frozen=True, eq=False)
class NearestModel:
    """A small model.

    Parameters
    ----------
    calculation : Calculation
        The atoms with trial orbitals, and H̃ with S = 1.
    cells : (n_cells, 3) array of int64
        Lattice vectors of `coefficients`.
    coefficients : list of (n_cells, n_orbitals, n) arrays
        Coefficient that the function of cell R has on the orbital of cell 0; up and down where
        spin is collinear.
    smallest : float
        Smallest singular value on the mesh, at most 1.
    window, frozen, near : LevelErrors
        Errors of levels in the window, in the frozen window, and within 1 eV of the Fermi level;
        None where there is none.
    """

    calculation: Calculation
    cells: npt.NDArray[np.int64]
    coefficients: list[npt.NDArray[Any]]
    smallest: float
    window: LevelErrors
    frozen: LevelErrors | None
    near: LevelErrors | None


def nearest_model(
    calculation: Calculation,
    mesh: Sequence[int],
    projections: Mapping[str, Sequence[Orbital]],
    *,
    energy_window: tuple[float, float],
    frozen: tuple[float, float] | None = None,
    smearing: float = SMEARING,
    solver: SolverChoice | None = None,
    progress: Progress | None = None,
) -> NearestModel:
    """Make a small model of the states in an energy window.

    Parameters
    ----------
    calculation : Calculation
        With H, and S unless its orbitals are orthogonal.
    mesh : sequence of three int
        Points along each reciprocal vector; 1 where the structure is not periodic.
    projections : mapping of str to sequence of (int, int)
        l and m of the trial orbitals of each species (`moireio.downfold.trial`).
    energy_window : (float, float)
        Lowest and highest energy of the states that matter, eV from the Fermi level where it is
        known.
    frozen : (float, float), optional
        A smaller window whose states are kept as they are, in the same zero.
    smearing : float
        Width of the window's edges, eV.
    solver : SolverChoice, optional
        How to solve; all levels are found.
    progress : Progress, optional
        Called with 1 and the number of k points.

    Returns
    -------
    NearestModel
        With the errors of its levels.

    Raises
    ------
    MoireioError
        If there is no S, the mesh does not fit, or the window does not hold the trial orbitals.
    """
    return _Downfolding(
        calculation, mesh, projections, energy_window, frozen, smearing, solver, progress
    ).model()


class _Downfolding:
    """One run of `nearest_model`."""

    def __init__(
        self,
        calculation: Calculation,
        mesh: Sequence[int],
        projections: Mapping[str, Sequence[Orbital]],
        energy_window: tuple[float, float],
        frozen: tuple[float, float] | None,
        smearing: float,
        solver: SolverChoice | None,
        progress: Progress | None,
    ) -> None:
        self.calculation, self.progress = calculation, progress
        self.solver = solver or SolverChoice()
        self.shape = (int(mesh[0]), int(mesh[1]), int(mesh[2]))
        require_mesh(calculation.structure, self.shape, calculation.label)
        for window in (energy_window, *([] if frozen is None else [frozen])):
            check_energies(*window)
        if not 0.01 <= smearing <= 100:
            raise MoireioError(f"a smearing of {smearing:g} eV is none", remedy="some 0.5 to 3 eV")
        fermi = None if calculation.electrons is None else calculation.electrons.fermi
        self.fermi, zero = fermi, fermi or 0.0
        self.window = Window(energy_window[0] + zero, energy_window[1] + zero, smearing)
        self.frozen = None if frozen is None else (frozen[0] + zero, frozen[1] + zero)
        self.names = projections
        hamiltonian, overlap = calculation.hamiltonian, calculation.overlap
        if overlap is None and not calculation.basis.orthogonal:
            raise MoireioError("has no overlap", path=calculation.label)
        self.spin = hamiltonian.meta.spin
        spinor = self.spin == "spinor"
        self.s = None if overlap is None else BlochSum.from_source(overlap, spinor=spinor)
        components = range(hamiltonian.meta.components)
        self.hs = [BlochSum.from_source(hamiltonian, component=c) for c in components]
        self.trial = TrialOrbitals.make(
            calculation.structure,
            calculation.basis,
            projections,
            2 if spinor else 1,
            calculation.label,
        )
        n, wanted = self.hs[0].n_orbitals, len(self.trial)
        needed = math.prod(self.shape) * n * wanted * 16 * len(self.hs)
        if needed > LARGEST:
            raise MoireioError(
                f"needs {needed / 2**30:.0f} GiB for {math.prod(self.shape)} points of {n} "
                f"orbitals and {wanted} functions",
                path=calculation.label,
                remedy="choose a coarser mesh",
            )
        whole = KMesh(self.shape)
        self.k, between = whole.k, whole.midway(calculation.structure.pbc).k
        rng = np.random.default_rng(0)
        self.between = between[np.sort(rng.permutation(len(between))[:TESTED])]
        self.sampled = self.k[np.linspace(0, len(self.k) - 1, SAMPLED).round().astype(int)]

    def model(self) -> NearestModel:
        columns = self._trial_columns()
        n, wanted = columns.shape
        found = np.empty((len(self.hs), len(self.k), n + wanted, wanted), dtype=np.complex128)
        smallest, below = 1.0, set()
        project = Projector(columns, self.window, self.frozen)
        for channel, point, result in self._solved(self.k, project):
            if len(result) < n + wanted + 1:
                self._refuse_frozen(self.k[point], int(result[0, 0].real))
            found[channel, point] = result[:-1]
            lowest = float(result[-1].real.min())
            if lowest < SMALLEST:
                self._refuse(self.k[point], lowest)
            smallest = min(smallest, lowest)
            if self.fermi is not None:
                levels = np.linalg.eigvalsh(result[n:-1])
                below.add((channel, int((levels < self.fermi).sum())))
        real = self.spin != "spinor" and self.hs[0].dtype.kind != "c"
        boxes = np.fft.fftn(
            found.reshape(len(self.hs), *self.shape, n + wanted, wanted), axes=(1, 2, 3)
        )
        boxes = boxes.reshape(found.shape) / len(self.k)
        structure, atoms = self.calculation.structure, self.trial.atoms
        sizes = self.calculation.hamiltonian.sizes
        of_row = np.repeat(np.arange(len(structure)), sizes)
        cells, matrices = nearest_images(
            structure, self.shape, _real(boxes[:, :, n:], real), atoms, atoms
        )
        places, coefficients = nearest_images(
            structure, self.shape, _real(boxes[:, :, :n], real), of_row, atoms
        )
        del boxes
        errors = self._errors(cells, matrices, places, coefficients)
        count = None
        if len(below) == 1 or (len(below) == 2 and self.spin == "collinear"):
            each = 2 if self.spin == "none" else 1
            filled = dict(below)
            count = float(each * sum(filled.values())) if len(filled) == len(self.hs) else None
        model = self._calculation(cells, matrices, count)
        if self.spin == "none" and "position" in self.calculation.operators:
            functions = function_positions(
                self.calculation,
                self.shape,
                self.k,
                found[0, :, :n],
                places,
                coefficients[0],
                atoms,
            )
            positions = source_from_cells(
                "position", *functions, model.hamiltonian.sizes, "none", model.label
            )
            model.operators = {**model.operators, "position": positions}
        model.notes += self._notes(errors)
        return NearestModel(model, places, list(coefficients), smallest, *errors)

    def _solved(
        self, k: npt.NDArray[np.float64], reduce: Any
    ) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
        """Yield spin channel, k point and what `reduce` makes of all states."""
        tasks = [(channel, point) for channel in range(len(self.hs)) for point in range(len(k))]
        total = len(self.hs) * (len(self.sampled) + len(self.k) + len(self.between))
        with EigenproblemSet(self.hs, self.s, k, self.solver, states=True) as problems:
            for (channel, point), _, result in problems.levels(tasks, None, reduce):
                if self.progress is not None:
                    self.progress(1, total)
                yield channel, point, result

    def _trial_columns(self) -> npt.NDArray[np.float64]:
        """Return the coefficients of the trial orbitals."""
        trial = self.trial
        groups: dict[tuple[str, int], list[npt.NDArray[np.int64]]]
        groups = {kind: [] for kind in trial.kinds}
        for rows, kind in zip(trial.rows, trial.kinds, strict=True):
            groups[kind].append(rows)
        stacked = {kind: np.array(rows) for kind, rows in groups.items()}
        sample = Populations(list(stacked.values()), self.window)
        total = np.sum([result for _, _, result in self._solved(self.sampled, sample)], axis=0)
        populations, overlaps, at = {}, {}, 0
        for kind, rows in stacked.items():
            size = rows.shape[1] ** 2
            populations[kind] = total[at : at + size].reshape(rows.shape[1], -1)
            overlaps[kind] = self._onsite(rows[0])
            at += size
        return trial.columns(self.hs[0].n_orbitals, populations, overlaps)

    def _onsite(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the overlap of some orbitals of one atom, which may be of spin down."""
        overlap = self.calculation.overlap
        if overlap is None:
            return np.eye(len(rows))
        sizes = np.asarray(overlap.sizes)
        copies = 2 if self.spin == "spinor" else 1
        ends = copies * np.cumsum(sizes)
        atom = int(np.searchsorted(ends, rows[0], side="right"))
        inside = (rows - (ends[atom] - copies * sizes[atom])) % sizes[atom]
        data, _ = read_pairs(overlap, overlap.pairs.onsite()[atom : atom + 1])
        return np.asarray(data.reshape(sizes[atom], -1)[np.ix_(inside, inside)], dtype=np.float64)

    def _refuse(self, k: npt.NDArray[np.float64], lowest: float) -> NoReturn:
        raise MoireioError(
            f"states in the window have only {lowest:.0e} of a trial orbital at k = {_point(k)}",
            path=self.calculation.label,
            remedy="widen `energy_window` up to the bands that these orbitals make, raise "
            "`smearing`, or name other `projections`; with `frozen`, states there may be of others",
        )

    def _refuse_frozen(self, k: npt.NDArray[np.float64], count: int) -> NoReturn:
        raise MoireioError(
            f"{count} states are in the frozen window at k = {_point(k)}, and there are "
            f"{len(self.trial)} trial orbitals",
            path=self.calculation.label,
            remedy="make `frozen` smaller or name more `projections`",
        )

    def _errors(
        self,
        cells: npt.NDArray[np.int64],
        matrices: Sequence[npt.NDArray[Any]],
        places: npt.NDArray[np.int64],
        coefficients: Sequence[npt.NDArray[Any]],
    ) -> tuple[LevelErrors, LevelErrors | None, LevelErrors | None]:
        """Return the errors of levels in the window, the frozen one, and at the Fermi level."""
        compare = Comparison(cells, matrices, places, coefficients)
        found = [result[channel] for channel, _, result in self._solved(self.between, compare)]
        low, high = self.window.low, self.window.high
        return (
            _error(found, low, high),
            None if self.frozen is None else _error(found, *self.frozen),
            None if self.fermi is None else _error(found, self.fermi - 1, self.fermi + 1),
        )

    def _notes(
        self, errors: tuple[LevelErrors, LevelErrors | None, LevelErrors | None]
    ) -> list[str]:
        names = ", ".join(
            f"{name} " + "+".join(_names(orbitals)) for name, orbitals in self.names.items()
        )
        mesh = " x ".join(str(count) for count in self.shape)
        lines = [
            f"{len(self.trial)} Wannier functions nearest to {names}, on a mesh of {mesh} points"
        ]
        words = ("in the window", "in the frozen window", "within 1 eV of the Fermi level")
        for one, where in zip(errors, words, strict=True):
            if one is not None and one.count:
                lines.append(
                    f"levels {where} ({one.low:.2f} to {one.high:.2f} eV) differ from those of H "
                    f"and S by {one.mean_square:.1e} eV (root mean square; at most "
                    f"{one.largest:.1e}) between the points of the mesh"
                )
        return lines

    def _calculation(
        self,
        cells: npt.NDArray[np.int64],
        matrices: Sequence[npt.NDArray[Any]],
        count: float | None,
    ) -> Calculation:
        before, trial = self.calculation, self.trial
        copies = 2 if self.spin == "spinor" else 1
        sizes = copies * trial.basis.sizes(trial.structure)
        source = source_from_cells("hamiltonian", cells, matrices, sizes, self.spin, before.label)
        return Calculation(
            before.label,
            trial.structure,
            trial.basis,
            {"hamiltonian": source},
            electrons=Electrons(count=count, fermi=self.fermi),
            moire=before.moire,
            kpath=before.kpath,
            constants=before.constants,
            notes=list(before.notes),
            files=before.files,
            digest=before.digest,
        )


def _error(
    found: Sequence[tuple[npt.NDArray[np.float64], ...]], low: float, high: float
) -> LevelErrors:
    deviations, missing = [np.empty(0)], 0
    for levels, partners, every in found:
        inside = (levels >= low) & (levels <= high)
        deviations.append(levels[inside] - partners[inside])
        missing += int(((every >= low) & (every <= high)).sum())
        missing -= int(((partners >= low) & (partners <= high)).sum())
    all_of_them = np.concatenate(deviations)
    count = len(all_of_them)
    return LevelErrors(
        low,
        high,
        count,
        missing,
        float(np.sqrt((all_of_them**2).mean())) if count else 0.0,
        float(np.abs(all_of_them).max(initial=0.0)),
    )


def _real(values: npt.NDArray[np.complex128], real: bool) -> npt.NDArray[Any]:
    return np.ascontiguousarray(values.real if real else values)


def _point(k: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{x:.3f}" for x in k)


def _names(orbitals: Sequence[Orbital]) -> list[str]:
    """Return shells by their letter, where they are whole, and single orbitals."""
    left, names = list(orbitals), []
    for name, members in sorted(NAMES.items(), key=lambda item: -len(item[1])):
        if set(members) <= set(left):
            names.append(name)
            left = [one for one in left if one not in members]
    return names
