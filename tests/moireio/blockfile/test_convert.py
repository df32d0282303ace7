"""The converter: any calculation into block files, one or many."""

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system, write_file

import moireio
from moireio.blockfile import calculation as blockfile
from moireio.blockfile.calculation import Calculation
from moireio.blockfile.convert import Conversion, convert, convert_all, convert_file, plan_folder
from moireio.errors import MoireioError
from moireio.results.electrons import Electrons
from moireio.results.kpath import KPathSegments
from moireio.units import Constants

BOTH = Conversion("test", ("hamiltonian", "overlap"))


@pytest.fixture
def calculation():
    structure, basis = random_system(11)
    sizes = basis.sizes(structure)
    operators = {
        "hamiltonian": random_operator(11, sizes)[0],
        "overlap": overlap_like(11, sizes)[0],
        "position": random_operator(11, sizes, name="position")[0],
    }
    kpath = KPathSegments(
        np.array([[[0, 0, 0], [0.5, 0, 0]]]), labels=(("Γ", "M"),), counts=np.array([3])
    )
    return Calculation(
        "folder/a.b/",
        structure,
        basis,
        operators,
        electrons=Electrons(fermi=-1.5),
        kpath=kpath,
        notes=["a note"],
        digest=lambda names: "digest of " + " ".join(names),
    )


@pytest.fixture
def sources(tmp_path):
    """Three block files, which serve as files of a foreign format."""
    paths = []
    for seed, name in enumerate(("a.src", "b.src", "deep/a.src")):
        structure, basis = random_system(seed)
        sizes = basis.sizes(structure)
        path = tmp_path / f"{seed}.h5"
        write_file(path, structure, basis, random_operator(seed, sizes)[0])
        target = tmp_path / "sources" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        paths.append(str(target))
    return paths


@pytest.mark.parametrize("storage", [None, "full", "upper"])
@pytest.mark.parametrize("precision", [None, "float32", "float64"])
def test_everything_arrives(tmp_path, calculation, storage, precision):
    steps = []
    settings = Conversion(
        "test", storage=storage, precision=precision, arguments=["--flag"], compression="gzip"
    )
    target = str(tmp_path / "x.h5")
    notes = convert(calculation, target, settings, lambda *step: steps.append(step))
    assert notes == ["a note"]
    assert sum(done for done, _ in steps) == steps[0][1]
    assert len({total for _, total in steps}) == 1
    with moireio.open(target) as file:
        assert file.operators == ["hamiltonian", "overlap", "position"]
        assert file.electrons.fermi == -1.5
        assert [list(ends) for ends in file.kpath.labels] == [["Γ", "M"]]
        entry = file.history[0]
        assert (entry.command, list(entry.arguments)) == ("test", ["--flag"])
        assert list(entry.inputs) == ["a.b"]
        assert list(entry.digests) == ["digest of hamiltonian overlap position"]
        for name, source in calculation.operators.items():
            operator = file.operator(name)
            half = storage == "upper" and name != "position"
            assert operator.meta.storage == ("upper" if half else "full")
            assert operator.meta.dtype == (precision or "float64")
            expected = source.rows(0, 4).astype(operator.meta.dtype)
            np.testing.assert_array_equal(operator.full().rows(0, 4), expected)


def test_a_residual_beyond_the_usual_is_a_note(tmp_path, calculation):
    calculation.operators["hamiltonian"].residual = 2e-5
    calculation.usual_residual = {"hamiltonian": 1e-6, "overlap": 1e-6}
    notes = convert(calculation, str(tmp_path / "x.h5"), BOTH)
    assert "the hamiltonian is 2.0e-05 eV away from Hermitian" in notes[1]
    assert len(notes) == 2


