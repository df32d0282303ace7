"""Work folders vanish, and the table of them with them."""

import os
import subprocess
import sys

import pytest

from moireio.runtime.workdirs import end_with_this, registered, remove_all, work_folder


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
