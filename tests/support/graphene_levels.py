"""Levels of twisted bilayer graphene with the Moon–Koshino model, by independent code.

Twelve levels nearest 0.79 eV of every k, as (energy in eV, how often); all pairs up to 8 Å, turned
about a hexagon centre. The corrugated cell has layers 3.433 + 2·0.0278·Σ cos(G·r) Å apart.
"""

import numpy as np

CENTRE = 0.79
POINTS = {"G": (0, 0, 0), "M": (1 / 2, 0, 0), "K": (2 / 3, 1 / 3, 0)}
CASES = {
    "2.005 rigid": {
        "build": ["--index", "17", "16", "--interlayer", "3.35"],
        "atoms": 3268,
        "hoppings": 461620,
        "levels": {
            "G": [(0.698643, 4), (0.709632, 2), (0.899765, 2), (0.911411, 4)],
            "M": [
                *[(0.515140, 2), (0.530665, 2), (0.606944, 2)],
                *[(0.762774, 2), (0.829287, 2), (0.993613, 2)],
            ],
            "K": [(0.498851, 4), (0.596175, 2), (0.793758, 4), (1.016879, 2)],
        },
    },
    "1.050 rigid": {
        "build": ["--index", "32", "31", "--interlayer", "3.35"],
        "atoms": 11908,
        "hoppings": 1682380,
        "levels": {
            "G": [(0.781860, 4), (0.782329, 2), (0.817832, 2), (0.818726, 4)],
            "M": [
                *[(0.715891, 2), (0.724963, 2), (0.757804, 2)],
                *[(0.798631, 2), (0.802624, 2), (0.845506, 2)],
            ],
            "K": [(0.705664, 4), (0.763610, 2), (0.800623, 4), (0.838122, 2)],
        },
    },
    "1.050 corrugated": {
        "build": ["--index", "32", "31", "--interlayer", "3.433", "--corrugate", "0.0278"],
        "atoms": 11908,
        "hoppings": 1674508,
        "levels": {
            "G": [(0.774720, 4), (0.788687, 2), (0.802430, 2), (0.816944, 4)],
            "M": [
                *[(0.704390, 2), (0.722394, 2), (0.791999, 2)],
                *[(0.795005, 2), (0.870234, 2), (0.896733, 2)],
            ],
            "K": [(0.673054, 4), (0.730336, 2), (0.793711, 4), (0.863722, 2)],
        },
    },
}


def expected(case, point):
    """The twelve levels, ascending."""
    return np.concatenate([[e] * n for e, n in CASES[case]["levels"][point]])


def found(file, point, threads=1):
    """The twelve levels nearest `CENTRE` of a block file's Hamiltonian, ascending."""
    from moireio.solvers.base import EigenProblem
    from moireio.solvers.registry import make_solver

    solver = make_solver("sparse", sigma=CENTRE)
    solver.use_threads(threads)
    problem = EigenProblem(file.hamiltonian.assembler(), None, np.array(POINTS[point], dtype=float))
    below = solver.count_below(problem, CENTRE)
    levels = solver.eigenvalues(problem, (below - 12, below + 11))
    nearest = np.argsort(np.abs(levels - CENTRE), kind="stable")[:12]
    return np.sort(levels[nearest])
