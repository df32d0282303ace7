"""Text files appear whole or not at all."""

import os
import stat

import pytest

from moireio.errors import MissingFileError, MoireioError
from moireio.runtime.files import write_text


def test_text_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "t.txt"
    with pytest.raises(KeyError), write_text(str(path)) as out:  # noqa: PT012
        out.write("half")
        raise KeyError
    assert os.listdir(tmp_path) == []
    with write_text(path) as out:
        out.write("wholé\n")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "wholé\n"
    assert os.listdir(tmp_path) == ["t.txt"]


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target, link = tmp_path / "t.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    with write_text(str(link)) as out:
        out.write("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert link.is_symlink()
    assert stat.S_ISREG(os.lstat(target).st_mode)


def test_errors_name_the_file_that_is_at_fault(tmp_path):
    path = str(tmp_path / "absent" / "t.txt")
    with pytest.raises(MoireioError, match=r"absent/t\.txt: cannot be written"), write_text(path):
        pass
    wanted = MissingFileError(path="other.h5")
    with pytest.raises(MissingFileError) as caught, write_text(str(tmp_path / "t.txt")):
        raise wanted
    assert caught.value is wanted
