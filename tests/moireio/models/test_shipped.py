"""Models that come with moireio."""

import os

from moireio.models.shipped import is_model_file, model_with, shipped


def test_they_are_found_by_their_elements():
    path = model_with(["C"])
    assert path in shipped()
    assert is_model_file(path)
    assert shipped()[path]["C"].radial is not None
    assert model_with(["C", "Xe"]) is None


def test_other_files_are_none(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"nothing")
    assert not is_model_file(str(tmp_path / "a.h5"))
    assert not is_model_file(str(tmp_path / "absent.h5"))
    assert not is_model_file(os.fspath(tmp_path))
