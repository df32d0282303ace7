"""SIESTA's matrices, read and written."""

import gzip
import json
import shutil
import sys

import numpy as np
import pytest
from foreign_levels import blocks_of, levels, overlap_misfit
from siesta_files import random_hsx

from moireio.errors import DamagedError, ExistingFileError, MoireioError
from moireio.formats import matrices
from moireio.formats.registry import detect_format
from moireio.formats.siesta.files import read
from moireio.formats.siesta.write import write
from moireio.results.electrons import Electrons
from moireio.system.structure import Structure

FILES = [
    ("siesta_c2_unpolarised", "siesta.HSX", 5e-8),
    ("siesta_c2_polarised", "siesta.HSX", 5e-8),
    ("siesta_c2_noncollinear", "siesta.HSX", 5e-8),
    ("siesta_c2_soc", "siesta.HSX", 5e-8),
    ("siesta_fe_polarised", "fe.HSX", 5e-6),
    ("siesta_graphene_tshs", "electrode.HSX", 5e-8),
    ("siesta_graphene_tshs", "electrode.TSHS", 5e-8),
    ("siesta_pt2_soc_molecule", "Pt2_xx.HSX", 5e-8),
    ("siesta_pt2_soc_molecule", "Pt2_xx.TSHS", 5e-8),
    ("siesta_si_3d", "Si_pdos.HSX", 5e-8),
]
SISL = [("unpolarized", 1), ("polarized", 2), ("noncollinear", 1), ("spinorbit", 1)]


@pytest.fixture
def foreign(shared):
    return shared / "foreign"


@pytest.mark.parametrize(("folder", "name", "limit"), FILES)
def test_absolute_eigenvalues_of_siesta(foreign, folder, name, limit):
    reference = json.loads((foreign / folder / "reference.json").read_text())
    with read(str(foreign / folder / name)) as calculation:
        assert calculation.electrons.fermi == pytest.approx(reference["fermi_eV"], abs=1e-6)
        for k, expected in zip(
            reference["general_k"], reference["general_eV_sisl_absolute"], strict=True
        ):
            assert np.abs(levels(calculation, k) - np.array(expected)).max() < limit


@pytest.mark.parametrize(("spin", "channels"), SISL)
def test_netcdf_of_sisl(foreign, spin, channels):
    folder = foreign / f"sisl_nc_{spin}"
    reference = json.loads((folder / "reference.json").read_text())
    energies = np.array(reference["eV"])
    assert len(energies) == channels
    with read(str(folder / "graphene.nc")) as calculation:
        for place, k in enumerate(reference["k"]):
            assert np.abs(levels(calculation, k) - energies[:, place]).max() < 1e-11


def test_bands_of_siesta_itself(foreign):
    """The lowest levels of the file that SIESTA printed, at the k points of its mesh."""
    reference = json.loads((foreign / "siesta_si_3d" / "reference.json").read_text())
    with read(str(foreign / "siesta_si_3d" / "Si_pdos.HSX")) as calculation:
        for k, (energies,) in zip(reference["k_bz"], reference["eV_siesta_EIG"], strict=True):
            assert np.abs(levels(calculation, k)[0, : len(energies)] - energies).max() < 5e-5


@pytest.mark.parametrize(
    ("folder", "name", "momenta"),
    [
        ("siesta_graphene_tshs", "electrode.TSHS", (1,)),
        ("siesta_si_3d", "Si_pdos.HSX", (1, 2)),
        ("siesta_fe_polarised", "fe.HSX", (1, 2)),
    ],
)
def test_orbitals_in_the_overlap_of_atoms_of_known_direction(foreign, folder, name, momenta):
    with read(str(foreign / folder / name)) as calculation:
        for momentum in momenta:
            assert overlap_misfit(calculation, momentum) < 1e-4


