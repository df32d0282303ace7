"""sisl's Hamiltonians."""

import json

import numpy as np
import pytest
from foreign_levels import assert_same_blocks, levels, matrices_at

from moireio.errors import MoireioError
from moireio.formats import sisl as objects
from moireio.formats.siesta import files
from moireio.formats.siesta.write import write

sisl = pytest.importorskip("sisl")
K = [0.13, 0.27, -0.41]
CASES = [
    "siesta_c2_polarised/siesta.HSX",
    "siesta_c2_noncollinear/siesta.HSX",
    "siesta_c2_soc/siesta.HSX",
    "siesta_si_3d/Si_pdos.HSX",
]


@pytest.fixture
def foreign(shared):
    return shared / "foreign"


@pytest.mark.parametrize("name", CASES)
def test_sisl_reads_the_file_as_moireio_does(foreign, name):
    """sisl subtracts the Fermi level; with it added H and S are the same."""
    source = foreign / name
    theirs = sisl.get_sile(str(source)).read_hamiltonian()
    with files.read(str(source)) as calculation:
        found = objects.read(theirs, fermi=calculation.electrons.fermi)
        assert found.electrons.fermi == calculation.electrons.fermi
        for operator in ("hamiltonian", "overlap"):
            one, two = calculation.operator(operator), found.operator(operator)
            assert_same_blocks(one, two, rtol=0, atol=1e-11)
        assert (
            found.basis["C" if "c2" in name else "Si"].l
            == next(iter(calculation.basis.species.values())).l
        )


@pytest.mark.parametrize("name", CASES)
def test_objects_that_are_made_have_the_same_matrices(foreign, name):
    """H(k) as sisl sums it, of the object made here and of its own reader's."""
    source = foreign / name
    theirs = sisl.get_sile(str(source)).read_hamiltonian()
    with files.read(str(source)) as calculation:
        made = objects.write(calculation)
        fermi = calculation.electrons.fermi
    assert np.allclose(made.geometry.xyz, theirs.geometry.xyz)
    for options in ({"spin": 0}, {"spin": 1}) if made.spin.is_polarized else ({},):
        mine, expected = (one.Hk(K, format="array", **options) for one in (made, theirs))
        overlap = theirs.Sk(K, format="array")
        assert np.abs(mine - expected - fermi * overlap).max() < 1e-7


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("kind", ["non-colinear", "spin-orbit"])
def test_real_and_complex_components(kind, dtype):
    """sisl keeps spinors as real or as complex numbers."""
    geometry = sisl.Geometry(
        [[0, 0, 0], [0, 0, 1.4]], sisl.Atom(6, 1.6), sisl.Lattice(5, [3, 1, 1])
    )
    model = sisl.Hamiltonian(geometry, spin=sisl.Spin(kind), dtype=np.float64)
    rng = np.random.default_rng(2)
    for place in ((0, 0), (1, 1), (0, 1, (1, 0, 0)), (1, 0, (0, 0, 0))):
        model[place] = rng.normal(size=model.shape[2])
    model = model + model.transpose(conjugate=True, spin=True)
    model = model.astype(dtype)
    found = objects.read(model)
    assert found.hamiltonian.meta.spin == "spinor"
    theirs = model.Hk([0.3, 0, 0], format="array")
    assert np.allclose(theirs, theirs.conj().T)
    mine = matrices_at(found.hamiltonian, [0.3, 0, 0])[0]
    assert np.allclose(mine, theirs, atol=1e-12)
    back = objects.write(found)
    assert np.allclose(back.Hk([0.3, 0, 0], format="array"), theirs, atol=1e-12)


def test_tight_binding_model():
    """Orbitals without l are s; an orthogonal basis stays one."""
    graphene = sisl.geom.graphene()
    model = sisl.Hamiltonian(graphene)
    model.construct([(0.1, 1.44), (0, -2.7)])
    found = objects.read(model)
    assert found.basis.orthogonal
    assert found.overlap is None
    assert found.structure.pbc.tolist() == [True, True, False]
    assert any("taken as s" in note for note in found.notes)
    for k in ([0, 0, 0], [1 / 3, 2 / 3, 0], K):
        k = [*k[:2], 0]
        assert np.allclose(levels(found, k)[0], model.eigh(k), atol=1e-12)
    back = objects.write(found)
    assert back.orthogonal
    assert np.allclose(back.eigh(K), model.eigh(K), atol=1e-12)


