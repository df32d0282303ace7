"""How a calculation of OpenMX ended, from the files that it left."""

import os
import shutil
import time

import ase.units
import numpy as np
import pytest
from ase.calculators.openmx.reader import read_stress_tensor

from moireio.errors import MoireioError
from moireio.formats.openmx import out

HARTREE, BOHR = 27.2113845, 0.529177249  # OpenMX's own constants


@pytest.fixture
def folder(tmp_path, data):
    for suffix in ("dat", "out", "scfout"):
        shutil.copy(data / f"gr_ab.{suffix}", tmp_path)
    return tmp_path


def test_the_history_of_a_real_run(data):
    history = out.convergence(str(data / "gr_ab.out"))
    assert history.steps > 5
    assert history.change < 1e-6
    assert history.complete


def test_a_whole_and_converged_run_is_done(folder):
    assert out.outcome(str(folder), "gr_ab").state == "done"


def test_a_run_that_used_all_steps_has_failed(folder):
    path = folder / "gr_ab.dat"
    steps = out.convergence(str(folder / "gr_ab.out")).steps
    lines = [n for n in path.read_text().splitlines() if "scf.maxIter" not in n]
    lines = [n for n in lines if "scf.criterion" not in n]
    path.write_text("\n".join([*lines, f"scf.maxIter {steps}", "scf.criterion 1e-30", ""]))
    result = out.outcome(str(folder), "gr_ab")
    assert result.state == "failed"
    assert f"not converged after {steps} steps" in result.reason


def test_what_is_missing_or_cut_short(folder):
    with open(folder / "gr_ab.scfout", "r+b") as stream:
        stream.truncate(10_000)
    assert "cut short" in out.outcome(str(folder), "gr_ab").reason
    out.remove_results(str(folder), "gr_ab")
    assert out.outcome(str(folder), "gr_ab").state == "missing"
    (folder / "gr_ab.dat").unlink()
    assert out.outcome(str(folder), "gr_ab").reason.startswith("gr_ab.dat is gone")


def test_no_history_is_no_convergence(tmp_path):
    (tmp_path / "x.out").write_text("nothing of the kind\n")
    assert out.convergence(str(tmp_path / "x.out")) == out.History(0, float("inf"), False)


STEPS = "".join(f"   SCF=  {n}  NormRD=  1.0  Uele=  -0.{n}\n" for n in range(1, 5))


@pytest.mark.parametrize(
    ("text", "state", "reason"),
    [
        (STEPS, "running", ""),
        (STEPS + "   SCF=  5  NormRD=  1.0  Uele=  -", "running", ""),
        (STEPS + "   SCF=  5  Norm", "running", ""),
        ("", "running", ""),
        (
            "SCF= 2  NormRD= 1.0  Uele= -0.5\n",
            "failed",
            "gr_ab.out: its history begins with step 2",
        ),
        (STEPS.replace("-0.2", "-0.x"), "failed", "gr_ab.out: line 2 is no step of a self-cons"),
        (STEPS.replace("=  3", "=  7"), "failed", "gr_ab.out: step 2 is followed by step 7"),
        (STEPS.replace("SCF=  3", "SCF=  " + "3" * 5000), "failed", "gr_ab.out: line 3 is no step"),
        (STEPS + "\0" * 40, "failed", "gr_ab.out: is no text: byte "),
    ],
)
def test_outputs_that_are_cut_short_or_damaged(folder, text, state, reason):
    """Of a run that no lock shows: the file still grows, or names what is wrong with it."""
    (folder / "gr_ab.out").write_text(text)
    result = out.outcome(str(folder), "gr_ab")
    assert result.state == state
    assert result.reason.startswith(reason)


