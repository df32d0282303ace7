"""OpenMX's .scfout: its bands against OpenMX's own, and what is kept of it."""

import gzip
import re

import numpy as np
import pytest
from helpers import convert

import moireio
from moireio.errors import DamagedError, MoireioError
from moireio.formats.openmx import band as openmx_band
from moireio.formats.openmx import scfout
from moireio.formats.openmx.scfout import open_scfout
from moireio.units import HARTREE_EV


def test_eigenvalues_equal_openmx(scfout_case, tmp_path):
    """Every eigenvalue at every k of the .Band file, through file and solver."""
    path = tmp_path / "x.h5"
    convert(str(scfout_case), str(path))
    expected = openmx_band.read(scfout_case.with_suffix(".Band"))
    with moireio.open(path) as file:
        bands = moireio.solve_bands(file, expected.path())
        assert file.electrons.fermi == pytest.approx(expected.fermi, abs=1e-8)
    found = bands.energies[:, :, : expected.energies.shape[2]]
    assert found.shape == expected.energies.shape
    error = np.abs(found - expected.energies).max() / HARTREE_EV
    print(f"{scfout_case.stem}: {error:.2e} Hartree")
    assert error < 1e-8


def test_structure_and_basis(made, data):
    with moireio.open(made["gr_ab"]) as file:
        atoms = file.structure.to_ase()
        assert atoms.get_chemical_formula() == "C4"
        assert atoms.pbc.tolist() == [True, True, False]
        assert atoms.positions[1] == pytest.approx([1.23, 0.710140831103, 8.3], abs=1e-12)
        own = file.basis["C"]
        assert (own.name, own.l, own.valence) == ("C6.0-s2p2d1", (0, 0, 1, 1, 2), 4.0)
        assert own.cutoff == pytest.approx(6 * 0.529177249)
        assert file.history[0].command == "openmx2h5"
        assert file.history[0].inputs == ["gr_ab.scfout"]
        assert file.history[0].digests[0].startswith("blake2b:")


def test_contractions_count_by_the_orbitals_of_the_file(tmp_path, data):
    """Without OpenMX's orbital optimisation s2>1 stands for both functions."""

    def renamed(name):
        old = rb"C6\.0-s2p2d1 C_PBE19\n..."  # two zeros, or rubbish, follow
        new = name + b" C_PBE19\n\0"
        path = tmp_path / "x.scfout"
        raw = (data / "gr_ab.scfout").read_bytes()
        path.write_bytes(re.sub(old, new, raw, count=1, flags=re.DOTALL))
        return open_scfout(path)

    with renamed(b"C6.0-s2>1p2d1") as file:
        assert (file.basis["C"].name, file.basis["C"].l) == ("C6.0-s2p2d1", (0, 0, 1, 1, 2))
        assert file.notes == [
            "its orbitals are not contracted (orbitalOpt.Method off): s2>1 means s2"
        ]
    with renamed(b"C6.0-s4>2p2d1") as file:
        assert (file.basis["C"].name, file.basis["C"].l) == ("C6.0-s4>2p2d1", (0, 0, 1, 1, 2))
    with pytest.raises(DamagedError, match=r"atom 1 has 13 orbitals, but its basis C6\.0-s4>1p2d1"):
        renamed(b"C6.0-s4>1p2d1")


def test_slabs_have_layers(data):
    """By the gaps between them, so that projections on layers need no other command."""
    with open_scfout(data / "gr_ab.scfout") as file:
        assert file.structure.layer.tolist() == [0, 0, 1, 1]
    with open_scfout(data / "o2_col.scfout") as file:
        assert file.structure.layer is None


def test_appended_output_is_ignored(tmp_path, data):
    joined = (data / "gr_ab.scfout").read_bytes() + (data / "gr_ab.out").read_bytes()
    (tmp_path / "x.scfout").write_bytes(joined)
    with (
        open_scfout(tmp_path / "x.scfout") as a,
        open_scfout(data / "gr_ab.scfout") as b,
    ):
        assert (a.operator("hamiltonian").rows(0, 4) == b.operator("hamiltonian").rows(0, 4)).all()
        assert a.digest(["hamiltonian"]) == b.digest(["hamiltonian"])


