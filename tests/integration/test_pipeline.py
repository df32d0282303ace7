"""The commands as a user runs them: processes, pipes, files."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import moireio

ME = [sys.executable, "-m", "moireio"]


def pipeline(*commands, cwd=None, stdin=None):
    """Run commands joined by pipes; return the exit codes and what came out."""
    processes = []
    for words in commands:
        processes.append(
            subprocess.Popen(
                [*ME, *map(str, words)],
                stdin=processes[-1].stdout if processes else stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
            )
        )
        if len(processes) > 1:
            processes[-2].stdout.close()
    out, _ = processes[-1].communicate(timeout=300)
    errors = [p.stderr.read().decode() for p in processes[:-1]]
    return [p.wait() for p in processes], out, errors


@pytest.mark.parametrize("container", ["h5", "zip"])
def test_the_pipeline_of_the_issue(data, container):
    codes, out, errors = pipeline(
        ["openmx2h5", data / "gr_ab.scfout", "--container", container],
        ["band", "--path", "GMKG", "-o", "-"],
        ["h5-info"],
    )
    assert codes == [0, 0, 0], errors
    text = out.decode()
    assert "bands        GMKG, 200 k points, 52 bands" in text
    assert f"({container})" in text
    assert "history 2" in text


def test_redirections_and_every_container(tmp_path, data, run):
    """``< file``, ``> file``, -o, zarr in and out; HDF5 ⇄ zarr ⇄ zip and upper ⇄ full."""
    run("openmx2h5", data / "hbn_soc.scfout", "-o", tmp_path / "a.h5")
    with open(tmp_path / "a.h5", "rb") as stream:
        assert "BN" in run("h5-info", stdin=stream).text
    with open(tmp_path / "b.zarr.zip", "wb") as out:
        done = subprocess.run(
            [*ME, "convert-h", str(tmp_path / "a.h5"), "--container", "zip"], stdout=out
        )
    assert done.returncode == 0
    names = {"h5": "x.h5", "zarr": "x.zarr", "zip": "x.zarr.zip"}
    with moireio.open(tmp_path / "a.h5") as file:
        expected = file.hamiltonian.at_k([0.1, 0.2, 0], dense=True)
        blocks = file.hamiltonian.rows(0, 2)
    chain = [tmp_path / "a.h5"]
    for step, (kind, storage) in enumerate(itertools.product(names, ("upper", "full"))):
        target = tmp_path / f"{step}{names[kind]}"
        run("convert-h", chain[-1], "-o", target, "--storage", storage)
        chain.append(target)
        with moireio.open(target) as file:
            assert file.container.kind == kind
            assert file.hamiltonian.meta.storage == storage
            found = file.hamiltonian.at_k([0.1, 0.2, 0], dense=True)
            assert np.abs(found - expected).max() < 1e-13
            if storage == "full":
                assert (file.hamiltonian.rows(0, 2) == blocks).all()
        assert run("h5-validate", target).text.endswith("valid\n")
    half, whole = (os.path.getsize(chain[n]) for n in (1, 2))
    assert half < 0.62 * whole


def test_band_prints_a_table_that_numpy_reads(tmp_path, data, run, made):
    text = run("band", made["gr_ab"], "--path", "GMK", "--points", 9).text
    table = np.loadtxt(text.splitlines())
    with moireio.open(made["gr_ab"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GMK", 9))
    assert table.shape == (len(bands.path), 4 + 52)
    assert table[:, 0] == pytest.approx(bands.path.distance, abs=1e-7)
    assert table[:, 4:] == pytest.approx(bands.energies[0], abs=1e-8)
    found = json.loads(run("band", made["o2_col"], "--path", "G", "--json").text)
    assert np.shape(found["energies"]) == (2, 1, 26)
    two = run("band", made["o2_col"], "--path", "GX", "--points", 3).text
    assert [line for line in two.splitlines() if line.startswith("# spin")] == [
        "# spin up",
        "# spin down",
    ]


def test_band_at_the_points_of_openmx(tmp_path, data, made, run):
    """Three ways to the same k points: the .Band file, the .dat file, the stored path."""
    tables = []
    for path in (data / "gr_ab.Band", data / "gr_ab.dat", "input"):
        tables.append(np.loadtxt(run("band", made["gr_ab"], "--path", path).text.splitlines()))
    from moireio.formats.openmx import band

    expected = band.read(data / "gr_ab.Band")
    for table in tables:
        assert table[:, 1:4] == pytest.approx(expected.k, abs=1e-8)
    assert tables[0][:, 4:] == pytest.approx(expected.energies[0], abs=1e-7)
    (tmp_path / "k.txt").write_text("0 0 0  # the centre\n\n0.5 0 0 1.0\n")
    own = np.loadtxt(run("band", made["gr_ab"], "--kpoints", tmp_path / "k.txt").text.splitlines())
    assert own[0, 4:] == pytest.approx(tables[0][0, 4:], abs=1e-8)


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_plots(tmp_path, data, made, run, suffix):
    path = tmp_path / f"x.{suffix}"
    run("band", made["gr_ab"], "--plot", path, "--overlay", data / "gr_ab.Band", "--points", 20)
    head = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(head)
    done = run("band", made["gr_ab"], "--plot", path, check=False)
    done.assert_one_line_error()
    assert "--force" in done.stderr


def test_overlay_of_another_cell_says_what_is_missing(tmp_path, data, made, run):
    done = run(
        "band", made["gr_ab"], "--path", "GM", "--points", 9, "--plot", tmp_path / "x.png",
        "--overlay", data / "gr_ab.Band",
    )  # fmt: skip
    assert "14 of its k points are not on this path" in done.stderr
    assert "warning" not in done.stderr
    done = run(
        "band", made["gr_ab"], "--path", "GM", "--points", 3, "--plot", tmp_path / "y.png",
        "--overlay", f"{made['hbn_soc']}=BN", "--label", "AB",
    )  # fmt: skip
    (warning,) = done.stderr.splitlines()
    assert warning.startswith(f"warning: {made['hbn_soc']}: it is BN, {made['gr_ab']} is C4;")


def test_in_place_and_names(tmp_path, data, run):
    path = tmp_path / "x.zarr"
    run("openmx2h5", data / "o2_col.scfout", "-o", path)
    run("band", path, "--path", "GX", "--points", 4, "--in-place")
    run("band", path, "--path", "GY", "--points", 6, "--in-place", "--name", "y")
    run("band", path, "--path", "GZ", "--points", 5, "--in-place")
    with moireio.open(path) as file:
        assert len(file.bands().path) == 5
        assert len(file.bands("bands-y").path) == 6
        assert [e.command for e in file.history] == ["openmx2h5", *3 * ["band"]]
    assert run("h5-validate", path).code == 0
    assert os.listdir(tmp_path) == ["x.zarr"]


def test_a_folder_of_files(tmp_path, data, run):
    sources = []
    for number, name in enumerate(("gr_ab", "o2_col", "hbn_soc")):
        (tmp_path / f"run{number}").mkdir()
        sources.append(tmp_path / f"run{number}" / "openmx.scfout")
        sources[-1].write_bytes((data / f"{name}.scfout").read_bytes())
    out = tmp_path / "out"
    run("openmx2h5", *sources, "-o", f"{out}/", "-j", 2)
    made = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.h5"))
    assert made == [f"run{n}/openmx.h5" for n in range(3)]
    stamp = os.path.getmtime(out / "run0/openmx.h5")
    again = run("openmx2h5", *sources, "-o", f"{out}/")
    assert "3 of 3 are converted already" in again.stderr
    assert os.path.getmtime(out / "run0/openmx.h5") == stamp
    # one of them breaks, one is new: the others are not touched, the exit code is 1
    sources[1].write_bytes(sources[1].read_bytes()[:9999])
    os.utime(sources[1], (time.time() + 5, time.time() + 5))
    os.remove(out / "run2/openmx.h5")
    third = run("openmx2h5", *sources, "-o", f"{out}/", check=False)
    assert third.code == 1
    assert "run1/openmx.scfout: is cut short" in third.stderr
    assert (out / "run2/openmx.h5").exists()
    assert "Traceback" not in third.stderr
    assert not list(out.rglob("*part*"))


def test_a_broken_pipeline(tmp_path, data, run):
    codes, out, errors = pipeline(
        ["openmx2h5", tmp_path / "no.scfout"], ["band", "-o", "-"], ["h5-info"]
    )
    assert codes == [1, 1, 1]
    assert out == b""
    assert "no.scfout" in errors[0]
    assert "standard input: is empty" in errors[1]
    done = run("h5-info", stdin=b"rubbish" * 99, check=False)
    done.assert_one_line_error()
    whole = run("openmx2h5", data / "o2_col.scfout").stdout
    for part in (1, 600, len(whole) // 2, len(whole) - 1):
        run("h5-info", stdin=whole[:part], check=False).assert_one_line_error()


def test_nothing_binary_goes_to_a_terminal(data):
    import pty

    master, slave = pty.openpty()
    done = subprocess.run(
        [*ME, "openmx2h5", str(data / "o2_col.scfout")], stdout=slave, stderr=subprocess.PIPE
    )
    os.close(slave)
    os.set_blocking(master, False)
    with pytest.raises((BlockingIOError, OSError)):
        os.read(master, 10)
    os.close(master)
    assert done.returncode == 1
    assert b"use -o" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_while_writing(tmp_path, data, number):
    """Whatever the moment: the target is whole or absent; but for SIGKILL nothing else is left."""
    from moireio.formats.openmx.scfout_write import repeat

    repeat(data / "gr_ab.scfout", tmp_path / "big.scfout", (4, 4, 1))
    (tmp_path / "out").mkdir()
    for delay in (0.25, 0.4, 0.55, 0.8):
        target = tmp_path / "out" / "x.h5"
        process = subprocess.Popen(
            [*ME, "openmx2h5", str(tmp_path / "big.scfout"), "-o", str(target)],
            stderr=subprocess.PIPE,
        )
        time.sleep(delay)
        process.send_signal(number)
        _, errors = process.communicate()
        # on a busy machine Python itself may not have started yet: its traceback is not ours
        begun = any(part in errors for part in (b"/tools/", b"/formats/", b"__main__.py"))
        assert b"Traceback" not in errors or not begun
        if target.exists():
            with moireio.open(target) as file:
                assert len(file.structure) == 64
            target.unlink()
        if number != signal.SIGKILL:
            assert os.listdir(tmp_path / "out") == []


def test_completion(run):
    text = run("completion", "bash").text
    assert "_H5_INFO_COMPLETE" in text
    assert "_BAND_COMPLETE" in text
