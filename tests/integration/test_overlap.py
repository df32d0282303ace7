"""The overlap command, and its S against OpenMX's."""

import numpy as np
import pytest
from helpers import convert
from orbitals import write_pao

import moireio
from moireio.formats.openmx.library import PaoFolder
from moireio.integrals.library import complete_basis
from moireio.integrals.pairs import overlapping_pairs
from moireio.integrals.sources import OrbitalIntegrals, OverlapSource, PositionSource
from moireio.operators.bloch import BlochSum


@pytest.fixture(scope="module")
def paos(tmp_path_factory):
    """Orbital files of Gaussians, for what needs no real ones."""
    folder = tmp_path_factory.mktemp("pao")
    for element in ("C", "B", "N"):
        write_pao(folder / f"{element}7.0.pao")
    return folder


@pytest.fixture
def real_paos(shared):
    folder = shared / "pao"
    if not folder.is_dir():
        pytest.skip("the orbital files are not beside this clone (../shared/data/pao)")
    return folder


def test_against_openmx(scfout_case, real_paos, tmp_path):
    """The same pairs; S to 3e-7; positions to 1e-5, or where theirs is worse, to their noise."""
    convert(str(scfout_case), str(tmp_path / "a.h5"), operators=["overlap", "position"])
    with moireio.open(tmp_path / "a.h5") as file:
        basis = complete_basis(file.structure, file.basis, {}, PaoFolder(str(real_paos)), "a.h5")
        pairs = overlapping_pairs(file.structure, basis)
        stored = file.overlap
        np.testing.assert_array_equal(pairs.indptr, stored.pairs.indptr)
        np.testing.assert_array_equal(pairs.j, stored.pairs.j)
        np.testing.assert_array_equal(pairs.R, stored.pairs.R)
        integrals, n = OrbitalIntegrals(basis, True), len(file.structure)
        made = OverlapSource(file.structure, integrals, pairs).rows(0, n)
        expected = stored.rows(0, n)
        assert np.abs(made - expected).max() < 3e-7
        assert np.sqrt(np.mean((made - expected) ** 2)) < 1e-8
        position = file.operator("position")
        made = PositionSource(file.structure, integrals, position.pairs).rows(0, n)
        gap = np.abs(made - position.rows(0, n))
        assert gap.max() < max(1e-5, position.meta.residual)
        assert np.sqrt(np.mean(gap**2)) < 1e-6


@pytest.mark.parametrize("name", ["tbg_2-1", "mote2_mx_soc"])
def test_bands_with_this_overlap(shared, real_paos, tmp_path, name):
    """OpenMX's H with this S: states within 5 eV of the gap to 0.1 meV."""
    from scipy.linalg import eigh

    own = next((shared / "openmx" / name).glob("*.scfout"))
    convert(str(own), str(tmp_path / "a.h5"), operators=["hamiltonian", "overlap"])
    with moireio.open(tmp_path / "a.h5") as file:
        basis = complete_basis(file.structure, file.basis, {}, PaoFolder(str(real_paos)), "a.h5")
        spinor = file.hamiltonian.meta.spin == "spinor"
        pairs = overlapping_pairs(file.structure, basis)
        source = OverlapSource(file.structure, OrbitalIntegrals(basis), pairs)
        own = BlochSum.from_source(source, spinor=spinor)
        for k in ([0, 0, 0], [1 / 3, 1 / 3, 0], [0.5, 0, 0], [0.213, -0.377, 0]):
            H = file.hamiltonian.at_k(k, dense=True)
            theirs = eigh(H, file.overlap.at_k(k, dense=True, spinor=spinor), eigvals_only=True)
            ours = eigh(H, own.dense(k), eigvals_only=True)
            near = np.abs(theirs - file.electrons.fermi) < 5
            assert near.sum() > 4
            assert np.abs(ours - theirs)[near].max() < 1e-4


def test_positive_definite(real_paos, invoke, tmp_path):
    """S(k) of bilayers made from nothing, at random k."""
    cases = {"graphene": ["C=C6.0-s2p2d1"], "MoTe2": ["Mo=Mo7.0-s3p2d2", "Te=Te7.0-s3p2d2"]}
    rng = np.random.default_rng(0)
    for layer, names in cases.items():
        words = [w for name in names for w in ("--basis", name)]
        cell, out = tmp_path / f"{layer}-cell.h5", tmp_path / f"{layer}.h5"
        index = ("--index", 1, 0)
        assert invoke("build-twist", layer, *index, *words, "-o", cell, "-q").exit_code == 0
        assert invoke("overlap", cell, "--pao", real_paos, "-o", out, "-q").exit_code == 0
        with moireio.open(out) as file:
            for k in [[0, 0, 0], *rng.uniform(-1, 1, (6, 3))]:
                assert np.linalg.eigvalsh(file.overlap.at_k(k, dense=True)).min() > 1e-4


