"""One example of every result, with all its optional parts."""

import numpy as np

from moireio.results.anchors import KeptAnchors
from moireio.results.bands import BandAccuracy, BandStructure
from moireio.results.chern import ChernGroup, ChernNumbers
from moireio.results.dos import DensityOfStates
from moireio.results.edges import EdgeCount, EdgeGap, EdgeMap, EdgeStates
from moireio.results.electrons import Electrons
from moireio.results.history import HistoryEntry
from moireio.results.kpath import KPath, KPathSegments
from moireio.results.moire import Moire, MoireLayer
from moireio.results.relax import LayerPair, RelaxRecord
from moireio.results.symmetry import RotationEigenvalues


def example_bands(ns=2, nk=5, nb=3, n=4):
    rng = np.random.default_rng(ns)
    path = KPath(rng.random((nk, 3)), np.arange(nk) * 0.1, np.array([0, nk - 1]), ("G", "K'"))
    states = rng.normal(size=(ns, nk, nb, n)) + 1j * rng.normal(size=(ns, nk, nb, n))
    energies = np.sort(rng.normal(size=(ns, nk, nb)), axis=2)
    accuracy = BandAccuracy(
        "anchored", rng.random(energies.shape), np.full(energies.shape[:2], -1), path.k[:2], 2, 1e-5
    )
    return BandStructure(path, energies, -1.5, 4.0, ns == 1, 2, "model", states, accuracy)


def example_dos(ns=2, ng=2, ne=7):
    rng = np.random.default_rng(ns)
    total, error = rng.random((ns, ne)), rng.random((ns, ne))
    return DensityOfStates(
        np.linspace(-1, 1, ne),
        total,
        rng.random((ns, ng, ne)),
        labels=("C s", "C p"),
        projection=("element,shell", "element,shell"),
        method="kpm",
        width=0.1,
        mesh=(3, 2, 1),
        shift=(0.5, 0.0, 0.0),
        fermi=-0.2,
        electrons=8.0,
        vbm=-0.3,
        gap=0.4,
        error=error,
        fermi_error=0.01,
        fermi_resolution=0.1,
        fermi_from="moments",
        source="model",
    )


def example_moire():
    lattice = np.array([[2.46, 0.0], [1.23, 2.13]])
    matrices = ([[2, 1], [-1, 3]], [[1, 2], [-2, 3]])
    layers = tuple(
        MoireLayer(
            name, lattice, np.array(matrix), np.zeros((2, 2)), angle, bool(angle), centre=np.ones(2)
        )
        for name, matrix, angle in zip(("lower", "upper"), matrices, (0.0, 21.8), strict=True)
    )
    return Moire(layers, "second", (2, 1), 1)


def example_anchors(n=5):
    rng = np.random.default_rng(n)
    counts = (3, 2, 4)
    energies = tuple(np.sort(rng.normal(size=c)) for c in counts)
    states = tuple(rng.normal(size=(n, c)) + 1j * rng.normal(size=(n, c)) for c in counts)
    channel, first = np.array([0, 1, 0]), np.array([7, 8, 6])
    return KeptAnchors("blake2b:0", rng.random((3, 3)), channel, first, energies, states)


def example_edges(nk=4, nb=3, nl=2):
    rng = np.random.default_rng(nk)
    low, high = EdgeCount(-1, -1, 0, 3, (0.25, 0.5, 0.75)), EdgeCount(1, 1, 0, 1, (0.5,))
    gaps = EdgeGap(-0.5, low, high, 1, True), EdgeGap(1.5, EdgeCount(None), EdgeCount(0))
    energies, low, high = rng.normal(size=(nk, nb)), rng.random((nk, nb)), rng.random((nk, nb))
    spin, layers = rng.normal(size=(3, nk, nb)), rng.random((nl, nk, nb))
    drawn = EdgeMap(np.linspace(-1, 1, 5), rng.random((nk, 5)), rng.random((nk, 5)))
    return EdgeStates(
        np.arange(nk) / nk, energies, low, high, gaps, 1, 0, 20, spin, layers, 7, 2.46, False, drawn
    )


