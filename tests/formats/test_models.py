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
    assert load_model(str(tmp_path / "run" / "best_model.pkl")).kind == "deeph-e3"
    with pytest.raises(MoireioError, match="`e3nn` is for DeepH-E3's networks"):
        load_model(str(tmp_path / "a.h5"), "0.5")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_model(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("network.ckpt", "is a torch checkpoint of another program, not a model"),
        ("w.safetensors", "is a safetensors file of another program, not a model"),
        ("pack", "is a folder with a torch checkpoint of another program, not a model"),
        ("papers", "is a folder, not a model"),
        ("notes.txt", "is not a model"),
        ("half.h5", "is cut short"),
    ],
)
def test_files_of_other_programs(tmp_path, name, message):
    """Called what they are; a model that is cut short is not called foreign."""
    torch.save({"state_dict": {"w": torch.zeros(2)}}, tmp_path / "network.ckpt")
    (tmp_path / "w.safetensors").write_bytes((2).to_bytes(8, "little") + b'{"":{}}')
    for folder in ("pack", "papers"):
        (tmp_path / folder).mkdir()
    torch.save({"state_dict": {"w": torch.zeros(2)}}, tmp_path / "pack" / "best_model.pt")
    (tmp_path / "notes.txt").write_text("a model")
    write(str(tmp_path / "a.h5"), small_model(local=True))
    (tmp_path / "half.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:50_000])
    with pytest.raises(MoireioError, match=message):
        load_model(str(tmp_path / name))
