"""Reduced models: levels near a k point, against LAPACK."""

import numpy as np
import pytest
from crystals import graphene
from helpers import overlap_like, random_operator, random_system, write_file
from scipy.linalg import eigh

import moireio
from moireio.errors import MoireioError
from moireio.spectrum.anchors.model import ReducedModel
from moireio.spectrum.anchors.reduction import reduced_model
from moireio.system.structure import Structure
from moireio.tightbinding.modelfile import read_model
from moireio.tightbinding.source import TightBindingSource, bonded_pairs

K = np.array([2 / 3, 1 / 3, 0])


def repeated(count, pbc=(True, True, False)):
    """Two layers of graphene, repeated along the first vector, and moved a little at random."""
    unit = graphene(2)
    shifts = np.arange(count)[:, None, None] * unit.cell[0]
    moved = 0.05 * np.random.default_rng(5).normal(size=(count, 4, 3))
    positions = (unit.positions + shifts + moved).reshape(-1, 3)
    cell = unit.cell * np.array([[count], [1], [1]])
    return Structure(cell, positions, [6] * 4 * count, [0] * 4 * count, ["C"], pbc)


def carbon(folder, atoms, name="c"):
    """A block file of carbon's p orbitals."""
    model = read_model("moon-koshino")
    pairs = bonded_pairs(atoms, model)
    source = TightBindingSource(atoms, model, pairs)
    return write_file(folder / f"{name}.h5", atoms, model.basis(atoms), source)


def direct(file, k, bands):
    h = file.hamiltonian.at_k(k).toarray()
    s = np.eye(len(h)) if file.overlap is None else file.overlap.at_k(k).toarray()
    return eigh(h, s, eigvals_only=True)[bands[0] : bands[1] + 1]


def largest_error(file, model, count=5):
    rng, worst = np.random.default_rng(8), 0.0
    for _ in range(count):
        k = model.k0.copy()
        k[model.axes] += model.radius * rng.uniform(-1, 1, len(model.axes))
        worst = max(worst, np.abs(model.levels(k) - direct(file, k, model.bands)).max())
    return worst


def test_ribbon(tmp_path):
    """Along a line, a basis smaller than that of the atoms, and states that solve H and S."""
    atoms = repeated(30, (False, True, False))
    with moireio.open(carbon(tmp_path, atoms)) as file:
        model = reduced_model(
            file, [0, 0.2, 0], (58, 61), energy=0.8, radius=0.05, jobs=1, states=True
        )
        assert model.powers.shape[1] == 1
        assert model.axes.tolist() == [1]
        assert model.radius == pytest.approx(0.05)
        assert model.h.shape[1] < 100
        assert largest_error(file, model) <= model.error <= 1e-5
        k = np.array([0, 0.23, 0])
        c, h = model.states(k), file.hamiltonian.at_k(k)
        assert np.abs(c.conj().T @ c - np.eye(4)).max() < 1e-10
        assert np.abs(h @ c - c * model.levels(k)).max() < 5e-3
        with pytest.raises(
            MoireioError, match=r"k = 0 0\.4 0 lies outside .* within 0\.05 of 0 0\.2"
        ):
            model.levels([0, 0.4, 0])
        path = str(tmp_path / "m.npz")
        model.write(path)
        again = ReducedModel.read(path)
        assert (again.levels(k) == model.levels(k)).all()
        assert (again.states(k) == model.states(k)).all()
        assert (again.fermi, again.spin, again.bands) == (model.fermi, "none", (58, 61))


def test_a_part_of_a_multiplet(tmp_path):
    """Graphene folded 36 times: two of the four bands that touch at Γ."""
    unit, count = graphene(), 6
    cells = np.stack(np.meshgrid(range(count), range(count), [0]), -1).reshape(-1, 1, 3)
    positions = (unit.positions + cells @ unit.cell).reshape(-1, 3)
    n = len(positions)
    cell = unit.cell * [[count], [count], [1]]
    atoms = Structure(cell, positions, [6] * n, [0] * n, ["C"], unit.pbc)
    with moireio.open(carbon(tmp_path, atoms)) as file:
        model = reduced_model(file, [0, 0, 0], (35, 36), energy=0.8, radius=0.05, jobs=1)
        assert model.h.shape[1] < n
        assert largest_error(file, model, 3) <= model.error <= 1e-5


def test_layer_with_overlap(tmp_path):
    """Two axes and three species; every element of H and S at random."""
    structure, basis = random_system(3)
    sizes = basis.sizes(structure)
    sources = [random_operator(3, sizes)[0], overlap_like(3, sizes)[0]]
    with moireio.open(write_file(tmp_path / "r.h5", structure, basis, *sources)) as file:
        model = reduced_model(
            file, [0.1, 0.3, 0], (3, 5), energy=0, radius=0.01, tolerance=1e-6, jobs=1
        )
        assert model.radius == 0.01
        assert largest_error(file, model) <= model.error <= 1e-6
        with pytest.raises(MoireioError, match="no basis functions"):
            model.states(model.k0)


def test_berry_phase_of_graphene(tmp_path):
    """The lower band around K: π."""
    with moireio.open(carbon(tmp_path, graphene())) as file:
        model = reduced_model(file, K, (0, 0), energy=0, radius=0.02, jobs=1)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    loop = K + 0.015 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    states = [model.eigenpairs(k)[1][:, 0] for k in loop]
    product = 1
    for a, b, k, q in zip(
        states, states[1:] + states[:1], loop, np.roll(loop, -1, axis=0), strict=True
    ):
        product *= a.conj() @ model.overlap((k + q) / 2) @ b
    assert abs(np.angle(product)) == pytest.approx(np.pi, abs=1e-6)


def test_what_makes_no_sense_is_refused(tmp_path):
    def refused(match, k0=K, bands=(0, 0), **options):
        with pytest.raises(MoireioError, match=match):
            reduced_model(file, k0, bands, **options)

    with moireio.open(carbon(tmp_path, graphene())) as file:
        refused("bands 2 to 3 were asked for, there are 2", bands=(1, 2))
        refused("no spin channel 1", channel=1)
        refused("a radius of 0.7 is not between", radius=0.7)
        refused("three numbers", k0=[0, 0])
    with moireio.open(carbon(tmp_path, graphene(pbc=(False,) * 3), "o")) as file:
        refused("needs a periodic axis")


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "m.npz"

    def refused(match):
        with pytest.raises(MoireioError, match=match) as error:
            ReducedModel.read(path)
        assert str(path) in str(error.value)

    refused("no such file")
    path.write_bytes(b"text")
    refused("is no reduced model")
    np.savez(path, format="other")
    refused("has the format 'other'")
    with moireio.open(carbon(tmp_path, graphene())) as file:
        reduced_model(file, K, (0, 1), energy=0, radius=0.002, jobs=1).write(str(path))
    whole = path.read_bytes()
    arrays = dict(np.load(path))
    for change in ({"S": arrays["S"][:1]}, {"k0": np.full(3, np.nan)}, {"bands": [1, 0]}):
        np.savez(path, **(arrays | change))
        refused("do not belong together")
    path.write_bytes(whole[: len(whole) // 2])
    refused("is no reduced model, or damaged")