def test_spin_orbit_coupling_is_l_times_s(foreign):
    """The imaginary part of an atom's d block is that of ξ L·σ, with ξ > 0.

    Exchange, which is there too, is real.
    """
    with read(str(foreign / "siesta_pt2_soc_molecule" / "Pt2_xx.HSX")) as calculation:
        basis = calculation.basis["Pt"]
        begin = sum(2 * l + 1 for l in basis.l[: basis.l.index(2)])  # noqa: E741
        i, j, R, (block,) = next(blocks_of(calculation.hamiltonian))
        assert i == j == 0
        assert not R.any()
    n = basis.size
    d = np.r_[begin : begin + 5]
    quarters = [[block[np.ix_(d + s * n, d + t * n)] for t in (0, 1)] for s in (0, 1)]
    coupling = {
        "z": (quarters[0][0] - quarters[1][1]) / 2,
        "x": (quarters[0][1] + quarters[1][0]) / 2,
        "y": (quarters[0][1] - quarters[1][0]) / -2j,
    }
    angular = angular_momentum_of_d()
    strength = np.vdot(angular["z"], coupling["z"]).real / np.vdot(angular["z"], angular["z"]).real
    assert strength > 0.1
    for axis, found in coupling.items():
        assert np.abs(found.imag - strength * angular[axis].imag).max() < 0.01 * strength


def angular_momentum_of_d():
    """L_x, L_y, L_z between real d orbitals m = −2 … 2, from L_z|m⟩ = m|m⟩ and ladder operators."""
    m = np.arange(-2, 3)
    lz = np.diag(m).astype(complex)
    up = np.diag(np.sqrt(6 - m[:-1] * (m[:-1] + 1)), -1).astype(complex)  # ⟨m+1|L₊|m⟩
    lx, ly = (up + up.T) / 2, (up - up.T) / 2j
    # columns: real orbitals in complex ones with Condon–Shortley sign
    real = np.zeros((5, 5), dtype=complex)
    real[2, 2] = 1
    for n in (1, 2):
        sign = (-1) ** n
        real[2 + n, 2 + n], real[2 - n, 2 + n] = sign / 2**0.5, 1 / 2**0.5
        real[2 + n, 2 - n], real[2 - n, 2 - n] = -1j * sign / 2**0.5, 1j / 2**0.5
    return {a: real.conj().T @ one @ real for a, one in zip("xyz", (lx, ly, lz), strict=True)}


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@pytest.mark.parametrize("double", [True, False])
def test_random_blocks_come_back(tmp_path, spin, double):
    """Several species, atoms outside the cell, a slab, odd orbitals, H that is not real."""
    path = tmp_path / "x.HSX"
    structure, basis, h, s = random_hsx(path, seed=3, spin=spin, double=double)
    limit = 1e-12 if double else 1e-5
    with read(str(path)) as calculation:
        assert calculation.structure.species_of_atoms == structure.species_of_atoms
        assert np.allclose(calculation.structure.positions, structure.positions, atol=1e-12)
        assert calculation.structure.pbc.tolist() == [True, True, False]
        assert all(b.l == basis[n].l for n, b in calculation.basis.species.items())
        for operator, blocks in (("hamiltonian", h), ("overlap", s)):
            found = {
                (i, j, tuple(R)): b for i, j, R, b in blocks_of(calculation.operator(operator))
            }
            for key, block in blocks.items():
                assert np.abs(found[key] - block).max() < limit
            assert not any(np.abs(found[key]).max() for key in set(found) - set(blocks))


@pytest.mark.parametrize("old", [False, True])
def test_more_species_than_orbitals(tmp_path, old):
    """ChemicalSpeciesLabel may list species without atoms, as many as one likes."""
    path = tmp_path / "x.HSX"
    structure, _, h, _ = random_hsx(path, seed=3, old=old, unused=60)
    with read(str(path)) as calculation:
        assert calculation.structure.species_of_atoms == structure.species_of_atoms
        found = {(i, j, tuple(R)): b for i, j, R, b in blocks_of(calculation.hamiltonian)}
        assert all(np.abs(found[key] - block).max() < 1e-5 for key, block in h.items())


