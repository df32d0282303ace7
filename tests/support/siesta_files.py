"""HSX files of random systems and .ion files, written from the layout alone."""

import struct

import numpy as np
from helpers import random_operator, random_system

RYDBERG = 13.605693122993705
BOHR = 0.529177210903


def record(stream, *parts):
    """Write one unformatted record."""
    content = b"".join(p if isinstance(p, bytes) else np.asarray(p).tobytes() for p in parts)
    stream.write(struct.pack("<i", len(content)) + content + struct.pack("<i", len(content)))


def signs_of(basis, structure):
    """−1 for SIESTA's orbitals with odd m."""
    out = []
    for name in structure.species_of_atoms:
        for momentum in basis[name].l:
            out += [(-1.0) ** m for m in range(-momentum, momentum + 1)]
    return np.array(out)


def random_hsx(
    path, *, seed=1, spin="none", reach=1, double=True, fermi=-0.31, old=False, unused=0
):
    """Write an HSX; return structure, basis and the blocks {(i, j, R): array} of H (eV) and S.

    With `old` it is of SIESTA 4, and an XV is written beside it. `unused` species have no atoms.
    """
    structure, basis = random_system(seed)
    sizes = basis.sizes(structure)
    _, h = random_operator(seed, sizes, spin=spin, reach=reach)
    if spin == "none":
        h = {key: np.asarray(block)[None] for key, block in h.items()}
    _, s = random_operator(seed + 1, sizes, name="overlap", reach=reach)
    for (i, j, R), block in s.items():
        block *= 0.01
        if i == j and R == (0, 0, 0):
            block += np.eye(len(block))
    nsc = [2 * reach + 1, 2 * reach + 1, 1]
    half = [[*range(n // 2 + 1), *range(-(n // 2), 0)] for n in nsc]
    cells = [(a, b, c) for c in half[2] for b in half[1] for a in half[0]]
    n = int(sizes.sum())
    sign = signs_of(basis, structure)
    starts = np.concatenate([[0], np.cumsum(sizes)])

    def dense(blocks, components):
        out = np.zeros((components, len(cells), n, n), dtype=complex)
        for (i, j, R), block in blocks.items():
            at = cells.index(R)
            out[:, at, starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = block
        return out * sign[:, None] * sign

    if spin == "spinor":
        quarters = {}
        for (i, j, R), block in h.items():
            block = np.asarray(block)
            parts = [
                [
                    block[s * sizes[i] : (s + 1) * sizes[i], t * sizes[j] : (t + 1) * sizes[j]]
                    for t in (0, 1)
                ]
                for s in (0, 1)
            ]
            quarters[i, j, R] = np.array([parts[0][0], parts[1][1], parts[0][1], parts[1][0]])
        uu, dd, ud, du = dense(quarters, 4)
        channels = [uu.real, dd.real, ud.real, -ud.imag, uu.imag, dd.imag, du.real, du.imag]
    else:
        channels = list(dense(h, 2 if spin == "collinear" else 1).real)
    overlap = dense({key: np.asarray(block)[None] for key, block in s.items()}, 1)[0].real
    minus = [cells.index(tuple(-v for v in cell)) for cell in cells]

    def rows(matrix):
        """Elements of row a: ⟨b,0|O|a,−R⟩ for every R and b."""
        return [matrix[minus][:, :, a].ravel() for a in range(n)]

    present = [
        np.flatnonzero(np.any([rows(m)[a] for m in [*channels, overlap]], axis=0)) for a in range(n)
    ]
    names = list(dict.fromkeys(structure.species_of_atoms))
    kinds = np.array([names.index(name) + 1 for name in structure.species_of_atoms], dtype="i4")
    species = {name: basis[name] for name in names}
    species |= {f"Unused{k}": basis[names[0]] for k in range(unused)}
    if old:
        contents = [
            (present, rows(m), u) for m, u in [*((m, RYDBERG) for m in channels), (overlap, 1)]
        ]
        _write_old(path, structure, basis, species, kinds, cells, contents)
        return structure, basis, h, s
    with open(path, "wb") as stream:
        record(stream, np.int32(2))
        record(stream, np.int32(double))
        record(stream, np.array([len(sizes), n, len(channels), len(species), *nsc], dtype="i4"))
        record(stream, structure.cell / BOHR, np.array([fermi, 12.0, 0.01]))
        record(
            stream,
            np.array(cells, dtype="i4"),
            structure.positions / BOHR,
            kinds,
            starts[1:].astype("i4"),
        )
        record(
            stream,
            *(
                part
                for name, one in species.items()
                for part in (name.ljust(20).encode(), np.float64(4), np.int32(one.size))
            ),
        )
        for one in species.values():
            quantum = [(l + 1, l, 1) for l in one.l for _ in range(2 * l + 1)]  # noqa: E741
            record(stream, np.array(quantum, dtype="i4"))
        record(stream, np.eye(3, dtype="i4"), np.zeros(3))
        record(stream, np.array([len(row) for row in present], dtype="i4"))
        for row in present:
            record(stream, (row + 1).astype("i4"))
        real = "f8" if double else "f4"
        for matrix, unit in [*((m, RYDBERG) for m in channels), (overlap, 1.0)]:
            for at, row in zip(present, rows(matrix), strict=True):
                record(stream, (row[at] / unit).astype(real))
    return structure, basis, h, s


def _write_old(path, structure, basis, species, kinds, cells, contents):
    """Write H and S in single precision, with x_j − x_i instead of lattice and positions."""
    sizes = basis.sizes(structure)
    n, present = int(sizes.sum()), contents[0][0]
    atom = np.repeat(np.arange(len(sizes)), sizes)
    images = structure.positions + (np.array(cells) @ structure.cell)[:, None]
    images = (images[:, atom] / BOHR).reshape(-1, 3)
    gamma = len(cells) == 1
    with open(path, "wb") as stream:
        count = sum(len(row) for row in present)
        record(stream, np.array([n, n * len(cells), len(contents) - 1, count], dtype="i4"))
        record(stream, np.int32(gamma))
        if not gamma:
            record(stream, np.tile(np.arange(1, n + 1, dtype="i4"), len(cells)))
        record(stream, np.array([len(row) for row in present], dtype="i4"))
        for row in present:
            record(stream, (row + 1).astype("i4"))
        for _, rows, unit in contents:
            for at, row in zip(present, rows, strict=True):
                record(stream, (row[at] / unit).astype("f4"))
        record(stream, np.array([12.0, 0.01]))
        for orbital, at in enumerate(present):
            own = structure.positions[atom[orbital]] / BOHR
            record(stream, (images[at] - own).astype("f4"))
        record(stream, np.int32(len(species)))
        record(
            stream,
            *(
                part
                for name, one in species.items()
                for part in (name.ljust(20).encode(), np.float64(4), np.int32(one.size))
            ),
        )
        for one in species.values():
            for l in one.l:  # noqa: E741
                for _ in range(2 * l + 1):
                    record(stream, np.array([l + 1, l, 1], dtype="i4"))
        record(stream, np.int32(len(sizes)))
        record(stream, kinds)
        within = np.concatenate([np.arange(1, size + 1) for size in sizes])
        record(stream, np.stack([atom + 1, within], axis=1).astype("i4"))
    rows = [*structure.cell / BOHR, len(sizes)]
    with open(path.with_suffix(".XV"), "w") as stream:
        for row in rows[:3]:
            stream.write("{:18.12f}{:18.12f}{:18.12f} 0.0 0.0 0.0\n".format(*row))
        stream.write(f"{len(sizes)}\n")
        for kind, number, place in zip(kinds, structure.numbers, structure.positions, strict=True):
            words = " ".join(f"{v:.12f}" for v in place / BOHR)
            stream.write(f"{kind} {number} {words} 0.0 0.0 0.0\n")


SHELLS = ((0, 5.0), (1, 4.5), (2, 4.0))  # l, cutoff (Bohr)
POINTS = 500


def over_power(r, cutoff, momentum):
    """R / r^l of a smooth function that ends at its cutoff, with ∫R² r² dr = 1; Bohr."""

    def shape(at):
        return np.exp(-0.7 * at) * np.maximum(1 - (at / cutoff) ** 2, 0) ** 3

    fine = np.linspace(0, cutoff, 40001)
    return shape(r) / np.trapezoid((shape(fine) * fine ** (momentum + 1)) ** 2, fine) ** 0.5


def tables():
    """SIESTA's table of each function: R / r^l at POINTS radii."""
    for momentum, cutoff in SHELLS:
        delta = cutoff / (POINTS - 1)
        r = delta * np.arange(POINTS)
        yield momentum, delta, cutoff, r, over_power(r, cutoff, momentum)


def ion_xml(label="Si"):
    text = f"<ion version='0.1'>\n<symbol> Si </symbol>\n<label> {label} </label>\n<z> 14 </z>\n"
    text += "<valence> 4.0 </valence>\n<mass> 28.0 </mass>\n"
    text += "<preamble> Charge= 0.17977+309 </preamble>\n<paos>\n"
    for momentum, delta, cutoff, r, values in tables():
        rows = "\n".join(f"{a:.12E} {v:.12E}" for a, v in zip(r, values, strict=True))
        text += f'<orbital l=" {momentum}" n=" 3" z=" 1" ispol=" 0" population=" 1.0">\n<radfunc>\n'
        text += f"<npts> {POINTS} </npts>\n<delta> {delta:.12E} </delta>\n"
        text += f"<cutoff> {cutoff} </cutoff>\n<data>\n{rows}\n</data>\n</radfunc>\n</orbital>\n"
    return text + "</paos>\n</ion>\n"


def ion_plain():
    text = "<preamble>\n<basis_specs>\n</preamble>\n"
    text += "Si  # Symbol\nSi  # Label\n 14 # Atomic number\n 4.0 # Valence charge\n"
    text += "28.0 # Mass\n 0.5 # Self energy\n 2 3 # Lmax for basis, no. of nl orbitals\n"
    text += "2 6 # Lmax for projectors\n# PAOs:____\n"
    for momentum, delta, cutoff, r, values in tables():
        text += f" {momentum} 3 1 0 1.0 #orbital l, n, z, is_polarized, population\n"
        text += f" {POINTS} {delta:.16E} {cutoff} # npts, delta, cutoff\n"
        text += "".join(f" {a:.16E} {v:.16E}\n" for a, v in zip(r, values, strict=True))
    return text