def test_what_is_no_hamiltonian():
    with pytest.raises(MoireioError, match="is no Hamiltonian of sisl"):
        objects.read(json)
    geometry = sisl.Geometry([0, 0, 0], sisl.Atom(6, 1.6), sisl.Lattice(5))
    with pytest.raises(MoireioError, match="Nambu"):
        objects.read(sisl.Hamiltonian(geometry, spin=sisl.Spin("nambu")))


@pytest.mark.parametrize("spin", [None, "polarized"])
def test_fermi_level_where_on_site_energies_are_not_stored(spin):
    graphene = sisl.geom.graphene()
    model = sisl.Hamiltonian(graphene, spin=sisl.Spin(spin or "unpolarized"))
    for atom in graphene:
        model[atom, graphene.close(atom, R=(0.1, 1.44))[1]] = -2.7
    assert model.nnz == 6  # no diagonal
    found = objects.read(model, fermi=1.5)
    k = [0.1, 0.3, 0]
    expected = model.eigh(k) + 1.5
    for one in levels(found, k):
        assert np.allclose(one, expected, atol=1e-12)


def shell(*names):
    return [sisl.AtomicOrbital(name, R=3.0) for name in names]


def test_orbitals_in_another_order_and_incomplete_shells():
    """p of sisl are −x and −y: seen in ⟨s|H|p⟩ along a bond."""
    places = [[0, 0, 0], [0.8, 0.9, 0.4]]
    lattice = sisl.Lattice(4, [3, 1, 1])
    rng = np.random.default_rng(4)

    def model(orbitals):
        geometry = sisl.Geometry(
            places, [sisl.Atom(6, orbitals), sisl.Atom(1, shell("1s"))], lattice
        )
        made = sisl.Hamiltonian(geometry, orthogonal=False)
        made[made.no - 1, made.no - 1] = 9, 1
        return made

    usual = model(shell("2s", "2py", "2pz", "2px"))
    other = model(shell("2px", "2py", "2pz", "2s"))
    flat = model(shell("2px", "2pz", "2s"))
    for b in range(4):
        value = rng.normal(size=2) * [1, 0.2]
        for made, names in ((usual, [0, 1, 2, 3]), (other, [3, 1, 2, 0]), (flat, [3, 2, 0])):
            a = names.index(b) if b in names else None
            if a is not None:
                made[a, made.no - 1, (1, 0, 0)] = value
                made[made.no - 1, a, (-1, 0, 0)] = value
                made[a, a] = b, 1
    one, two, three = (objects.read(made) for made in (usual, other, flat))
    assert two.basis["C"].l == (1, 0)
    assert (three.basis["C"].l, three.basis["C"].m) == ((1, 1, 0), (1, 0, 0))
    for name in ("hamiltonian", "overlap"):
        whole = matrices_at(one.operator(name), K)[0]
        assert np.abs(whole[:4, 4]).min() > 1e-3
        turned = matrices_at(two.operator(name), K)[0]
        assert np.allclose(turned, whole[np.ix_([1, 2, 3, 0, 4], [1, 2, 3, 0, 4])], atol=1e-14)
        part = matrices_at(three.operator(name), K)[0]
        assert np.allclose(part, whole[np.ix_([3, 2, 0, 4], [3, 2, 0, 4])], atol=1e-14)
    assert np.allclose(  # −x there, x here
        matrices_at(one.overlap, [0, 0, 0])[0][3, 4], -usual.Sk(format="array")[3, 4]
    )
    back = objects.write(three)
    assert [(orbital.l, orbital.m) for orbital in back.atoms[0].orbitals] == [
        (1, 1),
        (1, 0),
        (0, 0),
    ]
    assert np.allclose(back.Hk(K, format="array"), flat.Hk(K, format="array"), atol=1e-14)
    with pytest.raises(MoireioError, match="incomplete shells, which SIESTA has not"):
        write(three, "x.HSX")