def test_an_output_that_ended_long_ago(folder):
    """It does not grow any more: interrupted, unless it had converged."""
    old = time.time() - 2 * out.RECENT
    for text, state in ((STEPS, "interrupted"), (STEPS + STEPS.replace("-0.4", "-0.3"), "done")):
        (folder / "gr_ab.out").write_text(text)
        for suffix in ("out", "scfout"):
            os.utime(folder / f"gr_ab.{suffix}", (old, old))
        result = out.outcome(str(folder), "gr_ab")
        assert result.state == state
    assert result.reason == ""


def test_energies_that_are_not_finite(folder):
    (folder / "gr_ab.out").write_text(STEPS.replace("-0.4", "nan") + "Total Computational Time\n")
    path = folder / "gr_ab.dat"
    path.write_text("scf.maxIter 4\n" + path.read_text())
    assert "not converged after 4 steps" in out.outcome(str(folder), "gr_ab").reason


@pytest.mark.parametrize("suffix", ["out", "scfout", "dat"])
def test_a_folder_where_a_file_belongs(folder, suffix):
    path = folder / f"gr_ab.{suffix}"
    path.unlink()
    path.mkdir()
    result = out.outcome(str(folder), "gr_ab")
    assert (result.state, "Is a directory" in result.reason) == ("failed", True)


def test_an_input_that_is_damaged(folder):
    path = folder / "gr_ab.dat"
    path.write_text("scf.maxIter many\n" + path.read_text())
    result = out.outcome(str(folder), "gr_ab")
    assert (
        result.reason == "gr_ab.dat: line 1: scf.maxIter: 'many' stands where a number is expected"
    )


FIRST = (-0.000100974224, 0.000033709577, -0.000452197890)  # Hartree/Bohr, of gr_ab.out
LAST = (-0.000101582053, 0.000032854948, 0.001154987794)
UTOT = -23.369346009262  # Hartree
STRESS = """
*******************************************************
               Stress tensor (Hartree/bohr^3)
*******************************************************

       0.00012345       0.00000000      -0.00000100
       0.00000000       0.00023456       0.00000000
      -0.00000100       0.00000000       0.00034567
"""


def test_forces_of_a_real_run_to_the_last_digit(data):
    found = out.forces(str(data / "gr_ab.out"))
    np.testing.assert_allclose(found.forces[0], np.array(FIRST) * HARTREE / BOHR, rtol=1e-14)
    np.testing.assert_allclose(found.forces[3], np.array(LAST) * HARTREE / BOHR, rtol=1e-14)
    assert found.energy == UTOT * HARTREE
    assert found.dispersion == 0
    assert found.symbols == ("C",) * 4
    # The input has 12 decimals, the table of forces five.
    np.testing.assert_allclose(found.positions[1], [1.23, 0.710140831103, 8.3], atol=2e-12)
    np.testing.assert_allclose(found.positions[3], [2.46, 1.420281662206, 11.65], atol=3e-12)
    assert found.stress is None


def test_stress_comes_from_the_standard_output(data, tmp_path):
    log = tmp_path / "run.log"
    log.write_text("SCF\n" + STRESS.replace("0.00012345", "9.00000000") + STRESS)
    found = out.forces(str(data / "gr_ab.out"), str(log))
    expected = [[12345, 0, -100], [0, 23456, 0], [-100, 0, 34567]]
    np.testing.assert_allclose(found.stress, np.array(expected) * 1e-8 * HARTREE / BOHR**3)
    log.write_text("no stress here")
    assert out.forces(str(data / "gr_ab.out"), str(log)).stress is None
    assert out.forces(str(data / "gr_ab.out"), str(tmp_path / "none.log")).stress is None