def test_a_failure_leaves_nothing_behind(tmp_path, calculation):
    settings = replace(BOTH, operators=("hamiltonian", "momentum"))
    with pytest.raises(MoireioError, match="has no momentum"):
        convert(calculation, str(tmp_path / "x.h5"), settings)

    def fail(names):
        raise MoireioError("the disk is gone")

    calculation.digest = fail
    with pytest.raises(MoireioError, match="the disk is gone"):
        convert(calculation, str(tmp_path / "x.h5"), BOTH)
    assert os.listdir(tmp_path) == []


def test_what_exists_is_kept_unless_forced(tmp_path, calculation):
    target = tmp_path / "x.h5"
    target.write_text("precious")
    with pytest.raises(MoireioError, match="exists"):
        convert(calculation, str(target), BOTH)
    assert target.read_text() == "precious"
    convert(calculation, str(target), replace(BOTH, force=True))
    with moireio.open(target) as file:
        assert "hamiltonian" in file


def test_targets_are_named_after_the_sources(sources):
    tasks = plan_folder(sources[:2], "out", BOTH, (".src",))
    assert [t.target for t in tasks] == ["out/a.h5", "out/b.h5"]
    tasks = plan_folder(sources, "out", replace(BOTH, container="zip"), (".src",))
    assert [t.target for t in tasks] == ["out/a.zarr.zip", "out/b.zarr.zip", "out/deep/a.zarr.zip"]
    assert plan_folder(["x/tbg_1.05/"], "out", BOTH)[0].target == "out/tbg_1.05.h5"
    with pytest.raises(MoireioError, match="is named twice"):
        plan_folder([sources[0], os.path.relpath(sources[0])], "out", BOTH)


def test_only_what_is_missing_or_stale_is_converted(tmp_path, sources):
    settings, folder = Conversion("test", ("hamiltonian",)), str(tmp_path / "out")
    plan = partial(plan_folder, sources, folder, suffixes=(".src",))
    tasks = plan(settings)
    assert not any(t.done or t.stale for t in tasks)
    for _, error, _ in convert_all(tasks, settings, blockfile.read, jobs=2):
        assert error is None
    assert all(t.done for t in plan(settings))
    assert not any(t.done for t in plan(replace(settings, force=True)))
    assert not any(t.done for t in plan(BOTH))  # the overlap is absent
    os.utime(sources[1], (2**33, 2**33))
    (task,) = [t for t in plan(settings) if not t.done]
    assert (task.source, task.stale) == (sources[1], True)


def test_one_bad_file_does_not_stop_the_others(tmp_path, sources):
    with open(sources[1], "r+b") as stream:
        stream.truncate(1000)
    tasks = plan_folder(sources, str(tmp_path / "out"), BOTH, (".src",))
    settings = replace(BOTH, operators=("hamiltonian",))
    errors = {t.source: e for t, e, _ in convert_all(tasks, settings, blockfile.read, jobs=1)}
    assert [errors[s] is None for s in sources] == [True, False, True]
    assert isinstance(errors[sources[1]], MoireioError)
    assert sorted(os.listdir(tmp_path / "out")) == ["a.h5", "deep"]


def test_a_missing_source_is_one_error(tmp_path):
    with pytest.raises(MoireioError, match="no such file"):
        convert_file(str(tmp_path / "x"), str(tmp_path / "x.h5"), BOTH, blockfile.read)


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".zarr.zip"])
def test_the_constants_are_those_of_the_program(calculation, tmp_path, suffix):
    """Bohr and Hartree with which its numbers became Å and eV stand at the root."""
    target = str(tmp_path / f"x{suffix}")
    convert(replace(calculation, constants=Constants(0.5, 27.0)), target, BOTH)
    with moireio.open(target) as file:
        assert (file.attributes["bohr_angstrom"], file.attributes["hartree_ev"]) == (0.5, 27.0)
    with blockfile.read(target) as again:
        assert again.constants == (0.5, 27.0)
    convert(calculation, str(tmp_path / "y.h5"), BOTH)
    with moireio.open(tmp_path / "y.h5") as file:
        assert file.constants == Constants()