@pytest.mark.parametrize("reach", [0, 1])
@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_hsx_of_siesta_4(tmp_path, spin, reach):
    """R follows from distances; lattice and positions are those of XV, beside it or named."""
    path = tmp_path / "x.HSX"
    structure, basis, h, s = random_hsx(path, seed=3, spin=spin, reach=reach, old=True)
    with read(str(path)) as calculation:
        assert np.allclose(calculation.structure.positions, structure.positions, atol=1e-9)
        assert np.allclose(calculation.structure.cell, structure.cell, atol=1e-9)
        assert calculation.structure.numbers.tolist() == list(structure.numbers)
        assert calculation.electrons.fermi is None
        assert all(b.l == basis[n].l for n, b in calculation.basis.species.items())
        for operator, blocks in (("hamiltonian", h), ("overlap", s)):
            found = {
                (i, j, tuple(R)): b for i, j, R, b in blocks_of(calculation.operator(operator))
            }
            assert all(np.abs(found[key] - block).max() < 1e-5 for key, block in blocks.items())
            assert not any(np.abs(found[key]).max() for key in set(found) - set(blocks))
    vectors = tmp_path / "elsewhere.XV"
    path.with_suffix(".XV").rename(vectors)
    with pytest.raises(MoireioError, match=r"HSX file of SIESTA 4.* no x\.XV is beside it"):
        read(str(path))
    read(str(path), companions=[str(vectors)]).close()
    if reach:
        words = vectors.read_text().split()
        words[0] = f"{float(words[0]) * 1.05}"
        lines = [" ".join(words[6 * n : 6 * n + 6]) for n in range(3)]
        vectors.write_text("\n".join([*lines, *vectors.read_text().split("\n")[3:]]))
        with pytest.raises(MoireioError, match=r"elsewhere\.XV: its atoms are not at the"):
            read(str(path), companions=[str(vectors)])


@pytest.mark.filterwarnings("ignore")
def test_hsx_of_siesta_4_is_what_sisl_reads(tmp_path):
    sisl = pytest.importorskip("sisl")
    path = tmp_path / "x.HSX"
    structure, basis, *_ = random_hsx(path, seed=3, old=True)
    with read(str(path)) as calculation:
        atoms = [
            sisl.Atom(
                int(number),
                [
                    sisl.SphericalOrbital(l, None, 2.0).toAtomicOrbital(m=m, n=l + 1)
                    for l in basis[name].l  # noqa: E741
                    for m in range(-l, l + 1)
                ],
                tag=name,
            )
            for number, name in zip(structure.numbers, structure.species_of_atoms, strict=True)
        ]
        lattice = sisl.Lattice(calculation.structure.cell, nsc=[3, 3, 1])
        geometry = sisl.Geometry(calculation.structure.positions, atoms, lattice=lattice)
        theirs = sisl.get_sile(str(path)).read_hamiltonian(geometry=geometry)
        k = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 3)) * [1, 1, 0]
        for one in k:
            found = theirs.eigh(one, dtype=np.complex128)  # the file is of single precision
            assert np.abs(found - levels(calculation, one)[0]).max() < 1e-5


def test_what_is_known_of_the_basis(foreign):
    with read(str(foreign / "siesta_fe_polarised" / "fe.HSX")) as calculation:
        iron = calculation.basis["Fe"]
        assert iron.l == (0, 0, 0, 1, 1, 2, 2)
        assert iron.valence == 16
        assert iron.cutoff == pytest.approx(7.4 * 0.529177210903)
        assert calculation.electrons.count == pytest.approx(16)
        assert calculation.structure.numbers.tolist() == [26]


def test_hsx_alone_and_compressed(foreign, tmp_path):
    """Without ORB_INDX and XV the shells are those of the HSX."""
    source = foreign / "siesta_si_3d" / "Si_pdos.HSX"
    packed = tmp_path / "alone.HSX.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    with read(str(packed)) as alone, read(str(source)) as beside:
        assert np.array_equal(alone.hamiltonian.data, beside.hamiltonian.data)
        assert alone.structure.numbers.tolist() == [14, 14]
        assert alone.basis["Si"].cutoff is None


def test_tshs_needs_the_shells(foreign, tmp_path):
    folder = foreign / "siesta_graphene_tshs"
    shutil.copy(folder / "electrode.TSHS", tmp_path / "moved.TSHS")
    with pytest.raises(MoireioError, match=r"moved\.ORB_INDX"):
        read(str(tmp_path / "moved.TSHS"))
    index = str(folder / "electrode.ORB_INDX.gz")
    with read(str(tmp_path / "moved.TSHS"), companions=[index]) as calculation:
        assert calculation.structure.formula == "C6"
        expected = calculation.hamiltonian.rows(0, 6)
    shutil.copy(folder / "electrode.XV", tmp_path / "moved.XV")  # elements, but no shells
    with read(str(tmp_path / "moved.TSHS"), shells="C=sp") as calculation:
        assert calculation.structure.formula == "C6"
        assert np.array_equal(calculation.hamiltonian.rows(0, 6), expected)


