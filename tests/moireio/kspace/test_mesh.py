"""Meshes of k points and what symmetry leaves of them."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.kspace.mesh import KMesh, make_mesh, reduce_mesh
from moireio.spectrum.fermi import fermi_level
from moireio.symmetry.crystal import generators, point_group, products, with_time_reversal
from moireio.system.structure import Structure

HEXAGONAL = np.array([[2.46, 0, 0], [1.23, 2.46 * np.sqrt(0.75), 0], [0, 0, 6.7]])


def graphene(layers=1, pbc=(True, True, False)):
    """One layer, or two that lie as in AA stacking with 3.35 Å, half of the cell's height."""
    flat = np.array([[1, 1, 0], [2, 2, 0]]) / 3 @ HEXAGONAL
    positions = np.concatenate([flat + np.array([0, 0, 3.35 * n]) for n in range(layers)])
    count = len(positions)
    return Structure(HEXAGONAL, positions, [6] * count, [0] * count, ["C"], pbc)


def test_a_mesh_from_counts_and_from_a_distance():
    structure = graphene()
    mesh = make_mesh(structure, [4, 6])
    assert mesh.shape == (4, 6, 1)
    assert len(mesh) == 24
    assert mesh.k[:2].tolist() == [[0, 0, 0], [0, pytest.approx(1 / 6), 0]]
    assert (mesh.index(mesh.k - [3, 1, 0]) == np.arange(24)).all()
    assert mesh.index(np.array([[0.1, 0, 0]])) is None
    assert make_mesh(structure, [4, 6, 1], shift=[0.5, 0.5]).k[0].tolist() == [0.125, 1 / 12, 0]
    length = np.linalg.norm(structure.reciprocal[0])
    assert make_mesh(structure, spacing=length / 7).shape == (7, 7, 1)
    for wrong in ([4], [4, 4, 2], [4, 0]):
        with pytest.raises(MoireioError):
            make_mesh(structure, wrong)
    with pytest.raises(MoireioError, match="spacing"):
        make_mesh(structure, spacing=-1)
    with pytest.raises(MoireioError, match="too many points"):
        make_mesh(structure, [10**5, 10**5])


def test_simplices_fill_the_cell():
    reciprocal = graphene().reciprocal
    for shape, size in (((5, 1, 1), 2), ((4, 3, 1), 3), ((3, 2, 4), 4)):
        mesh = KMesh(shape)
        simplices = mesh.simplices(reciprocal)
        factor = {2: 1, 3: 2, 4: 6}[size]
        assert simplices.shape == (factor * len(mesh), size)
        assert (np.bincount(simplices.ravel()) == factor * size).all()
    # equilateral triangles: every edge is as long as a step
    corners = KMesh((6, 6, 1)).simplices(reciprocal)[20]
    k = KMesh((6, 6, 1)).k[corners]
    gaps = k - np.roll(k, 1, axis=0)
    lengths = np.linalg.norm((gaps - np.rint(gaps)) @ reciprocal, axis=1)
    assert lengths == pytest.approx([np.linalg.norm(reciprocal[0]) / 6] * 3)


def test_the_point_group_of_graphene():
    group = point_group(graphene())
    assert len(group) == 12  # of the plane: horizontal mirrors change no k
    few = generators(group)
    assert 1 <= len(few) <= 3
    for one in products(group[0], few):  # each moves the atoms as it should
        images = graphene().positions @ np.linalg.inv(HEXAGONAL) @ np.linalg.inv(one.rotation)
        shift = images - (graphene().positions @ np.linalg.inv(HEXAGONAL))[one.atoms]
        shift -= shift[0]
        assert np.abs(shift - np.rint(shift))[:, :2].max() < 1e-9
    assert len(products(group[0], few)) == 12
    mesh = make_mesh(graphene(), [12, 12])
    small = reduce_mesh(mesh, group)
    assert len(small) == 19
    assert small.weights.sum() == pytest.approx(1)
    for full, point, operation in zip(mesh.k, small.point, small.operation, strict=True):
        gap = small.symmetries[operation].rotation @ full - small.k[point]
        assert np.abs(gap - np.rint(gap)).max() < 1e-12
    halved = reduce_mesh(mesh, with_time_reversal(group[:1]))
    assert len(halved) == (144 + 4) // 2
    # an uneven mesh keeps what maps it onto itself
    assert len(reduce_mesh(make_mesh(graphene(), [6, 4]), group).symmetries) < 12


def test_images_along_an_open_axis_make_no_symmetry():
    """Layers half a cell apart: stacked periodically they are one another's translation."""
    for pbc in ((True, True, False), (True, True, True)):
        group = point_group(graphene(2, pbc))
        in_plane = {tuple(o.rotation[:2, :2].ravel()) for o in group}
        assert len(in_plane) == 12
    identity = point_group(graphene(2))[0]
    assert (identity.atoms == np.arange(4)).all()


def test_fermi_level():
    weights = np.full(4, 0.25)
    energies = np.array([[-1.0, 2.0]] * 4)
    assert fermi_level(energies, weights, 2, degeneracy=2) == pytest.approx(0.5)
    assert fermi_level(energies, weights, 2, temperature=0, degeneracy=2) == pytest.approx(0.5)
    # half of a flat band is full: the level lies in it
    assert fermi_level(energies, weights, 1, degeneracy=2) == pytest.approx(-1.0, abs=1e-6)
    # a quarter: kT ln(1/3) below it
    kt = 8.617333262e-5 * 1000
    found = fermi_level(energies, weights, 0.5, temperature=1000, degeneracy=2)
    assert found == pytest.approx(-1 - kt * np.log(3), abs=1e-6)
    both = np.array([energies - 0.5, energies + 0.5])
    assert fermi_level(both, weights, 1) == pytest.approx((-1.5 - 0.5) / 2)
    with pytest.raises(MoireioError, match="do not fit"):
        fermi_level(energies, weights, 5, degeneracy=2)