def dispersion(cell, positions, c6=400.0, radius=5.0, steep=20.0, reach=30.0):
    """Energy (Hartree) and what OpenMX adds to Stress_Tensor; lengths in Bohr.

    As Calc_EdftD in Total_Energy.c of OpenMX 3.9 sums pairs (fdamp2 is the derivative of
    C6 f/r⁶, and my_st[k] -= 0.5*(fdamp2*rij[i]/dist)*rij[j]).
    """
    n = np.arange(-8, 9)
    translations = np.stack(np.meshgrid(n, n, [0], indexing="ij"), -1).reshape(-1, 3) @ cell
    r = (positions[:, None, None] - positions[None, :, None] - translations).reshape(-1, 3)
    d = np.linalg.norm(r, axis=1)
    r, d = r[(d > 0.3) & (d < reach)], d[(d > 0.3) & (d < reach)]
    e = np.exp(-steep * (d / radius - 1))
    damped = c6 / d**6 / (1 + e)
    derivative = damped * (e * steep / radius / (1 + e) - 6 / d)
    return -0.5 * damped.sum(), -0.5 * np.einsum("p,pi,pj->ij", derivative / d, r, r)


def test_the_sign_of_the_stress_follows_from_openmx_own_sums(data, tmp_path):
    real = out.forces(str(data / "gr_ab.out"))
    cell, positions = real.cell / BOHR, real.positions / BOHR
    _, tensor = dispersion(cell, positions)
    volume = abs(np.linalg.det(cell))
    rows = ("".join(f"{value:17.8f} " for value in row) for row in tensor / volume)
    head = "\n".join(STRESS.splitlines()[:5])
    log = tmp_path / "run.log"
    log.write_text(head + "\n" + "\n".join(rows) + "\n")
    stress = out.forces(str(data / "gr_ab.out"), str(log)).stress
    step = 1e-3
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        plus, minus = (
            dispersion(cell @ (np.eye(3) + s * strain), positions @ (np.eye(3) + s * strain))[0]
            for s in (1, -1)
        )
        derivative = (plus - minus) / (2 * step) / volume * HARTREE / BOHR**3
        assert abs(stress[i, j] - derivative) < 1e-8 * HARTREE / BOHR**3 + 1e-4 * abs(derivative)
    assert stress[2, 2] > 1e-3  # attraction pulls the cell together: tension is positive
    with open(log) as stream:
        line = next(line for line in stream if "Stress tensor" in line)
        theirs = np.array(read_stress_tensor(line, stream)) * ase.units.Ha / ase.units.Bohr**3
    ours = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<coordinates.forces\n  4\n", "<coordinates.forces\n  5\n", "forces is cut short"),
        ("    2     C     1.23000", "    7     C     1.23000", "forces is cut short"),
        ("coordinates.forces>", "", "no whole table"),
        ("-0.000100974224", "nan", "not finite"),
        ("-0.000100974224", "-0.0001009x4224", "damaged"),
        ("0.33333333333341", "0.33343333333341", "differ by"),
        ("  Utot.  ", "  Etot.  ", "has no Utot"),
        ("Fractional coordinates", "Reduced coordinates", "has no fractional"),
        ("MD.Type nomd", "MD.Type RFC5", "moves the cell"),
        ("     4      C     0.66666666666682", "     9      C     0.666", "3 final positions"),
    ],
)
def test_damaged_forces_are_refused(data, tmp_path, old, new, said):
    text = (data / "gr_ab.out").read_text()
    assert old in text
    path = tmp_path / "gr_ab.out"
    path.write_text(text.replace(old, new))
    with pytest.raises(MoireioError, match=said):
        out.forces(str(path))


def test_a_run_for_forces_needs_no_scfout(folder):
    (folder / "gr_ab.scfout").unlink()
    assert out.outcome(str(folder), "gr_ab").state == "failed"
    assert out.outcome(str(folder), "gr_ab", with_forces=True).state == "done"
    path = folder / "gr_ab.out"
    path.write_text(path.read_text().replace("coordinates.forces>", ""))
    missing = out.outcome(str(folder), "gr_ab", with_forces=True)
    assert missing.state == "failed"
    assert "no forces" in missing.reason
    path.write_text(path.read_text().partition("<coordinates.forces")[0])
    os.utime(path, (0, 0))
    assert out.outcome(str(folder), "gr_ab", with_forces=True).state != "done"
