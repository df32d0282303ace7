"""``convert-h``: formats by name, suffix and content, and structure files."""

import io
import json
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import moireio
from moireio.errors import MissingFileError
from moireio.formats import matrices
from moireio.formats.calculations import open_calculation
from moireio.formats.structures import files as structure_files
from moireio.formats.tbmodels import hdf5 as tbmodels

DATA = Path(__file__).parent.parent / "data"


@pytest.mark.parametrize("name", ["x.cif", "POSCAR", "x.xyz", "x.lmp", "x.dat"])
def test_structures_of_other_programs(invoke, made, tmp_path, name):
    import moireio

    done = invoke("convert-h", made["hbn_soc"], "-o", tmp_path / name)
    assert done.exit_code == 0
    assert f"note: {tmp_path / name} holds the structure alone, without /density" in done.stderr
    with moireio.open(made["hbn_soc"]) as file:
        expected = file.structure
    found, basis = structure_files.read_foreign(str(tmp_path / name))
    assert sorted(found.numbers) == sorted(expected.numbers)
    assert np.linalg.norm(found.cell, axis=1) == pytest.approx(
        np.linalg.norm(expected.cell, axis=1), abs=1e-6
    )
    if name == "x.dat":
        assert basis["B"].name == "B7.0-s2p2d1"


@pytest.mark.parametrize("words", [["--storage", "upper"], ["--precision", "float32"]])
def test_options_of_block_files_are_refused(invoke, made, tmp_path, words):
    done = invoke("convert-h", made["gr_ab"], "-o", tmp_path / "x.cif", *words)
    assert done.exit_code == 2
    assert f"{words[0]} is for block files" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["-o", "x.h5"], ["-o", "x", "--to", "deeptb"], ["-o", "x.cif"]])
def test_orthogonal_orbitals_are_for_formats_without_an_overlap(invoke, made, words):
    done = invoke("convert-h", made["gr_ab"], *words, "--orthogonalise", "3x3")
    assert done.exit_code == 2
    message = (
        "--orthogonalise is for formats without an overlap (tbmodels, wanniertools, wannier90)"
    )
    assert message in done.stderr


def test_a_model_for_tbmodels(invoke, made, tmp_path):
    words = ("--to", "tbmodels", "--orthogonalise", "2x2", "-q")
    done = invoke("convert-h", made["gr_ab"], "-o", tmp_path / "x.hdf5", *words)
    assert done.exit_code == 0, done.stderr
    assert tbmodels.read(str(tmp_path / "x.hdf5")).hamiltonian.pairs.n_atoms > 0


def test_folders_in_which_files_have_names_of_their_own(invoke, made, tmp_path):
    words = ("--to", "wanniertools", "-o", tmp_path / "h.dat", "-q")
    assert invoke("convert-h", made["gr_ab"], *words).exit_code == 0
    done = invoke("convert-h", tmp_path, "-o", tmp_path / "y.h5")
    assert done.exit_code == 1
    assert done.stderr == (
        f"error: {tmp_path}: is of no known format (name one of its files, as {tmp_path}/h.dat)\n"
    )


@pytest.mark.parametrize("words", [["--to", "hamgnn"], ["--to", "npz", "--kpoints"]])
def test_a_pipe_with_a_name_is_written_into(invoke, made, tmp_path, words):
    """It exists, and is not replaced."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    if words[-1] == "--kpoints":
        (tmp_path / "k.txt").write_text("0 0 0\n")
        words = [*words, tmp_path / "k.txt"]
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    done = invoke("convert-h", made["gr_ab"], "-o", pipe, *words, "-q")
    assert done.exit_code == 0, done.stderr
    reader.join(timeout=30)
    assert zipfile.is_zipfile(io.BytesIO(read[0]))
    assert pipe.is_fifo()


def test_what_was_read_beside_source_is_not_replaced(invoke, made, tmp_path):
    """Not with --force either: as x.mat and x.h5 of RESCU, or a folder that holds SOURCE."""
    words = ("--to", "deeptb", "-o", tmp_path / "folder", "-q")
    assert invoke("convert-h", made["gr_ab"], *words).exit_code == 0
    source, other = (tmp_path / "folder" / name for name in ("hamiltonians.h5", "overlaps.h5"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    for target, to in ((other, "moireio"), (tmp_path / "folder", "deeptb")):
        done = invoke("convert-h", source, "--to", to, "-o", target, "--force")
        assert done.exit_code == 1
        assert f"error: {target}: is an input too (name another file or folder)" in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()} == before


def test_files_beside_output_that_were_read_are_not_replaced(invoke, made, tmp_path):
    """wt.in of one Hamiltonian would become that of another."""
    words = ("--to", "wanniertools", "-q", "--force")
    assert invoke("convert-h", made["gr_ab"], *words, "-o", tmp_path / "h.dat").exit_code == 0
    before = (tmp_path / "wt.in").read_bytes()
    done = invoke("convert-h", tmp_path / "wt.in", *words, "-o", tmp_path / "new.dat")
    assert done.exit_code == 1
    assert f"{tmp_path}/wt.in: is an input too" in done.stderr
    assert (tmp_path / "wt.in").read_bytes() == before
    assert not (tmp_path / "new.dat").exists()


def test_unknown_suffixes(invoke, made, tmp_path):
    done = invoke("convert-h", made["gr_ab"], "-o", tmp_path / "x.abc")
    assert done.exit_code == 1
    assert "use .h5, .zarr or .zarr.zip, or --to FORMAT" in done.stderr
    assert "for the structure alone .cif" in done.stderr
    assert invoke("convert-h", made["gr_ab"], "-o", tmp_path / "x.abc", "--container", "h5", "-q")
    assert (tmp_path / "x.abc").read_bytes().startswith(b"\x89HDF")


def test_a_file_of_another_program(invoke, made, tmp_path):
    """The same as by the program's own command, but for the history."""
    import moireio

    out = tmp_path / "x.h5"
    done = invoke("convert-h", DATA / "hbn_soc.scfout", "-o", out)
    assert done.exit_code == 0, done.stderr
    with moireio.open(out) as ours, moireio.open(made["hbn_soc"]) as theirs:
        for name in ("hamiltonian", "overlap", "position"):
            a, b = ours.operator(name), theirs.operator(name)
            assert np.array_equal(a.rows(0, len(a.sizes)), b.rows(0, len(b.sizes)))
    assert invoke("h5-validate", out).exit_code == 0


