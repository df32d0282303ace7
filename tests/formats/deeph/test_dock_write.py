"""DeepH's data folders as they are written, in both layouts."""

import json
import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
from deeph_systems import LAYOUTS, SHELLS, system
from helpers import naive_at_k
from scipy.linalg import eigvalsh

import moireio
from moireio.blockfile.calculation import Calculation
from moireio.blockfile.calculation import read as read_blocks
from moireio.errors import MoireioError
from moireio.formats.deeph import folder_write
from moireio.operators.bloch import BlochSum
from moireio.system.basis import Basis, SpeciesBasis


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spin", ["none", "spinor"])
@pytest.mark.parametrize("storage", ["full", "upper"])
def test_what_was_written_is_read_to_the_last_bit(tmp_path, layout, spin, storage):
    write, read = LAYOUTS[layout]
    made = system(spin, storage)
    write(made, str(tmp_path / "a"))
    with read(str(tmp_path / "a"), pbc=(True, True, False)) as found:
        for name in ("cell", "positions", "numbers", "pbc", "species_of_atoms"):
            np.testing.assert_array_equal(
                getattr(found.structure, name), getattr(made.structure, name)
            )
        assert found.electrons.fermi == -1 / 3
        assert {n: b.l for n, b in found.basis.species.items()} == SHELLS
        for name, ours in (("hamiltonian", made.hamiltonian), ("overlap", made.overlap)):
            theirs = getattr(found, name)
            np.testing.assert_array_equal(theirs.pairs.keys(), ours.pairs.keys())
            np.testing.assert_array_equal(theirs.rows(0, 3), ours.rows(0, 3))
            assert theirs.meta.spin == ours.meta.spin
            assert theirs.residual == 0.0


def matrices_of_dock(path):
    """Blocks of a file of DeepH-dock by (i, j, R), in the order of the layout."""
    with h5py.File(path) as file:
        bounds = file["chunk_boundaries"][()]
        return {
            (int(i), int(j), tuple(R)): file["entries"][bounds[n] : bounds[n + 1]].reshape(shape)
            for n, ((*R, i, j), shape) in enumerate(
                zip(file["atom_pairs"][()].tolist(), file["chunk_shapes"][()], strict=True)
            )
        }