def test_shells_of_a_model(tmp_path):
    """sisl's .nc do not have the shells of atoms with several orbitals."""
    sisl = pytest.importorskip("sisl")
    pytest.importorskip("netCDF4")
    geometry = sisl.Geometry([[0, 0, 0]], sisl.Atom(6, [2.0, 2.0]), sisl.Lattice(3, [3, 1, 1]))
    model = sisl.Hamiltonian(geometry)
    model[0, 0] = model[1, 1] = 0.5
    model[0, 1] = model[1, 0] = -0.25
    model[0, 1, (1, 0, 0)] = model[1, 0, (-1, 0, 0)] = -1.5
    path = str(tmp_path / "x.nc")
    model.write(path)
    with pytest.raises(MoireioError, match="does not give the shells of C"):
        read(path)
    with read(path, shells="C=s2") as calculation:
        assert calculation.basis["C"].l == (0, 0)
        assert calculation.basis.orthogonal
        assert calculation.structure.pbc.tolist() == [True, False, False]
        assert np.allclose(levels(calculation, [0.2, 0, 0]), model.eigh([0.2, 0, 0]), atol=1e-12)


def test_files_of_another_run(foreign, tmp_path):
    shutil.copy(foreign / "siesta_si_3d" / "Si_pdos.HSX", tmp_path / "x.HSX")
    shutil.copy(foreign / "siesta_c2_soc" / "siesta.XV", tmp_path / "x.XV")
    index = foreign / "siesta_c2_soc" / "siesta.ORB_INDX.gz"
    with read(str(tmp_path / "x.HSX")) as calculation:  # the atoms may be others
        assert len(calculation.structure) == 2
        assert any("atomic number 6 for Si" in note for note in calculation.notes)
    (tmp_path / "x.ORB_INDX").write_bytes(
        gzip.decompress(index.read_bytes()).replace(b" C ", b"Si ")
    )
    with pytest.raises(MoireioError, match="different runs"):
        read(str(tmp_path / "x.HSX"))


def test_detection(foreign, tmp_path):
    for name in ("siesta_c2_soc/siesta.HSX", "sisl_nc_spinorbit/graphene.nc"):
        assert detect_format(str(foreign / name)).name == "siesta"
    other = tmp_path / "other.nc"
    other.write_bytes(b"CDF\1 not of SIESTA")
    assert detect_format(str(other)) is None


@pytest.mark.parametrize("suffix", [".HSX", ".TSHS", ".nc"])
@pytest.mark.parametrize(
    "source",
    [
        "siesta_c2_noncollinear/siesta.HSX",
        "siesta_c2_polarised/siesta.HSX",
        "siesta_pt2_soc_molecule/Pt2_xx.HSX",
        "siesta_graphene_tshs/electrode.HSX",
    ],
)
def test_written_and_read_by_sisl_and_by_moireio(foreign, tmp_path, source, suffix):
    sisl = pytest.importorskip("sisl")
    pytest.importorskip("netCDF4")
    target = str(tmp_path / f"x{suffix}")
    k = [0.13, 0.27, -0.41]
    with read(str(foreign / source)) as calculation:
        write(calculation, target)
        with read(target) as again:
            one, two = calculation.hamiltonian, again.hamiltonian
            assert np.array_equal(one.pairs.R, two.pairs.R)
            assert np.allclose(one.data, two.data, rtol=1e-14, atol=1e-12)
            assert np.array_equal(calculation.overlap.data, again.overlap.data)
            assert again.electrons.fermi == pytest.approx(calculation.electrons.fermi, rel=1e-12)
            assert again.basis["C" if "C" in again.basis.species else "Pt"].cutoff == pytest.approx(
                next(iter(calculation.basis.species.values())).cutoff, abs=1e-3
            )
        theirs = sisl.get_sile(target).read_hamiltonian()
        spins = (0, 1) if theirs.spin.is_polarized else (0,)
        found = [theirs.eigh(k, spin=spin) for spin in spins]
        expected = levels(calculation, k) - calculation.electrons.fermi
        assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()


