"""ABACUS's lattices by name."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.abacus.lattices import VECTORS, named_lattice

B, C, AB, AC, BC = 1.3, 1.7, 0.2, -0.1, 0.3
SINE = np.sqrt(1 - AB**2)
ORTHORHOMBIC = np.diag([1, B, C])
MONOCLINIC = np.array([[1, 0, 0], [B * AB, B * SINE, 0], [0, 0, C]])
HALF = 0.5


@pytest.mark.parametrize(
    ("name", "parameters", "conventional", "centres"),
    [
        ("sc", [], np.eye(3), []),
        ("fcc", [], np.eye(3), [[0, HALF, HALF], [HALF, 0, HALF], [HALF, HALF, 0]]),
        ("bcc", [], np.eye(3), [[HALF, HALF, HALF]]),
        ("st", [C], np.diag([1, 1, C]), []),
        ("bct", [C], np.diag([1, 1, C]), [[HALF, HALF, HALF]]),
        ("so", [B, C], ORTHORHOMBIC, []),
        ("baco", [B, C], ORTHORHOMBIC, [[HALF, HALF, 0]]),
        ("fco", [B, C], ORTHORHOMBIC, [[0, HALF, HALF], [HALF, 0, HALF], [HALF, HALF, 0]]),
        ("bco", [B, C], ORTHORHOMBIC, [[HALF, HALF, HALF]]),
        ("sm", [B, C, AB], MONOCLINIC, []),
        ("bacm", [B, C, AB], MONOCLINIC, [[HALF, 0, HALF]]),
    ],
)
def test_centred_lattices(name, parameters, conventional, centres):
    """The primitive vectors span the conventional cell with its centres, and nothing else."""
    cell = named_lattice(name, parameters)
    points = np.vstack([conventional, np.reshape(centres, (-1, 3)) @ conventional])
    coordinates = points @ np.linalg.inv(cell)
    assert np.allclose(coordinates, np.round(coordinates), atol=1e-12)
    ratio = np.linalg.det(conventional) / abs(np.linalg.det(cell))
    assert ratio == pytest.approx(len(centres) + 1, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "parameters", "lengths", "cosines"),
    [
        ("hexagonal", [C], (1, 1, C), (0, 0, -0.5)),
        ("trigonal", [AB], (1, 1, 1), (AB, AB, AB)),
        ("triclinic", [B, C, AB, AC, BC], (1, B, C), (BC, AC, AB)),
        ("triclinic", [B, C, AB, AC, BC, 99.0], (1, B, C), (BC, AC, AB)),
    ],
)
def test_lengths_and_angles(name, parameters, lengths, cosines):
    cell = named_lattice(name, parameters)
    assert np.allclose(np.linalg.norm(cell, axis=1), lengths, rtol=1e-12)
    unit = cell / np.linalg.norm(cell, axis=1)[:, None]
    found = [unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]
    assert np.allclose(found, cosines, atol=1e-12)
    assert np.linalg.det(cell) > 0


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("cubic", [], "'cubic' is none of sc, fcc"),
        ("hexagonal", [], "0 LATTICE_PARAMETERS, 1 expected"),
        ("trigonal", [1.2], "make no lattice with latname trigonal"),
        ("triclinic", [1, 1, 0.9, -0.9, 0.9], "make no lattice"),
    ],
)
def test_faults_are_named(name, parameters, text):
    with pytest.raises(MoireioError, match=text):
        named_lattice(name, parameters)
    assert "triclinic" in VECTORS