def matrices_of_folder(path):
    with h5py.File(path) as file:
        keys = {name: json.loads(name) for name in file}
        return {(k[3] - 1, k[4] - 1, tuple(k[:3])): file[n][()] for n, k in keys.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_eigenvalues_of_the_files(tmp_path, layout, spin):
    """Levels at random k from nothing but the layout's own rules."""
    made = system(spin)
    LAYOUTS[layout][0](made, str(tmp_path / "a"))
    names = (
        ["hamiltonian.h5", "overlap.h5"] if layout == "dock" else ["hamiltonians.h5", "overlaps.h5"]
    )
    reader = matrices_of_dock if layout == "dock" else matrices_of_folder
    sizes = made.basis.sizes(made.structure)
    H, S = (reader(tmp_path / "a" / name) for name in names)
    factor = 2 if spin == "spinor" else 1
    sums = [BlochSum.from_source(o) for o in (made.hamiltonian, made.overlap)]
    for k in np.random.default_rng(5).uniform(-1, 1, size=(3, 3)):
        theirs = naive_at_k(H, sizes * factor, k)
        overlap = {key: np.kron(np.eye(factor), block) for key, block in S.items()}
        levels = eigvalsh(theirs, naive_at_k(overlap, sizes * factor, k))
        ours = [s.dense(k) for s in sums]
        if spin == "spinor":
            starts = np.cumsum([0, *sizes])
            both = np.zeros_like(ours[0])
            for i in range(3):
                for j in range(3):
                    block = ours[1][starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
                    both[2 * starts[i] : 2 * starts[i + 1], 2 * starts[j] : 2 * starts[j + 1]] = (
                        np.kron(np.eye(2), block)
                    )
            ours[1] = both
        np.testing.assert_allclose(levels, eigvalsh(*ours), rtol=1e-9)


def test_openmx_order_of_the_older_layout(tmp_path):
    """An overlap that is diagonal shows where each orbital went."""
    made = system()
    sizes = made.basis.sizes(made.structure)
    S, H = made.operators["overlap"], made.operators["hamiltonian"]
    onsite = S.pairs.onsite()
    begin = int(S.pairs.block_elements(sizes)[: onsite[1]].sum())
    S.data[begin : begin + 64] = np.diag(1 + np.arange(8) / 16).ravel()
    folder_write.write(made, str(tmp_path / "a"))
    with h5py.File(tmp_path / "a" / "overlaps.h5") as file:
        found = np.rint((np.diag(file["[0, 0, 0, 2, 2]"]) - 1) * 16).astype(int).tolist()
    # s; then f: 5z²−3r², x, y, x²−y², xyz, x³−3xy², 3yx²−y³ of m = −3 … 3 at 1 … 7
    assert found == [0, 4, 5, 3, 6, 2, 7, 1]
    assert H.meta.spin == "none"


def test_real_calculation(tmp_path, made):
    """hBN with spin-orbit coupling: block file, folder, block file."""
    for layout, (write, read) in LAYOUTS.items():
        with read_blocks(str(made["hbn_soc"])) as file:
            write(file, str(tmp_path / layout))
            with read(str(tmp_path / layout)) as found:
                n = len(file.structure)
                np.testing.assert_array_equal(
                    found.hamiltonian.rows(0, n), file.hamiltonian.rows(0, n)
                )
                np.testing.assert_array_equal(found.overlap.rows(0, n), file.overlap.rows(0, n))
                np.testing.assert_array_equal(found.structure.positions, file.structure.positions)
    info = json.loads((tmp_path / "dock" / "info.json").read_text())
    with moireio.open(made["hbn_soc"]) as file:
        assert info["fermi_energy_eV"] == file.electrons.fermi
        assert info["basis"] == {n: file.basis[n].name for n in file.structure.species_names}


def replaced(made, **species):
    return Calculation(
        "made.h5", made.structure, Basis(made.basis.species | species), made.operators
    )


def two_bases():
    made = system(names=("C", "N", "C"))
    structure = replace(made.structure, species=np.array([0, 1, 2]), species_names=("C", "N", "C1"))
    basis = Basis(made.basis.species | {"C1": SpeciesBasis((0, 1, 0, 2))})
    return Calculation("made.h5", structure, basis, made.operators)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: system("collinear"), "has collinear spin, which DeepH's folders cannot hold"),
        (two_bases, "the species C and C1 have different orbitals"),
        (
            lambda: replaced(system(), N=SpeciesBasis((1, 1, 0), m=(0, 1, 0))),
            "the species N has incomplete shells",
        ),
        (
            lambda: Calculation("made.h5", system().structure, system().basis, {}),
            "has neither H nor S",
        ),
    ],
)
def test_what_the_layouts_cannot_hold(tmp_path, layout, make, complaint):
    with pytest.raises(MoireioError, match=complaint):
        LAYOUTS[layout][0](make(), str(tmp_path / "a"))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_there_already(tmp_path, layout):
    write, read = LAYOUTS[layout]
    write(system(seed=1), str(tmp_path / "a"))
    with pytest.raises(MoireioError, match="exists already"):
        write(system(), str(tmp_path / "a"))
    write(system(), str(tmp_path / "a"), force=True)
    with read(str(tmp_path / "a")) as found:
        np.testing.assert_array_equal(found.hamiltonian.rows(0, 3), system().hamiltonian.rows(0, 3))
    (tmp_path / "a" / "thesis.tex").write_text("years of work")
    with pytest.raises(MoireioError, match=r"holds what is not of this format: thesis.tex"):
        write(system(), str(tmp_path / "a"), force=True)
    assert (tmp_path / "a" / "thesis.tex").exists()
    assert os.listdir(tmp_path) == ["a"]


class Failing:
    """An operator that fails in the middle."""

    def __init__(self, source):
        self.meta, self.sizes, self.pairs = source.meta, source.sizes, source.pairs

    def rows(self, i0, i1):
        raise MoireioError("is damaged")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_left_of_a_failure(tmp_path, layout):
    made = system()
    operators = made.operators | {"overlap": Failing(made.operators["overlap"])}
    broken = Calculation("made", made.structure, made.basis, operators)
    with pytest.raises(MoireioError, match="is damaged"):
        LAYOUTS[layout][0](broken, str(tmp_path / "a"))
    assert not os.listdir(tmp_path)
