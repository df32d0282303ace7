"""Small models that several files use."""

import pytest
from systems import CASES, small_model


@pytest.fixture(scope="module")
def models():
    """Models with random weights: spinless or spinors, in either variant of the network."""
    return {case: small_model(*case) for case in CASES}
