"""Whether the structures of a training set are sound.

What is looked for: blocks of S and H that do not follow the distances of the atoms as those of the
other structures do, blocks that break the symmetry of their own structure, Fermi levels that do not
hold the electrons, runs that have not converged, settings that differ, atoms that were exchanged,
and structures that occur twice.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.network.training.blocknorms import BlockNorms, Norms, norms_of
from moireio.network.training.filling import electrons_below, filling_window, levels_on_mesh
from moireio.network.training.samples import mean_level
from moireio.network.training.sets import OpenCalculation
from moireio.operators.views import stored_as
from moireio.symmetry.average import AveragedOperator
from moireio.symmetry.finder import crystal_operations
from moireio.system.basis import Basis
from moireio.system.structure import Structure

# Times the median over all structures, from which a residual is an outlier's.
OUTLIER = 3.0
OUTLIER_OVERLAP = 10.0
SMALLEST_OUTLIER = 0.02  # eV
# Mean deviation of |S| from the other structures', from which positions are not those of S.
WRONG_OVERLAP = 1e-3
ASYMMETRY = 0.01  # eV, root mean square
SYMMETRY_TOLERANCE = 1e-3  # Å
FERMI = 0.25  # eV beyond the levels between which it must lie
FERMI_OF_LEVEL = 1.0  # eV from its usual place, where the levels were not computed
SAME = 1e-3  # Å
REACH = 5.0  # Å, of the distances by which structures are compared

#: In the order in which they are reported.
REASONS = ("exchanged", "outlier", "symmetry", "unconverged", "fermi", "settings", "duplicate")


@dataclass
class Finding:
    """Why a structure does not belong into a training set.

    Parameters
    ----------
    structure : str
        Its path.
    reasons : dict of str to (float, float, str)
        By reason (one of `REASONS`): the value, the limit that it exceeds, and a few words.
    """

    structure: str
    reasons: dict[str, tuple[float, float, str]] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values for JSON; ``value`` and ``limit`` are the first reason's."""
        names = [reason for reason in REASONS if reason in self.reasons]
        value, limit, _ = self.reasons[names[0]]
        details = [
            {"reason": n, "value": v, "limit": most, "text": text}
            for n in names
            for v, most, text in [self.reasons[n]]
        ]
        return {
            "structure": self.structure,
            "reasons": names,
            "value": value,
            "limit": limit,
            "details": details,
        }


@dataclass
class _Facts:
    """What is kept of a structure."""

    path: str
    structure: Structure
    norms: Norms
    asymmetry: float
    level: float | None
    fermi: float | None
    count: float | None
    levels: npt.NDArray[np.float64] | None
    spins: int
    settings: dict[str, str]
    distances: npt.NDArray[np.float64]


def audit(
    paths: Sequence[str],
    open_calculation: OpenCalculation,
    convergence: Callable[[str], tuple[float, float, str] | None] = lambda path: None,
    settings: Callable[[str], Mapping[str, str]] = lambda path: {},
    progress: Callable[[int, int], object] = lambda steps, total: None,
) -> list[Finding]:
    """Look for structures that do not belong into a training set.

    Parameters
    ----------
    paths : sequence of str
        Calculations.
    open_calculation : callable
        Opens a path, as a context manager with a `Calculation`.
    convergence : callable
        Returns, for the path of a run that has not converged, a value, the limit that it exceeds,
        and a few words; otherwise None.
    settings : callable
        Returns the settings of the run of a path, by name.
    progress : callable
        Called with steps done and their number.

    Returns
    -------
    list of Finding
        Those with a reason, in the order of `paths`.

    Raises
    ------
    MoireioError
        If a calculation cannot be read.
    """
    facts = []
    for path in paths:
        with open_calculation(path) as calculation:
            facts.append(_facts(path, calculation, settings(path)))
        progress(1, len(paths))
    findings = {fact.path: Finding(fact.path) for fact in facts}

    def found(fact: _Facts, reason: str, value: float, limit: float, text: str) -> None:
        findings[fact.path].reasons[reason] = (float(value), float(limit), text)

    _look_at_blocks(facts, found)
    for fact in facts:
        if fact.asymmetry > ASYMMETRY:
            text = "rms of what the average over its own symmetry removes from H, eV"
            found(fact, "symmetry", fact.asymmetry, ASYMMETRY, text)
        unconverged = convergence(fact.path)
        if unconverged is not None:
            found(fact, "unconverged", *unconverged)
    _look_at_fermi_levels(facts, found)
    _look_at_settings(facts, found)
    _look_for_duplicates(facts, found)
    return [finding for finding in findings.values() if finding.reasons]


