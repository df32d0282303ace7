"""New networks."""

import pytest
import torch
from systems import NUMBERS, basis
from training_data import HIDDEN

from moireio.errors import MoireioError
from moireio.network.create import new_model, with_reachable
from moireio.network.gate import harmonics_irreps
from moireio.network.irreps import Irreps, reachable


def make(seed, hidden=HIDDEN):
    numbers = [NUMBERS[n] for n in basis().species]
    return new_model(basis(), numbers, False, hidden, blocks=1, lmax=2, seed=seed)


def test_the_seed_gives_the_weights_and_nothing_else():
    """The same seed gives the same weights, and torch's own random numbers go on as before."""
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    one, two, other = make(1), make(1), make(2)
    assert torch.equal(torch.rand(4), expected)
    assert one.digest() == two.digest() != other.digest()


def test_features_without_scalars():
    with pytest.raises(MoireioError, match="`hidden` 4x1o has no scalars"):
        make(0, Irreps.parse("4x1o"))


def test_lists_are_completed():
    """Without 1e among the atoms' features, 0o of an edge cannot be reached."""
    mid, wanted, sh = Irreps.parse("4x0e+2x1o"), Irreps.parse("1x0o"), harmonics_irreps(2)
    assert not reachable(mid + mid, sh, (0, -1))
    assert reachable(with_reachable(mid, mid, mid, wanted, sh), sh, (0, -1))
