"""DeepH-dock's data folders."""

import hashlib
import json
import os
import zlib

import h5py
import numpy as np
import pytest
from ase import Atoms
from deeph_folders import write_dock_folder

import moireio
from moireio.blockfile.calculation import Calculation
from moireio.blockfile.convert import Conversion, convert
from moireio.errors import MoireioError
from moireio.formats.deeph import dock, dock_write
from moireio.formats.openmx import band
from moireio.operators.bloch import BlochSum
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, symmetrised
from moireio.runtime import replace
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure


@pytest.mark.parametrize("spin", [False, True])
def test_dock_folder(tmp_path, spin):
    blocks = write_dock_folder(tmp_path / "a", spin)
    data = dock.open_folder(str(tmp_path / "a"))
    raw = data.operator("hamiltonian", symmetrise=False)
    assert raw.pairs.i.tolist() == [0, 0, 1, 1]
    order = [(0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 1, 0), (0, 0, 0, 1, 1)]
    np.testing.assert_array_equal(raw.data, np.concatenate([blocks[k].ravel() for k in order]))
    assert 1e-5 < data.operator("hamiltonian").meta.residual < 1e-3
    assert data.basis["C"].name == "C6.0-s1p1"
    assert abs(data.basis["C"].cutoff - 6 * 0.529177249) < 1e-12


def settings(**changes):
    """A change of info.json; None takes a setting out."""

    def change(folder):
        info = json.loads((folder / "info.json").read_text()) | changes
        kept = {k: v for k, v in info.items() if v is not None}
        (folder / "info.json").write_text(json.dumps(kept))

    return change


def array(name, change):
    """A change of an array of hamiltonian.h5."""

    def rewrite(folder):
        with h5py.File(folder / "hamiltonian.h5", "r+") as file:
            values = change(file[name][()])
            del file[name]
            if values is not None:
                file[name] = values

    return rewrite


def put(place, value):
    """A function that changes one element."""

    def change(values):
        values[place] = value
        return values

    return change


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda d: (d / "info.json").write_text("{}"), "has no elements_orbital_map"),
        (lambda d: (d / "info.json").write_text("{"), "is not JSON"),
        (lambda d: (d / "info.json").write_text("[" * 100_000), "nested too deeply"),
        (lambda d: (d / "info.json").write_text(" " * (17 << 20)), "has more than 16 MiB"),
        (lambda d: (d / "info.json").write_text("[1]"), "an object, { … } expected"),
        (lambda d: os.remove(d / "info.json"), "has no info.json, which says what orbitals"),
        (settings(spinful=None), "has no spinful"),
        (settings(spinful="false"), "spinful is 'false', true or false expected"),
        (settings(spinful=True), "has 2 x 4 numbers, 4 x 8 expected; 4 = 2 x 2: it has no spin"),
        (settings(fermi_energy_eV=float("nan")), "fermi_energy_eV is nan, an energy"),
        (settings(fermi_energy_eV=1e300), "fermi_energy_eV is 1e+300, an energy"),
        (settings(elements_orbital_map={"C": [0, 1]}), "elements_orbital_map gives N None"),
        (settings(elements_orbital_map={"C": [10**9], "N": [0, 0]}), "gives C [1000000000]"),
        (settings(elements_orbital_map={"C": [0] * 10**6, "N": [0]}), "gives C [0, 0, 0, "),
        (settings(elements_orbital_map={"C": [0, 0], "N": [0, 0]}), "is not that of elements"),
        (settings(atoms_quantity=3), "atoms_quantity is 3, but POSCAR and elements"),
        (settings(orbits_quantity=7), "orbits_quantity is 7, but POSCAR and elements"),
        (lambda d: (d / "POSCAR").write_text("x\n"), "POSCAR: "),
        (lambda d: os.remove(d / "hamiltonian.h5"), "has no hamiltonian.h5"),
        (lambda d: (d / "hamiltonian.h5").write_bytes(b"x"), "is not an HDF5 file"),
        (array("atom_pairs", lambda v: None), "has no array atom_pairs"),
        (array("atom_pairs", lambda v: v[:, :4]), "integers (n, 5) expected"),
        (array("atom_pairs", lambda v: v.astype(float)), "integers (n, 5) expected"),
        (array("atom_pairs", put((0, 3), 2)), "block [0, 0, 0, 2, 0] names an atom outside 0..1"),
        (array("atom_pairs", put((0, 0), 10**12)), "names a cell beyond"),
        (array("atom_pairs", put(2, [0, 0, 0, 1, 0])), "occurs twice"),
        (array("atom_pairs", put((1, 0), 1)), "lacks the block [0, 0, 0, 0, 0]"),
        (array("atom_pairs", put((0, 0), 1)), "has no partner"),
        (array("chunk_shapes", lambda v: v[:-1]), "has 4 atom_pairs, but 3 chunk_shapes"),
        (array("chunk_shapes", put((0, 0), 3)), "block [0, 0, 0, 1, 0] (N and C) has 3 x 4"),
        (array("chunk_boundaries", put(1, 7)), "are not the sums of its chunk_shapes"),
        (array("entries", lambda v: v[:-1]), "its entries are float64 (35,), 36 real or"),
        (array("entries", lambda v: v.astype("S8")), "its entries are |S8 (36,), 36 real or"),
    ],
)
def test_damaged_dock_folders(tmp_path, damage, complaint):
    write_dock_folder(tmp_path / "a")
    damage(tmp_path / "a")
    with pytest.raises(MoireioError) as error:
        dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    assert complaint in str(error.value)


