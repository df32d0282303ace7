"""Text files appear whole or not at all."""

import os
import stat
import threading

import pytest

from moireio.errors import ExistingFileError, MissingFileError, MoireioError
from moireio.runtime.files import descriptor, is_stream, require_free, write_text


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


@pytest.mark.parametrize(
    ("name", "number"),
    [("-", 1), ("/dev/stdout", 1), ("/dev/fd/2", 2), ("/dev/stderr", 2), ("/proc/self/fd/7", 7)],
)
def test_names_of_open_descriptors(name, number):
    assert descriptor(name) == number
    assert is_stream(name)


def test_pipes_and_devices_are_written_into_not_replaced(tmp_path):
    pipe, plain = tmp_path / "pipe", tmp_path / "plain"
    os.mkfifo(pipe)
    plain.touch()
    assert [is_stream(p) for p in (pipe, "/dev/null", plain, tmp_path, tmp_path / "absent")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    with write_text(pipe) as out:
        out.write("wholé\n")
    reader.join()
    assert read == ["wholé\n"]
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    with write_text("/dev/null") as out:
        out.write("gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_an_open_descriptor_goes_on_from_its_place(tmp_path):
    with open(tmp_path / "f", "w+b") as file:
        file.write(b"one ")
        file.flush()
        with write_text(f"/dev/fd/{file.fileno()}") as out:
            out.write("two")
    assert (tmp_path / "f").read_bytes() == b"one two"


def test_half_a_text_never_reaches_a_pipe(tmp_path):
    with open(tmp_path / "f", "w+b") as file:
        path = f"/dev/fd/{file.fileno()}"
        with pytest.raises(KeyError), write_text(path) as out:  # noqa: PT012
            out.write("half")
            raise KeyError
    assert (tmp_path / "f").read_bytes() == b""


def test_what_exists_is_not_free(tmp_path):
    """Pipes and devices are; a link that leads nowhere is not."""
    absent, there, link = tmp_path / "absent", tmp_path / "there", tmp_path / "link"
    there.write_text("")
    link.symlink_to(absent)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    require_free(absent, pipe, os.devnull, "/dev/fd/1", "-", force=False)
    require_free(there, link, force=True)
    for path in (there, link):
        with pytest.raises(ExistingFileError, match=r"exists already \(`force` replaces it\)"):
            require_free(absent, path, force=False)
    for path in (there, tmp_path):
        with pytest.raises(MoireioError, match="is an input too"):
            require_free(absent, path, force=True, inputs=[str(there)])
    require_free(there, force=True, inputs=[str(absent), str(pipe)])
