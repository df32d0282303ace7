"""The choice of a solver."""

import pytest

from moireio.spectrum.anchors.settings import LARGE, LEAST_POINTS, LEAST_POINTS_OF_LARGE, Anchoring
from moireio.spectrum.choice import SolverChoice


def test_states_of_anchors_are_as_accurate_as_the_tolerance_wants():
    for tolerance, accuracy in [(1e-5, 1e-6), (1e-7, 1e-8), (1e-3, 1e-6), (1e-12, 1e-9)]:
        choice = SolverChoice(anchoring=Anchoring(tolerance=tolerance)).for_anchors()
        assert choice.options == {"accuracy": pytest.approx(accuracy)}
    given = SolverChoice(options={"accuracy": 3e-9})
    assert given.for_anchors().options == {"accuracy": 3e-9}


@pytest.mark.parametrize(
    ("points", "n_orbitals", "pays"),
    [
        (LEAST_POINTS, LARGE - 1, True),
        (LEAST_POINTS - 1, LARGE - 1, False),
        (LEAST_POINTS_OF_LARGE, LARGE, True),
        (LEAST_POINTS_OF_LARGE - 1, LARGE, False),
        (1000, 300, False),
    ],
)
def test_few_k_points_are_solved_directly(points, n_orbitals, pays):
    """Anchors of 4732 orbitals cost as much as 25 k points."""
    assert Anchoring().pays(points, n_orbitals, (100, 123)) == pays
    assert not Anchoring(direct=True).pays(points, n_orbitals, (100, 123))
    assert not Anchoring().pays(points, n_orbitals, None)
