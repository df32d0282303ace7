"""Files of H(k) and S(k)."""

import numpy as np
import pytest
from foreign_levels import doubled, matrices_at
from scipy.io import mmread
from scipy.sparse import csr_array

from moireio.errors import ExistingFileError, MoireioError
from moireio.formats import matrices
from moireio.formats.calculations import open_calculation
from moireio.formats.matrices import at_k

K = np.array([[0, 0, 0], [0.13, -0.4, 0.25], [0.5, 0.5, 0]])


def read_petsc(path, numbers):
    """The layout of PetscBinaryIO: big-endian; mark, rows, columns, count; lengths; columns."""
    raw = path.read_bytes()
    mark, rows, columns, count = np.frombuffer(raw, ">i4", 4)
    assert mark == 1211216
    lengths = np.frombuffer(raw, ">i4", rows, offset=16)
    indices = np.frombuffer(raw, ">i4", count, offset=16 + 4 * rows)
    values = np.frombuffer(raw, numbers, offset=16 + 4 * (rows + count))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return csr_array((values, indices, indptr), shape=(rows, columns)).toarray()


def expected(calculation, k):
    """H of each spin and S, by naive sums."""
    h = matrices_at(calculation.hamiltonian, k)
    s = matrices_at(calculation.overlap, k)[0]
    if calculation.hamiltonian.meta.spin == "spinor":
        s = doubled(s, calculation.basis.sizes(calculation.structure))
    return h, s


@pytest.mark.parametrize("case", ["gr_ab", "hbn_soc", "o2_col"])
def test_all_forms(made, case, tmp_path):
    done = []
    with open_calculation(str(made[case])) as calculation:
        for form, name in (("npz", "x.npz"), ("mtx", "x"), ("petsc", "p.petsc")):
            at_k.write(
                calculation, K, str(tmp_path / name), form=form if name == "x" else None,
                progress=lambda steps, total: done.append(steps / total),
            )  # fmt: skip
        at_k.write(calculation, K, str(tmp_path / "real"), form="petsc-real")
        wanted = [expected(calculation, k) for k in K]
    assert sum(done) == pytest.approx(3)
    archive = np.load(tmp_path / "x.npz")
    np.testing.assert_array_equal(archive["k"], K)
    two = len(wanted[0][0]) == 2
    letters = ["H_up", "H_down"] if two else ["H"]
    assert archive["H"].shape == (2,) * two + (3, *wanted[0][1].shape)
    for number, (h, s) in enumerate(wanted):
        stored = archive["H"][:, number] if two else archive["H"][None, number]
        np.testing.assert_allclose(stored, h, atol=1e-11)
        np.testing.assert_allclose(archive["S"][number], s, atol=1e-12)
        for letter, matrix in (*zip(letters, stored, strict=True), ("S", archive["S"][number])):
            name = f"{letter}.{number:04d}"
            # BlochSum adds cells of dense and sparse matrices in one order
            np.testing.assert_array_equal(mmread(tmp_path / f"x.{name}.mtx").toarray(), matrix)
            np.testing.assert_array_equal(read_petsc(tmp_path / f"p.{name}.petsc", ">c16"), matrix)
            real = read_petsc(tmp_path / f"real.{name}.petsc", ">f8")
            np.testing.assert_array_equal(real[::2, ::2], matrix.real)
            np.testing.assert_array_equal(real[1::2, ::2], matrix.imag)
            np.testing.assert_array_equal(real[::2, 1::2], -matrix.imag)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "x.k.txt"), K)


@pytest.mark.parametrize("case", ["hbn_soc", "o2_col"])
def test_large_matrices_are_sparse(made, case, tmp_path, monkeypatch):
    monkeypatch.setattr(at_k, "MOST_DENSE", 10)
    path = str(tmp_path / "x.npz")
    with open_calculation(str(made[case])) as calculation:
        at_k.write(calculation, K, path)
        wanted = [expected(calculation, k) for k in K]
    archive = np.load(path)
    for number, (h, s) in enumerate(wanted):
        for letter, matrices_of in (("H", h), ("S", s[None])):
            data, *rest = (archive[f"{letter}{number}_{n}"] for n in ("data", "indices", "indptr"))
            for values, matrix in zip(np.atleast_2d(data), matrices_of, strict=True):
                stored = csr_array((values, *rest), shape=archive["shape"]).toarray()
                np.testing.assert_allclose(stored, matrix, atol=1e-11)


