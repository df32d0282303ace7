"""Predictions in pieces, in files, after an interruption."""

import numpy as np
import pytest
from systems import (
    CASES,
    graph_of,
    hamiltonian,
    random_structure,
)

from moireio.errors import MoireioError
from moireio.network.inference import passes as predict
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.net import Network


@pytest.mark.parametrize("case", CASES)
def test_pieces_and_files_do_not_matter(models, case, tmp_path, monkeypatch):
    atoms = random_structure(2, n=6)
    _, whole = hamiltonian(models[case], atoms)
    monkeypatch.setattr(predict, "EDGES_AT_ONCE", 40)
    _, pieces = hamiltonian(models[case], atoms)
    _, files = hamiltonian(models[case], atoms, memory=1, work=str(tmp_path / "work"))
    scale = np.abs(whole).max()
    assert np.abs(pieces - whole).max() < 1e-12 * scale
    assert np.abs(files - whole).max() < 1e-12 * scale


def counted_run(model, atoms, **options):
    """Run a predictor; return it and how often it made the geometry of a run of atoms."""
    calls, edges = [], Network.edges

    def counted(self, *arguments):
        calls.append(None)
        return edges(self, *arguments)

    predictor = predict.Predictor(model, graph_of(atoms, model.basis), **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "edges", counted)
        predictor.run()
    return predictor, len(calls)


@pytest.mark.parametrize("case", [(False, False), (True, True)])
@pytest.mark.parametrize("stop", [1, 17, 60, 95, 140])
def test_killed_and_resumed(models, case, stop, tmp_path, monkeypatch):
    """Stopped at some edge of some pass, it goes on there, and gives the same numbers."""
    atoms, model = random_structure(2, n=6), models[case]
    monkeypatch.setattr(predict, "EDGES_AT_ONCE", 40)
    monkeypatch.setattr(predict, "SAVE_SECONDS", 0.0)
    options = {"memory": 1, "key": "a"}
    _, whole = hamiltonian(model, atoms, work=str(tmp_path / "whole"), **options)
    reports = 0

    def progress(edges, total):
        nonlocal reports
        reports += 1
        if reports == stop:
            raise KeyboardInterrupt

    work = str(tmp_path / "work")
    try:
        hamiltonian(model, atoms, work=work, progress=progress, **options)
        assert reports < stop
    except KeyboardInterrupt:
        pass
    predictor, count = counted_run(model, atoms, work=work, **options)
    total = predictor.passes * len(predictor.slabs)
    assert count <= max(0, total - max(0, stop - 2))
    assert (HamiltonianSource(predictor).rows(0, len(atoms)) == whole).all()
    # the files of another calculation are not used
    predictor, count = counted_run(model, atoms, work=work, memory=1, key="b")
    assert count == total
    assert (HamiltonianSource(predictor).rows(0, len(atoms)) == whole).all()


def test_not_enough_memory_and_nowhere_to_go(models):
    with pytest.raises(MoireioError, match="more than `memory` allows"):
        hamiltonian(models[False, False], random_structure(0), memory=10)