def test_written_hsx_has_what_sisl_leaves_out(foreign, tmp_path):
    pytest.importorskip("sisl")
    source = foreign / "siesta_si_3d" / "Si_pdos.HSX"
    with read(str(source)) as calculation:
        write(calculation, str(tmp_path / "x.HSX"))
    with read(str(tmp_path / "x.HSX")) as again:
        assert again.basis["Si"].valence == 4
        assert again.electrons.count == pytest.approx(8)
    with pytest.raises(MoireioError, match="exists already"):
        write(calculation, str(tmp_path / "x.HSX"))


@pytest.mark.parametrize(("suffix", "fermi"), [(".HSX", None), (".TSHS", 0.0), (".nc", 0.0)])
def test_an_unknown_fermi_level_is_noted(foreign, tmp_path, suffix, fermi):
    """An HSX has a number for that, the others have none."""
    pytest.importorskip("sisl")
    pytest.importorskip("netCDF4")
    target = str(tmp_path / f"x{suffix}")
    with read(str(foreign / "siesta_si_3d" / "Si_pdos.HSX")) as calculation:
        calculation.electrons = Electrons(count=8.0)
        before = len(calculation.notes)
        write(calculation, target)
        noted = [note for note in calculation.notes[before:] if "Fermi level is not known" in note]
    assert len(noted) == (fermi is not None)
    with read(target) as again:
        assert again.electrons.fermi == fermi


