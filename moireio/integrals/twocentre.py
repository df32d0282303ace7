"""Two-centre integrals as functions of the vector between two atoms.

With φ = R(r) Y_lm, the transform F_l(q) = ∫ r² R j_l(qr) dr, and d from the first atom to the
second,

    ⟨φ_1 | φ_2(d)⟩ = 8 Σ_L (−1)^((l1 − l2 − L)/2) ∫ q² F_1 F_2 j_L(qd) dq Σ_M G Y_LM(d̂)

with the Gaunt integrals G of Y_l1m1, Y_l2m2, Y_LM (Fourier–Bessel route; compare Sankey and
Niklewski, Phys. Rev. B 40, 3979 (1989)). The integrals over q are tables of d for each pair of
shells.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moireio.integrals.radial import STEP, Radial, q_grid, tables, transforms
from moireio.system.harmonics import coupled, fill_block, harmonics, unit_vectors


class TwoCentre:
    """Integrals between sets of shells.

    Parameters
    ----------
    sets : sequence of sequence of RadialFunction
        Shells, such as the orbitals of every species.
    wanted : sequence of (int, int)
        Pairs of sets to tabulate, first and second.
    """

    def __init__(self, sets: Sequence[Sequence[Radial]], wanted: Sequence[tuple[int, int]]):
        self._sets = sets
        self.sizes = [sum(2 * shell.l + 1 for shell in shells) for shells in sets]
        self._tables: dict[tuple[int, int, int, int, int], npt.NDArray[np.float64]] = {}
        self._lmax: dict[tuple[int, int], int] = {}
        ends = [max(shell.end for shell in shells) for shells in sets]
        reach = max((ends[a] + ends[b] for a, b in wanted), default=0.0)
        if not reach:
            return
        q = q_grid(reach)
        F = {a: transforms(sets[a], q) for a in sorted({a for pair in wanted for a in pair})}
        rows: dict[tuple[int, int, int, int, int], int] = {}
        products: dict[int, list[npt.NDArray[np.float64]]] = {}
        for a, b in wanted:
            self._lmax[a, b] = max(s.l for s in sets[a]) + max(s.l for s in sets[b])
            for m, first in enumerate(sets[a]):
                for n, second in enumerate(sets[b]):
                    if a == b and m > n:
                        continue
                    for momentum in _momenta(first, second):
                        sign = (-1) ** ((first.l - second.l - momentum) // 2)
                        integrands = products.setdefault(momentum, [])
                        rows[a, b, m, n, momentum] = len(integrands)
                        integrands.append(8 * sign * F[a][m] * F[b][n])
        integrals = tables({L: np.array(values) for L, values in products.items()}, q, reach)
        for (a, b, m, n, momentum), row in rows.items():
            table = integrals[momentum][row]
            self._tables[a, b, m, n, momentum] = table
            if a == b and m < n:  # both orders of two shells shall agree to the last digit
                sign = (-1) ** (sets[a][m].l + sets[a][n].l)
                self._tables[a, a, n, m, momentum] = sign * table

    def __call__(self, a: int, b: int, vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the integrals of a pair of sets for some vectors.

        Parameters
        ----------
        a, b : int
            The two sets; the pair must be among those tabulated.
        vectors : (3, n) array
            From the first atom to the second, Å.

        Returns
        -------
        (n_a, n_b, n) array
            One block per vector. Every number depends on its own vector only, to the last digit.
        """
        first_set, second_set = self._sets[a], self._sets[b]
        distance, unit = unit_vectors(vectors)
        angular = _angular(first_set, second_set, harmonics(self._lmax[a, b], unit))
        scaled = distance / STEP
        piece = scaled.astype(np.int64)
        t = scaled - piece
        out = np.empty((self.sizes[a], self.sizes[b], len(t)))
        row = 0
        for m, first in enumerate(first_set):
            column = 0
            for n, second in enumerate(second_set):
                block = out[row : row + 2 * first.l + 1, column : column + 2 * second.l + 1]
                fill_block(
                    block,
                    (
                        (
                            _spline(self._tables[a, b, m, n, momentum], piece, t),
                            angular[first.l, second.l, momentum],
                        )
                        for momentum in _momenta(first, second)
                    ),
                )
                column += 2 * second.l + 1
            row += 2 * first.l + 1
        return out


def _momenta(first, second):
    """Return the angular momenta L to which two shells couple, parity kept."""
    return range(abs(first.l - second.l), first.l + second.l + 1, 2)


def _spline(coefficients, piece, t):
    value = coefficients[3].take(piece, mode="clip")
    for c in coefficients[2::-1]:
        value *= t
        value += c.take(piece, mode="clip")
    return value


def _angular(first_set, second_set, values):
    """Return Σ_M G Y_LM for every (l1, l2, L): a dict of (m1, m2) to arrays."""
    angular = {}
    for l1 in {shell.l for shell in first_set}:
        for l2 in {shell.l for shell in second_set}:
            for momentum in range(abs(l1 - l2), l1 + l2 + 1, 2):
                angular[l1, l2, momentum] = coupled(l1, l2, momentum, values)
    return angular
