"""Calculations in tar archives."""

import io
import os
import tarfile
import tempfile

import pytest
from click.testing import CliRunner
from foreign_cells import Example, write_aims, write_cp2k, write_dftbplus, write_rescu
from foreign_levels import assert_same_blocks
from wannier_files import write_wannier90
from written_formats import make

from moireio.blockfile.calculation import read
from moireio.errors import DamagedError, MoireioError
from moireio.formats.archives import is_archive, unpacked
from moireio.tools.convert_h import main

CASES = ("abacus", "deeph", "deeph-dock", "cp2k", "deeptb", "hamgnn", "wanniertools", "aims")
CASES += ("dftbplus", "rescu")


def convert(*words):
    return CliRunner().invoke(main, [*map(str, words)])


def pack(folder, archive, mode="w:gz"):
    with tarfile.open(archive, mode) as file:
        file.add(folder, arcname="run")


@pytest.mark.parametrize("case", CASES)
def test_whole_calculations(tmp_path, made, case):
    """What is read is what is in the folder; messages have the archive's name."""
    (tmp_path / "run").mkdir()
    source, name = make(tmp_path / "run", case, made)
    mode = "w" if case == "deeph" else "w:gz"
    pack(tmp_path / "run", tmp_path / "run.tar.gz", mode)
    assert convert(tmp_path / "run" / source, "-o", tmp_path / "a.h5").exit_code == 0
    done = convert(tmp_path / "run.tar.gz", "-o", tmp_path / "b.h5", "--from", name)
    assert done.exit_code == 0, done.stderr
    assert tempfile.gettempdir() + "/moireio" not in done.stderr
    with read(str(tmp_path / "a.h5")) as one, read(str(tmp_path / "b.h5")) as two:
        assert_same_blocks(one.hamiltonian, two.hamiltonian, 0, 0)
        assert_same_blocks(one.overlap, two.overlap, 0, 0)
    assert [n for n in os.listdir(tempfile.gettempdir()) if n.startswith("moireio-archive")] == []


def test_damage_inside_is_named(tmp_path):
    (tmp_path / "run").mkdir()
    write_dftbplus(tmp_path / "run", Example())
    (tmp_path / "run" / "geo.gen").write_text("3 S\nC Mo H\n")
    pack(tmp_path / "run", tmp_path / "x.tgz")
    done = convert(tmp_path / "x.tgz", "-o", tmp_path / "y.h5")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {tmp_path}/x.tgz/run/geo.gen: ")
    assert not (tmp_path / "y.h5").exists()


def test_what_is_no_calculation(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("nothing")
    pack(tmp_path / "run", tmp_path / "x.tar")
    assert is_archive(str(tmp_path / "x.tar"))
    assert not is_archive(str(tmp_path / "run"))
    assert not is_archive(str(tmp_path / "run" / "notes.txt"))
    done = convert(tmp_path / "x.tar", "-o", tmp_path / "y.h5")
    assert f"error: {tmp_path}/x.tar: of its files none is known" in done.stderr
    write_wannier90(tmp_path / "run")
    pack(tmp_path / "run", tmp_path / "x.tar")
    with (
        pytest.raises(MoireioError, match=r"holds \d calculations: .*run/w_hr.dat.*unpack it"),
        unpacked(str(tmp_path / "x.tar")),
    ):
        pass
    whole = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[: len(whole) // 3])
    with (
        pytest.raises(DamagedError, match=r"x\.tar: .* cut short"),
        unpacked(str(tmp_path / "x.tar")),
    ):
        pass


@pytest.mark.parametrize("name", ["../x.HSX", "/x.HSX", "a/../../x.HSX"])
def test_nothing_is_written_outside(tmp_path, name):
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        info = tarfile.TarInfo(name)
        info.size = 3
        file.addfile(info, io.BytesIO(b"abc"))
    with (
        pytest.raises(DamagedError, match="names a file outside of itself"),
        unpacked(str(tmp_path / "x.tar")),
    ):
        pass


def test_links_are_left_out(tmp_path):
    (tmp_path / "run").mkdir()
    write_aims(tmp_path / "run", Example())
    os.symlink("/etc/passwd", tmp_path / "run" / "aims.out")
    pack(tmp_path / "run", tmp_path / "x.tar")
    with unpacked(str(tmp_path / "x.tar")) as found:
        assert "aims.out" not in os.listdir(found.source)
        assert found.format.name == "aims"


def test_matrices_of_cp2k_alone(tmp_path):
    """They stay in the archive where the output is beside it, or given."""
    write_cp2k(tmp_path, Example(), archive=True)
    for words in ([], ["--with", tmp_path / "x.out"]):
        done = convert(tmp_path / "csr.tar.gz", *words, "-o", tmp_path / "y.h5", "--force")
        assert done.exit_code == 0, done.stderr


def test_other_formats_than_that_asked_for(tmp_path):
    (tmp_path / "run").mkdir()
    write_rescu(tmp_path / "run", Example())
    pack(tmp_path / "run", tmp_path / "x.tar")
    done = convert(tmp_path / "x.tar", "--from", "aims", "-o", tmp_path / "y.h5")
    assert f"error: {tmp_path}/x.tar: of its files none is of aims" in done.stderr
