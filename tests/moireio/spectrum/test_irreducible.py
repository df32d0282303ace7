"""Symmetries that H obeys, tried on its own levels."""

import numpy as np
import pytest

import moireio
from moireio.kspace.mesh import make_mesh
from moireio.projection.groups import flipped_rows, make_projection
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.irreducible import averaged, images, obeys_time_reversal, reduced
from moireio.spectrum.sums import bloch_sums


def parts(file, counts, ways=()):
    sums, overlap, _ = bloch_sums(file)
    return make_mesh(file.structure, counts), sums, overlap, make_projection(file, ways)


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_the_crystal_reduces_the_mesh(made, solver):
    """By all levels, or by some of them with a solver for some bands: the same mesh."""
    with moireio.open(made["gr_ab"]) as file:
        mesh, *rest = parts(file, [6, 6])
        small, notes = reduced(
            file,
            mesh,
            *rest,
            solver=SolverChoice(solver),
            band_range=None if solver == "dense" else (4, 11),
        )
        assert notes == []
        time_reversal, _ = reduced(file, mesh, *rest, use_group=False)
        assert len(small) < len(time_reversal) == 20 < len(mesh)
        assert small.weights.sum() == pytest.approx(1)


def test_time_reversal_is_read_from_h(made):
    with moireio.open(made["hbn_soc"]) as file:
        sums, _, _ = bloch_sums(file)
        assert obeys_time_reversal(sums[0], True)
        assert not obeys_time_reversal(sums[0], False)  # its blocks are complex


def test_averages_keep_the_sum_over_the_mesh(made):
    """Populations averaged over equivalent points: the sum over the whole mesh is kept."""
    with moireio.open(made["gr_ab"]) as file:
        mesh, sums, overlap, projection = parts(file, [6, 6], ["atom"])
        small, _ = reduced(file, mesh, sums, overlap, projection)
        image = images(small, projection, flipped_rows(sums[0].sizes, False))
        assert image.shape == (len(small.symmetries), 4)
        values = np.random.default_rng(0).random((len(small), 4, 3))
        mean = averaged(small, values, image)
        assert mean.sum(axis=1) == pytest.approx(values.sum(axis=1))
        whole = np.take_along_axis(
            values[small.point], image[small.operation][:, :, None], axis=1
        ).mean(axis=0)
        weighted = np.einsum("k,kge->ge", small.weights, mean)
        assert weighted == pytest.approx(whole)