def test_spinor_blocks_where_none_are_expected(tmp_path):
    write_dock_folder(tmp_path / "a", spin=True)
    settings(spinful=False)(tmp_path / "a")
    message = r"has 4 x 8 numbers, 2 x 4 expected; 4 = 2 x 2: it is a spinor block"
    with pytest.raises(MoireioError, match=message):
        dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")


def test_orthogonal_bases(tmp_path):
    """S = 1 where info.json says so, and only there."""
    write_dock_folder(tmp_path / "a")
    assert not dock.open_folder(str(tmp_path / "a")).basis.orthogonal
    settings(orthogonal_basis=True)(tmp_path / "a")
    assert dock.open_folder(str(tmp_path / "a")).basis.orthogonal


def bomb(folder):
    """11 kB that stand for 3 GB: no chunk of the entries was ever written."""
    with h5py.File(folder / "hamiltonian.h5", "r+") as file:
        del file["entries"]
        file.create_dataset("entries", (400_000_000,), "f8", chunks=(1 << 20,), compression="gzip")


def link(folder):
    """Entries of another file."""
    with h5py.File(folder / "hamiltonian.h5", "r+") as file:
        with h5py.File(folder / "secret.h5", "w") as other:
            other["entries"] = file["entries"][()]
        del file["entries"]
        file["entries"] = h5py.ExternalLink("secret.h5", "/entries")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (bomb, "stands for 3204448256 bytes, of which the file holds"),
        (link, "/entries is a link into another file, secret.h5"),
    ],
)
def test_what_the_file_does_not_hold(tmp_path, damage, complaint):
    write_dock_folder(tmp_path / "a")
    damage(tmp_path / "a")
    with pytest.raises(MoireioError, match=complaint):
        dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")


def test_dock_folder_is_openmx(shared):
    """The folder of the test cell, its bands against OpenMX's."""
    from scipy.linalg import eigh

    data = dock.open_folder(str(shared / "tbg" / "tbg_2-1"))
    bands = band.read(str(shared / "openmx" / "tbg_2-1" / "tbg_2-1.Band"))
    H, S = (BlochSum.from_source(data.operator(n)) for n in ("hamiltonian", "overlap"))
    k = bands.k[5]
    energies = eigh(H.dense(k), S.dense(k), eigvals_only=True)
    near = np.abs(energies - data.electrons.fermi) < 5
    assert near.sum() > 10
    assert np.abs(energies - bands.energies[0, 5])[near].max() < 1e-5


@pytest.mark.parametrize(("case", "limit"), [("hbn_soc", 1e-7), ("gr_ab", 1e-7)])
def test_folders_of_deepx_dock(shared, case, limit):
    """Eigenvalues of deepx-dock and of OpenMX, from folders as deepx-dock has written them."""
    from scipy.linalg import eigvalsh

    path = shared / "foreign" / f"deepxdock_{case}"
    reference = json.loads((path / "reference.json").read_text())
    with dock.read(str(path)) as found:
        H, S = (BlochSum.from_source(o) for o in (found.hamiltonian, found.overlap))
        spins = 2 if found.hamiltonian.meta.spin == "spinor" else 1
        sizes = found.basis.sizes(found.structure)
        order = spin_order(sizes, spins)
        for k, theirs, openmx in zip(
            reference["k"],
            reference["eV_deepx_dock"],
            reference["hartree_OpenMX_Band"],
            strict=True,
        ):
            overlap = np.kron(np.eye(spins), S.dense(k))[np.ix_(order, order)]
            levels = eigvalsh(H.dense(k), overlap)
            assert np.abs(levels[: len(theirs)] - theirs).max() < limit
            bands = np.sort(openmx)[: len(levels)]
            near = np.abs(levels[: len(bands)]) < 30
            assert np.abs(levels[: len(bands)] - bands * 27.2113845)[near].max() < limit


def spin_order(sizes, spins):
    """Where the rows of moireio's matrices (up, down of each atom) are in (up, down of all)."""
    starts, total = np.cumsum([0, *sizes]), int(sizes.sum())
    spans = [(a, a + size) for a, size in zip(starts, sizes, strict=False)]
    return np.concatenate([np.arange(a, b) + s * total for a, b in spans for s in range(spins)])


def test_orbitals_of_deepx_dock(shared, tmp_path):
    """The same blocks as OpenMX's own file of the calculation, orbital by orbital."""
    import gzip

    from moireio.formats.openmx import scfout

    path = shared / "foreign" / "deepxdock_hbn_soc"
    (tmp_path / "a.scfout").write_bytes(gzip.decompress((path / "openmx.scfout.gz").read_bytes()))
    with dock.read(str(path)) as one, scfout.read(str(tmp_path / "a.scfout")) as other:
        for name in ("hamiltonian", "overlap"):
            a, b = one.operator(name), other.operator(name)
            np.testing.assert_array_equal(a.pairs.keys(), b.pairs.keys())
            np.testing.assert_allclose(a.rows(0, 2), b.rows(0, 2), atol=1e-8)


