"""Small models with known topology, and Gaussians with exact integrals, as block files.

Atoms lie at fixed points of C3 about the origin (the centre of a hexagon) where there is C3. Cells
have 60°, a1 along x, and no period along z.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from helpers import naive_at_k
from scipy.linalg import block_diag

from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.harmonics import harmonics
from moireio.system.structure import Structure

A = 2.46  # Å
SIGMA = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
C3 = np.array([[-0.5, -np.sqrt(0.75), 0], [np.sqrt(0.75), -0.5, 0], [0, 0, 1]])
NUMBERS = {"B": 5, "N": 7, "C": 6, "Hg": 80}
NEAREST = ((0, 0, 0), (-1, 0, 0), (0, -1, 0))  # cells of B around A
ACROSS = ((-1, -1, 0), (1, -1, 0), (-1, 1, 0))  # cells of B across the hexagons around A
AROUND = ((1, 0, 0), (-1, 1, 0), (0, -1, 0))  # next-nearest, 120° from each other


@dataclass(frozen=True)
class ToyModel:
    """A structure, a basis, and the blocks of its operators by (i, j, R)."""

    structure: Structure
    basis: Basis
    hamiltonian: dict
    overlap: dict | None = None
    position: dict | None = None  # (3, n_i, n_j) each
    spin: str = "none"
    filled: int = 1  # bands below the gap
    link: Callable | None = None  # exact Σ_R e^{ik'·R} ⟨0|e^{−iq·r}|R⟩ of (k, k')

    @property
    def sizes(self):
        """Orbitals of every atom, spin not counted."""
        return self.basis.sizes(self.structure)

    @property
    def dims(self):
        """Rows of every atom in H."""
        return self.sizes * (2 if self.spin == "spinor" else 1)

    def matrices(self, k):
        """H(k) and S(k), dense, one block after another."""
        H = naive_at_k(self.hamiltonian, self.dims, k)
        if self.overlap is None:
            return H, np.eye(len(H))
        overlap = self.overlap
        if self.spin == "spinor":
            overlap = {key: np.kron(np.eye(2), block) for key, block in overlap.items()}
        return H, naive_at_k(overlap, self.dims, k)

    def write(self, path):
        """Write a block file with moireio's own writer."""
        from moireio.blockfile.stream import write_target

        is_complex = any(np.iscomplexobj(block) for block in self.hamiltonian.values())
        dtype = "complex128" if is_complex else "float64"
        meta = operator_type("hamiltonian").meta(spin=self.spin, dtype=dtype, source="test")
        sources = [ArraySource.from_blocks(meta, self.dims, self.hamiltonian)]
        for name in ("overlap", "position"):
            if getattr(self, name) is not None:
                meta = operator_type(name).meta(source="test")
                sources.append(ArraySource.from_blocks(meta, self.sizes, getattr(self, name)))
        with write_target(str(path), force=True) as writer:
            writer.structure(self.structure)
            writer.basis(self.basis)
            held = 1 if self.spin == "spinor" else 2
            writer.electrons(Electrons(float(held * self.filled)))
            for source in sources:
                writer.operator(source)
        return path

    def other_images(self, cells):
        """The same crystal with atom i moved by the lattice vector cells[i]."""
        cells = np.asarray(cells)
        positions = self.structure.positions + cells @ self.structure.cell

        def moved(i, j, R):
            return i, j, tuple((np.array(R) + cells[i] - cells[j]).tolist())

        return self._renamed(moved, replace(self.structure, positions=positions))

    def other_origin(self, shift):
        """All atoms moved by a vector in Å."""
        return replace(
            self, structure=replace(self.structure, positions=self.structure.positions + shift)
        )

    def other_order(self, order):
        """Atom n of the new model is atom order[n] of this."""
        number = np.argsort(order)
        structure = replace(
            self.structure,
            positions=self.structure.positions[order],
            numbers=self.structure.numbers[order],
            species=self.structure.species[order],
        )
        return self._renamed(lambda i, j, R: (int(number[i]), int(number[j]), R), structure)

    def left_handed(self):
        """The same crystal with a1 and a2 exchanged."""
        structure = replace(self.structure, cell=self.structure.cell[[1, 0, 2]])
        return self._renamed(lambda i, j, R: (i, j, (R[1], R[0], R[2])), structure)

    def conjugated(self):
        """The time-reversed model without spin: Chern numbers change their sign."""
        assert self.spin == "none"
        return replace(self, hamiltonian={k: np.conj(b) for k, b in self.hamiltonian.items()})

    def _renamed(self, rename, structure):
        parts = {
            name: None if blocks is None else {rename(*key): b for key, b in blocks.items()}
            for name, blocks in vars(self).items()
            if name in ("hamiltonian", "overlap", "position")
        }
        return replace(self, structure=structure, link=None, **parts)


