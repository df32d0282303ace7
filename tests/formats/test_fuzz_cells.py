"""Damaged files of CP2K, FHI-aims, DFTB+, RESCU and DeePTB: refused in one line, or read."""

import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from foreign_cells import Example, write_aims, write_cp2k, write_deeptb, write_dftbplus, write_rescu

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

from mutations import damage_file, edit_hdf5

from moireio.errors import MoireioError
from moireio.formats.registry import FORMATS

SHELLS = {"C": (0, 1), "Mo": (0,), "H": (0,)}
WRITERS = {
    "cp2k": write_cp2k,
    "aims": write_aims,
    "dftbplus": write_dftbplus,
    "rescu": write_rescu,
    "deeptb": write_deeptb,
}
CASES = [(name, damage_file, {}) for name in WRITERS]
CASES += [("rescu", edit_hdf5, {}), ("deeptb", edit_hdf5, {})]
CASES += [("cp2k", damage_file, {"archive": True}), ("aims", damage_file, {"hdf5": True})]


def outcomes(folder, name, damage, options, seeds):
    """Messages of the damaged files that are refused."""
    good, work = folder / "good", folder / "work"
    good.mkdir()
    written = WRITERS[name](good, Example(reach=3.2, shells=SHELLS), **options)
    source = work if written.is_dir() else work / written.name
    messages = []
    for seed in seeds:
        shutil.copytree(good, work)
        if name == "rescu" and damage is edit_hdf5:
            (work / "x.mat").rename(work / "y.h5")
            what = damage(str(work), seed)
            (work / "y.h5").rename(work / "x.mat")
        else:
            what = damage(str(work), seed, missing=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with FORMATS[name].read(str(source)) as found:
                    for operator in found.operators.values():
                        assert np.isfinite(operator.rows(0, len(found.structure))).all(), what
        except MoireioError as error:
            messages.append(str(error))
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {what}") from error
        shutil.rmtree(work)
    return messages


@pytest.mark.parametrize(
    ("name", "damage", "options"), CASES, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_damage_is_refused(tmp_path, name, damage, options):
    messages = outcomes(tmp_path, name, damage, options, range(12))
    assert len(messages) > 1
    assert all("\n" not in text for text in messages)
    assert [text for text in messages if str(tmp_path) not in text] == []
