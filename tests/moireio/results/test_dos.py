"""Densities of states: names in the file and in JSON, damage."""

import json
from dataclasses import replace

import numpy as np
import pytest
from result_examples import example_dos

from moireio.dos.report import dos_json
from moireio.errors import DamagedError, MoireioError
from moireio.results.dos import DensityOfStatesKind
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

KIND = DensityOfStatesKind()


def test_the_valence_band_maximum_keeps_its_name_outside(tmp_path):
    dos = example_dos()
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "dos", dos)
    container = open_container(tmp_path / "x.h5")
    assert container.attributes("dos")["valence_top"] == dos.vbm == dos.zero("vbm")
    container.close()
    assert json.loads(dos_json(dos))["valence_top"] == dos.vbm
    with pytest.raises(MoireioError, match="valence band maximum is unknown"):
        replace(dos, vbm=None).zero("vbm")


@pytest.mark.parametrize("name", ["total", "projected", "error", "labels", "energies"])
def test_arrays_that_do_not_fit(tmp_path, name):
    dos = example_dos()
    part = getattr(dos, name)
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "dos", replace(dos, **{name: part[..., :1] if name != "labels" else ()}))
    container = open_container(tmp_path / "x.h5")
    with pytest.raises(DamagedError, match="do not fit together"):
        KIND.read(container, "dos")
    container.close()


def test_numbers_that_are_not_finite():
    dos = example_dos()
    dos.projected[0, 0, 0] = np.nan
    assert [f.where for f in KIND.check(None, "dos-x", dos, None)] == ["/dos-x/projected"]
