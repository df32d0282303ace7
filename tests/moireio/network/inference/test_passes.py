"""Predictions in pieces, in files, after an interruption."""

import os
from dataclasses import replace

import numpy as np
import pytest
from systems import (
    CASES,
    graph_of,
    hamiltonian,
    random_structure,
)
from training_data import samples

from moireio.errors import MoireioError
from moireio.network.inference import passes as predict
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.net import Network
from moireio.network.training.expected_error import fit_expected_error
from moireio.runtime import workdirs


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
    known = fit_expected_error(model, {"training": samples(model, spin=case[0])})
    model = replace(model, expected_error=known)
    monkeypatch.setattr(predict, "EDGES_AT_ONCE", 40)
    monkeypatch.setattr(predict, "SAVE_SECONDS", 0.0)
    options = {"memory": 1, "key": "a"}
    source, whole = hamiltonian(model, atoms, work=str(tmp_path / "whole"), **options)
    expected = source.expected_error
    assert expected.shape == (6,)
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
    assert (predictor.expected_error() == expected).all()
    predictor.close()
    # the files of another calculation are not used
    predictor, count = counted_run(model, atoms, work=work, memory=1, key="b")
    assert count == total
    assert (HamiltonianSource(predictor).rows(0, len(atoms)) == whole).all()
    predictor.close()
    # a run that needs no files removes what was left
    with pytest.warns(UserWarning, match=r"removed what a killed run has left: .*/work$"):
        predict.Predictor(model, graph_of(atoms, model.basis), work=work)
    assert not os.path.exists(work)


def test_a_folder_of_the_user_is_no_place_for_files(models, tmp_path):
    work = tmp_path / "o.h5.work"
    work.mkdir()
    (work / "thesis.txt").touch()
    atoms, model = random_structure(2, n=6), models[CASES[0]]
    with pytest.raises(MoireioError, match=r"holds what is not of moireio: thesis\.txt"):
        hamiltonian(model, atoms, memory=1, work=str(work))
    hamiltonian(model, atoms, work=str(work))
    assert [path.name for path in work.iterdir()] == ["thesis.txt"]


def test_one_run_at_a_time(models, tmp_path, monkeypatch):
    monkeypatch.setattr(workdirs, "ENDING", 0.0)
    atoms, model, work = random_structure(2, n=6), models[CASES[0]], str(tmp_path / "work")
    predictor, _ = counted_run(model, atoms, memory=1, work=work)
    with pytest.raises(MoireioError, match="is in use by another run of the same output"):
        counted_run(model, atoms, memory=1, work=work)
    predictor.close()
    counted_run(model, atoms, memory=1, work=work)[0].close()


def test_not_enough_memory_and_nowhere_to_go(models):
    with pytest.raises(MoireioError, match="more than `memory` allows"):
        hamiltonian(models[False, False], random_structure(0), memory=10)