def example_chern():
    rng = np.random.default_rng(1)
    bare = ChernGroup((1, 4), 0, (6, 6), (9, 9), 117, 0.75, 0.9, "midpoint")
    whole = ChernGroup(
        (3, 4),
        -2,
        (6, 4),
        (9, 6),
        78,
        0.8,
        1.1,
        "position",
        winding=-2,
        z2=1,
        chern_up=-1,
        chern_down=0,
        c3_mod3=1,
        c3_mod3_up=-1,
        c3_mod3_down=-1,
        direct_gap=0.25,
        direct_gap_k=(0.5, 0.25, 0.0),
        strain=-0.003,
        channel=1,
        curvature=rng.normal(size=(6, 4)),
        metric=rng.normal(size=(6, 4, 2, 2)),
        centres=rng.random((7, 2)),
        centres_k2=np.arange(7) / 7,
    )
    return ChernNumbers((bare, whole))


def example_symmetry(ns=2, nb=4):
    rng = np.random.default_rng(ns)
    n = rng.choice([-2, 0, 2], (ns, 3, 3, nb))
    return RotationEigenvalues(
        first_band=5,
        k=rng.random((3, 3)),
        centres=rng.random((3, 2)),
        energies=rng.normal(size=(ns, 3, nb)),
        xi=np.exp(1j * np.pi * n / 3) * (1 + 1e-4j),
        n=n,
        sz=rng.normal(size=(ns, 3, nb)),
        group=np.tile([5, 5, 7, 8], (ns, 1)),
        spinor=False,
        angle=21.79,
        symmetrised=True,
        removed=7e-3,
    )


def example_relax(n=4):
    return RelaxRecord(
        calculator="chgnet + D3(PBE)",
        version="chgnet 0.4.2",
        files={"model.pt": "blake2b:0", "other": "blake2b:1"},
        energy_before=-10.0,
        energy_after=-10.5,
        fmax=8e-5,
        fmax_asked=1e-4,
        evaluations=31,
        steps=20,
        converged=True,
        cell="free",
        symmetry="check",
        displacements=np.random.default_rng(n).normal(size=(n, 3)),
        group_before="P622",
        group_after="P3",
        pairs=(
            LayerPair((2, 3), {"AA": 3.6, "AB": 3.4}, {"AA": 2.4, "AB": 0.6}),
            LayerPair((3, 4), {"AA": 3.5}, {"AA": 2.3}),
        ),
        inplane=np.array([0.0, 0.2, 0.1, 0.3]),
    )


EXAMPLES = {
    "relax": example_relax(),
    "symmetry": example_symmetry(),
    "anchors": example_anchors(),
    "bands": example_bands(),
    "chern": example_chern(),
    "dos": example_dos(),
    "edges": example_edges(),
    "electrons": Electrons(8.0, -1.0, 300.0, 0.5),
    "kpath": KPathSegments(
        np.random.default_rng(0).random((3, 2, 3)),
        (("G", "M"), ("M", "K"), ("A", "L")),
        np.array([10, 5, 7]),
    ),
    "moire": example_moire(),
    "history": [
        HistoryEntry("band", "1.0", "2026-01-01T00:00:00+00:00", ["-p", "Γ"], ["x.h5"], ["b:0"]),
        HistoryEntry("dos", "1.1", "2026-01-02T00:00:00+00:00"),
    ],
}


def assert_same(a, b):
    """Two values of dataclasses, arrays and sequences hold the same."""
    if hasattr(a, "__dataclass_fields__"):
        assert type(a) is type(b)
        for name in a.__dataclass_fields__:
            assert_same(getattr(a, name), getattr(b, name))
    elif isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        assert np.array_equal(a, b)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for first, second in zip(a, b, strict=True):
            assert_same(first, second)
    else:
        assert a == b
