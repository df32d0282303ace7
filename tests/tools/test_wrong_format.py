"""Every command names the kind of a file that it does not read, and the way from there."""

import gzip
import json
import os
import pickle
import shutil
import zipfile
from importlib import import_module

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from deeph_folders import write_dock_folder, write_folder
from foreign_cells import Example, write_aims, write_dftbplus

from moireio.formats.kinds import KINDS, identify
from moireio.models.shipped import shipped
from moireio.tools.main import COMMANDS as ALL
from moireio.tools.wrong_format import READS

POSCAR = "x\n1.0\n4 0 0\n0 4 0\n0 0 9\nC\n1\nCartesian\n0 0 0\n"
WANNIER = " written on 26Nov2026\n  1\n  3\n  1  1  1\n" + "".join(
    f"  {r}  0  0  1  1  -0.5  0.0\n" for r in (-1, 0, 1)
)
FILES = {
    "block": "b.h5",
    "model": "m.h5",
    "deeph-e3": "e3",
    "torch": "network.ckpt",
    "torch-folder": "pack",
    "pickle": "old.pkl",
    "safetensors": "w.safetensors",
    "deeph": "deeph",
    "deeph-file": "deeph/hamiltonians.h5",
    "hdf5": "other.h5",
    "zarr": "other.zarr",
    "npz": "states.npz",
    "zip": "data.zip",
    "compressed": "notes.gz",
    "foreign": "si_hr.dat",
    "dataset": "set",
    "folder": "papers",
    "scfout": "x.scfout",
    "hks": "x.hks",
    "band": "x.Band",
    "out": "x.out",
    "pao": "C6.0.pao",
    "vps": "C_PBE19.vps",
    "dat": "x.dat",
    "tb-model": "m.toml",
    "structure": "POSCAR",
}
MORE = {
    "block": ["b.zarr", "b.zarr.zip"],
    "torch": ["older.pt"],
    "deeph": ["dock"],
    "deeph-file": ["deeph/lat.dat"],
    "dat": ["input", "x.dat#"],
    "structure": ["x.cif", "x.xyz", "x.XV", "scf.in", "POSCAR.gz"],
    "compressed": ["b.h5.gz", "x.scfout.gz"],
}
COMMANDS = {
    "openmx2h5": [],
    "deeph2h5": [],
    "build-twist": ["--index", "2", "1", "--interlayer", "3"],
    "overlap": [],
    "tb-h": ["-m", "graphene-nn"],
    "predict-h": [],
    "train-h": ["-o", "net.h5"],
    "compare-h": [],
    "band": [],
    "flat-band": [],
    "dos": [],
    "chern": [],
    "edge-project": [],
    "symmetrise-h": [],
    "c3-chern": [],
    "irreps": [],
    "convert-h": [],
    "h5-info": [],
    "h5-validate": [],
    "build-dataset status": [],
    "build-dataset run": ["--command", "true"],
    "build-dataset collect": ["-o", "blocks/"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data):
    """One file of every kind, under its name in `FILES`."""
    from moireio.blockfile.convert import Conversion, convert_file
    from moireio.formats.openmx import scfout

    path = tmp_path_factory.mktemp("kinds")
    for name in ("b.h5", "b.zarr", "b.zarr.zip"):
        settings = Conversion("openmx2h5", ("hamiltonian", "overlap"))
        convert_file(str(data / "hbn_soc.scfout"), str(path / name), settings, scfout.read)
    shutil.copy(next(iter(shipped())), path / "m.h5")
    for suffix in ("scfout", "Band", "dat"):
        shutil.copy(data / f"gr_ab.{suffix}", path / f"x.{suffix}")
    shutil.copy(data / "gr_ab.dat", path / "input")
    shutil.copy(data / "gr_ab.dat", path / "x.dat#")
    shutil.copy(data / "gr_ab.out", path / "x.out")
    write_folder(path / "deeph")
    write_dock_folder(path / "dock")
    (path / "e3").mkdir()
    for name in ("network.ckpt", "e3/best_model.pkl"):
        with zipfile.ZipFile(path / name, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps({}))
    (path / "old.pkl").write_bytes(pickle.dumps({}))
    with zipfile.ZipFile(path / "data.zip", "w") as file:
        file.writestr("a.txt", "b")
    with h5py.File(path / "other.h5", "w") as file:
        file["x"] = 1.0
    (path / "other.zarr").mkdir()
    (path / "other.zarr" / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    )
    (path / "set").mkdir()
    (path / "set" / "manifest.json").write_text(json.dumps({"format": "moireio-dataset"}))
    (path / "papers").mkdir()
    (path / "pack").mkdir()
    (path / "pack" / "best_model.pt").write_bytes(b"PK")
    (path / "w.safetensors").write_bytes((2).to_bytes(8, "little") + b'{"":{}}')
    (path / "papers" / "thesis.tex").write_text("...")
    (path / "x.hks").write_bytes(b"\x01\x00\x02\x00" * 40)
    for name in ("C6.0.pao", "C_PBE19.vps"):
        (path / name).write_text("***********\n")
    np.savez(path / "states.npz", c=np.eye(2))
    (path / "older.pt").write_bytes(bytes.fromhex("80028a0a6cfc9c46f9206aa85019") + b".")
    for name in ("x.scfout", "b.h5"):
        (path / f"{name}.gz").write_bytes(gzip.compress((path / name).read_bytes()))
    (path / "notes.gz").write_bytes(gzip.compress(b"band structure\n"))
    (path / "POSCAR.gz").write_bytes(gzip.compress(POSCAR.encode()))
    (path / "si_hr.dat").write_text(WANNIER)
    (path / "x.XV").write_text("1 0 0 0 0 0\n0 1 0 0 0 0\n0 0 9 0 0 0\n1\n1 6 0 0 0 0 0 0\n")
    (path / "scf.in").write_text("&control\n/\n&system\n ibrav=0, nat=1\n/\n")
    (path / "m.toml").write_text("name = 'x'\n")
    (path / "POSCAR").write_text(POSCAR)
    (path / "x.cif").write_text("data_x\n")
    (path / "x.xyz").write_text("1\n\nC 0 0 0\n")
    return path


def fail(command, *words):
    """Run a command that must fail; return its only line on standard error."""
    name, *sub = command.split()
    main = import_module(f"moireio.tools.{name.replace('-', '_')}").main
    result = CliRunner().invoke(main, [*sub, *words])
    assert result.exit_code == 1, (command, words, result.output)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, (command, words, result.stderr)
    assert result.stdout == ""
    return lines[0]


@pytest.mark.parametrize("kind", list(FILES))
def test_kinds(folder, kind, monkeypatch):
    monkeypatch.chdir(folder)
    for name in [FILES[kind], *MORE.get(kind, [])]:
        assert identify(name).name == kind, name


def test_what_is_of_no_kind(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "notes.txt").write_text("band structure\n")
    for path in (tmp_path / "notes.txt", tmp_path / "absent.h5", "/dev/null"):
        assert identify(str(path)) is None
    assert set(FILES) == set(KINDS)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_commands(folder, command, monkeypatch):
    """What they do not read is named, with the way from it where there is one."""
    monkeypatch.chdir(folder)
    before = sorted(os.listdir())
    name = command.split()[-1]
    kinds, words = READS[name]
    for kind, file in FILES.items():
        if kind in kinds:
            continue
        files = [file, file] if command == "compare-h" else [file]
        error = fail(command, *files, *COMMANDS[command])
        start = f"error: {file}: is {identify(file).description}; {command} reads {words}"
        assert error.startswith(start), error
        assert (error.removeprefix(start) != "") == (kind not in ("hdf5", "zarr", "zip", "npz")), (
            error
        )
    assert sorted(os.listdir()) == before


def test_every_command_has_a_row():
    assert set(ALL) - {"build-dataset", "models"} <= set(READS)
    kinds = {kind for row, _ in READS.values() for kind in row}
    assert kinds <= set(KINDS)


WAYS = [
    ("overlap x.scfout", "(openmx2h5 x.scfout | overlap)"),
    ("band x.hks", "(openmx2h5 reads the .scfout of the same run, which HS.fileout on writes)"),
    ("openmx2h5 b.h5", "(commands such as band, h5-info and convert-h read it as it is)"),
    ("openmx2h5 deeph", "(deeph2h5 deeph)"),
    ("predict-h POSCAR", "(overlap POSCAR | predict-h)"),
    ("band POSCAR", "(overlap POSCAR | predict-h | band, or tb-h -m MODEL POSCAR | band)"),
    ("dos deeph", "(deeph2h5 deeph | dos)"),
    ("overlap deeph", "(deeph2h5 deeph | overlap)"),
    ("deeph2h5 deeph/hamiltonians.h5", "(deeph2h5 deeph)"),
    ("h5-info x.scfout", "(openmx2h5 x.scfout | h5-info)"),
    ("band x.Band", "(band FILE.h5 draws it: --overlay x.Band; its k points: --path x.Band)"),
    ("band m.h5", "(predict-h -m m.h5, h5-info m.h5)"),
    ("h5-validate x.dat#", "(overlap 'x.dat#' | h5-validate)"),
]


@pytest.mark.parametrize(("line", "way"), WAYS)
def test_ways(folder, line, way, monkeypatch):
    monkeypatch.chdir(folder)
    assert fail(*line.split()).endswith(way)


OPTIONS = [
    ("predict-h b.h5 -m network.ckpt", "network.ckpt: is a torch checkpoint of another program"),
    ("predict-h b.h5 -m b.zarr", "b.zarr: is a block file; predict-h --model takes model files"),
    ("tb-h POSCAR -m b.h5", "b.h5: is a block file; tb-h --model takes names of its models"),
    ("overlap POSCAR --pao x.scfout", "x.scfout: is an OpenMX .scfout; overlap --pao takes"),
    ("openmx2h5 x.scfout --dat POSCAR", "POSCAR: is a structure file; openmx2h5 --dat takes"),
    (
        "band b.h5 -p GK -n 2 -q --plot p.png --overlay x.scfout",
        "x.scfout: is an OpenMX .scfout; band --overlay takes block files and OpenMX's .Band "
        "(openmx2h5 x.scfout -o FILE.h5)",
    ),
]


@pytest.mark.parametrize(("line", "start"), OPTIONS)
def test_options(folder, line, start, monkeypatch):
    monkeypatch.chdir(folder)
    assert fail(*line.split()).startswith(f"error: {start}")


def test_files_that_are_read_keep_their_own_errors(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert fail("predict-h", "b.h5", "-m", "m.h5").startswith("error: b.h5: has ")
    assert fail("band", "absent.h5") == "error: absent.h5: no such file or folder"
    assert "exists already" in fail("convert-h", "b.h5", "-o", "m.h5")


def test_damaged_block_files_are_not_called_another_programs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = (folder / "b.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    shutil.copy(folder / "b.h5", "bare.h5")
    with h5py.File("bare.h5", "r+") as file:
        del file.attrs["format"]
    shutil.copytree(folder / "b.zarr", "b.zarr")
    (tmp_path / "b.zarr" / "zarr.json").write_text("{")
    for name in ("cut.h5", "bare.h5", "b.zarr"):
        assert identify(name) is None
        for command in ("band", "overlap", "compare-h"):
            error = fail(command, name, *([name] if command == "compare-h" else []))
            assert error.startswith(f"error: {name}: ")
            assert " reads " not in error


def test_several_sources_name_each(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    main = import_module("moireio.tools.openmx2h5").main
    result = CliRunner().invoke(main, ["POSCAR", "b.h5", "-j", "1", "-q", "-o", f"{tmp_path}/"])
    lines = sorted(result.stderr.splitlines())
    assert lines[0].startswith(f"error: {tmp_path}/: 2 of 2 files could not be converted")
    assert lines[1].startswith("error: POSCAR: is a structure file; openmx2h5 reads")
    assert lines[2].startswith("error: b.h5: is a block file; openmx2h5 reads")


@pytest.mark.parametrize("place", ["hamiltonians.h5", os.path.join("output", "hamiltonians_0.h5")])
def test_damage_in_a_folder_is_no_wrong_format(tmp_path, monkeypatch, place):
    """The file inside is a part of the folder that was named: what is wrong in it counts."""
    monkeypatch.chdir(tmp_path)
    blocks = write_folder(tmp_path / "sets" / "a") / "hamiltonians.h5"
    with h5py.File(blocks, "r+") as file:
        file["[0, 0, 0, 1, 2]"][0, 0] += 5
    (tmp_path / "sets" / "a" / "output").mkdir()
    os.rename(blocks, tmp_path / "sets" / "a" / place)
    for words in (["sets/a", "-o", "x.h5"], ["sets/a/", "-o", "y.h5"]):
        error = fail("deeph2h5", *words)
        assert place in error
        assert "block [0, 0, 0, 1, 2] (C and N) and of its partner differ by 5.0e+00 eV" in error


def test_outputs_of_other_programs_are_no_structures(tmp_path, monkeypatch):
    """An output of FHI-aims repeats the atoms of every step; it was read as a geometry.in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aims.out").write_text("  Invoking FHI-aims ...\n" + "  atom 0 0 0 O\n" * 2)
    assert fail("tb-h", "aims.out", "-m", "graphene-nn").startswith(
        "error: aims.out: is an output of FHI-aims; tb-h reads block files and structure files ("
    )


@pytest.mark.parametrize(
    ("write", "name"), [(write_aims, "geometry.in"), (write_dftbplus, "geo.gen")]
)
def test_damage_of_a_structure_in_a_folder_is_no_wrong_format(tmp_path, monkeypatch, write, name):
    """The structure belongs to the folder; that convert-h reads no structures does not matter."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    write(tmp_path / "run", Example(shells={"C": (0,), "Mo": (0,), "H": (0,)}, reach=3.0))
    damaged = tmp_path / "run" / name
    lines = damaged.read_text().split("\n")
    damaged.write_text("\n".join([lines[0], *lines[2:]]))
    error = fail("convert-h", "run", "-o", "x.h5")
    assert error.startswith(f"error: run/{name}: ")
    assert "convert-h reads" not in error
