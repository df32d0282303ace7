"""A naive reader of .scfout: one number after another, as the format's description says.

Independent of moireio's reader: no checks, no speed, orbitals and units as OpenMX has them.
"""

import struct

import numpy as np


class Naive:
    def __init__(self, path):
        self.data, self.at = open(path, "rb").read(), 0  # noqa: SIM115
        n, code, _, _, _, cells = self.take("i", 6)
        self.layout, self.switch = code // 4, code % 4
        powers = self.take("i", 1)[0] if self.layout else 1
        self.take("d", 4 * (cells + 1))
        triples = [self.take("i", 4)[1:] for _ in range(cells + 1)]
        orbitals = self.take("i", n)
        counts = self.take("i", n)
        atoms = [self.take("i", c + 1) for c in counts]
        where = [self.take("i", c + 1) for c in counts]
        self.cell = np.array([self.take("d", 4)[1:] for _ in range(3)])
        self.take("d", 12)
        self.positions = np.array([self.take("d", 4)[1:] for _ in range(n)])
        self.orbitals = orbitals
        self.keys = [
            (i, atoms[i][h] - 1, tuple(triples[where[i][h]]))
            for i in range(n)
            for h in range(counts[i] + 1)
        ]
        self.h = [self.matrix() for _ in range(self.switch + 1)]
        self.ih = [self.matrix() for _ in range(3)] if self.switch == 3 else []
        self.s = self.matrix()
        self.position = [[self.matrix() for _ in range(powers)] for _ in range(3)]
        self.position = [p[0] for p in self.position]
        self.momentum = [self.matrix() for _ in range(3)] if self.layout == 3 else []
        self.density = [self.matrix() for _ in range(self.switch + 1)]
        self.idensity = [self.matrix() for _ in range(2)] if self.layout == 3 else []
        self.take("i", 1)
        self.fermi, self.temperature, *rest = self.take("d", 10)
        self.electrons, self.spin = rest[-2:]

    def take(self, kind, count):
        size = {"i": 4, "d": 8}[kind] * count
        values = struct.unpack(f"={count}{kind}", self.data[self.at : self.at + size])
        self.at += size
        return list(values)

    def matrix(self):
        out = {}
        for i, j, R in self.keys:
            rows, columns = self.orbitals[i], self.orbitals[j]
            out[i, j, R] = np.array(self.take("d", rows * columns)).reshape(rows, columns)
        return out

    def at_k(self, matrix, k):
        """Σ_R e^{+2πi k·R} of a matrix, orbitals as in the file."""
        start = np.concatenate([[0], np.cumsum(self.orbitals)])
        out = np.zeros((start[-1], start[-1]), dtype=complex)
        for (i, j, R), block in matrix.items():
            phase = np.exp(2j * np.pi * np.dot(k, R))
            out[start[i] : start[i + 1], start[j] : start[j + 1]] += phase * block
        return out

    def spinor(self, k):
        """H(k) with all ↑ orbitals before all ↓ orbitals."""
        h = [self.at_k(m, k) for m in self.h]
        ih = [self.at_k(m, k) for m in self.ih]
        up_down = h[2] + 1j * (h[3] + ih[2])
        return np.block([[h[0] + 1j * ih[0], up_down], [up_down.conj().T, h[1] + 1j * ih[1]]])