def test_block_file_pipe_and_structure_file(run, paos, tmp_path):
    basis = ["--basis", "C=C7.0-s2p2d1"]
    built = run("build-twist", "graphene", "--index", 2, 1, *basis).stdout
    piped = run("overlap", "--pao", paos, stdin=built)
    assert "28 atoms in 2 layers, 364 orbitals" in piped.stderr
    (tmp_path / "a.h5").write_bytes(piped.stdout)
    assert run("h5-validate", tmp_path / "a.h5").code == 0
    run("build-twist", "graphene", "--index", 2, 1, "-o", tmp_path / "a.xyz")
    run("overlap", tmp_path / "a.xyz", *basis, "--pao", paos, "-o", tmp_path / "b.h5")
    with moireio.open(tmp_path / "a.h5") as a, moireio.open(tmp_path / "b.h5") as b:
        assert a.overlap.meta.storage == "upper"
        np.testing.assert_array_equal(a.structure.layer, b.structure.layer)
        assert b.history[0].inputs == [str(tmp_path / "a.xyz")]
        k = [0.21, 0.34, 0]
        gap = a.overlap.at_k(k, dense=True) - b.overlap.at_k(k, dense=True)
        assert np.abs(gap).max() < 1e-5  # xyz files have eight decimals


def test_no_folder_needed_afterwards(invoke, paos, tmp_path):
    """Radial functions travel with the file, and serve other structures."""
    words = ["--basis", "C=C7.0-s1p1", "--pao", paos]
    for name, index in {"a": (2, 1), "b": (3, 2)}.items():
        invoke("build-twist", "graphene", "--index", *index, "-o", tmp_path / f"{name}.cif", "-q")
    first, again, other = (tmp_path / f"{n}.h5" for n in ("first", "again", "other"))
    assert invoke("overlap", tmp_path / "a.cif", *words, "-o", first, "-q").exit_code == 0
    done = invoke("overlap", first, "-o", again, "--storage", "full", "--position", "-q")
    assert done.exit_code == 0, done.output
    done = invoke("overlap", tmp_path / "b.cif", "--pao", first, "-o", other, "-q")
    assert done.exit_code == 0, done.output
    with moireio.open(first) as a, moireio.open(again) as b, moireio.open(other) as c:
        both = b.overlap
        assert both.meta.storage == "full"
        gap = both.at_k([0.1, 0.2, 0], dense=True) - a.overlap.at_k([0.1, 0.2, 0], dense=True)
        assert np.abs(gap).max() < 1e-14
        assert c.basis["C"].name == "C7.0-s1p1"
        assert b.operator("position").meta.unit == "Å"
    assert invoke("h5-validate", again).exit_code == 0


def test_processes_container_and_precision(invoke, paos, tmp_path, monkeypatch):
    from moireio.blockfile import writer

    monkeypatch.setattr(writer.BlockWriter.operator, "__defaults__", (None, 1 << 18, 1))
    words = ["build-twist", "graphene", "--index", 3, 2, "--basis", "C=C7.0-s2p2d1"]
    invoke(*words, "-o", tmp_path / "cell.h5", "-q")
    made = {}
    for jobs, container, precision in ((1, "h5", "float64"), (3, "zarr", "float64")):
        path = tmp_path / f"{jobs}.{container}"
        options = ["--jobs", jobs, "--precision", precision, "-o", path, "-q"]
        done = invoke("overlap", tmp_path / "cell.h5", "--pao", paos, *options)
        assert done.exit_code == 0, done.output
        with moireio.open(path) as file:
            made[jobs] = file.overlap.rows(0, 76)
    assert (made[1] == made[3]).all()
    path = tmp_path / "single.h5"
    invoke("overlap", tmp_path / "1.h5", "--precision", "float32", "-o", path, "-q")
    with moireio.open(path) as file:
        assert file.overlap.meta.dtype == "float32"
        np.testing.assert_allclose(file.overlap.rows(0, 76), made[1], atol=1e-7)


