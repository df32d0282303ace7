"""Damaged input: a right answer, or one clear line and exit code 1; never half a file."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from helpers import convert

import moireio
from moireio.errors import MoireioError
from moireio.formats.openmx.scfout import open_scfout

NAMES = ["gr_ab", "hbn_soc", "o2_col", "gr_ab_v38"]


def same_as(path, good):
    """Whether a block file holds what another does, coordinates to 1e-9 Å."""
    with moireio.open(path) as a, moireio.open(good) as b:
        n = len(b.structure)
        assert len(a.structure) == n
        assert np.abs(a.structure.positions - b.structure.positions).max() < 1e-9
        assert np.abs(a.structure.cell - b.structure.cell).max() < 1e-9
        assert (a.structure.numbers == b.structure.numbers).all()
        for name in ("hamiltonian", "overlap"):
            x, y = a.operator(name), b.operator(name)
            assert (x.pairs.R == y.pairs.R).all()
            assert (x.rows(0, n) == y.rows(0, n)).all()
        assert a.basis.sizes(a.structure).tolist() == b.basis.sizes(b.structure).tolist()


@pytest.fixture(scope="module")
def good(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("good")
    for name in NAMES:
        convert(str(data / f"{name}.scfout"), str(folder / f"{name}.h5"))
    return folder


def attempt(path, target):
    """Convert; return the message, or None where it succeeded. Anything else is a failure."""
    try:
        convert(str(path), str(target))
    except MoireioError as error:
        message = str(error)
    else:
        return None
    assert not target.exists()
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", NAMES)
def test_a_scfout_cut_anywhere(tmp_path, data, good, name):
    """50 random places in each of four files, and the places where parts meet."""
    whole = (data / f"{name}.scfout").read_bytes()
    with open_scfout(data / f"{name}.scfout") as file:
        header = file.header
    rng = np.random.default_rng(NAMES.index(name))
    places = set(rng.integers(0, len(whole), 50).tolist())
    places |= {0, 1, 23, 24, header.matrix_start, header.matrix_end, header.tail_end - 1}
    for place in sorted(places):
        path = tmp_path / "cut.scfout"
        path.write_bytes(whole[:place])
        message = attempt(path, tmp_path / "cut.h5")
        assert message, f"cut at {place} was not noticed"
        assert "cut short" in message or "damaged" in message or "empty" in message
        assert os.listdir(tmp_path) == ["cut.scfout"]
    path.write_bytes(whole[: header.tail_end])
    assert attempt(path, tmp_path / "cut.h5") is None


@pytest.mark.parametrize("name", NAMES)
def test_random_bytes_in_the_header(tmp_path, data, good, name):
    """The answer is refused, or it is the right one."""
    whole = (data / f"{name}.scfout").read_bytes()
    with open_scfout(data / f"{name}.scfout") as file:
        end = file.header.matrix_start
    rng = np.random.default_rng(100 + NAMES.index(name))
    refused = 0
    for trial in range(150):
        raw = bytearray(whole)
        # half of the trials in the first and last hundreds of bytes: counts, cell, positions
        edge = min(600, end // 2)
        places = [rng.integers(0, end), rng.integers(0, 64), end - 1 - rng.integers(0, edge)]
        place = int(places[trial % 3])
        for at in range(place, min(place + int(rng.integers(1, 5)), end)):
            raw[at] = int(rng.integers(0, 256))
        path, target = tmp_path / "x.scfout", tmp_path / "x.h5"
        path.write_bytes(raw)
        if attempt(path, target) is None:
            same_as(target, good / f"{name}.h5")
            target.unlink()
        else:
            refused += 1
    assert refused > 20


def test_a_scfout_with_its_output_appended(tmp_path, data, good, run):
    joined = (data / "gr_ab.scfout").read_bytes() + (data / "gr_ab.out").read_bytes()
    (tmp_path / "x.scfout").write_bytes(joined)
    run("openmx2h5", tmp_path / "x.scfout", "-o", tmp_path / "x.h5")
    same_as(tmp_path / "x.h5", good / "gr_ab.h5")


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"rubbish", b"\0" * 4096, b"\xff" * 4096, b"{}" * 999]
)
def test_what_is_no_scfout(tmp_path, run, content):
    (tmp_path / "x.scfout").write_bytes(content)
    done = run("openmx2h5", tmp_path / "x.scfout", "-o", tmp_path / "x.h5", check=False)
    done.assert_one_line_error()
    assert "x.scfout" in done.stderr
    assert os.listdir(tmp_path) == ["x.scfout"]


def test_folders_and_absent_files(tmp_path, run):
    for command in ("openmx2h5", "band", "h5-info", "h5-validate", "convert-h"):
        for source in (tmp_path, tmp_path / "absent.h5"):
            done = run(command, source, "-o", tmp_path / "y.h5", check=False) if command in (
                "openmx2h5", "band", "convert-h"
            ) else run(command, source, check=False)  # fmt: skip
            done.assert_one_line_error()
            assert str(source) in done.stderr
    assert os.listdir(tmp_path) == []


COMMANDS = {
    "band": ["--path", "G", "--points", "1"],
    "h5-info": [],
    "h5-validate": ["--samples", "1"],
    "convert-h": ["-o", "OUT", "--storage", "upper"],
}


def try_commands(invoke, path, folder, before):
    """Every command: exit code 0 or 1, one line of error, no new files but a whole output."""
    for name, words in COMMANDS.items():
        words = [str(folder / "out.h5") if w == "OUT" else w for w in words]
        result = invoke(name, str(path), *words)
        assert result.exit_code in (0, 1), (name, result.output)
        assert "Traceback" not in result.output
        if result.exit_code == 1 and name != "h5-validate":
            lines = [n for n in result.stderr.splitlines() if n.strip()]
            assert len(lines) == 1, result.stderr
            assert lines[0].startswith("error: ")
            assert ": unexpected " not in lines[0].split("cannot be read")[0], lines[0]
        out = folder / "out.h5"
        if out.exists():
            assert result.exit_code == 0
            moireio.open(out).close()
            out.unlink()
        assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("suffix", [".h5", ".zarr.zip"])
def test_damaged_block_files(tmp_path, made, invoke, run, suffix):
    """Cut and altered at random places, through every command."""
    original = tmp_path / f"original{suffix}"
    run("convert-h", made["o2_col"], "-o", original)
    whole = original.read_bytes()
    original.unlink()
    rng = np.random.default_rng(7)
    path = tmp_path / f"x{suffix}"
    for trial in range(60):
        raw = bytearray(whole)
        if trial % 3 == 0:
            raw = raw[: int(rng.integers(0, len(raw)))]
        else:
            for _ in range(int(rng.integers(1, 30))):
                raw[int(rng.integers(0, len(raw) if trial % 3 == 1 else 4000))] = int(
                    rng.integers(0, 256)
                )
        path.write_bytes(raw)
        try_commands(invoke, path, tmp_path, [path.name])


def test_damaged_zarr_folders(tmp_path, made, invoke, run):
    """Members removed, emptied, or replaced by rubbish, one at a time."""
    original = tmp_path / "original.zarr"
    run("convert-h", made["o2_col"], "-o", original)
    members = sorted(p.relative_to(original) for p in original.rglob("*") if p.is_file())
    rng = np.random.default_rng(3)
    folder = tmp_path / "work"
    folder.mkdir()
    for trial, member in enumerate(members):
        path = folder / "x.zarr"
        shutil.copytree(original, path)
        broken = path / member
        how = trial % 4
        if how == 0:
            broken.unlink()
        elif how == 1:
            broken.write_bytes(b"")
        elif how == 2:
            broken.write_bytes(rng.bytes(200))
        else:
            content = bytearray(broken.read_bytes())
            content[int(rng.integers(0, len(content)))] ^= 0x55
            broken.write_bytes(content)
        try_commands(invoke, path, folder, ["x.zarr"])
        shutil.rmtree(path)


def test_a_zip_that_is_not_a_block_file(tmp_path, invoke):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("hello.txt", "hello")
    try_commands(invoke, tmp_path / "x.zip", tmp_path, ["x.zip"])
