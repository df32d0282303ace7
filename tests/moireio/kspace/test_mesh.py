"""Meshes of k points, and their reduction by symmetry."""

import numpy as np
import pytest
from crystals import graphene
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.kspace.mesh import KMesh, make_mesh, reduce_mesh
from moireio.symmetry.crystal import point_group, with_time_reversal


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


def test_reduction_by_the_point_group_of_graphene():
    group = point_group(graphene())
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


counts = st.integers(1, 6)
shifts = st.sampled_from([0.0, 0.25, 0.5])
meshes = st.builds(KMesh, st.tuples(counts, counts, counts), st.tuples(shifts, shifts, shifts))


@given(meshes, st.tuples(*[st.integers(-3, 3)] * 3))
def test_index_is_the_inverse_of_k(mesh, cell):
    assert (mesh.index(mesh.k + np.array(cell)) == np.arange(len(mesh))).all()


@given(meshes)
def test_weights_count_equivalent_points(mesh):
    """Weights are shares of the mesh, and every point is its representative's image."""
    small = reduce_mesh(mesh, with_time_reversal(point_group(graphene())))
    assert (np.bincount(small.point, minlength=len(small)) / len(mesh) == small.weights).all()
    assert len(small.symmetries) >= 1
    for n, symmetry in enumerate(small.symmetries):
        members = np.flatnonzero(small.operation == n)
        gap = mesh.k[members] @ symmetry.rotation.T - small.k[small.point[members]]
        assert np.abs(gap - np.rint(gap)).max(initial=0) < 1e-9


def test_points_midway_lie_along_periodic_vectors():
    between = KMesh((2, 1, 1), (0.0, 0.5, 0.0)).midway([True, True, False])
    np.testing.assert_allclose(between.k, [[0.25, 1.0, 0], [0.75, 1.0, 0]])


def test_messages_name_parameters():
    with pytest.raises(MoireioError, match="`mesh` has 1 numbers, but 2 axes are periodic"):
        make_mesh(graphene(), [4])
    with pytest.raises(MoireioError, match="not periodic along c"):
        make_mesh(graphene(), [4, 4, 2])