def test_orthogonal_and_unknown_overlaps(tmp_path):
    h = {(0, 0, 0): np.diag([1.0, 2])}
    one = matrices.read(h, cell=np.eye(3))
    assert at_k.write(one, K, str(tmp_path / "x.npz")) == []
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["S"], [np.eye(2)] * 3)
    from ase import Atoms

    other = matrices.read(h, structure=Atoms("H2", cell=np.eye(3)), shells={"H": [0]})
    (note,) = at_k.write(other, K, str(tmp_path / "y.npz"))
    assert "S is not known" in note
    assert "S" not in np.load(tmp_path / "y.npz")


def test_files_appear_together_or_not_at_all(tmp_path):
    one = matrices.read({(0, 0, 0): np.diag([1.0, 2])}, cell=np.eye(3))
    (tmp_path / "x.S.0001.mtx").write_text("mine")
    with pytest.raises(ExistingFileError, match=r"x\.S\.0001\.mtx: exists already"):
        at_k.write(one, K, str(tmp_path / "x.mtx"))
    assert [p.name for p in tmp_path.iterdir()] == ["x.S.0001.mtx"]
    at_k.write(one, K, str(tmp_path / "x.mtx"), force=True)
    assert len(list(tmp_path.iterdir())) == 7

    def stop(steps, total):
        raise KeyboardInterrupt

    for name in ("y.mtx", "y.npz"):
        with pytest.raises(KeyboardInterrupt):
            at_k.write(one, K, str(tmp_path / name), progress=stop)
    assert len(list(tmp_path.iterdir())) == 7
    with pytest.raises(MoireioError, match=r"use \.npz, \.mtx or \.petsc"):
        at_k.write(one, K, str(tmp_path / "x.csv"))
    with pytest.raises(MoireioError, match="'csv' is no form"):
        at_k.write(one, K, str(tmp_path / "x"), form="csv")


def test_forms_of_one_name_share_their_k_points(tmp_path):
    one = matrices.read({(0, 0, 0): np.diag([1.0, 2])}, cell=np.eye(3))
    at_k.write(one, K, str(tmp_path / "x.mtx"))
    at_k.write(one, K, str(tmp_path / "x.petsc"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert len(before) == 13  # H and S at three k points, twice, and x.k.txt
    for suffix in ("petsc", "mtx"):  # the table would not be right for the other form
        for k in (K + 0.1, K[:2]):
            with pytest.raises(ExistingFileError):
                at_k.write(one, k, str(tmp_path / f"x.{suffix}"))
            with pytest.raises(ExistingFileError, match="is of another run"):
                at_k.write(one, k, str(tmp_path / f"x.{suffix}"), force=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    for path in tmp_path.glob("x.*.petsc"):
        path.unlink()
    with pytest.raises(ExistingFileError, match=r"x\.H\.0002\.mtx: is of another run"):
        at_k.write(one, K[:2], str(tmp_path / "x.mtx"), force=True)  # x.H.0002 would stay
    at_k.write(one, K + 0.1, str(tmp_path / "x.mtx"), force=True)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "x.k.txt"), K + 0.1)


def test_the_file_of_k_points_is_not_replaced(tmp_path):
    one = matrices.read({(0, 0, 0): np.diag([1.0, 2])}, cell=np.eye(3))
    own = tmp_path / "x.k.txt"
    own.write_text("0 0 0  # the centre\n")
    with pytest.raises(MoireioError, match="is an input too"):
        at_k.write(one, [[0, 0, 0]], str(tmp_path / "x.mtx"), force=True, inputs=[str(own)])
    assert [p.name for p in tmp_path.iterdir()] == ["x.k.txt"]
