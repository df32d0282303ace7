"""Occupation of the bands."""

import pytest

from moireio.errors import DamagedError
from moireio.results.electrons import Electrons, ElectronsKind
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

KIND = ElectronsKind()


def test_what_is_unknown_is_left_out(tmp_path):
    electrons = Electrons(count=8, temperature=0.0)
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "electrons", electrons)
    container = open_container(tmp_path / "x.h5")
    assert KIND.read(container) == electrons
    assert KIND.summary(container, "electrons", electrons) == {"count": 8, "temperature": 0.0}
    container.close()
    assert KIND.lines("electrons", {"count": 8, "fermi": -1.25}) == [
        "electrons    count 8, fermi -1.25 eV"
    ]


@pytest.mark.parametrize("fermi", ["high", float("nan"), float("inf")])
def test_a_level_that_is_no_number(tmp_path, fermi):
    with write_container(tmp_path / "x.h5") as out:
        out.create_group("electrons", {"fermi": fermi})
    container = open_container(tmp_path / "x.h5")
    with pytest.raises(DamagedError, match="fermi is not a finite number"):
        KIND.read(container)
    container.close()