def test_in_place_keeps_the_hamiltonian(invoke, made, paos, tmp_path):
    """A converted file gains radial functions; everything else stays."""
    from shutil import copy

    path = copy(made["gr_ab"], tmp_path / "a.h5")
    done = invoke("overlap", path, "--pao", paos, "--in-place", "-q")
    assert done.exit_code == 1
    assert "has no C6.0.pao, which basis C6.0-s2p2d1 needs (of C it has C7.0)" in done.output
    copy(paos / "C7.0.pao", tmp_path / "C6.0.pao")
    done = invoke("overlap", path, "--pao", tmp_path, "--in-place", "-q")
    assert done.exit_code == 0, done.output
    with moireio.open(path) as file, moireio.open(made["gr_ab"]) as before:
        assert file.basis["C"].radial[1].shape == (5, 900)
        assert (file.hamiltonian.crc == before.hamiltonian.crc).all()
        assert file.electrons.fermi == before.electrons.fermi
        assert file.history[-1].command == "overlap"


def test_a_folder_completes_what_has_no_basis(invoke, paos, tmp_path):
    """With OpenMX's usual basis, if the folder has its file; else it says what the folder has."""
    from shutil import copy

    assert (
        invoke("build-twist", "graphene", "--index", 1, 2, "-o", tmp_path / "g.h5").exit_code == 0
    )
    words = ["overlap", tmp_path / "g.h5", "-o", tmp_path / "s.h5", "--pao"]
    refused = invoke(*words, paos)
    assert refused.exit_code == 1
    assert f"({paos} has C7.0: give --basis C=C7.0-s2p2d1 or alike)" in refused.stderr
    copy(paos / "C7.0.pao", tmp_path / "C6.0.pao")
    done = invoke(*words, tmp_path)
    assert done.exit_code == 0, done.output
    assert "364 orbitals (C6.0-s2p2d1)" in done.stderr
    refused = invoke(*words, paos, "--basis", "C=C7.0-s2>1p2>1", "--force")
    assert refused.exit_code == 1
    assert "give --basis C=C_1-s1p1; or use C7.0-s2p2 in OpenMX too" in refused.stderr


def test_layers(invoke, paos, tmp_path):
    from ase.build import graphene

    cell = graphene(vacuum=20.0)
    cell.pbc = True
    stack = cell.copy()
    for height in (3.3, 6.6):
        more = cell.copy()
        more.positions[:, 2] += height
        stack += more
    stack.positions[:, 2] += 17.5  # the uppermost layer crosses the border of the cell
    stack.wrap()
    stack.write(tmp_path / "three.cif")
    words = ["--basis", "C=C7.0-s1", "--pao", paos, "-q"]
    for more, expected in {(): [0, 0, 1, 1, 2, 2], ("--layers", 1): [0] * 6}.items():
        path = tmp_path / f"{len(more)}.h5"
        done = invoke("overlap", tmp_path / "three.cif", *words, *more, "-o", path)
        assert done.exit_code == 0, done.output
        with moireio.open(path) as file:
            assert file.structure.layer.tolist() == expected
    done = invoke("overlap", tmp_path / "three.cif", *words, "--layers", 4, "-o", tmp_path / "x.h5")
    assert done.exit_code == 1
    assert "do not lie in 4 layers" in done.output


def test_refusals(run, paos, tmp_path):
    from ase import Atoms

    Atoms("C2", [[0, 0, 0], [0, 0, 0.1]], cell=[5, 5, 9], pbc=True).write(tmp_path / "close.vasp")
    Atoms("C2", [[0, 0, 0], [0, 0, 1.4]], cell=[5, 5, 9], pbc=True).write(tmp_path / "good.vasp")
    good, basis = tmp_path / "good.vasp", ["--basis", "C=C7.0-s1"]
    out = ["-o", tmp_path / "x.h5"]
    cases = {
        "atoms 0 and 1 are 0.100 Å apart": [tmp_path / "close.vasp", *basis, "--pao", paos],
        "has no C5.0.pao": [good, "--basis", "C=C5.0-s1", "--pao", paos],
        "has 2 functions with l = 0 (s)": [good, "--basis", "C=C7.0-s5", "--pao", paos],
        "'C' is not a basis name": [good, "--basis", "C=C", "--pao", paos],
        "no basis for species C": [good, "--pao", paos],
        "give --pao": [good, *basis],
        "no such file": [tmp_path / "absent.vasp", *basis, "--pao", paos],
        "is one orbital file": [good, *basis, "--pao", paos / "C7.0.pao"],
    }
    for message, words in cases.items():
        done = run("overlap", *words, *out, check=False)
        done.assert_one_line_error()
        assert message in done.stderr
        assert not (tmp_path / "x.h5").exists()
