"""Hoppings between s orbitals as text, the format ``hop``.

    hop 1
    cell 2.5 0 0  0 10 0  0 0 10
    atom H 0 0 0
    pair 0 0  0 0 0  0.0
    pair 0 0  1 0 0  -1.0
    pair 0 0  -1 0 0  -1.0

Å and eV. ``pair i j R1 R2 R3 t`` is ⟨i,0|H|j,R⟩ = t, for on-site energies too; both partners of a
pair are listed. Kept: the structure and H. Lost: everything else; writing a calculation with other
orbitals, an overlap or spin is refused.
"""

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MoireioError
from moireio.formats.registry import Format
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, symmetrised
from moireio.runtime.files import digest_files, write_text
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

FIRST_LINE = b"hop 1\n"


def detect(path):
    """Return whether a file is of this format."""
    try:
        with open(path, "rb") as stream:
            return stream.read(len(FIRST_LINE)) == FIRST_LINE
    except OSError:
        return False


def read(path, *, label=None):
    """Read a calculation (see `moireio.formats.registry.Read`)."""
    label = label or path
    rows = {"cell": [], "atom": [], "pair": []}
    with open(path, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            key, *words = line.split() or ["hop"]
            if key in rows:
                rows[key].append(words)
            elif key != "hop":
                raise MoireioError(f"line {number}: {key!r} is no cell, atom or pair", path=label)
    try:
        (cell,) = np.array(rows["cell"], dtype=float)
        symbols = [symbol for symbol, *_ in rows["atom"]]
        positions = np.array([xyz for _, *xyz in rows["atom"]], dtype=float)
        i, j, *R = np.array([words[:5] for words in rows["pair"]], dtype=int).T
        t = np.array([words[5] for words in rows["pair"]], dtype=float)
        names = sorted(set(symbols))
        structure = Structure(
            cell.reshape(3, 3),
            positions,
            [atomic_numbers[symbol] for symbol in symbols],
            [names.index(symbol) for symbol in symbols],
            names,
            np.any(R, axis=1),
        )
    except (ValueError, KeyError, IndexError) as error:
        raise DamagedError(f"is cut short or damaged: {error}", path=label) from error
    basis = Basis({name: SpeciesBasis(l=(0,)) for name in names}, orthogonal=True)
    pairs, order = Pairs.sort(len(symbols), i, j, np.transpose(R))
    meta = operator_type("hamiltonian").meta(source="tight-binding")
    hamiltonian = ArraySource(meta, np.ones(len(symbols), dtype=int), pairs, t[order])
    return Calculation(
        label,
        structure,
        basis,
        {"hamiltonian": symmetrised(hamiltonian, label)},
        digest=lambda operators: digest_files(path),
    )


def write(calculation, path, *, force=False):
    """Write a calculation (see `moireio.formats.registry.Write`)."""
    h, structure = calculation.hamiltonian, calculation.structure
    if "overlap" in calculation.operators or h.meta.spin != "none" or np.any(h.sizes != 1):
        raise MoireioError(
            "the format hop holds one orthonormal orbital an atom", path=calculation.label
        )
    lines = ["hop 1", "cell " + numbers(structure.cell.ravel())]
    for number, xyz in zip(structure.numbers, structure.positions, strict=True):
        lines.append(f"atom {chemical_symbols[number]} {numbers(xyz)}")
    pairs = h.pairs
    for i, j, R, t in zip(pairs.i, pairs.j, pairs.R, h.rows(0, pairs.n_atoms), strict=True):
        lines.append(f"pair {i} {j}  {R[0]} {R[1]} {R[2]}  {numbers([t])}")
    with write_text(path) as stream:
        stream.write("\n".join(lines) + "\n")


def numbers(values):
    """Return numbers as words that are read back to the last bit."""
    return " ".join(repr(float(value)) for value in values)


FORMAT = Format(
    name="hop",
    description="hoppings between s orbitals as text",
    detect=detect,
    read=read,
    write=write,
    suffixes=(".hop",),
    keeps="structure, H",
    loses="everything else",
)
