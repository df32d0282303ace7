"""DeepH's older data folders."""

import json
import os

import h5py
import numpy as np
import pytest
from deeph_folders import write_folder

import moireio
from moireio.errors import MoireioError
from moireio.formats.deeph import folder as deeph


def test_data_folder_is_openmx(shared, made):
    """DeepH's folder of AB graphene and the .scfout are the same calculation."""
    data = deeph.open_folder(str(shared / "deephe3" / "graphene" / "structures" / "gr_ab"))
    with moireio.open(made["gr_ab"]) as file:
        theirs, ours = data.operator("hamiltonian"), file.hamiltonian
        np.testing.assert_array_equal(theirs.pairs.keys(), ours.pairs.keys())
        assert np.abs(theirs.rows(0, 4) - ours.rows(0, 4)).max() < 1e-7
        assert abs(data.electrons.fermi - file.electrons.fermi) < 1e-9


@pytest.mark.parametrize("spin", [False, True])
def test_data_folder(tmp_path, spin):
    folder = write_folder(tmp_path / "a", spin)
    data = deeph.open_folder(str(folder))
    raw = data.operator("hamiltonian", symmetrise=False)
    H = data.operator("hamiltonian")
    assert 1e-5 < H.meta.residual < 1e-3
    with h5py.File(folder / "hamiltonians.h5") as file:
        block = file["[0, 0, 0, 1, 1]"][()]
    order = np.array([0, 2, 3, 1])  # s, then y, z, x of x, y, z
    order = np.r_[order, order + 4] if spin else order
    size = len(order) ** 2
    np.testing.assert_array_equal(raw.data[:size], block[np.ix_(order, order)].ravel())
    own = H.data[:size].reshape(len(order), -1)
    assert (own == own.conj().T).all()