def honeycomb(species, a=A, deformation=None):
    """A structure of two atoms: species names at (a1 + a2)/3 and 2(a1 + a2)/3."""
    cell = np.array([[a, 0, 0], [a / 2, a * np.sqrt(0.75), 0], [0, 0, 25]])
    if deformation is not None:
        cell = cell @ deformation.T
    positions = np.array([[1, 1, 0], [2, 2, 0]]) / 3 @ cell
    names = list(dict.fromkeys(species))
    kinds = [names.index(s) for s in species]
    return Structure(cell, positions, [NUMBERS[s] for s in species], kinds, names, [1, 1, 0])


def hermitian(blocks):
    """Add the partner of every block that has none."""
    whole = dict(blocks)
    for (i, j, R), block in blocks.items():
        whole.setdefault((j, i, tuple(-n for n in R)), np.asarray(block).conj().T)
    return whole


def one_orbital(l=1, m=0):  # noqa: E741
    """A species with one orbital, by default p_z."""
    return SpeciesBasis(l=(l,), m=(m,), cutoff=2.0)


def haldane(M=0.0, t2=0.1, phi=np.pi / 2, t1=-1.0, t3=0.0, strain=0.0, slope=0.0):
    """Haldane's model on boron (+M) and nitrogen (−M), one p_z each; orthogonal.

    C = −1 for 0 < φ < π and |M| < 3√3|t2 sin φ|; with hoppings t3 = −0.5 across the hexagon
    C = 2. A strain along the bond inside the cell
    changes the three hoppings as exp(−3.37 (d/d0 − 1)), M by slope · strain, and leaves t2: see
    `haldane_boundary`.
    """
    M = M + slope * strain
    along = np.array([np.sqrt(0.75), 0.5, 0])
    structure = honeycomb(("B", "N"), deformation=np.eye(3) + strain * np.outer(along, along))
    H = {(0, 0, (0, 0, 0)): [[M + 0j]], (1, 1, (0, 0, 0)): [[-M + 0j]]}
    for R in NEAREST:
        H[0, 1, R] = [[t1 * _hopping(structure, R) + 0j]]
    for R in ACROSS if t3 else ():
        H[0, 1, R] = [[t3 + 0j]]
    for R in AROUND:
        H[0, 0, R] = [[t2 * np.exp(1j * phi)]]
        H[1, 1, R] = [[t2 * np.exp(-1j * phi)]]
    basis = Basis({"B": one_orbital(), "N": one_orbital()}, orthogonal=True)
    return ToyModel(structure, basis, hermitian({k: np.array(v) for k, v in H.items()}))


def _hopping(structure, R):
    bond = structure.positions[1] + np.array(R) @ structure.cell - structure.positions[0]
    return np.exp(-3.37 * (np.linalg.norm(bond) * np.sqrt(3) / A - 1))


def haldane_boundary(strain, t2=0.1, phi=np.pi / 2):
    """|M| at which the gap of the strained model closes.

    With hoppings t, t, r·t the Dirac point has cos θ = −r/2, and the next-nearest hoppings make
    |2 t2 sin φ (sin 2θ − 2 sin θ)| there.
    """
    structure = haldane(strain=strain).structure
    r = _hopping(structure, NEAREST[0]) / _hopping(structure, NEAREST[1])
    theta = np.arccos(-r / 2)
    return abs(2 * t2 * np.sin(phi) * (np.sin(2 * theta) - 2 * np.sin(theta)))


