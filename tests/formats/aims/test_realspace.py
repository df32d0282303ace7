"""FHI-aims's matrices in real space: its own runs, and files of a naive writer."""

import gzip

import numpy as np
import pytest
from foreign_cells import FRACTIONS, Example, write_aims
from foreign_levels import begin_of_last, blocks_of, levels, matrices_at, overlap_misfit

from moireio.errors import MoireioError
from moireio.formats.aims import realspace

HARTREE = 27.2113845
SHIFTS = (1, 0, 0), (0, -2, 0), (0, 0, 1)


@pytest.fixture(scope="module")
def mos2(shared):
    folder = shared / "foreign" / "aims_mos2"
    return realspace.read(str(folder / "rs_hamiltonian_up.out.gz"))


def test_levels_of_water_are_those_of_aims(shared):
    """aims.out prints them; Fermi level and number of electrons are from there too."""
    folder = shared / "foreign" / "aims_water"
    calculation = realspace.read(str(folder))
    lines = (folder / "aims.out").read_text().split("\n")
    last = max(n for n, line in enumerate(lines) if "State    Occupation" in line)
    printed = [float(line.split()[3]) for line in lines[last + 1 : last + 20]]
    assert np.abs(levels(calculation, (0, 0, 0))[0, :19] - printed).max() < 6e-6
    assert calculation.electrons.count == 20
    assert calculation.electrons.fermi == pytest.approx(-3.49190816)
    assert not calculation.structure.pbc.any()
    assert overlap_misfit(calculation, 1) < 1e-4


def test_mos2(mos2):
    """Equal distances have equal overlaps, p and d point along the bonds; S is positive."""
    structure, basis = mos2.structure, mos2.basis
    found = {}
    for i, j, R, (block,) in blocks_of(mos2.overlap):
        distance = np.linalg.norm(structure.positions[j] + R @ structure.cell
                                  - structure.positions[i])  # fmt: skip
        names = tuple(structure.species_of_atoms[a] for a in (i, j))
        if distance < 6:
            a, b = (begin_of_last(basis[name].l, 0) for name in names)
            found.setdefault((*names, round(distance, 3)), []).append(block[a, b])
    assert max(np.ptp(values) for values in found.values()) < 2e-5
    assert overlap_misfit(mos2, 1) < 1e-3
    assert overlap_misfit(mos2, 2) < 1e-3
    assert basis["Mo"].l.count(3) == 1
    for k in ((0, 0, 0), (0.21, -0.37, 0)):
        S = matrices_at(mos2.overlap, k)[0]
        assert np.linalg.eigvalsh(S).min() > 0
    assert mos2.operators["hamiltonian"].meta.spin == "collinear"
    assert mos2.structure.pbc.tolist() == [True, True, False]
    assert any("without spin-orbit" in note for note in mos2.notes)


def test_f_shells_point_along_the_bonds(mos2):
    """⟨s|f m⟩ between S and Mo is a multiple of the harmonics of their direction."""
    structure, basis = mos2.structure, mos2.basis
    begin = sum(2 * l + 1 for l in basis["Mo"].l if l < 3)  # noqa: E741
    seen = 0
    for i, j, R, (block,) in blocks_of(mos2.overlap):
        vector = structure.positions[j] + R @ structure.cell - structure.positions[i]
        length = np.linalg.norm(vector)
        if structure.numbers[i] != 16 or structure.numbers[j] != 42 or length > 3:
            continue
        x, y, z = vector / length
        expected = np.array(
            [
                (5 / 8) ** 0.5 * y * (3 * x * x - y * y),
                15**0.5 * x * y * z,
                (3 / 8) ** 0.5 * y * (5 * z * z - 1),
                z * (5 * z * z - 3) / 2,
                (3 / 8) ** 0.5 * x * (5 * z * z - 1),
                15**0.5 * z * (x * x - y * y) / 2,
                (5 / 8) ** 0.5 * x * (x * x - 3 * y * y),
            ]
        )
        found = block[begin_of_last(basis["S"].l, 0), begin : begin + 7]
        factor = (found @ expected) / (expected @ expected)
        assert abs(factor) > 0.005
        assert np.abs(found - factor * expected).max() < 2e-5
        seen += 1
    assert seen == 6


@pytest.mark.parametrize("hdf5", [False, True])
@pytest.mark.parametrize("spins", [1, 2])
def test_every_form_gives_the_same_blocks(tmp_path, spins, hdf5):
    example = Example(spins=spins)
    write_aims(tmp_path, example, shifts=SHIFTS, hdf5=hdf5)
    calculation = realspace.read(str(tmp_path))
    example.assert_equal(calculation, 1e-12, HARTREE)
    assert np.abs(calculation.structure.positions - example.structure.positions).max() < 1e-12
    assert calculation.basis.valence(calculation.structure) == 49
    assert any("3 of 3 atoms moved" in note for note in calculation.notes)