def rewrite(change):
    """A change of the blocks of hamiltonians.h5."""

    def damage(folder):
        with h5py.File(folder / "hamiltonians.h5", "r+") as file:
            change(file)

    return damage


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda d: os.remove(d / "lat.dat"), "has no lat.dat"),
        (lambda d: os.remove(d / "orbital_types.dat"), "has no orbital_types.dat"),
        (lambda d: (d / "element.dat").write_text("6\n"), "line 1 has 2 numbers, 1 expected: x, y"),
        (lambda d: (d / "element.dat").write_text("6\n700\n"), "atomic number 700, outside 1..118"),
        (lambda d: (d / "element.dat").write_text("6\n7.5\n"), "atomic number 7.5, outside"),
        (lambda d: (d / "element.dat").write_text("6\n1e300\n"), "line 2: '1e300' is no number"),
        (lambda d: (d / "element.dat").write_text("6\n7e\n"), "line 2: '7e' is no number"),
        (lambda d: (d / "lat.dat").write_text("4 0 0\n0 4\n0 0 9\n"), "line 2 has 2 numbers"),
        (lambda d: (d / "lat.dat").write_text("4 0 0\n0 4 nan\n0 0 9\n"), "'nan' is no number"),
        (lambda d: (d / "lat.dat").write_text("4 0 0\n4 0 0\n0 0 9\n"), "not independent"),
        (lambda d: (d / "lat.dat").write_bytes(b"4 0 0\n\xff 4 0\n0 0 9\n"), "line 2: "),
        (
            lambda d: np.savetxt(d / "rlat.dat", 2 * np.pi * np.diag([1 / 4, 1 / 4, 1 / 8])),
            "rlat.dat: does not hold the reciprocal vectors of lat.dat",
        ),
        (lambda d: (d / "site_positions.dat").write_text("0 1\n0 0\n"), "has 2 lines, 3 expected"),
        (lambda d: (d / "orbital_types.dat").write_text("0 1\n"), "has 1 lines for 2 atoms"),
        (lambda d: (d / "orbital_types.dat").write_text("0 1\n0 9\n"), "line 2 is '0 9': the l of"),
        (
            lambda d: (d / "orbital_types.dat").write_text("0 1\n" + "0 " * 10**6),
            "the l of each radial function of an atom expected",
        ),
        (
            lambda d: (d / "orbital_types.dat").write_text("0 1\n0 1\n"),
            "block [0, 0, 0, 1, 2] (C and N) has 4 x 2 numbers, 4 x 4 expected",
        ),
        (
            lambda d: (d / "element.dat").write_text("6\n6\n"),
            "line 2 gives an atom of C the shells (0, 0), an earlier one (0, 1)",
        ),
        (lambda d: (d / "hamiltonians.h5").write_bytes(b"x"), "is not an HDF5 file"),
        (lambda d: (d / "info.json").write_text("["), "is not JSON"),
        (lambda d: (d / "info.json").write_text('{"isspinful": "no"}'), "isspinful is 'no', true"),
        (lambda d: (d / "info.json").write_text('{"fermi_level": "x"}'), "fermi_level is 'x', an"),
        (lambda d: (d / "info.json").write_text('{"isspinful": true}'), "it has no spin"),
        (rewrite(lambda f: f.pop("[0, 0, 0, 1, 1]")), "lacks the block [0, 0, 0, 1, 1]"),
        (rewrite(lambda f: f.pop("[0, 0, 0, 1, 2]")), "has no partner"),
        (rewrite(lambda f: [f.pop(k) for k in list(f)]), "holds no blocks"),
        (rewrite(lambda f: f.create_group("x")), "'x' is no name of a block"),
        (rewrite(lambda f: f.create_group("[0, 0, 0, 1, 9]")), "names an atom outside 1..2"),
        (rewrite(lambda f: f.create_group(f"[{10**30}, 0, 0, 1, 1]")), "is no name of a block"),
        (rewrite(lambda f: f.create_group("[0, 0, 0, 1, true]")), "is no name of a block"),
        (rewrite(lambda f: f.create_group("[0,0,0,1,1]")), "occurs twice"),
        (
            rewrite(lambda f: (f.pop("[0, 0, 0, 1, 1]"), f.create_group("[0, 0, 0, 1, 1]"))),
            "[0, 0, 0, 1, 1] is a group",
        ),
        (
            rewrite(
                lambda f: (
                    f.pop("[0, 0, 0, 1, 1]"),
                    f.create_dataset("[0, 0, 0, 1, 1]", (10**5, 10**5), "f8", chunks=(100, 100)),
                )
            ),
            "stands for 80000000000 bytes, of which the file holds",
        ),
        (
            rewrite(
                lambda f: f.__setitem__("[1, 0, 0, 1, 1]", h5py.ExternalLink("b.h5", "/secret"))
            ),
            "is a link into another file, b.h5",
        ),
    ],
)
def test_damaged_data_folders(tmp_path, damage, complaint):
    folder = write_folder(tmp_path / "a")
    damage(folder)
    with pytest.raises(MoireioError) as error:
        deeph.open_folder(str(folder)).operator("hamiltonian")
    assert complaint in str(error.value)


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("info", [None, {"fermi_level": -1.0}])
def test_spin_follows_from_the_blocks(tmp_path, spin, info):
    """Without isspinful the rows of blocks show it: 8 = 2 x 4."""
    with_info = deeph.open_folder(str(write_folder(tmp_path / "a", spin)))
    folder = write_folder(tmp_path / "b", spin)
    os.remove(folder / "info.json")
    if info is not None:
        (folder / "info.json").write_text(json.dumps(info))
    with deeph.read(str(folder)) as calculation:
        assert calculation.hamiltonian.meta.spin == ("spinor" if spin else "none")
        expected = with_info.operator("hamiltonian").data
        np.testing.assert_array_equal(calculation.hamiltonian.rows(0, 2), expected)
        note, _, periodicity = calculation.notes
        assert periodicity.startswith("not periodic along a, b and c, where no pair")
    assert ("blocks have 8 = 2 x 4 rows: spinors" if spin else "have 4 rows: no spin") in note
    assert ("no info.json" if info is None else "has no isspinful") in note
    assert ("the Fermi level is unknown" in note) == (info is None)


