"""Quantum metric: two bands, and Gaussians with exact integrals."""

import numpy as np
from topology_runs import bands_of
from toymodels import gaussians, haldane

import moireio
from moireio.results.chern import ChernNumbers
from moireio.topology.bandgroups import BandGroup
from moireio.topology.curvature import curvature_at
from moireio.topology.metric import metric_of_groups, quantum_geometry
from moireio.topology.solve import solve_chern

K = np.array([[0.6, 0.3, 0], [0.31, 0.67, 0]])


def test_of_two_bands_the_determinant_of_the_metric_is_the_curvature(tmp_path):
    """4 det g = Ω² where only one other state is there."""
    with bands_of(haldane(M=0.3), tmp_path / "x.h5") as (space, links):
        metric, sums = quantum_geometry(space.states.file, K, [space.group], links=links)
        fluxes = curvature_at(space, links, K, 0.001)
    assert np.allclose(4 * np.linalg.det(metric[0]), sums[0] ** 2)
    assert np.allclose(sums[0], fluxes, rtol=1e-4)


def test_the_metric_is_the_distance_inside_the_basis(tmp_path):
    """By differences of states, with exact ⟨e^{−iq·r}⟩, projected onto the basis at k."""
    model, step = gaussians(), 2e-4
    with bands_of(model, tmp_path / "x.h5") as (space, links):
        metric, _ = quantum_geometry(space.states.file, K, [space.group], links=links)
        reciprocal = links.plane.reciprocal[:, :2]
        for point, g in zip(K, metric[0], strict=True):
            S = model.matrices(point)[1]
            for direction in ([1, 0], [0, 1], [0.6, 0.8]):
                shift = links.plane.k(*(step * np.array(direction) @ np.linalg.inv(reciprocal)))[0]
                lengths = []
                for other in (point + shift, point - shift):
                    space.prepare(np.array([point, other]))
                    c = space.at(point)
                    there = np.linalg.solve(S, model.link(point, other) @ space.at(other))
                    outside = there - c @ (c.conj().T @ S @ there)
                    lengths.append(np.trace(outside.conj().T @ S @ outside).real / step**2)
                assert np.isclose(np.mean(lengths), direction @ g @ direction, rtol=1e-4)


def test_a_metric_for_every_group_and_plaquette(tmp_path):
    notes = []
    with moireio.open(haldane().write(tmp_path / "x.h5")) as file:
        found = solve_chern(file, [BandGroup(1, 1), BandGroup(2, 2)], (4, 4))
        lower, upper = metric_of_groups(file, ChernNumbers(found.groups), note=notes.append)
    assert lower.shape == (4, 4, 2, 2)
    assert np.allclose(lower, upper)  # of two bands
    assert "inside the basis" in notes[0]
