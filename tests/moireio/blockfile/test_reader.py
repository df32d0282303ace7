"""Versions, parts that are absent, results by name."""

from dataclasses import replace

import pytest
from helpers import random_operator, random_system, write_file
from result_examples import EXAMPLES, assert_same

import moireio
from moireio.blockfile.stream import write_target
from moireio.errors import MoireioError

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]


def test_versions(tmp_path):
    structure, basis = random_system(0)
    source, _ = random_operator(0, basis.sizes(structure))
    path = write_file(tmp_path / "x.h5", structure, basis, source)
    import h5py

    for version, good in (
        ("1.7", True),
        ("1.0", True),
        ("2.0", False),
        ("0.9", False),
        ("1", False),
        ("new", False),
        ("1." + "7" * 5000, False),
        ("²", False),
        ("1.²", False),
    ):
        with h5py.File(path, "r+") as file:
            file.attrs["format_version"] = version
            file.attrs.pop("metadata_crc", None)
        if good:
            moireio.open(path).close()
        else:
            with pytest.raises(MoireioError, match="version"):
                moireio.open(path)


def test_structures_without_atoms(tmp_path):
    import h5py

    structure, basis = random_system(0)
    none = {name: getattr(structure, name)[:0] for name in ("positions", "numbers", "species")}
    with (
        pytest.raises(MoireioError, match="without atoms"),
        write_target(str(tmp_path / "y.h5")) as writer,
    ):
        writer.structure(replace(structure, layer=None, magmoms=None, **none))
    assert not list(tmp_path.iterdir())
    path = write_file(tmp_path / "x.h5", structure, basis)
    with h5py.File(path, "r+") as file:
        group = file["structure"]
        group.attrs.pop("metadata_crc", None)
        for name in {"layer", "magmoms"} & set(group):
            del group[name]
        for name, value in none.items():
            del group[name]
            group[name] = value
    with moireio.open(path) as file, pytest.raises(MoireioError, match="holds no atoms"):
        file.structure  # noqa: B018


def test_a_newer_minor_version_may_have_more(tmp_path):
    import h5py

    structure, basis = random_system(0)
    source, _ = random_operator(0, basis.sizes(structure))
    path = write_file(tmp_path / "x.h5", structure, basis, source)
    with h5py.File(path, "r+") as file:
        file.create_group("novelty")
    with moireio.open(path) as file:
        assert any("novelty" in f.what for f in moireio.validate(file))
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = "1.9"
        del file.attrs["metadata_crc"]
    with moireio.open(path) as file:
        assert [f.level for f in moireio.validate(file)] == ["note"]  # no overlap


def test_parts_that_are_absent(tmp_path):
    structure, basis = random_system(0)
    path = write_file(tmp_path / "x.h5", structure, basis)
    with moireio.open(path) as file:
        assert (file.moire, file.kpath, file.electrons.count) == (None, None, None)
        assert file.operators == []
        for group in ("bands", "dos-mine"):
            with pytest.raises(MoireioError, match=f"has no /{group}"):
                file.result(group)
        with pytest.raises(MoireioError, match="no result is called 'structure'"):
            file.result("structure")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_results_by_name(tmp_path, suffix):
    structure, basis = random_system(0)
    with write_target(str(tmp_path / f"x{suffix}")) as out:
        out.structure(structure)
        out.basis(basis)
        for name, value in EXAMPLES.items():
            out.result(name, value)
        out.bands(EXAMPLES["bands"], "bands-mine")
    with moireio.open(tmp_path / f"x{suffix}") as file:
        for name in ("electrons", "moire", "kpath", "history"):
            assert_same(getattr(file, name), EXAMPLES[name])
        assert_same(file.dos(), EXAMPLES["dos"])
        assert_same(file.bands().energies, file.bands("bands-mine").energies)
        states = EXAMPLES["bands"].states
        assert (file.states(2, 1, "bands-mine") == states[1, 2].T).all()
