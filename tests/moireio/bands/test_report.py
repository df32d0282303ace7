"""Tables of bands."""

import json

import numpy as np

from moireio.bands.report import accuracy_note, bands_json, bands_table
from moireio.results.bands import BandAccuracy, BandStructure
from moireio.results.kpath import KPath

PATH = KPath(
    np.array([[0.0, 0, 0], [0.5, 0, 0], [0.5, 0, 0]]),
    np.array([0.0, 1.25, 1.25]),
    np.array([0, 1, 2]),
    ("G", "M", "X"),
)


def test_table_of_two_spins():
    energies = np.arange(12.0).reshape(2, 3, 2)
    bands = BandStructure(PATH, energies, fermi=0.5, first_band=3)
    text = bands_table(bands)
    assert "# Fermi level 0.500000000 eV" in text
    assert "G 0.000000, M 1.250000, X 1.250000" in text
    assert "E4 …" in text
    assert "# spin up" in text
    assert "# spin down" in text
    rows = np.loadtxt(text.splitlines())
    assert (rows[:, 4:] == energies.reshape(6, 2)).all()
    assert (rows[:3, 0] == PATH.distance).all()


def test_json_keys():
    bands = BandStructure(PATH, np.zeros((1, 3, 2)), first_band=3)
    out = json.loads(bands_json(bands))
    names = ["k", "distance", "labels", "label_index", "energies", "first_band", "fermi", "unit"]
    assert list(out) == names
    assert out["first_band"] == 3
    assert out["fermi"] is None
    assert out["unit"] == "eV"


def test_note_on_bands_from_anchors():
    def note(bounds, anchors, method="anchored"):
        counted = np.full(bounds.shape[:2], -1)
        accuracy = BandAccuracy(method, bounds, counted, np.zeros((anchors, 3)), 2, 1e-5)
        return accuracy_note(BandStructure(PATH, np.zeros(bounds.shape), accuracy=accuracy))

    bounds = np.array([[[0.1 * 1e-5, 1e-14], [2.3e-6, 1e-9], [0.0, 1e-7]]])
    assert note(bounds, 1) == (
        "2 bands at 3 k points from 1 anchor; errors below 3e-06 eV by residuals; bands numbered "
        "by counting at the anchors and by continuity between them"
    )
    bounds[0, 2] = 0
    assert "at 3 k points (1 of them solved directly) from 1 anchor" in note(bounds, 1)
    bounds[0, 1] = 0
    assert "at 3 k points (2 of them solved directly) from 1 anchor; errors below 1e-06 eV" in note(
        bounds, 1
    )
    assert "2 bands of both spins" in note(np.concatenate([bounds, bounds]), 4)
    assert note(bounds, 3, "direct") is None
    assert accuracy_note(BandStructure(PATH, np.zeros((1, 3, 2)))) is None