def of_both_spins(up, down, exchange, electrons):
    """Two spinless models as the collinear spins of one, spin down higher by an energy (eV)."""
    blocks = {}
    for key in up.hamiltonian.keys() | down.hamiltonian.keys():
        none = np.zeros((up.sizes[key[0]], up.sizes[key[1]]))
        below = down.hamiltonian.get(key, none)
        if key[0] == key[1] and not any(key[2]):
            below = below + exchange * np.eye(len(none))
        blocks[key] = np.stack([up.hamiltonian.get(key, none), below])
    return replace(up, hamiltonian=blocks, spin="collinear", filled=electrons / 2)


def kane_mele(M=0.1, so=0.06, rashba=0.05, t1=-1.0):
    """Kane and Mele's model with Rashba coupling; orthogonal spinors, Z2 = 1 by default.

    Without Rashba coupling the gap closes at |M| = 3√3 so; spins ↑ and ↓ are Haldane models.
    """
    structure = honeycomb(("B", "N"))
    one = np.eye(2, dtype=complex)
    H = {(0, 0, (0, 0, 0)): M * one, (1, 1, (0, 0, 0)): -M * one}
    for R in NEAREST:
        bond = structure.positions[1] + np.array(R) @ structure.cell - structure.positions[0]
        x, y, _ = bond / np.linalg.norm(bond)
        H[0, 1, R] = t1 * one + 1j * rashba * (SIGMA[0] * y - SIGMA[1] * x)
    for R in AROUND:
        H[0, 0, R] = 1j * so * SIGMA[2]
        H[1, 1, R] = -1j * so * SIGMA[2]
    basis = Basis({"B": one_orbital(), "N": one_orbital()}, orthogonal=True)
    return ToyModel(structure, basis, hermitian(H), spin="spinor", filled=2)


def bhz(M=-1.0, B=-1.0, a=1.0, mixing=0.0):
    """Bernevig, Hughes and Zhang's model on a square lattice; Z2 = 1 for 0 < M/B < 4.

    ↑: (M − 2B(2 − cos kx − cos ky)) σz + a (sin kx σx + sin ky σy) of s and p; ↓ its time reverse.
    `mixing` couples the spins of s, so that their z component is not conserved.
    """
    structure = Structure(np.diag([6.0, 6.0, 25.0]), [[0, 0, 0]], [80], [0], ["Hg"], [1, 1, 0])

    def both(up, flip=0.0):
        turned = flip * np.array([[1, 0], [0, 0]])
        return np.block([[up, turned], [-np.conj(turned), np.conj(up)]])

    H = {(0, 0, (0, 0, 0)): both((M - 4 * B) * SIGMA[2])}
    H[0, 0, (1, 0, 0)] = both(B * SIGMA[2] - 0.5j * a * SIGMA[0], mixing)
    H[0, 0, (0, 1, 0)] = both(B * SIGMA[2] - 0.5j * a * SIGMA[1], 1j * mixing)
    basis = Basis({"Hg": SpeciesBasis(l=(0, 1), m=(0, 0), cutoff=3.0)}, orthogonal=True)
    return ToyModel(structure, basis, hermitian(H), spin="spinor", filled=2)


def rotation(momenta, turn):
    """D of (Dφ)(r) = φ(turn⁻¹ r) on the orbitals of some shells."""
    points = np.random.default_rng(5).normal(size=(3, 60))
    points /= np.linalg.norm(points, axis=0)
    before, after = (harmonics(max(momenta), p) for p in (points, turn @ points))
    parts = []
    for degree in momenta:
        part = slice(degree * degree, (degree + 1) ** 2)
        parts.append(np.linalg.lstsq(before[part].T, after[part].T, rcond=None)[0].T)
    return block_diag(*parts)


def averaged_over_c3(structure, shells, blocks, spinor=False):
    """Mean of blocks over the rotations by 0, 120 and 240° about the origin."""
    cell, positions = structure.cell, structure.positions
    turn = np.rint(cell @ C3.T @ np.linalg.inv(cell)).astype(int)  # of R, from the right
    T = np.rint((positions @ C3.T - positions) @ np.linalg.inv(cell)).astype(int)
    assert np.allclose(positions @ C3.T, positions + T @ cell)
    spin = np.diag(np.exp([-1j * np.pi / 3, 1j * np.pi / 3])) if spinor else np.eye(1)
    D = [np.kron(spin, rotation(shells[s], C3)) for s in structure.species_of_atoms]
    whole = {}
    for (i, j, R), block in blocks.items():
        for _ in range(3):
            key = (i, j, tuple(int(n) for n in R))
            whole[key] = whole.get(key, 0) + block / 3
            block = D[i] @ block @ D[j].conj().T
            R = np.array(R) @ turn + T[j] - T[i]
    return whole