def test_sisl_is_needed_for_writing_only(tmp_path, monkeypatch):
    random_hsx(tmp_path / "x.HSX")
    monkeypatch.setitem(sys.modules, "sisl", None)
    calculation = read(str(tmp_path / "x.HSX"))
    with pytest.raises(MoireioError, match=r"needs the package sisl .*moireio\[siesta\]"):
        write(calculation, str(tmp_path / "y.HSX"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.HSX"]


def test_damage_is_named(foreign, tmp_path):
    whole = (foreign / "siesta_graphene_tshs" / "electrode.HSX").read_bytes()
    broken = tmp_path / "x.HSX"
    for content, text in (
        (b"", "is empty"),
        (whole[:5000], "announces 3516 elements in 5000 bytes"),
        (whole[:-40], "cut short"),
        (whole[:32] + b"\xff\xff\xff\x7f" + whole[36:], "announces"),
        (whole.replace(b"\1\0\0\0", b"\7\0\0\0", 1), "no HSX file of version 0, 1 or 2"),
        (whole[:-60] + np.array([np.nan]).tobytes() * 7 + whole[-4:], "not finite"),
    ):
        broken.write_bytes(content)
        with pytest.raises(MoireioError, match=text) as caught:
            read(str(broken))
        assert str(caught.value).startswith(str(broken))


def test_what_is_not_hermitian_is_damaged(foreign, tmp_path):
    whole = bytearray((foreign / "siesta_graphene_tshs" / "electrode.HSX").read_bytes())
    place = len(whole) - 8 * 9 - 4
    whole[place : place + 8] = np.array([0.25]).tobytes()
    (tmp_path / "x.HSX").write_bytes(whole)
    with pytest.raises(DamagedError, match="partner differ"):
        read(str(tmp_path / "x.HSX"))


def test_a_basis_without_cutoffs_comes_back(tmp_path):
    """As of FHI-aims or a model; SIESTA's files have a number for the cutoff all the same."""
    pytest.importorskip("sisl")
    hoppings = {(n, 0, 0): np.array([[value]]) for n, value in ((0, 0.5), (1, -1.0), (-1, -1.0))}
    structure = Structure(3 * np.eye(3), np.zeros((1, 3)), [6], [0], ["C"], [True, False, False])
    unit = {(0, 0, 0): np.eye(1)}
    model = matrices.read(hoppings, unit, structure=structure, shells={"C": [0]})
    assert model.basis["C"].cutoff is None
    write(model, str(tmp_path / "x.HSX"))
    with read(str(tmp_path / "x.HSX")) as calculation:
        assert calculation.basis["C"].cutoff is None
        assert np.allclose(levels(calculation, [0.5, 0, 0]), 2.5)


@pytest.mark.parametrize("suffix", [".HSX", ".TSHS", ".nc"])
def test_folders_with_other_letters(foreign, tmp_path, suffix):
    """sisl's Fortran takes ASCII alone."""
    pytest.importorskip("sisl")
    pytest.importorskip("netCDF4")
    target = tmp_path / "Löwdin [1]" / f"ü{suffix}"
    target.parent.mkdir()
    with read(str(foreign / "siesta_si_3d" / "Si_pdos.HSX")) as calculation:
        write(calculation, str(target))
        with read(str(target)) as again:
            np.testing.assert_allclose(again.hamiltonian.data, calculation.hamiltonian.data)
    assert {p.name for p in target.parent.iterdir()} == {f"ü{suffix}", "ü.ORB_INDX"}


def test_nothing_is_left_of_what_sisl_cannot_write(foreign, tmp_path, monkeypatch):
    sisl = pytest.importorskip("sisl")

    def fail(*_, **__):
        raise RuntimeError("no room")

    monkeypatch.setattr(sisl.io.siesta.hsxSileSiesta, "write_hamiltonian", fail)
    calculation = read(str(foreign / "siesta_si_3d" / "Si_pdos.HSX"))
    with pytest.raises(MoireioError, match="sisl cannot write it: no room"):
        write(calculation, str(tmp_path / "x.HSX"))
    assert list(tmp_path.iterdir()) == []


def test_forms_of_one_name_share_their_index_of_orbitals(foreign, tmp_path):
    pytest.importorskip("sisl")
    calculation = read(str(foreign / "siesta_si_3d" / "Si_pdos.HSX"))
    other = read(str(foreign / "siesta_c2_soc" / "siesta.HSX"))
    write(calculation, str(tmp_path / "x.HSX"))
    write(calculation, str(tmp_path / "x.TSHS"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert len(before) == 3
    with pytest.raises(ExistingFileError, match=r"x\.ORB_INDX: exists already, and belongs to"):
        write(other, str(tmp_path / "x.TSHS"), force=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    (tmp_path / "x.HSX").unlink()
    write(other, str(tmp_path / "x.TSHS"), force=True)
    with read(str(tmp_path / "x.TSHS")) as again:
        assert again.basis["C"].l == other.basis["C"].l


@pytest.mark.parametrize("suffix", [".HSX", ".TSHS"])
def test_hundreds_of_species(tmp_path, suffix):
    """The columns of ORB_INDX do not touch."""
    pytest.importorskip("sisl")
    n = 120
    names = [f"C{number}" for number in range(n)]
    positions = np.linspace(0, 119, n)[:, None] * [0.9, 0, 0]
    cell = np.diag([200.0, 9, 9])
    structure = Structure(cell, positions, [6] * n, range(n), names, [False] * 3)
    shells = {name: [0] * (1 + number % 3) for number, name in enumerate(names)}
    rows = sum(map(len, shells.values()))
    model = matrices.read(
        {(0, 0, 0): np.diag(np.arange(float(rows)))},
        {(0, 0, 0): np.eye(rows)},
        structure=structure,
        shells=shells,
    )
    write(model, str(tmp_path / f"x{suffix}"))
    with read(str(tmp_path / f"x{suffix}")) as found:
        assert found.structure.species_of_atoms == names
        assert found.basis.sizes(found.structure).tolist() == [1 + i % 3 for i in range(n)]


@pytest.mark.parametrize("row", [4, 5])
def test_one_atom_of_another_element(foreign, tmp_path, row):
    """Each row of XV has the element of its atom."""
    for name in ("HSX", "XV", "ORB_INDX.gz"):
        shutil.copy(foreign / "siesta_c2_soc" / f"siesta.{name}", tmp_path / f"siesta.{name}")
    lines = (tmp_path / "siesta.XV").read_text().split("\n")
    assert lines[row].split()[:2] == ["1", "6"]
    lines[row] = lines[row].replace("6", "4", 1)
    (tmp_path / "siesta.XV").write_text("\n".join(lines))
    with read(str(tmp_path / "siesta.HSX")) as calculation:
        assert any("atomic number 4 for C" in note for note in calculation.notes)
