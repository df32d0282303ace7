"""A package of its own adds a solver, a format, an operator, a result and a command.

It lies in ``tests/support/outsider`` and is installed beside moireio, of which no file is edited.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "tests" / "support" / "outsider"

CHAIN = """hop 1
cell 2.5 0 0  0 10 0  0 0 10
atom H 0 0 0
pair 0 0  0 0 0  0.25
pair 0 0  1 0 0  -1.0
pair 0 0  -1 0 0  -1.0
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Install the package as a user does, without a network; returns where it went."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, source, dirs_exist_ok=True)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    words = [sys.executable, "-m", "pip", "install", *options, "--target", target, source]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def run(site, tmp_path_factory):
    """Run Python with the package on its path, or without it."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run_python(*words, installed=True, code=0):
        folders = [site, ROOT] if installed else [ROOT]
        done = subprocess.run(
            [sys.executable, *(str(word) for word in words)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))},
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return run_python


@pytest.fixture(scope="module")
def with_field(run, made, tmp_path_factory):
    """A block file to which the package's command has added its operator and its result."""
    path = tmp_path_factory.mktemp("field") / "hbn.h5"
    run("-m", "moireio", "crystal-field", made["hbn_soc"], "-o", path)
    return path


def test_solver(run, made):
    energies = []
    for solver in ("numpy", "dense"):
        words = ("--path", "GMK", "-n", 7, "--bands", 8, "--solver", solver, "--json", "-j", 1)
        bands = json.loads(run("-m", "moireio", "band", made["gr_ab"], *words))
        energies.append(np.array(bands["energies"]))
    np.testing.assert_allclose(*energies, atol=1e-9, rtol=0)
    words = ("-p", "no:cacheprovider", "-c", os.devnull, PACKAGE / "solver_tests.py")
    assert " passed" in run("-m", "pytest", "-q", *words)


def test_format(run, tmp_path):
    """Detected among all formats, read by the reader of any calculation, written again."""
    chain = tmp_path / "chain.hop"
    chain.write_text(CHAIN)
    program = f"""if True:
        import numpy as np
        from moireio.formats.calculations import open_calculation
        from moireio.formats.registry import detect_format, format_names, named_format
        from moireio.operators.bloch import BlochSum
        assert "hop" in format_names()
        assert detect_format({str(chain)!r}).name == "hop"
        with open_calculation({str(chain)!r}) as calculation:
            for k in (0.0, 0.1, 0.5):
                h = BlochSum.from_source(calculation.hamiltonian).dense(np.array([k, 0, 0]))
                assert abs(h[0, 0] - 0.25 + 2 * np.cos(2 * np.pi * k)) < 1e-12
            named_format("hop").write(calculation, {str(tmp_path / "again.hop")!r})
    """
    run("-c", program)
    words = [line.split() for line in (tmp_path / "again.hop").read_text().splitlines()]
    again = sorted([key, *map(float, rest)] for key, *rest in words if key == "pair")
    lines = [line.split() for line in CHAIN.splitlines() if line.startswith("pair")]
    assert again == sorted([key, *map(float, rest)] for key, *rest in lines)


def test_operator(run, made, with_field, tmp_path):
    assert "valid" in run("-m", "moireio", "h5-validate", with_field)
    store = tmp_path / "hbn.zarr"
    run("-m", "moireio", "convert-h", with_field, "-o", store)
    run("-m", "moireio", "h5-validate", store)
    program = f"""if True:
        import moireio
        with moireio.open({str(store)!r}) as file:
            assert "x_onsite" in file.operators
            onsite = file.operator("x_onsite")
            assert (onsite.meta.unit, onsite.meta.spin, onsite.n_pairs) == ("eV", "spinor", 2)
            for atom in range(2):
                assert (onsite.block(atom, atom) == file.hamiltonian.block(atom, atom)).all()
    """
    run("-c", program)


def test_result(run, with_field, tmp_path):
    assert "52 levels" in run("-m", "moireio", "h5-info", with_field)
    assert "valid" in run("-m", "moireio", "h5-validate", with_field)
    damaged = tmp_path / "damaged.h5"
    shutil.copy(with_field, damaged)
    with h5py.File(damaged, "r+") as file:
        energies = file["x_crystal_field/energies"]
        energies[:, :2] = energies[:, :2][:, ::-1]  # written as a program would: checksums agree
    assert "levels of an atom do not ascend" in run("-m", "moireio", "h5-validate", damaged, code=1)


def test_command(run, made, with_field):
    assert "crystal-field" in run("-m", "moireio", "--help")
    levels = np.loadtxt(run("-m", "moireio", "crystal-field", made["hbn_soc"]).splitlines())
    assert levels.shape == (52, 2)
    with h5py.File(with_field) as file:
        np.testing.assert_allclose(levels[:, 1], file["x_crystal_field/energies"][0], atol=1e-6)
        assert file["history/0002"].attrs["command"] in ("crystal-field", b"crystal-field")


def test_files_outlive_the_package(run, with_field, tmp_path):
    """Without it, its groups are kept and are no errors."""
    slim = tmp_path / "slim.h5"
    run("-m", "moireio", "convert-h", with_field, "--storage", "upper", "-o", slim, installed=False)
    report = run("-m", "moireio", "h5-validate", slim, installed=False)
    assert "x_crystal_field: of another program" in report
    assert "error" not in report
    run("-m", "moireio", "h5-validate", slim)
    assert "52 levels" in run("-m", "moireio", "h5-info", slim)
