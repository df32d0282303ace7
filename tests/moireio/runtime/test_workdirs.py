"""Work folders vanish, and the table of them with them."""

import os
import subprocess
import sys
import warnings

import pytest

from moireio.runtime.workdirs import (
    MARK,
    end_with_this,
    prefix_beside,
    registered,
    remove_all,
    remove_leftovers,
    work_folder,
)


def test_a_folder_lives_as_long_as_its_block(tmp_path):
    before = registered()
    with pytest.raises(KeyError), work_folder("w-", str(tmp_path)) as folder:  # noqa: PT012
        assert os.path.basename(folder).startswith("w-")
        assert registered() - before == {folder}
        os.makedirs(os.path.join(folder, "a", "b"))
        raise KeyError
    assert not os.path.exists(folder)
    assert registered() == before


def test_all_are_removed_but_those_kept(tmp_path):
    with work_folder("kept-", str(tmp_path)) as kept:
        before = registered()
        with work_folder("new-", str(tmp_path)) as new:
            remove_all(keep=before)
            assert os.path.isdir(kept)
            assert not os.path.exists(new)


def test_folders_of_the_parent_are_none_of_a_forked_child(tmp_path):
    with work_folder("w-", str(tmp_path)) as folder:
        child = os.fork()
        if child == 0:
            remove_all()
            os._exit(0)
        os.waitpid(child, 0)
        assert os.path.isdir(folder)


def test_a_child_is_forgotten_once_its_block_ends():
    before = registered()
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        with end_with_this(process):
            assert registered() - before == {process}
            process.wait()
        assert registered() == before


def test_children_are_ended():
    before = registered()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child, end_with_this(child):
        remove_all(keep=before)
        assert child.wait(60) == -9


LEFT = """
import os, signal, sys
from moireio.runtime.workdirs import work_folder
with work_folder(sys.argv[1], sys.argv[2]) as folder:
    os.makedirs(os.path.join(folder, "a"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_named_and_removed(tmp_path):
    prefix = prefix_beside("x.h5")
    for start in (prefix, prefix_beside("y.h5")):
        subprocess.run([sys.executable, "-c", LEFT, start, tmp_path])
    left, other = sorted(os.listdir(tmp_path))
    with (  # noqa: PT031
        pytest.warns(UserWarning, match=f"removed what a killed run has left: {left}$"),
        work_folder(prefix, str(tmp_path)) as own,
    ):
        assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(own), other])
        with warnings.catch_warnings():  # a folder in use stays
            warnings.simplefilter("error")
            remove_leftovers(prefix, str(tmp_path))
        assert os.path.isdir(own)
    assert os.listdir(tmp_path) == [other]


def test_what_is_not_moireios_own_stays(tmp_path):
    prefix = prefix_beside("x.h5")
    stay = [tmp_path / f"{prefix}{name}" for name in ("thesis", "abcd1234", "ab12cd34", "ffff0000")]
    for folder in stay[:3]:
        folder.mkdir()
        (folder / "thesis.txt").touch()
    (stay[2] / MARK).write_text("moireio another-machine\n")
    stay[3].symlink_to(stay[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        remove_leftovers(prefix, str(tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted(stay)
    assert all((folder / "thesis.txt").exists() for folder in stay)


def test_a_folder_that_was_not_yet_marked_is_removed(tmp_path):
    (tmp_path / ".x.h5.part-abcd1234").mkdir()
    with pytest.warns(UserWarning, match=r"left: \.x\.h5\.part-abcd1234$"):
        remove_leftovers(".x.h5.part-", str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_names_of_any_length(tmp_path):
    for name in ("x" * 250, "Γ" * 120):
        with work_folder(prefix_beside(name), str(tmp_path)):
            pass
