"""The error that a model expects: a curve over the distance from its training data."""

import numpy as np
import pytest
import torch

from moireio.network.expected_error import ExpectedError, weights


@pytest.fixture
def known():
    """One block with two scalars and one vector, one species."""
    return ExpectedError(
        centres=[np.array([[1.0, 2.0]])],
        metrics=[[np.array([np.diag([2.0, 1.0])]), np.array([[[3.0]]])]],
        level=np.array([2e-3]),
        slope=np.array([2.0]),
        turn=np.array([1.5]),
        own=1e-3,
        own_set="test",
    )


def test_squared_distance(known):
    scalars = torch.tensor([[[1.0, 2.0]], [[2.0, 4.0]]])
    vectors = torch.tensor([[[0.0], [0.0], [0.0]], [[1.0], [0.0], [2.0]]])
    found = known.squared_distance(0, [scalars, vectors], torch.zeros(2, dtype=torch.long))
    assert found.tolist() == [0.0, 4.0 + 4.0 + 9.0 * 5.0]


def test_a_power_inside_and_proportional_outside(known):
    distance = np.array([0.5, 1.0, 1.5, 3.0, 6.0])
    found = known.of_atoms(distance**2, np.zeros(5, dtype=int))
    assert found == pytest.approx(2e-3 * np.array([0.25, 1.0, 2.25, 4.5, 9.0]))


def test_arrays_and_back(known):
    again = ExpectedError.from_arrays(known.arrays(), [[2, 1]], 1)
    for name, values in known.arrays().items():
        assert (again.arrays()[name] == values).all(), name
    assert again.own_set == "test"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("metric.0.1", np.zeros((1, 2, 2)), "has shape"),
        ("slope", np.array([np.nan]), "not finite"),
    ],
)
def test_damaged_arrays_are_refused(known, name, value, message):
    with pytest.raises(ValueError, match=message):
        ExpectedError.from_arrays(known.arrays() | {name: value}, [[2, 1]], 1)


def test_weights_add_up():
    table = weights(2, [0, 1, 2])
    assert np.sum(table) == pytest.approx(1)
    assert table[0][1] == pytest.approx(2 * table[1][1])
    assert table[0][0] == pytest.approx(0.3 * table[0][2])
