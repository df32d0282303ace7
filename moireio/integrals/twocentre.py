"""Two-centre integrals as functions of the vector between the atoms.

With φ = R(r) Y_lm, the transform F_l(q) = ∫ r² R j_l(qr) dr, and d from the first atom to the
second,

    ⟨φ_1 | φ_2(d)⟩ = 8 Σ_L (−1)^((l1 − l2 − L)/2) ∫ q² F_1 F_2 j_L(qd) dq Σ_M G Y_LM(d̂)

with the Gaunt integrals G of Y_l1m1, Y_l2m2, Y_LM (Fourier–Bessel route; compare Sankey and
Niklewski, Phys. Rev. B 40, 3979 (1989)). The integrals over q are tables of d for each pair of
shells.
"""

import numpy as np

from moireio.integrals.radial import STEP, q_grid, tables, transforms
from moireio.system.harmonics import coupled, fill_block, harmonics, unit_vectors


class TwoCentre:
    """The integrals of some pairs of sets of shells.

    Parameters
    ----------
    sets : list of list of RadialFunction
        Such as the orbitals of every species.
    wanted : sequence of (int, int)
        Which sets, first and second.
    """

    def __init__(self, sets, wanted):
        self._sets = sets
        self.sizes = [sum(2 * s.l + 1 for s in one) for one in sets]
        self._tables, self._top = {}, {}
        ends = [max(s.end for s in one) for one in sets]
        reach = max((ends[a] + ends[b] for a, b in wanted), default=0.0)
        if not reach:
            return
        q = q_grid(reach)
        F = {a: transforms(sets[a], q) for a in sorted({a for pair in wanted for a in pair})}
        places, products = {}, {}
        for a, b in wanted:
            self._top[a, b] = max(s.l for s in sets[a]) + max(s.l for s in sets[b])
            for m, one in enumerate(sets[a]):
                for n, two in enumerate(sets[b]):
                    if a == b and m > n:
                        continue
                    for momentum in range(abs(one.l - two.l), one.l + two.l + 1, 2):
                        sign = (-1) ** ((one.l - two.l - momentum) // 2)
                        rows = products.setdefault(momentum, [])
                        places[a, b, m, n, momentum] = len(rows)
                        rows.append(8 * sign * F[a][m] * F[b][n])
        made = tables({L: np.array(rows) for L, rows in products.items()}, q, reach)
        for (a, b, m, n, momentum), row in places.items():
            table = made[momentum][row]
            self._tables[a, b, m, n, momentum] = table
            if a == b and m < n:  # both orders of two shells shall agree to the last digit
                sign = (-1) ** (sets[a][m].l + sets[a][n].l)
                self._tables[a, a, n, m, momentum] = sign * table

    def __call__(self, a, b, vectors):
        """Return the integrals of a pair of sets for some vectors.

        Parameters
        ----------
        a, b : int
            The sets; among those wanted.
        vectors : (3, n) array
            From the first atom to the second, Å.

        Returns
        -------
        (n_a, n_b, n) array
            One block per vector. Every number depends on its own vector only, to the last digit.
        """
        first, second = self._sets[a], self._sets[b]
        distance, unit = unit_vectors(vectors)
        angular = _angular(first, second, harmonics(self._top[a, b], unit))
        scaled = distance / STEP
        piece = scaled.astype(np.int64)
        t = scaled - piece
        out = np.empty((self.sizes[a], self.sizes[b], len(t)))
        row = 0
        for m, one in enumerate(first):
            column = 0
            for n, two in enumerate(second):
                block = out[row : row + 2 * one.l + 1, column : column + 2 * two.l + 1]
                momenta = range(abs(one.l - two.l), one.l + two.l + 1, 2)
                fill_block(
                    block,
                    (
                        (
                            _spline(self._tables[a, b, m, n, momentum], piece, t),
                            angular[one.l, two.l, momentum],
                        )
                        for momentum in momenta
                    ),
                )
                column += 2 * two.l + 1
            row += 2 * one.l + 1
        return out


def _spline(coefficients, piece, t):
    value = coefficients[3].take(piece, mode="clip")
    for c in coefficients[2::-1]:
        value *= t
        value += c.take(piece, mode="clip")
    return value


def _angular(first, second, values):
    """Return Σ_M G Y_LM for every (l1, l2, L): a dict of (m1, m2) to arrays."""
    out = {}
    for l1 in {s.l for s in first}:
        for l2 in {s.l for s in second}:
            for momentum in range(abs(l1 - l2), l1 + l2 + 1, 2):
                out[l1, l2, momentum] = coupled(l1, l2, momentum, values)
    return out