def test_spinor_blocks_where_none_are_expected(tmp_path):
    folder = write_folder(tmp_path / "a", spin=True)
    (folder / "info.json").write_text('{"isspinful": false}')
    message = r"has 8 x 8 numbers, 4 x 4 expected; 8 = 2 x 4: it is a spinor block"
    with pytest.raises(MoireioError, match=message):
        deeph.open_folder(str(folder)).operator("hamiltonian")


@pytest.mark.parametrize("place", ["", "output"])
def test_pieces_are_read_as_one(tmp_path, place):
    """What processes of a run under MPI leave, each some of the blocks."""
    whole = write_folder(tmp_path / "a", noise=0.0)
    folder = write_folder(tmp_path / "b", noise=0.0)
    os.makedirs(folder / place, exist_ok=True)
    with h5py.File(whole / "hamiltonians.h5") as source:
        names = list(source)
        for number, mine in enumerate((names[1:3], names[3:], names[:1])):
            with h5py.File(folder / place / f"hamiltonians_{number}.h5", "w") as piece:
                for name in mine:
                    piece[name] = source[name][()]
    os.remove(folder / "hamiltonians.h5")
    expected = deeph.open_folder(str(whole)).operator("hamiltonian")
    found = deeph.open_folder(str(folder)).operator("hamiltonian")
    np.testing.assert_array_equal(found.pairs.keys(), expected.pairs.keys())
    np.testing.assert_array_equal(found.data, expected.data)
    first = deeph.read(str(folder)).digest(["hamiltonian"])
    last = folder / place / "hamiltonians_2.h5"
    with h5py.File(last, "r+") as piece:
        piece[names[0]][0, 0] += 1.0
    assert deeph.read(str(folder)).digest(["hamiltonian"]) != first
    with h5py.File(last, "r+") as piece:
        piece[names[1]] = np.zeros((4, 2))
    message = r"hamiltonians_2\.h5: block \[0, 0, 0, 1, 2\] is in hamiltonians_0\.h5 too"
    with pytest.raises(MoireioError, match=message):
        deeph.open_folder(str(folder)).operator("hamiltonian")


def test_the_folder_above_the_pieces(tmp_path):
    """Who names the folder of the pieces learns where the structure is."""
    folder = write_folder(tmp_path / "a")
    (folder / "output").mkdir()
    (folder / "output" / "overlaps_0.h5").touch()
    with pytest.raises(
        MoireioError, match=r"has no lat\.dat .*in the folder above, .*a: give that"
    ):
        deeph.open_folder(str(folder / "output"))


def test_types_and_layouts_may_differ_by_block(tmp_path):
    """Contiguous, compact, chunked and packed datasets; both precisions and byte orders."""
    folder = write_folder(tmp_path / "a", noise=0.0)
    expected = deeph.open_folder(str(folder)).operator("hamiltonian").data
    with h5py.File(folder / "hamiltonians.h5", "r+") as file:
        blocks = {name: file[name][()] for name in file}
        for name in blocks:
            del file[name]
        first, second, third, fourth = blocks
        file.create_dataset(first, data=blocks[first].astype(">f8"))
        file.create_dataset(second, data=blocks[second], chunks=(2, 2), compression="gzip")
        file.create_dataset(third, data=blocks[third], fletcher32=True)
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(blocks[fourth].shape)
        kind = h5py.h5t.IEEE_F64LE
        compact = h5py.h5d.create(file.id, fourth.encode(), kind, space, plan)
        compact.write(h5py.h5s.ALL, h5py.h5s.ALL, blocks[fourth])
    found = deeph.open_folder(str(folder)).operator("hamiltonian")
    np.testing.assert_array_equal(found.data, expected)
    assert found.data.dtype == "float64"
    with h5py.File(folder / "hamiltonians.h5", "r+") as file:
        single = file[first][()].astype("f4")
        del file[first]
        file[first] = single
    mixed = deeph.open_folder(str(folder)).operator("hamiltonian")
    assert mixed.data.dtype == "float64"
    np.testing.assert_allclose(mixed.data, expected, rtol=1e-6)
