"""Models."""

import torch
from systems import small_model

from moireio.network.head import Targets
from moireio.network.net import NetworkSettings


def test_digest_follows_weights_and_settings():
    model = small_model()
    digest = model.digest()
    assert small_model().digest() == digest
    with torch.no_grad():
        model.network.embedding[0, 0] += 1e-6
    assert model.digest() != digest
    model = small_model()
    model.network.settings = model.network.settings.with_(neighbours=7.0)
    assert model.digest() != digest


def test_plain_values_and_back():
    model = small_model(spin=True, local=True)
    settings = model.network.settings
    assert NetworkSettings.from_plain(settings.to_plain()) == settings
    assert Targets.from_plain(model.targets.to_plain()) == model.targets