def random_c3(seed, *, spinor=False, time_reversal=False, filled=2, scale=0.04):
    """A random model with C3 about the origin: s, p, d on boron, s, p on nitrogen; S ≠ 1.

    `GAPPED` lists seeds whose lowest bands are separated, with their Chern number.
    """
    rng = np.random.default_rng(seed)
    shells = {"B": (0, 1, 2), "N": (0, 1)}
    structure = honeycomb(("B", "N"))
    sizes = np.array([9, 4])
    H, S = {}, {}
    for i, j in np.ndindex(2, 2):
        for R in np.ndindex(3, 3):
            R = (R[0] - 1, R[1] - 1, 0)
            bond = structure.positions[j] + np.array(R) @ structure.cell - structure.positions[i]
            length = np.linalg.norm(bond)
            if length > 1.1 * A:
                continue
            shape = sizes[i] * (1 + spinor), sizes[j] * (1 + spinor)
            block = rng.normal(size=shape) + 1j * rng.normal(size=shape)
            if time_reversal:
                block = block.real if not spinor else _reversible(block)
            H[i, j, R] = block * np.exp(-length / 2)
            S[i, j, R] = scale * rng.normal(size=(sizes[i], sizes[j])) * np.exp(-length / 2)
    S = _mean_with_partners(S)
    H = _mean_with_partners(H)
    H = averaged_over_c3(structure, shells, H, spinor)
    S = averaged_over_c3(structure, shells, S)
    for i in range(2):
        S[i, i, (0, 0, 0)] = S[i, i, (0, 0, 0)] + np.eye(sizes[i])
    basis = Basis({name: SpeciesBasis(degrees, cutoff=3.0) for name, degrees in shells.items()})
    spin = "spinor" if spinor else "none"
    return ToyModel(structure, basis, H, S, spin=spin, filled=filled)


