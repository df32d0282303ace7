"""The Fermi level of energies on a mesh."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.spectrum.fermi import fermi_level


def test_fermi_level():
    weights = np.full(4, 0.25)
    energies = np.array([[-1.0, 2.0]] * 4)
    assert fermi_level(energies, weights, 2, degeneracy=2) == pytest.approx(0.5)
    assert fermi_level(energies, weights, 2, temperature=0, degeneracy=2) == pytest.approx(0.5)
    # half of a flat band is full: the level lies in it
    assert fermi_level(energies, weights, 1, degeneracy=2) == pytest.approx(-1.0, abs=1e-6)
    # a quarter: kT ln(1/3) below it
    kt = 8.617333262e-5 * 1000
    found = fermi_level(energies, weights, 0.5, temperature=1000, degeneracy=2)
    assert found == pytest.approx(-1 - kt * np.log(3), abs=1e-6)
    both = np.array([energies - 0.5, energies + 0.5])
    assert fermi_level(both, weights, 1) == pytest.approx((-1.5 - 0.5) / 2)
    with pytest.raises(MoireioError, match="do not fit"):
        fermi_level(energies, weights, 5, degeneracy=2)