Found = Callable[[_Facts, str, float, float, str], None]


def _facts(path: str, calculation: Any, settings: Mapping[str, str]) -> _Facts:
    structure, basis = calculation.structure, calculation.basis
    H, S = calculation.hamiltonian, calculation.overlap
    spin = H.meta.spin
    level = mean_level(calculation) if S is not None and spin != "collinear" else None
    electrons = calculation.electrons
    fermi = None if electrons is None else electrons.fermi
    count = None if electrons is None else electrons.count
    levels = None
    if fermi is not None and S is not None:
        levels = levels_on_mesh(structure, H, S)
    return _Facts(
        path,
        structure,
        norms_of(structure, basis, H, S, level),
        _asymmetry(structure, basis, H),
        level,
        fermi,
        basis.valence(structure) if count is None else count,
        levels,
        1 if spin == "spinor" else 2,
        _settings(basis, spin, settings),
        _distances(structure, H),
    )


def _asymmetry(structure: Structure, basis: Basis, H: Any) -> float:
    """Return the rms of what the average over a structure's own symmetry removes from H, eV."""
    group = crystal_operations(structure, SYMMETRY_TOLERANCE)
    if len(group) < 2 or H.meta.spin == "collinear":
        return 0.0
    averaged = AveragedOperator(stored_as(H, "upper"), group, structure, basis)
    averaged.rows(0, len(structure))
    return averaged.removed.rms


def _settings(basis: Basis, spin: str, given: Mapping[str, str]) -> dict[str, str]:
    own = {"spin": spin}
    for name, species in basis.species.items():
        cutoff = "" if species.cutoff is None else f", cutoff {species.cutoff:.3f} Å"
        own[f"basis of {name}"] = f"{species.label}{cutoff}"
    return own | dict(given)


def _distances(structure: Structure, H: Any) -> npt.NDArray[np.float64]:
    """Return distances with the atomic numbers of both ends, sorted; shape (n, 3)."""
    pairs = H.pairs
    i, j = pairs.i, pairs.j
    s = structure
    d = np.linalg.norm(s.positions[j] + pairs.R @ s.cell - s.positions[i], axis=1)
    near = (d < REACH) & (d > 0)
    ends = np.sort(np.stack([s.numbers[i[near]], s.numbers[j[near]]]), axis=0)
    table = np.column_stack([ends.T, d[near]])
    return table[np.lexsort(table.T[::-1])]


def _look_at_blocks(facts: Sequence[_Facts], found: Found) -> None:
    """Compare the norms of blocks with those of the other structures at the same distance."""
    tables = [fact.norms for fact in facts]
    overlap = BlockNorms([t.overlap for t in tables])
    energy = BlockNorms([t.hamiltonian for t in tables])
    of_overlap = np.array([overlap.residual(n) for n in range(len(facts))])
    of_energy = np.array([energy.residual(n) for n in range(len(facts))])
    # twice: those that are wrong in the first fit are left out of the second
    good = of_overlap <= _limit(of_overlap, OUTLIER_OVERLAP, WRONG_OVERLAP)
    good &= of_energy <= _limit(of_energy, OUTLIER, SMALLEST_OUTLIER)
    if good.any() and not good.all():
        overlap.fit(np.flatnonzero(good))
        energy.fit(np.flatnonzero(good))
        of_overlap = np.array([overlap.residual(n) for n in range(len(facts))])
        of_energy = np.array([energy.residual(n) for n in range(len(facts))])
    limit = _limit(of_energy, OUTLIER, SMALLEST_OUTLIER)
    most = _limit(of_overlap, OUTLIER_OVERLAP, WRONG_OVERLAP)
    for n, fact in enumerate(facts):
        if of_overlap[n] > most:
            pair = _exchanged(fact, overlap, float(of_overlap[n]))
            if pair is not None:
                text = f"S is that of the structure with atoms {pair[0]} and {pair[1]} exchanged"
                found(fact, "exchanged", of_overlap[n], most, text)
                continue
            text = "mean deviation of |S| from that of the others at these distances"
            found(fact, "outlier", of_overlap[n], most, text)
        elif of_energy[n] > limit:
            text = "mean deviation of |H| from that of the others at these distances, eV"
            found(fact, "outlier", of_energy[n], limit, text)