def _reversible(block):
    """The part of a spinor block that obeys ↓↓ = ↑↑*, ↓↑ = −↑↓*."""
    rows, columns = (np.kron(SIGMA[1], np.eye(n // 2)) for n in block.shape)
    return (block + rows @ block.conj() @ columns) / 2


def _mean_with_partners(blocks):
    return {
        (i, j, R): (block + blocks[j, i, tuple(-n for n in R)].conj().T) / 2
        for (i, j, R), block in blocks.items()
    }


@dataclass(frozen=True)
class _Gaussian:
    """N (r − τ)_axis^(0 or 1) exp(−a (r − τ)²)."""

    atom: int
    a: float
    axis: int | None = None

    @property
    def norm(self):
        value = (2 * self.a / np.pi) ** 0.75
        return value if self.axis is None else value * 2 * np.sqrt(self.a)


def gaussians(M=0.4, t2=0.35, seed=0):
    """Gaussian s on boron, s and p on nitrogen: S and positions exact, H complex, C = −1.

    `link(k, k')` of the model is Σ_R e^{ik'·R} ⟨α,0|e^{−iq·r}|β,R⟩ with q = k' − k, exact.
    """
    structure = honeycomb(("B", "N"))
    orbitals = [_Gaussian(0, 0.8), _Gaussian(1, 0.8)]
    orbitals += [_Gaussian(1, 0.9, axis) for axis in (1, 2, 0)]
    cells = [(a - 4, b - 4, 0) for a, b in np.ndindex(9, 9)]
    rng = np.random.default_rng(seed)
    rows = [[0], [1, 2, 3, 4]]
    S, P, H = {}, {}, {}
    zero = np.zeros(3)
    for i, j in np.ndindex(2, 2):
        for R in cells:
            far = structure.positions[j] + np.array(R) @ structure.cell - structure.positions[i]
            if np.linalg.norm(far) > 9.0:
                continue
            shape = len(rows[i]), len(rows[j])
            overlap, position = np.zeros(shape), np.zeros((3, *shape))
            for a, b in np.ndindex(shape):
                pair = orbitals[rows[i][a]], orbitals[rows[j][b]]
                overlap[a, b] = _integral(structure, *pair, R, zero).real
                position[:, a, b] = _position(structure, *pair, R)
            S[i, j, R], P[i, j, R] = overlap, position
    for i, j, R in S:
        shape = len(rows[i]), len(rows[j])
        if max(map(abs, R)) < 2:
            H[i, j, R] = 0.1 * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
    H = _mean_with_partners(H)
    H[0, 0, (0, 0, 0)] = H[0, 0, (0, 0, 0)] - M * np.eye(1)
    H[1, 1, (0, 0, 0)] = H[1, 1, (0, 0, 0)] + np.diag([M, 3.0, 3.0, 3.0])
    for R in AROUND:
        H[0, 0, R] = np.array([[t2 * 1j]])
        H[0, 0, tuple(-n for n in R)] = np.array([[-t2 * 1j]])
    for R in NEAREST:
        H[0, 1, R] = H[0, 1, R] - np.array([[1.0, 0, 0, 0]])
        H[1, 0, tuple(-n for n in R)] = H[0, 1, R].conj().T
    shells = {"B": (0,), "N": (0, 1)}
    basis = Basis({name: SpeciesBasis(degrees, cutoff=7.0) for name, degrees in shells.items()})

    def link(k, k2):
        q = (np.asarray(k2) - k) @ structure.reciprocal
        phases = np.exp(2j * np.pi * np.array(cells) @ k2)
        values = [
            [phases @ _integral(structure, a, b, cells, q) for b in orbitals] for a in orbitals
        ]
        return np.array(values)

    return ToyModel(structure, basis, H, S, P, link=link)


def _product(structure, one, two, R, q):
    """Exponent p, u = P − τ_1 − iq/2p, v = P − τ_2 − iq/2p, and the factor in front, by cell."""
    first = structure.positions[one.atom]
    second = structure.positions[two.atom] + np.array(R) @ structure.cell
    p = one.a + two.a
    middle = (one.a * first + two.a * second) / p
    factor = np.exp(-one.a * two.a / p * ((first - second) ** 2).sum(axis=-1)) * (np.pi / p) ** 1.5
    factor = factor * np.exp(-1j * middle @ q - q @ q / (4 * p)) * one.norm * two.norm
    return p, middle - first - 0.5j * q / p, middle - second - 0.5j * q / p, factor


def _integral(structure, one, two, R, q):
    """⟨one, 0|e^{−iq·r}|two, R⟩, q in Å⁻¹, for one R or several."""
    p, u, v, factor = _product(structure, one, two, R, q)
    value = u[..., one.axis] if one.axis is not None else 1.0
    value = value * (v[..., two.axis] if two.axis is not None else 1.0)
    if one.axis is not None and one.axis == two.axis:
        value = value + 0.5 / p
    return factor * value


def _position(structure, one, two, R):
    """⟨one, 0|r − τ_1|two, R⟩, Å, by a quadrature that is exact for these polynomials."""
    p, u, v, factor = _product(structure, one, two, R, np.zeros(3))
    x, weights = np.polynomial.hermite.hermgauss(4)
    x, weights = x / np.sqrt(p), weights / np.sqrt(np.pi)
    out = np.zeros(3)
    for direction in range(3):
        value = factor.real
        for axis in range(3):
            f = np.ones_like(x)
            f = f * (u[axis].real + x) if axis == direction else f
            f = f * (u[axis].real + x) if axis == one.axis else f
            f = f * (v[axis].real + x) if axis == two.axis else f
            value = value * (weights @ f)
        out[direction] = value
    return out


# (seed, spinor, bands below a gap ≥ 0.1 eV): their Chern number
GAPPED = {
    (0, False, 1): 1,
    (28, False, 4): 1,
    (1, False, 3): 2,
    (23, False, 1): 2,
    (22, False, 1): -2,
    (119, False, 1): -3,
    (85, False, 2): -3,
    (17, False, 1): -4,
    (20, True, 2): -2,
    (22, True, 1): 2,
}
