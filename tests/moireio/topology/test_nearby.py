"""States that follow from those at k points nearby, against whole matrices."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import eigh
from toymodels import random_c3

import moireio
from moireio.blockfile.stream import write_target
from moireio.operators.views import ArraySource
from moireio.spectrum.choice import SolverChoice
from moireio.system.structure import Structure
from moireio.topology import mesh_states
from moireio.topology.bandgroups import BandGroup
from moireio.topology.chern import BandSpace, FluxMesh
from moireio.topology.links import Links
from moireio.topology.mesh_states import MeshStates
from moireio.topology.wilson import WilsonLoops

DIRECT = SolverChoice(anchoring=replace(SolverChoice().anchoring, direct=True))


@pytest.fixture
def every_size(monkeypatch):
    """States follow from those nearby for small matrices too."""
    monkeypatch.setattr(mesh_states, "SMALL", 0)
    monkeypatch.setattr(mesh_states, "NEIGHBOURS", 0)


def stretched(model, factor=8.0):
    """The same matrices in a larger cell, so that k points lie closer to each other."""
    old, scale = model.structure, [factor, factor, 1.0]
    cell, positions = old.cell * np.array(scale)[:, None], old.positions * scale
    kinds = old.numbers, old.species, old.species_names, old.pbc
    return replace(model, structure=Structure(cell, positions, *kinds))


@pytest.mark.parametrize("reversible", [False, True])
def test_spinors_without_an_orthogonal_basis(reversible, tmp_path, every_size):
    model = stretched(random_c3(3 if reversible else 20, spinor=True, time_reversal=reversible))
    group = BandGroup(1, 2)
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        links = Links.from_file(file)
        few, whole = (MeshStates(file, [group], solver=s) for s in (None, DIRECT))
        meshes = [FluxMesh((16, 16), BandSpace(s, group), links) for s in (few, whole)]
        assert [m.chern for m in meshes] == [0 if reversible else -2] * 2
        assert np.abs(meshes[0].flux - meshes[1].flux).max() < 1e-6
        for k in meshes[0].points()[::7]:
            H, S = model.matrices(k)
            levels, states = eigh(H, S)
            c = few.group(k, group)
            assert few.gap(k, group) == pytest.approx(levels[2] - levels[1], abs=1e-6)
            assert np.linalg.svd(states[:, :2].conj().T @ S @ c)[1].min() > 1 - 1e-8


def test_equivalent_points_say_nothing_about_how_fast_bands_move(tmp_path, every_size):
    """One k point next to Γ, or two, and their images all around it: Γ is solved."""
    group = BandGroup(1, 2)
    with moireio.open(stretched(random_c3(20, spinor=True)).write(tmp_path / "x.h5")) as file:
        states = MeshStates(file, [group])
        for number, k in enumerate([(0.01, 0, 0), (0.0, 0.015, 0), (0, 0, 0)], 1):
            states.prepare(np.array([k], dtype=float))
            assert states.solves == number
        states.prepare(np.array([[0.005, 0.005, 0]]))
        assert states.solves == 3


def test_twisted_graphene_with_bands_that_nearly_touch(tmp_path, invoke, every_size):
    """244 orbitals, every second one higher: links are divided where the gap is a few meV."""
    cell, plain, path = (tmp_path / f"{name}.h5" for name in "abc")
    words = ["graphene", "--index", "5", "4", "-q", "-o", cell]
    assert invoke("build-twist", *words).exit_code == 0
    assert invoke("tb-h", cell, "-m", "moon-koshino", "-q", "-o", plain).exit_code == 0
    with moireio.open(plain) as file, write_target(str(path)) as out:
        h = file.hamiltonian.full()
        data = h.rows(0, len(h.sizes)).copy()
        onsite = h.pairs.onsite()
        data[onsite] += 0.05 * (1 - 2 * (np.arange(len(onsite)) % 2))
        for write, value in ((out.structure, file.structure), (out.basis, file.basis)):
            write(value)
        out.electrons(file.electrons)
        out.operator(ArraySource(h.meta.with_(storage="full"), h.sizes, h.pairs, data))
    group = BandGroup(121, 122)
    with moireio.open(path) as file:
        links = Links.from_file(file)
        few, whole = (MeshStates(file, [group], solver=s) for s in (None, DIRECT))
        meshes = [FluxMesh((9, 9), BandSpace(s, group), links) for s in (few, whole)]
        assert meshes[0].divided == meshes[1].divided > 10
        assert few.solves < 0.6 * whole.solves
        assert meshes[0].chern == meshes[1].chern == 0
        assert np.abs(meshes[0].flux - meshes[1].flux).max() < 5e-3
        gaps = [s.smallest_gap(group) for s in (few, whole)]
        assert gaps[0].value == pytest.approx(gaps[1].value, abs=1e-4)
        loops = [WilsonLoops(BandSpace(s, group), links, 9) for s in (few, whole)]
        assert [one.z2(5)[0] for one in loops[:1]] == [loops[1].z2(5)[0]]
        assert loops[0].winding(9) == 0