def test_what_a_layout_lacks(data):
    with (
        open_scfout(data / "gr_ab_v38.scfout") as file,
        pytest.raises(MoireioError, match=r"3\.9"),
    ):
        file.operator("momentum")


def test_spinor_density_of_layout_0_is_refused(shared):
    path = shared / "openmx/hbn_soc_v38/hbn_soc_v38.scfout"
    with open_scfout(path) as file, pytest.raises(MoireioError, match="complete density"):
        file.operator("density")


def shifted(source, target, moves):
    """Write a .scfout in which atoms are moved by lattice vectors, and R of their pairs with them.

    The blocks stay. Its text has the positions of before, modulo the cell.
    """
    from dataclasses import replace

    from moireio.formats.openmx.scfout_write import write

    moves = np.asarray(moves)
    with open_scfout(source) as file:
        header = file.header
        moved = replace(
            header,
            positions=header.positions + moves @ header.cell,
            pair_R=header.pair_R + moves[header.pair_i] - moves[header.pair_j],
        )
        length, start = header.matrix_bytes, header.matrix_start
        matrices = [
            [np.frombuffer(file.raw(start + m * length, length), "=f8")]
            for m in range((header.matrix_end - start) // length)
        ]
        write(target, moved, matrices)


@pytest.mark.parametrize("moves", [[0, 0, 1, 1], [0, 0, -3, -3], [1, 0, 1, 0]])
def test_a_layer_on_both_sides_of_the_border(tmp_path, data, made, moves):
    """Atoms stored in other cells along the vacuum: put together, with every operator."""
    steps = np.outer(moves, [0, 0, 1])
    shifted(data / "gr_ab.scfout", tmp_path / "x.scfout", steps)
    operators = ["hamiltonian", "overlap", "position", "momentum", "density"]
    notes = convert(tmp_path / "x.scfout", tmp_path / "x.h5", operators=operators)
    assert "2 of 4 atoms moved by lattice vectors" in " ".join(notes)
    with moireio.open(tmp_path / "x.h5") as found, moireio.open(made["gr_ab"]) as expected:
        assert found.structure.pbc.tolist() == [True, True, False]
        gap = found.structure.positions - expected.structure.positions
        np.testing.assert_allclose(gap - gap[0], 0, atol=1e-9)
        for name in operators:
            a, b = found.operator(name), expected.operator(name)
            assert (a.pairs.R == b.pairs.R).all()
            np.testing.assert_allclose(a.rows(0, 4), b.rows(0, 4), atol=1e-12)


def test_pbc_of_the_user(data):
    with scfout.read(data / "gr_ab.scfout", pbc=(True, True, True)) as calculation:
        assert calculation.structure.pbc.all()
    with pytest.raises(MoireioError, match=r"gr_ab\.scfout: is periodic along a: pair .* crosses"):
        scfout.read(data / "gr_ab.scfout", pbc=(False, True, False))


def test_a_compressed_file(tmp_path, data):
    packed = tmp_path / "x.scfout.gz"
    packed.write_bytes(gzip.compress((data / "gr_ab.scfout").read_bytes(), 1))
    assert scfout.detect(str(packed))
    with scfout.read(str(packed)) as one, scfout.read(str(data / "gr_ab.scfout")) as two:
        assert one.digest(["hamiltonian"]) == two.digest(["hamiltonian"])
        np.testing.assert_array_equal(one.overlap.rows(0, 1), two.overlap.rows(0, 1))
    packed.write_bytes(packed.read_bytes()[:-1000])
    with pytest.raises(DamagedError, match=r"x\.scfout\.gz: its compressed data is damaged"):
        scfout.read(str(packed))
