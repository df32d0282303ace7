"""Damaged files of Wannier90 and WannierTools: refused in one line, or read; nothing else."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from wannier_files import hr_text, random_model, write_wannier90

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))

from mutations import damage_file

from moireio.errors import MoireioError
from moireio.formats.registry import FORMATS

N_SEEDS = 50  # 200 were tried
SAMPLES = {"hr": "w_hr.dat", "tb": "w_tb.dat", "sparse": "x.dat", "dense": "y_hr.dat"}


def make(kind, folder):
    """A folder with one Hamiltonian and all that goes with it."""
    folder.mkdir()
    write_wannier90(folder)
    shutil.copytree(folder / "wt", folder.parent / "wt")
    shutil.rmtree(folder / "wt")
    cells, matrices = random_model(7, 2)
    if kind in ("sparse", "dense"):
        shutil.rmtree(folder)
        shutil.copytree(folder.parent / "wt", folder)
        if kind == "dense":
            (folder / "x.dat").unlink()
            (folder / "y_hr.dat").write_text(hr_text(cells, matrices))
            text = (folder / "wt.in").read_text()
            (folder / "wt.in").write_text(text.replace("x.dat", "y_hr.dat"))
        return "wanniertools"
    rows = [
        f"{' '.join(map(str, cell))} {i} {j}\n1\n0 0 0\n"
        for cell in cells.tolist()
        for i in (1, 2)
        for j in (1, 2)
    ]
    (folder / "w_wsvec.dat").write_text("## written\n" + "".join(rows))
    (folder / ("w_tb.dat" if kind == "hr" else "w_hr.dat")).unlink()
    return "wannier90"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SAMPLES)
def test_damage_is_refused(tmp_path, kind):
    row = FORMATS[make(kind, tmp_path / "good")]
    messages = []
    for seed in range(N_SEEDS):
        work = tmp_path / "work"
        shutil.copytree(tmp_path / "good", work)
        what = damage_file(str(work), seed, missing=True)
        try:
            row.detect(str(work / SAMPLES[kind]))
            with row.read(str(work / SAMPLES[kind])) as found:
                for name in found.operators:
                    values = found.operator(name).rows(0, len(found.structure))
                    assert np.isfinite(values).all(), what
        except MoireioError as error:
            messages.append(f"{error}")
        shutil.rmtree(work)
    assert len(messages) > 12
    assert all("\n" not in text for text in messages)
    assert [text for text in messages if "work" not in text] == []
