"""``convert-h`` to structure files."""

import numpy as np
import pytest

from moireio.formats.structures import files as structure_files


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


def test_unknown_suffixes(invoke, made, tmp_path):
    done = invoke("convert-h", made["gr_ab"], "-o", tmp_path / "x.abc")
    assert done.exit_code == 1
    assert ".h5, .zarr or .zarr.zip; for the structure alone .cif" in done.stderr
    assert invoke("convert-h", made["gr_ab"], "-o", tmp_path / "x.abc", "--container", "h5", "-q")
    assert (tmp_path / "x.abc").read_bytes().startswith(b"\x89HDF")
