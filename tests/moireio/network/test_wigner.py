"""Coupling coefficients against e3nn."""

import numpy as np
import pytest
import torch
from e3nn import o3

from moireio.network.wigner import coupling
from moireio.system.harmonics import harmonics

# l1, l2, l3 whose coefficients have the other sign in e3nn before 0.5
OLD = (
    "122 133 144 155 166 212 221 313 331 346 364 414 436 441 445 454 456 463 465 515 544 546 551 "
    "555 564 566 616 634 643 645 654 656 661 665"
)


@pytest.fixture
def double():
    """e3nn makes its constants in torch's default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def triples(top):
    return [
        (a, b, c)
        for a in range(top + 1)
        for b in range(top + 1)
        for c in range(abs(a - b), min(a + b, top) + 1)
    ]


def test_coupling_is_that_of_e3nn(double):
    for a, b, c in triples(5):
        np.testing.assert_allclose(coupling(a, b, c), o3.wigner_3j(a, b, c).numpy(), atol=1e-12)


def test_old_signs():
    """Before 0.5 exactly these differ, by their sign."""
    for degrees in triples(6):
        sign = -1 if "".join(map(str, degrees)) in OLD else 1
        np.testing.assert_allclose(coupling(*degrees, True), sign * coupling(*degrees), atol=1e-12)


def test_harmonics_are_e3nns():
    vectors = torch.randn(9, 3, dtype=torch.float64)
    unit = (vectors / vectors.norm(dim=1, keepdim=True)).T.numpy()
    ours = harmonics(5, unit) * np.sqrt(4 * np.pi)
    theirs = o3.spherical_harmonics(
        list(range(6)), vectors[:, [1, 2, 0]], normalize=True, normalization="component"
    )
    np.testing.assert_allclose(ours.T, theirs.numpy(), atol=1e-12)
