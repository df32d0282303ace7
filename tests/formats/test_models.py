"""Trained networks from files and folders."""

import pytest
import torch
from e3_runs import export
from systems import small_model

from moireio.errors import MoireioError
from moireio.formats.models import load_model
from moireio.network.modelfile import write


def test_files_and_folders(tmp_path):
    write(str(tmp_path / "a.h5"), small_model(local=True))
    export(small_model(dtype=torch.float32), tmp_path / "run")
    assert load_model(str(tmp_path / "a.h5")).kind == "moireio"
    assert load_model(str(tmp_path / "run")).kind == "deeph-e3"
    assert load_model(str(tmp_path / "run"), "0.3.5").network.settings.convention.old_signs
    with pytest.raises(MoireioError, match="`e3nn` is for DeepH-E3's networks"):
        load_model(str(tmp_path / "a.h5"), "0.5")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_model(str(tmp_path / "absent"))
