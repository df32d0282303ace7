"""Networks that get further elements."""

import numpy as np
import pytest
import torch
from orbitals import gaussian_basis
from systems import blocks_of, hamiltonian, random_structure, small_model
from training_data import HIDDEN, data, samples

from moireio.errors import MoireioError
from moireio.network.create import new_model
from moireio.network.extend import extended
from moireio.network.training.calibrate import calibrate
from moireio.network.training.config import TrainingConfig
from moireio.network.training.loop import Training
from moireio.network.training.samples import make_sample
from moireio.system.basis import Basis


def only(name, shells):
    return Basis({name: gaussian_basis(shells, name)})


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_old_elements_stay(spin, local):
    """A network that learns of N predicts the same for C, to rounding."""
    carbon = only("C", "s1p1d1")
    model = new_model(carbon, [6], spin, HIDDEN, blocks=2, lmax=2, local=local)
    model.network.double()
    if local:
        with torch.no_grad():
            model.network.calibration.baseline.normal_()
            model.network.calibration.log_scale.normal_()
            model.network.calibration.site_shift.normal_()
    with torch.no_grad():
        model.network.lin_edge.bias.normal_()
    more, fresh = extended(model, only("N", "s2p1"), [7])
    assert more.names == ("C", "N")
    assert fresh
    atoms = random_structure(0, n=1, size=3.0)
    own = [hamiltonian(m, atoms)[1] for m in (model, more)]
    assert np.abs(own[0] - own[1]).max() < 1e-11 * np.abs(own[0]).max()
    both = random_structure(1)
    source, flat = hamiltonian(more, both)
    kinds = {both.species[i] * 2 + both.species[j] for i, j, *_ in blocks_of(source, flat)}
    assert kinds == {0, 1, 2, 3}


def test_features_that_are_missing():
    model = small_model(C="s1")
    with pytest.raises(MoireioError, match="its last features lack"):
        extended(model, only("N", "s2p1d1"), [7])


def test_learning_a_new_element():
    """Calibrating the new entries leaves the old ones alone; then the loss falls."""
    carbon = only("C", "s1p1d1")
    model = new_model(carbon, [6], False, HIDDEN, blocks=2, lmax=2)
    more, fresh = extended(model, only("N", "s2p1"), [7])
    made = samples(more)
    before = {n: v.clone() for n, v in more.network.calibration.state_dict().items()}
    calibrate(more, made, only=fresh)
    old = sorted(set(range(len(more.network.settings.out_edge))) - fresh)
    for name in ("baseline", "log_scale", "site_scale", "site_shift"):
        value = more.network.calibration.state_dict()[name]
        assert torch.equal(value[..., old], before[name][..., old])
        assert not torch.equal(value, before[name])
    training = Training(more, made, made[:1], TrainingConfig(learning_rate=3e-3))
    losses = [training.epoch()["training_loss"] for _ in range(6)]
    assert losses[-1] < losses[0]
    assert make_sample(data(5), more.network, more.targets).elements > 0