def _limit(residuals: npt.NDArray[np.float64], times: float, smallest: float) -> float:
    return max(times * float(np.median(residuals)), smallest)


def _exchanged(fact: _Facts, norms: BlockNorms, value: float) -> tuple[int, int] | None:
    """Return two unlike atoms whose exchange brings S back to that of the others."""
    by_atom = fact.norms.overlap.residual_of_atoms(norms)
    worst = np.argsort(-by_atom)[:12]
    numbers = fact.structure.numbers
    best, pair = value, None
    for place, a in enumerate(worst.tolist()):
        for b in worst[place + 1 :].tolist():
            if numbers[a] == numbers[b]:
                continue
            positions = np.array(fact.structure.positions)
            positions[[a, b]] = positions[[b, a]]
            moved = norms.mean(fact.norms.overlap.moved(positions))
            if moved < best:
                best, pair = moved, (min(a, b), max(a, b))
    return pair if best < value / 3 else None


def _formula(structure: Structure) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the reduced formula, and how many of its units there are."""
    counts = Counter(structure.numbers.tolist())
    units = int(np.gcd.reduce(list(counts.values())))
    return tuple(sorted((z, n // units) for z, n in counts.items())), units


def _look_at_fermi_levels(facts: Sequence[_Facts], found: Found) -> None:
    """Compare Fermi levels with the levels between which they must lie."""
    groups: dict[Any, list[_Facts]] = {}
    for fact in facts:
        if fact.fermi is not None:
            groups.setdefault((_formula(fact.structure)[0], fact.spins), []).append(fact)
    for group in groups.values():
        solved = [f for f in group if f.levels is not None]
        known = [
            (f.count or electrons_below(f.levels, f.fermi, f.spins)) / _formula(f.structure)[1]
            for f in solved
        ]
        if known:
            per_unit = float(np.median(np.round(known)))
            for fact in solved:
                count = fact.count or per_unit * _formula(fact.structure)[1]
                low, high = filling_window(fact.levels, count, fact.spins)
                beyond = max(low - fact.fermi, fact.fermi - high)
                if beyond > FERMI:
                    text = f"E_F = {fact.fermi:.3f} eV; {count:g} electrons need {low:.3f} eV"
                    found(fact, "fermi", beyond, FERMI, text)
        _look_at_usual_places([f for f in group if f.level is not None], found)


def _look_at_usual_places(group: Sequence[_Facts], found: Found) -> None:
    """Compare the distances of Fermi levels from the mean on-site levels."""
    if len(group) < 3:
        return
    place = np.array([f.fermi - f.level for f in group])
    usual = float(np.median(place))
    for fact, here in zip(group, place, strict=True):
        if fact.levels is None and abs(here - usual) > FERMI_OF_LEVEL:
            text = f"E_F lies {here:.2f} eV from the mean on-site level, usually {usual:.2f} eV"
            found(fact, "fermi", abs(here - usual), FERMI_OF_LEVEL, text)


def _look_at_settings(facts: Sequence[_Facts], found: Found) -> None:
    """Compare settings with those of most structures."""
    names = sorted({name for fact in facts for name in fact.settings})
    for name in names:
        values = Counter(f.settings[name] for f in facts if name in f.settings)
        usual, times = values.most_common(1)[0]
        for fact in facts:
            own = fact.settings.get(name, usual)
            if own == usual:
                continue
            text = f"{name} is {own}, of most {usual}; the share that has it"
            found(fact, "settings", values[own] / values.total(), times / values.total(), text)


def _look_for_duplicates(facts: Sequence[_Facts], found: Found) -> None:
    """Compare the distances of all pairs of atoms."""
    groups: dict[Any, list[_Facts]] = {}
    for fact in facts:
        key = tuple(np.sort(fact.structure.numbers).tolist()), len(fact.distances)
        for other in groups.setdefault(key, []):
            gap = float(np.abs(fact.distances - other.distances).max(initial=0.0))
            if gap < SAME:
                text = f"distances are those of {other.path}; largest difference, Å"
                found(fact, "duplicate", gap, SAME, text)
                break
        groups[key].append(fact)