def test_list(invoke):
    done = invoke("convert-h", "--list", "--json")
    rows = {row["format"]: row for row in json.loads(done.stdout)}
    assert {"moireio", "openmx", "deeph", "deeph-dock"} <= set(rows)
    for row in rows.values():
        assert {"format", "read", "write", "detect", "keeps", "loses"} <= set(row)
        assert row["read"] is True
    assert rows["moireio"]["write"] is True
    text = invoke("convert-h", "--list").stdout
    assert all(name in text for name in rows)


def test_formats_by_name(invoke, made, tmp_path):
    done = invoke("convert-h", made["gr_ab"], "--to", "openmx", "-o", tmp_path / "x")
    assert done.exit_code == 1
    assert "moireio reads the format openmx, but does not write it (written: moireio" in done.stderr
    done = invoke("convert-h", made["gr_ab"], "--to", "openmax", "-o", tmp_path / "x")
    assert "no format is called 'openmax'" in done.stderr
    done = invoke("convert-h", made["gr_ab"], "--from", "openmx", "-o", tmp_path / "x.h5")
    assert done.exit_code == 1
    assert "gr_ab.h5" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_format_does_not_take(invoke, made, tmp_path):
    source, out = DATA / "gr_ab.scfout", tmp_path / "x.h5"
    for words, text in (
        (["--with", made["gr_ab"]], "--with: the format openmx takes no further files"),
        (["--option", "a=b"], "--option a: the formats here have none"),
        (["--option", "a"], "--option a: expected KEY=VALUE"),
    ):
        done = invoke("convert-h", source, *words, "-o", out)
        assert done.exit_code == 2
        assert text in done.stderr
    done = invoke("convert-h", made["gr_ab"], "--pbc", "TTF", "-o", out)
    assert "--pbc is for files of other programs" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_companion_instead_of_the_matrices(invoke, made, tmp_path):
    """The message has the file that is to be named."""
    invoke("convert-h", made["gr_ab"], "-o", tmp_path / "x_hr.dat", "--orthogonalise", "1x1")
    invoke("convert-h", made["gr_ab"], "--to", "deeph", "-o", tmp_path / "d")
    for name, text in (
        ("x.win", f"({tmp_path / 'x_hr.dat'}, which is beside it, may be what it belongs to)"),
        ("d/lat.dat", f"(convert-h {tmp_path / 'd'})"),
        ("d/hamiltonians.h5", f"(convert-h {tmp_path / 'd'})"),
    ):
        done = invoke("convert-h", tmp_path / name, "-o", tmp_path / "y.h5")
        assert done.exit_code == 1
        assert text in done.stderr