def test_packed_files(tmp_path):
    import gzip

    write_dock_folder(tmp_path / "a")
    expected = dock.open_folder(str(tmp_path / "a")).operator("hamiltonian").data
    file = tmp_path / "a" / "hamiltonian.h5"
    raw = gzip.compress(file.read_bytes())
    file.unlink()
    packed = tmp_path / "a" / "hamiltonian.h5.gz"
    packed.write_bytes(raw)
    found = dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    np.testing.assert_array_equal(found.data, expected)
    for damaged, complaint in ((raw[:-20], "damaged or cut short"), (b"x", "not an HDF5 file")):
        packed.write_bytes(damaged)
        with pytest.raises(MoireioError, match=complaint):
            dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")


def test_files_that_are_missing_are_named(tmp_path):
    write_dock_folder(tmp_path / "a")
    with dock.read(str(tmp_path / "a")) as found:
        assert "no overlap.h5: S is not known" in found.notes
    (tmp_path / "a" / "POSCAR").unlink()
    (tmp_path / "a" / "openmx.dat").write_text("System.Name a")  # of the run before it
    assert dock.detect(str(tmp_path / "a"))
    with pytest.raises(MoireioError, match="has no POSCAR"):
        dock.read(str(tmp_path / "a"))


def chain(n_atoms):
    """Atoms of 13 orbitals, each with all others."""
    i, j = (a.ravel() for a in np.indices((n_atoms, n_atoms)))
    pairs, _ = Pairs.sort(n_atoms, i, j, np.zeros((len(i), 3), dtype=int))
    basis = Basis({"C": SpeciesBasis((0, 0, 1, 1, 2))})
    positions = [[2 * n, 0, 0] for n in range(n_atoms)]
    atoms = Atoms(f"C{n_atoms}", positions=positions, cell=[2 * n_atoms, 20, 20], pbc=True)
    data = np.random.default_rng(0).normal(size=len(pairs) * 13**2)
    source = ArraySource(operator_type("hamiltonian").meta(), [13] * n_atoms, pairs, data)
    H = symmetrised(source, "made")
    return Calculation("made", Structure.from_ase(atoms), basis, {"hamiltonian": H})


def test_the_bytes_are_those_of_a_plain_loop(tmp_path, monkeypatch):
    """Threads read, sum up, write and sync several runs of atoms; a loop does one after another."""
    monkeypatch.setattr(replace, "EARLY_BYTES", 1 << 20)
    folder, target, n_atoms = tmp_path / "dock", tmp_path / "x.h5", 62
    dock_write.write(chain(n_atoms), str(folder))
    rng = np.random.default_rng(1)
    with h5py.File(folder / "hamiltonian.h5", "r+") as file:
        blocks = file["entries"][...].reshape(n_atoms, n_atoms, 13, 13)
        for block in blocks.reshape(-1, 13, 13)[::7]:  # the others obey the rule to the last bit
            block += 1e-6 * rng.normal(size=block.shape)
        file["entries"][...] = blocks.ravel()
    with dock.read(str(folder)) as calculation:
        convert(calculation, str(target), Conversion("test", check=True))
    means = np.empty_like(blocks)
    for i in range(n_atoms):
        for j in range(n_atoms):
            means[i, j] = 0.5 * (blocks[i, j] + blocks[j, i].T)
    whole = hashlib.blake2b(digest_size=16)
    for name in ("POSCAR", "info.json", "hamiltonian.h5"):
        whole.update((folder / name).read_bytes())
    with moireio.open(target) as file:
        assert list(file.history[-1].digests) == [f"blake2b:{whole.hexdigest()}"]
    with h5py.File(target) as file, h5py.File(tmp_path / "plain.h5", "w") as plain:
        data = file["hamiltonian/data"]
        again = plain.create_dataset(
            "data", data=means.ravel(), chunks=data.chunks, fletcher32=True, fillvalue=np.nan
        )
        plain.flush()
        assert data.id.get_num_chunks() == 5
        for n in range(0, data.size, data.chunks[0]):
            assert data.id.read_direct_chunk((n,)) == again.id.read_direct_chunk((n,))
        rows = means.reshape(n_atoms, -1)
        pairs = np.arange(n_atoms, dtype="<i4").tobytes() + bytes(12 * n_atoms)
        assert file["hamiltonian/crc"][...].tolist() == [
            zlib.crc32(row.tobytes(), zlib.crc32(pairs)) for row in rows
        ]


def test_a_basis_without_cutoff_is_refused(tmp_path):
    write_dock_folder(tmp_path / "a")
    info = tmp_path / "a" / "info.json"
    info.write_text(info.read_text().replace("C6.0-", "C0.0-"))
    with pytest.raises(MoireioError, match=r"info\.json: the basis 'C0\.0-s1p1' has no positive"):
        dock.open_folder(str(tmp_path / "a"))