def test_other_places_and_forms(tmp_path):
    """Compressed files, companions from elsewhere, fractional atoms, species with other names."""
    example = Example()
    write_aims(tmp_path, example)
    for file in list(tmp_path.glob("rs_*")):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = (tmp_path / "geometry.in").read_text().split("atom")[0]
    names = "Carbon_1", "Mo", "H"
    text += "".join(
        f"atom_frac {x} {y} {z} {name}  # a comment\n"
        for (x, y, z), name in zip(FRACTIONS.tolist(), names, strict=True)
    )
    (elsewhere / "geometry.in").write_text(text)
    (tmp_path / "geometry.in").unlink()
    geometry = str(elsewhere / "geometry.in")
    with pytest.raises(MoireioError, match=r"species 'Carbon_1' is of no element.*control.in"):
        realspace.read(str(tmp_path), companions=[geometry])
    (tmp_path / "control.in").write_text("species Carbon_1\n nucleus 6\nspecies H\n nucleus 1.\n")
    calculation = realspace.read(str(tmp_path / "rs_overlap.out.gz"), companions=[geometry])
    example.assert_equal(calculation, 1e-12, HARTREE)
    assert calculation.structure.species_names[0] == "Carbon_1"


def test_the_file_that_is_named_is_read(tmp_path):
    """Not one of another form beside it, nor others where its name is no name of FHI-aims."""
    example = Example()
    write_aims(tmp_path, example, hdf5=True)
    (tmp_path / "rs_hamiltonian.out").write_text("1.0\n")
    example.assert_equal(realspace.read(str(tmp_path / "rs_hamiltonian.h5")), 1e-12, HARTREE)
    (tmp_path / "rs_hamiltonian.h5").rename(tmp_path / "mine.h5")
    with pytest.raises(MoireioError, match=r"mine\.h5: has no name .* FHI-aims"):
        realspace.read(str(tmp_path / "mine.h5"))


def test_reversed_cells_and_atoms_in_other_cells_are_seen(tmp_path):
    """S decays with the distance only where R is right, which eigenvalues do not show."""
    example = Example()
    write_aims(tmp_path, example)
    text = (tmp_path / "rs_indices.out").read_text().split("\n")
    begin = text.index("cell_index") + 1
    turned = list(text)
    for n in range(begin, text.index("index_hamiltonian(1,:,:)") - 1):
        turned[n] = " ".join(str(-int(word)) for word in text[n].split())
    (tmp_path / "rs_indices.out").write_text("\n".join(turned))
    with pytest.raises(MoireioError, match="blocks at R belong to -R"):
        realspace.read(str(tmp_path))


def _cut(name, part=0.6):
    def change(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(part * len(data))])

    return change


def _without_line(name, number):
    def change(folder):
        lines = (folder / name).read_text().split("\n")
        del lines[number]
        (folder / name).write_text("\n".join(lines))

    return change


def _other_number(heading, row, step):
    """Change the last positive number of a row after a heading."""

    def change(folder):
        path = folder / "rs_indices.out"
        lines = path.read_text().split("\n")
        at = next(n for n, line in enumerate(lines) if heading in line) + row
        words = lines[at].split()
        place = max((n for n, word in enumerate(words) if int(word) > 0), default=0)
        words[place] = str(int(words[place]) + step)
        lines[at] = " ".join(words)
        path.write_text("\n".join(lines))

    return change


def _replace(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "rs_indices.out").unlink(), r"no rs_indices.out beside it.*companion"),
        (lambda f: (f / "geometry.in").unlink(), r"no geometry.in beside it"),
        (lambda f: (f / "basis-indices.out").unlink(), r"no basis-indices.out beside it"),
        (lambda f: (f / "rs_hamiltonian_dn.out").unlink(), "not that of the other spin"),
        (_cut("rs_overlap.out"), r"rs_overlap.out.*(holds \d+ numbers|a number expected)"),
        (_without_line("rs_overlap.out", 20), r"rs_overlap.out: holds \d+ numbers, \d+ expected"),
        (_without_line("rs_indices.out", -20), r"rs_indices.out: lists \d+ columns, \d+ expected"),
        (_cut("rs_indices.out"), "rs_indices.out"),
        (_cut("rs_indices.out", 0.05), "rs_indices.out: line"),
        (_replace("rs_indices.out", "n_basis:", "n_bassi:"), "n_basis expected"),
        (_replace("rs_overlap.out", "E+00", "E+x0"), r"rs_overlap.out: line 1: a number expected"),
        (_replace("basis-indices.out", "atomic     2", "atomic     3"), "line 7: atom 3 after"),
        (_replace("geometry.in", "lattice_vector", "latice_vector"), "has 2 lattice vectors"),
        (_other_number("cell_index", 2, 7), r"rs_indices.out: lists the cell .*, but not"),
        (
            _other_number("index_hamiltonian(2", 1, 2),
            r"indices.out: gives element \d+ \d places",
        ),
    ],
)
def test_damage_is_named(tmp_path, damage, message):
    write_aims(tmp_path, Example(spins=2))
    damage(tmp_path)
    with pytest.raises(MoireioError, match=message):
        realspace.read(str(tmp_path))


def test_a_folder_without_its_indices_is_known(tmp_path):
    write_aims(tmp_path, Example())
    (tmp_path / "rs_indices.out").unlink()
    assert realspace.detect(str(tmp_path))
    with pytest.raises(MoireioError, match=r"has no rs_indices.out beside it"):
        realspace.read(str(tmp_path))