def test_of_no_known_format(invoke, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing that a program wrote")
    done = invoke("convert-h", tmp_path / "notes.txt", "-o", tmp_path / "x.h5")
    assert done.exit_code == 1
    assert "notes.txt: is of no known format (convert-h --list prints them" in done.stderr
    for name in ("model_hr.dat", "hamreal1.dat", "x.txt"):
        (tmp_path / name).write_text("")
        done = invoke("convert-h", tmp_path / name, "-o", tmp_path / "x.h5")
        assert done.exit_code == 1
        assert f"{name}: is empty" in done.stderr
    (tmp_path / "model_hr.dat").write_text("nothing\n")  # the format that its name promises
    done = invoke("convert-h", tmp_path / "model_hr.dat", "-o", tmp_path / "x.h5")
    assert "model_hr.dat: line 1: the file ends where" in done.stderr
    done = invoke("convert-h", tmp_path / "absent", "-o", tmp_path / "x.h5")
    assert "absent: no such file or folder" in done.stderr


def test_notes_are_kept(invoke, made, tmp_path):
    """What the reader remarks stands in the history, and h5-info prints it."""
    from deeph_folders import folder_of

    source = folder_of(made["hbn_soc"], tmp_path / "dock")
    done = invoke("convert-h", source, "-o", tmp_path / "x.h5")
    assert done.exit_code == 0, done.stderr
    (note,) = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert "not periodic along c" in note
    info = invoke("h5-info", tmp_path / "x.h5").stdout
    assert f"note: {note.removeprefix(f'note: {source}: ')}" in info


def test_the_error_of_a_folder_is_that_of_its_format(invoke, tmp_path):
    """What is missing in it, not that it is a folder."""
    from foreign_cells import Example, write_aims

    write_aims(tmp_path, Example(reach=3.2))
    (tmp_path / "geometry.in").unlink()
    done = invoke("convert-h", tmp_path, "-o", tmp_path / "x.h5")
    assert done.exit_code == 1
    assert "has no geometry.in beside it" in done.stderr


def test_another_format_through_a_pipe(invoke, tmp_path):
    """HDF5 too, which is read at any place; errors name the pipe."""
    hoppings = {(n, 0, 0): np.array([[value]]) for n, value in ((0, 0.5), (1, -1.0), (-1, -1.0))}
    with matrices.read(hoppings, cell=3 * np.eye(3)) as model:
        tbmodels.write(model, str(tmp_path / "x.hdf5"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for content, code in (((tmp_path / "x.hdf5").read_bytes(), 0), (b"rubbish" * 9, 1)):
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        done = invoke("convert-h", pipe, "--from", "tbmodels", "--force", "-o", tmp_path / "y.h5")
        writer.join()
        assert done.exit_code == code, done.stderr
        assert "/proc/" not in done.stderr
    assert f"{pipe}: is not an HDF5 file" in done.stderr
    with moireio.open(tmp_path / "y.h5") as file:
        assert file.operator("hamiltonian").at_k([0.5, 0, 0], dense=True)[0, 0] == 2.5


@pytest.mark.parametrize(
    "source",
    [
        "abacus_si/data-HR-sparse_SPIN0.csr.gz", "aims_water/rs_hamiltonian.out",
        "cp2k_graphene/gr.out.gz", "deeptb_si64/hamiltonians.h5.gz",
        "dftbplus_h2o/hamreal1.dat", "qe_w90_si/si_hr.dat", "rescu_al/al_lcao_scf.h5",
        "siesta_si_3d/Si_pdos.HSX", "wanniertools_sparse_tbg244/TG_hr.dat-sparse.gz",
    ],
)  # fmt: skip
def test_files_of_with_are_read_or_named(invoke, shared, tmp_path, source):
    """What is missing is refused; what is not read, such as a second one of a kind, is noted."""
    path, target = shared / "foreign" / source, tmp_path / "x.h5"
    done = invoke("convert-h", path, "--with", tmp_path / "absent", "-o", target)
    assert (done.exit_code, target.exists()) == (1, False)
    assert done.stderr.startswith(f"error: {tmp_path / 'absent'}: no such file or folder")
    with pytest.raises(MissingFileError, match="absent"):
        open_calculation(str(path), companions=[str(tmp_path / "absent")])
    own = [one for one in path.parent.iterdir() if one.name.endswith(OWN)]
    words = [word for one in own for word in ("--with", one)]
    done = invoke("convert-h", path, *words, "-o", target)
    assert done.exit_code == 0, done.stderr
    assert "is not read" not in done.stderr
    junk = tmp_path / "junk"
    junk.write_text("hello\n")
    done = invoke("convert-h", path, *words, "--with", junk, "-o", target, "--force")
    assert (
        done.exit_code == 1  # as a structure file, where those are possible
        or f"{junk} of --with is not read" in done.stderr
    )


#: Ends of names of files that readers of the programs above look for.
OWN = (
    "STRU", "SR-sparse_SPIN0.csr", "geometry.in", "indices.out", "rs_overlap.out", "csr.tar.gz",
    "gr.inp", "overlaps.h5.gz", "basis.dat", "cell.dat", "dftb_in.hsd", "overreal.dat", "si.win",
    "si_wsvec.dat", "si_tb.dat", ".mat", "ORB_INDX.gz", "wt.in-bands-sparse",
    "POSCAR-rigid",
)  # fmt: skip


def test_options_for_a_damaged_file(invoke, made, tmp_path):
    """A file that is cut short may be of any format; the damage is named, not the option."""
    options = ["--option", "spinor=interleaved"]
    mesh = ["--orthogonalise", "1x1"]
    invoke("convert-h", made["hbn_soc"], "--to", "tbmodels", "-o", tmp_path / "x.hdf5", *mesh)
    whole = (tmp_path / "x.hdf5").read_bytes()
    (tmp_path / "x.hdf5").write_bytes(whole[: len(whole) // 2])
    done = invoke("convert-h", tmp_path / "x.hdf5", "-o", tmp_path / "y.h5", *options)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'x.hdf5'}: is cut short")
