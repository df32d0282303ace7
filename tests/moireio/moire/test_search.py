"""Searches for the best cell: against searching everything, and against papers."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.moire import cells, layers, plane, search

EVERYTHING = 10**6  # as many best cells make the search look at all of them at once


def test_phosphorene_of_the_paper():
    """4756 and 10,588 atoms exist, as (n, n+1) cells of the two layers; the strain is stated."""
    black = layers.named("phosphorene")
    for angle, atoms, counts in ((2.36, 4756, (594, 595)), (1.59, 10_588, (1323, 1324))):
        p, q = {4756: (33, 18), 10_588: (49, 27)}[atoms]
        cell = cells.match(black.lattice, black.lattice, [[[p, 0], [0, q]], [[p, -1], [1, q]]])
        candidate = search.fixed([black, black], cell, search.Limits((0, 1)))
        assert candidate.atoms == atoms
        assert cell.multiples == counts
        assert abs(abs(cell.angle) - angle) < 0.02
        assert candidate.strain < 1.0e-3


@pytest.mark.parametrize("angle", [10.87, 8.49, 2.36, 1.59])
def test_phosphorene_near_the_papers_angles(angle):
    black = layers.named("phosphorene")
    limits = search.Limits((angle - 0.1, angle + 0.1), 12_000, 0.005)
    best = search.best([black, black], limits)
    assert abs(best.cell.angle - angle) < 0.1
    assert best.strain < 1.5e-3


@pytest.mark.parametrize("angle", [3.68, 2.05])
@pytest.mark.parametrize("group", [0, 1])
def test_heterostrained_cells(angle, group):
    graphene = layers.named("graphene")
    wanted = plane.uniaxial(0.006, 20.0, 0.16)
    limits = search.Limits((angle - 0.1, angle + 0.1))
    best = search.heterostrained([graphene, graphene], limits, group, wanted, 1e-3)[0]
    assert abs(best.cell.angle - angle) < 0.1
    assert 0.005 <= plane.principal(best.strains[group])[1] <= 0.007
    assert not best.strains[1 - group].any()
    assert np.abs(plane.principal(best.strains[group] - wanted)).max() <= 1e-3


@pytest.mark.parametrize(
    ("names", "angles"),
    [(("graphene", "hBN"), (10.0, 12.0)), (("graphene", "hBN"), (10.8, 10.9))],
)
@pytest.mark.parametrize("strain_on", ["first", "second", "shared"])
def test_deepening_finds_the_best_of_all(names, angles, strain_on):
    stack = [layers.named(n) for n in names]
    quick, whole = (
        search.candidates(
            stack, search.Limits(angles, 1500, 0.01, strain_on=strain_on, n_best=count)
        )
        for count in (10, EVERYTHING)
    )
    assert len(whole) >= 10
    price = [(round(c.cost, 6), c.atoms) for c in quick[:10]]
    assert price == [(round(c.cost, 6), c.atoms) for c in whole[:10]]
    assert all(c.strain_on == strain_on and c.strain <= 0.01 + 1e-9 for c in quick)


def test_candidates_keep_the_limits():
    stack = [layers.named("MoTe2"), layers.named("WSe2")]
    limits = search.Limits((10.0, 12.0), 400, 0.02, max_aspect=2.0, n_best=EVERYTHING)
    found = search.candidates(stack, limits)
    assert found
    assert [c.cost for c in found] == sorted(c.cost for c in found)
    for candidate in found:
        assert candidate.atoms <= 400
        assert 10 <= candidate.cell.angle <= 12
        assert candidate.strain <= 0.02 * (1 + 1e-6)
        below, above = candidate.cell.multiples
        assert candidate.atoms == 3 * (below + above)
        sides = np.linalg.norm(candidate.cell.matrices[0] @ stack[0].lattice, axis=1)
        assert sides.max() / sides.min() < 2 * 1.1  # both sides are strained


def test_equal_lattices_are_not_strained():
    graphene = layers.named("graphene")
    best = search.best([graphene] * 2, search.Limits((21.7, 21.9), 1000))
    assert (best.atoms, best.strain, best.cell.angle) == (28, 0, pytest.approx(21.786789))
    assert search.describe(best) == "21.7868°, 28 atoms, no strain"


def test_progress_adds_up():
    """A search that looks at everything reports all atoms; one that stops early reports fewer."""
    stack = [layers.named("graphene"), layers.named("hBN")]
    for count in (1, EVERYTHING):
        steps, totals = [], set()

        def progress(n, total, steps=steps, totals=totals):
            steps.append(n)
            totals.add(total)

        limits = search.Limits((10.0, 12.0), 1500, 0.01, n_best=count)
        search.candidates(stack, limits, progress=progress)
        assert totals == {1500}
        done = sum(steps)
        assert done == 1500 if count == EVERYTHING else 0 < done <= 1500


def test_nothing_within_the_limits():
    graphene = layers.named("graphene")
    with pytest.raises(MoireioError, match=r"between 0\.9° and 1\.1° with at most 50 atoms"):
        search.best([graphene] * 2, search.Limits((0.9, 1.1), 50))
    nearest = search.best([graphene] * 2, search.Limits((21.7, 21.9), 1000))
    text = str(search.no_cell(search.Limits((3.0, 4.0)), True, nearest))
    assert "has that strain; the nearest: 21.7868°, 28 atoms" in text


def test_a_fixed_cell_that_strains_too_much():
    first, second = layers.named("graphene"), layers.named("hBN")
    cell = cells.match(first.lattice, second.lattice, [np.eye(2, dtype=int)] * 2)
    mismatch = abs(first.lattice[0, 0] / second.lattice[0, 0] - 1)
    for strain_on, share in (("first", 1), ("second", 1), ("shared", 0.5)):
        limits = search.Limits((0, 0), strain_on=strain_on)
        candidate = search.fixed([first, second], cell, limits)
        assert candidate.strain == pytest.approx(share * mismatch, rel=0.03)
        assert candidate.atoms == 4
    with pytest.raises(MoireioError, match="needs more strain"):
        search.fixed([first, second], cell, search.Limits((0, 0), max_strain=0.001))
