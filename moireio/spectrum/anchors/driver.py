"""The levels of one spin channel at many k points: from anchors, the rest directly."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.runtime.memory import size_text, usable_memory
from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.counting import complete
from moireio.spectrum.anchors.factors import AnchorFactors
from moireio.spectrum.anchors.interpolation import Patch
from moireio.spectrum.anchors.method import AnchoredLevels
from moireio.spectrum.anchors.patches import chosen_patches
from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.search import AnchorSearch
from moireio.spectrum.anchors.settings import (
    EXPECTED,
    FEWEST_BEYOND,
    Accuracy,
    Anchoring,
    margin,
    reach,
)
from moireio.spectrum.anchors.space import SINGLE

if TYPE_CHECKING:
    from moireio.operators.bloch import BlochSum
    from moireio.system.structure import Structure

SAME = 1e-9  # Å⁻¹
SURE = 1e-8  # eV; two runs of the same anchors differ by less
SHARED = 5000  # orbitals from which on solvers gain by the products of anchors
CORRECTED = 10_000  # orbitals from which on corrections take less time than more anchors
ROUNDED = 100_000  # orbitals from which on matrices and states in single precision save memory
ROOM = 0.25  # of the memory, for H and S times the basis
GRAMS = 5  # matrices of a small space, see `Grams`
LEFT, MOST_LEFT = 0.03, 8  # share and number of the k points that may be solved directly in the end


class Use(Enum):
    """What a k point is solved for."""

    ANCHOR, STATES, LEVELS = range(3)


def anchored_levels(
    hamiltonian: "BlochSum",
    overlap: "BlochSum | None",
    structure: "Structure",
    k: npt.NDArray[np.float64],
    band_range: tuple[int, int],
    solve: Callable[[int, tuple[int, int], Use], Anchor],
    settings: Anchoring,
    *,
    factors: AnchorFactors | None = None,
    made: Callable[[BlochProducts], None] | None = None,
    channel: int = 0,
    threads: int = 1,
    memory: float | None = None,
    keep: Callable[[Anchor], object] | None = None,
    restored: Sequence[Anchor] = (),
    states: bool = False,
    count: Callable[[int, float], int] | None = None,
    quick_count: Callable[[int, float], int | None] | None = None,
    confirmed: Mapping[int, npt.NDArray] | None = None,
) -> Iterator[tuple[int, npt.NDArray, npt.NDArray | None, Accuracy]]:
    """Yield levels at many k points, most of them from anchors.

    Parameters
    ----------
    hamiltonian, overlap : BlochSum
        H and S.
    structure : Structure
        Positions of the atoms.
    k : (nk, 3) array
        Fractional coordinates.
    band_range : tuple of two int
        First and last band (inclusive, from 0).
    solve : callable
        Returns the levels of a range of bands at a k point, by its index, with states unless
        only levels are of use; for an anchor perhaps with levels beyond the range.
    settings : Anchoring
        Tolerance, and anchors that are known.
    factors : AnchorFactors, optional
        Those that `solve` had last, and those that are kept.
    made : callable, optional
        Called with products of H and S before the first solution of a large cell, which may use
        them.
    channel : int
        Spin channel.
    threads : int
        Threads.
    memory : float, optional
        Bytes that may be used; by default nearly all that are free.
    keep : callable, optional
        Called with each k point that was solved directly; those that are no anchors have states
        only if `states` is set.
    restored : sequence of Anchor
        What an interrupted run gave to `keep`.
    states : bool
        Yield states too.
    count : callable, optional
        Returns the number of levels below an energy (eV) at a k point, by its index. With it the
        levels are counted at every k point; where they are not complete it is solved directly.
    quick_count : callable, optional
        The same, or None where a number cannot be had in less time than levels.
    confirmed : dict of int to (nb,) array, optional
        By index of the k point, energies (eV) for which that was done before.

    Yields
    ------
    point : int
        Index of the k point: anchors first.
    energies : (nb,) array
        eV.
    states : (n, nb) array or None
        S-orthonormal, in the phases of H(k).
    accuracy : Accuracy
        The same object each time, complete in the end.
    """
    first, last = band_range
    width = last - first + 1
    wider = reach(band_range, hamiltonian.n_orbitals)
    accuracy = Accuracy([], 0, np.zeros((len(k), width)), np.full(len(k), -1))
    columns = EXPECTED * (wider[1] - wider[0] + 1)
    needed, limit = 3 * 16.0 * hamiltonian.n_orbitals * columns, usable_memory(memory)
    products: BlochProducts | None = None
    lines: list[Patch] = []
    pieces: list[npt.NDArray[np.integer]] = []
    if needed < limit:
        rounded = settings.tolerance >= SINGLE and hamiltonian.n_orbitals >= ROUNDED
        products = BlochProducts(hamiltonian, overlap, structure, threads, rounded)
        lines, pieces, nodes = _pieces(products, k, structure, settings.tolerance)
        needed += nodes * (GRAMS * 16.0) * columns**2  # products at the nodes of one line or plane
        if made is not None and needed < limit and hamiltonian.n_orbitals >= SHARED:
            made(products)
    if needed >= limit:
        products = None
        pieces.clear()
        accuracy.notes.append(
            f"states of {EXPECTED} anchors need about {size_text(needed)}, {size_text(limit)} may "
            "be used: every k point was solved directly"
        )
    factors = factors or AnchorFactors()
    room = ROOM * limit

    def has_room(size: float, count: int) -> bool:
        # for the next factors too, beside those that are kept
        free = usable_memory() - size if memory is None else memory / 2 - size * (count - 1)
        return needed + room < free

    factors.has_room = has_room
    size_fits = CORRECTED <= hamiltonian.n_orbitals < ROUNDED
    factors.are_kept = size_fits and 2 * (needed + room) < limit
    wide = [a for a in restored if a.covers(band_range, FEWEST_BEYOND)]
    given = [a for a in settings.anchors.get(channel, ()) if a.covers(band_range, FEWEST_BEYOND)]
    accuracy.unused = len(settings.anchors.get(channel, ())) - len(given)
    accuracy.anchors += [*given, *wide]
    accuracy.factorisations += len(wide)
    solved = [a for a in restored if (a.first, len(a.energies)) == (first, width)]
    narrow = {_nearest(a.k, k, structure.reciprocal)[1]: a for a in solved}
    done: set[int] = set()
    early: set[int] = set()  # corners whose lines come later

    def run_of(
        number: int,
        piece: npt.NDArray[np.integer],
        solve_there: Callable[[int], Anchor],
    ) -> AnchoredLevels:
        """Return the levels of some k points, which are to be found."""
        assert products is not None
        places = [(a, *_nearest(a.k, k[piece], structure.reciprocal)) for a in accuracy.anchors]
        own = lines[number] if len(pieces) > 1 else None

        def count_there(place: int, energy: float) -> int | None:
            nonlocal quick_count
            if quick_count is None:
                return None
            accuracy.factorisations += 1
            found = quick_count(int(piece[place]), energy)
            factors.free_last()
            if found is None:  # nor will it at the next k point
                quick_count = None
            return found

        run = AnchoredLevels(
            products,
            k[piece],
            structure.reciprocal,
            band_range,
            solve_there,
            settings.tolerance,
            pbc=structure.pbc,
            most=max(6, len(piece) // 3) + len(given),
            threads=threads,
            others=[
                replace(a, k=near)
                for a, near, point in places
                if point is None and (own is None or own.holds(near))
            ],
            lines=lines,
            factors=factors,
            count=count_there if quick_count and hamiltonian.n_orbitals >= CORRECTED else None,
            room=room,
        )
        for a, _, point in places:
            if point is not None:
                run.anchors[point] = replace(a, k=run.k[point])
        return run

    def solved_at(run: AnchoredLevels, piece: npt.NDArray[np.integer], place: int) -> Anchor:
        """Return a new anchor, with the changes of its states."""
        point = int(piece[place])
        beyond = run.margins_at(place, margin(band_range))
        found = solve(point, reach(band_range, hamiltonian.n_orbitals, beyond), Use.ANCHOR)
        found = run.trimmed(replace(found, k=run.k[place]), margin(band_range))
        found = run.checked(found)
        changes = run.responses(found)
        if changes is not None:
            found = replace(found, responses=changes[0], axes=changes[1])
        accuracy.anchors.append(found)
        accuracy.factorisations += 1
        accuracy.counted[point] = first
        if keep is not None:
            keep(found)
        return found

    def of_piece(
        number: int, piece: npt.NDArray[np.integer]
    ) -> Iterator[tuple[int, npt.NDArray, npt.NDArray | None, Accuracy]]:
        """Yield the levels of some k points on one line, or of all."""
        assert products is not None
        fresh: list[int] = []
        before_it = done - early  # corners, as the line before it has them
        early.difference_update(piece.tolist())
        places = [(a, *_nearest(a.k, k[piece], structure.reciprocal)) for a in accuracy.anchors]

        def anchor(place: int) -> Anchor:
            found = solved_at(run, piece, place)
            fresh.append(place)
            reverse(place, found)
            return found

        def reverse(place: int, found: Anchor) -> None:
            """Take the complex conjugate of an anchor at −k too, where H and S are real."""
            other = _nearest(-found.k, k[piece], structure.reciprocal)[1]
            if not products.is_real or other in (None, place, *run.anchors):
                return
            assert other is not None
            changes = None if found.responses is None else found.responses.conj()
            run.anchors[other] = replace(
                found, k=run.k[other], states=found.states.conj(), responses=changes
            )
            accuracy.counted[piece[other]] = first
            if place in run.given:
                run.given.add(other)
            else:
                fresh.append(other)

        run = run_of(number, piece, anchor)
        for one, _, point in places:
            if point is not None:
                accuracy.counted[piece[point]] = first
                another = any(one is other for other in given)
                if another and not run.accurate(run.anchors[point]):
                    run.given.add(point)
        fresh += sorted(run.anchors.keys() - run.given)
        for point in list(run.anchors):
            reverse(point, run.anchors[point])

        def levels(
            place: int,
        ) -> tuple[int, npt.NDArray, npt.NDArray | None, Accuracy]:
            done.add(int(piece[place]))
            return int(piece[place]), *run.at(place, states), accuracy

        for _ in AnchorSearch(run).run(min(int(LEFT * len(piece)), MOST_LEFT)):
            for place in fresh:
                if piece[place] not in done:
                    yield levels(place)
            fresh.clear()
        accuracy.ratio = max(accuracy.ratio, run.ratio)
        failing, wrong = set(run.failing()), 0
        for place in sorted(set(range(len(piece))) - failing):
            point = int(piece[place])
            if point in done:
                if point not in before_it:
                    accuracy.bounds[point] = run.bounds[place]
                continue
            if count is not None and place not in run.given:
                if point in narrow:
                    continue
                before = (confirmed or {}).get(point)
                known = before is not None and np.abs(before - run.energies[place]).max() < SURE
                numbered = run.numbered(place)
                if not known and not complete(numbered, band_range, partial(count, point)):
                    wrong += 1
                    continue
                accuracy.counted[point] = first
            accuracy.bounds[point] = run.bounds[place]
            yield levels(place)
        if wrong:
            accuracy.notes.append(
                f"at {wrong} k point{'s' * (wrong > 1)} counts of levels did not confirm the bands "
                "that anchors gave: solved directly"
            )

    if factors.are_kept:
        for number, place in _corners(pieces, k, structure.reciprocal, accuracy.anchors):
            run, point = run_of(number, pieces[number], _no_anchor), int(pieces[number][place])
            run.anchors[place] = solved_at(run, pieces[number], place)
            done.add(point)
            early.add(point)
            yield point, *run.at(place, states), accuracy
    for number, piece in enumerate(pieces):
        yield from of_piece(number, piece)
    factors.free()
    for point in sorted(set(range(len(k))) - done):
        found = narrow.get(point)
        if found is None:
            found = solve(point, band_range, Use.STATES if states else Use.LEVELS)
            if keep is not None:
                keep(found)
        accuracy.factorisations += 1
        accuracy.counted[point], accuracy.bounds[point] = first, 0.0
        yield point, found.energies, found.states if states else None, accuracy


def _pieces(
    products: BlochProducts,
    k: npt.NDArray[np.float64],
    structure: "Structure",
    tolerance: float,
) -> tuple[list[Patch], list[npt.NDArray[np.integer]], int]:
    """Return lines and the k points on each, or all k points where they do not lie on lines.

    A line needs the anchors on it only, so that its matrices are smaller. The last number is that
    of the nodes of a piece.
    """
    _, patches = chosen_patches(k, structure.reciprocal, structure.pbc, products.turns, tolerance)
    nodes = max((len(nodes.points) for _, nodes in patches), default=0)
    lines = [patch for patch, _ in patches if len(patch.axes) == 1]
    if len(lines) < 2:
        return lines, [np.arange(len(k))], nodes
    pieces = []
    for line in lines:
        before = int(line.points[0]) - 1
        corner = [before] if before >= 0 and line.holds(k[before]) else []
        pieces.append(np.array([*corner, *line.points]))
    return lines, pieces, nodes


def _corners(
    pieces: list[npt.NDArray[np.integer]],
    k: npt.NDArray[np.float64],
    reciprocal: npt.NDArray[np.float64],
    known: Sequence[Anchor],
) -> list[tuple[int, int]]:
    """Return the ends of lines, by line and place on it, in the order in which to solve them.

    Factors of the last one serve corrections: it is that with most of the path beside it. None
    where other k points are known already.
    """
    if len(pieces) < 2:
        return []
    found: list[tuple[float, int, int]] = []
    places: list[npt.NDArray[np.float64]] = []
    for number, piece in enumerate(pieces):
        length = float(np.linalg.norm((k[piece[-1]] - k[piece[0]]) @ reciprocal))
        for place in (0, len(piece) - 1):
            known_ends = np.array(places).reshape(-1, 3)
            same = _nearest(k[piece[place]], known_ends, reciprocal)[1] if places else None
            if same is None:
                places.append(k[piece[place]])
                found.append((length, number, place))
            else:
                found[same] = found[same][0] + length, *found[same][1:]
    ends = np.array(places)
    at = [_nearest(a.k, ends, reciprocal)[1] for a in known]
    if any(corner is None for corner in at):
        return []
    left = [one for n, one in enumerate(found) if n not in at]
    return [(number, place) for _, number, place in sorted(left)]


def _no_anchor(_: int) -> Anchor:
    raise AssertionError


def _nearest(
    place: npt.NDArray, k: npt.NDArray, reciprocal: npt.NDArray
) -> tuple[npt.NDArray[np.float64], int | None]:
    """Return an equivalent of a k close to those of a set, and which of them it is, if one."""
    moves = np.round(k - place)
    away = np.linalg.norm((k - place - moves) @ reciprocal, axis=1)
    point = int(np.argmin(away))
    return place + moves[point], point if away[point] < SAME else None
