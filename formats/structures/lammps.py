"""LAMMPS data files.

Layout: a comment; a header (``N atoms``, ``xlo xhi`` …, ``xy xz yz``); sections with a headline
(``Masses``, ``Atoms # style`` …). Lengths are read as Å (units metal or real). Kept: cell,
elements, positions, layers. An atom's element is that of the comment at its type's mass, else the
element of that mass. Layers are the molecule-IDs where these ascend from the bottom to the top,
as in files of moireio; LAMMPS's interlayer potentials need them so. Lost: charges, bonds, image
flags, velocities.

LAMMPS wants the first vector along x and the second in the xy plane, so a cell may be turned when
it is written; of a left-handed one the third vector is turned round.
"""

import re

import numpy as np

from moireio.formats.structures.text import (
    Lines,
    StructureText,
    atomic_number_of_mass,
    labelled_element,
    last_digit,
    shown,
)
from moireio.system.structure import Structure

# Columns of type and x, and of the molecule-ID, in the styles that have elements.
STYLES = {
    "atomic": (1, 2, None),
    "charge": (1, 3, None),
    "molecular": (2, 3, 1),
    "bond": (2, 3, 1),
    "angle": (2, 3, 1),
    "full": (2, 4, 1),
}
_BOUND = re.compile(r"^\s*(\S+)\s+(\S+)\s+([xyz])lo\s+\3hi\b")
_TILT = re.compile(r"^\s*(\S+)\s+(\S+)\s+(\S+)\s+xy\s+xz\s+yz\b")
_COUNT = re.compile(r"^\s*(\d{1,12})\s+(atoms|atom types)\b")
_SECTION = re.compile(r"^\s*([A-Z][A-Za-z /]*?)\s*(?:#\s*(\S*).*)?$")
MOST_LAYERS = 100
LONGEST_LINE = 1000


def looks_like(text: str) -> bool:
    """Return whether a text is laid out as a LAMMPS data file.

    Parameters
    ----------
    text : str
        The text of a file.

    Returns
    -------
    bool
        True if its beginning has bounds along x and a number of atoms.
    """
    head = text[:4000]
    return bool(re.search(r"\bxlo\s+xhi\b", head) and re.search(r"^\s*\d+\s+atoms\b", head, re.M))


def read(text: str, path: str) -> StructureText:
    """Read a LAMMPS data file.

    Parameters
    ----------
    text : str
        The text of the file.
    path : str
        The file, for messages.

    Returns
    -------
    StructureText
        Its structure; the corner of the cell is at the origin.

    Raises
    ------
    MoireioError
        With the line, if one does not fit, or if elements are not known.
    """
    lines = Lines(text, path, "LAMMPS data file")
    lines.next("a comment")
    counts, bounds, tilt, digits = {}, {}, None, []
    sections = {}
    before = None
    while lines:
        row = lines.next("a section")
        plain = row.partition("#")[0].strip()
        if not plain or len(row) > LONGEST_LINE:
            continue
        if before and plain[0].isdigit():
            size = sections[before][1]
            lines.fail(f"{before} goes on after the {size} lines that the header announces")
        before = None
        if found := _COUNT.match(plain):
            counts[found[2]] = int(found[1])
        elif found := _BOUND.match(plain):
            low, high = lines.numbers("two bounds", 2, found.groups()[:2])
            bounds[found[3]] = (low, high)
            digits += found.groups()[:2]
        elif found := _TILT.match(plain):
            tilt = lines.numbers("three tilts", 3, found.groups())
            digits += found.groups()
        elif (found := _SECTION.match(row)) and (found[1] in ("Masses", "Atoms")):
            if found[1] in sections:
                lines.fail(f"a second section {found[1]}")
            size = counts.get("atoms" if found[1] == "Atoms" else "atom types")
            if size is None:
                lines.fail(f"{found[1]} comes before the number of its lines")
            if lines.at < len(lines.lines) and not lines.lines[lines.at].strip():
                lines.at += 1
            sections[found[1]] = (lines.at, size, found[2])
            if size > len(lines.lines) - lines.at:
                lines.fail(f"{found[1]} has {size} lines, but the file ends before")
            lines.at += size
            before = found[1]
    return _structure(lines, bounds, tilt, sections, last_digit(digits))


def _structure(lines, bounds, tilt, sections, precision):
    missing = [axis for axis in "xyz" if axis not in bounds]
    if missing:
        lines.fail(f"has no bounds {missing[0]}lo {missing[0]}hi", line=1)
    if "Atoms" not in sections:
        lines.fail("has no section Atoms", line=1)
    low, high = np.array([bounds[axis] for axis in "xyz"]).T
    if not (high > low).all():
        lines.fail("a lower bound of the box is not below the upper one", line=1)
    xy, xz, yz = tilt or (0.0, 0.0, 0.0)
    cell = np.diag(high - low)
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    elements = _elements(lines, sections)
    start, count, style = sections["Atoms"]
    rows = [row.partition("#")[0] for row in lines.lines[start : start + count]]
    if not rows:
        return StructureText(cell, np.zeros(0, np.int32), np.zeros((0, 3)))
    columns = _columns(lines, style, rows[0].split(), elements, start + 1)
    kind_at, place, molecule_at = columns
    lines.same_width(start, rows)
    lines.at = start
    positions = lines.table(count, slice(place, place + 3), "an atom") - low
    lines.at = start
    ids = lines.table(count, slice(0, 1), "an atom")[:, 0]
    lines.at = start
    kinds = lines.table(count, slice(kind_at, kind_at + 1), "an atom's type")[:, 0]
    wrong = np.flatnonzero(~np.isin(kinds, list(elements)))
    if len(wrong):
        lines.fail(
            f"type {kinds[wrong[0]]:g} has no mass", "add it to Masses", line=start + wrong[0] + 1
        )
    order = np.argsort(ids, kind="stable")
    repeated = np.flatnonzero(np.diff(ids[order]) == 0)
    if len(repeated):
        line = start + order[repeated[0] + 1] + 1
        lines.fail(f"atom {ids[order[repeated[0]]]:g} comes twice", line=line)
    layer = None
    if molecule_at is not None:
        lines.at = start
        molecules = lines.table(count, slice(molecule_at, molecule_at + 1), "a molecule-ID")[:, 0]
        layer = _layers(molecules[order], positions[order] @ np.linalg.inv(cell)[:, 2])
    numbers = np.array([elements[int(k)] for k in kinds], dtype=np.int32)
    return StructureText(cell, numbers[order], positions[order], layer=layer, precision=precision)


def _elements(lines, sections):
    """Return the atomic number of each type."""
    if "Masses" not in sections:
        lines.fail(
            "has no section Masses, so that its elements are not known",
            "add Masses, one line a type with its mass",
            line=1,
        )
    from ase.data import atomic_masses

    start, count, _ = sections["Masses"]
    elements = {}
    for number, row in enumerate(lines.lines[start : start + count], start + 1):
        words, _, comment = row.partition("#")
        kind, mass = lines.numbers("a type and its mass", 2, words.split(), number)
        symbol = comment.split()[0] if comment.split() else ""
        element = labelled_element(symbol)
        if element and abs(atomic_masses[element] - mass) > max(2.5, 0.02 * mass):
            lines.fail(f"{mass:g} is not the mass of {symbol}", line=number)
        element = atomic_number_of_mass(mass) if element is None else element
        if element is None:
            lines.fail(
                f"{mass:g} is no element's mass",
                "name the element behind it, as in '1 12.011 # C'",
                line=number,
            )
        if kind != int(kind) or kind in elements:
            lines.fail(f"expected the next type, found {shown(row)}", line=number)
        elements[int(kind)] = element
    return elements


def _columns(lines, style, words, elements, line):
    """Return the columns of type, x and molecule-ID."""
    if style and style.lower() in STYLES:
        return STYLES[style.lower()]
    if style:
        lines.fail(
            f"the atom style {style!r} is not read",
            f"write the file with one of: {', '.join(STYLES)}",
            line=line - 2,
        )
    width = len(words)
    if width in (5, 8):
        return STYLES["atomic"]
    if width in (7, 10):
        return STYLES["full"]
    if width in (6, 9):
        third = words[2].isdigit() and int(words[2]) in elements
        return STYLES["molecular" if third and words[1].isdigit() else "charge"]
    lines.fail(
        f"{width} columns fit no atom style that has elements",
        "name it: 'Atoms # atomic', charge, molecular or full",
        line=line,
    )


def _layers(molecules, height):
    """Return molecule-IDs that number layers from the bottom to the top, else None."""
    labels = np.unique(molecules)
    if not 1 < len(labels) <= MOST_LAYERS or labels[0] < 1:
        return None
    bottom = np.array([height[molecules == m].min() for m in labels])
    top = np.array([height[molecules == m].max() for m in labels])
    if (bottom[1:] > top[:-1]).all():
        return np.searchsorted(labels, molecules)
    return None


def text(structure: Structure, comment: str = "") -> str:
    """Return the text of a data file.

    Parameters
    ----------
    structure : Structure
        The atoms, which are turned into LAMMPS's axes with their cell.
    comment : str
        The first line.

    Returns
    -------
    str
        Style molecular with the layer (from 1, the lowest) as molecule-ID where layers are known,
        else atomic. One type a species, named at its mass.
    """
    from ase.data import atomic_masses

    cell = structure.cell.copy()
    if np.linalg.det(cell) < 0:
        cell[2] *= -1  # the same lattice, right-handed
    q, r = np.linalg.qr(cell.T)
    signs = np.sign(np.diag(r))
    box = r.T * signs + 0.0  # lower triangular; cell = box @ (q * signs).T
    positions = structure.positions @ (q * signs)
    out = [
        " ".join(comment.split()) or "LAMMPS data by moireio",
        "",
        f"{len(structure)} atoms",
        f"{len(structure.species_names)} atom types",
        "",
    ]
    for axis, name in enumerate("xyz"):
        out.append(f"0.0 {box[axis, axis]:.17g} {name}lo {name}hi")
    out.append(f"{box[1, 0]:.17g} {box[2, 0]:.17g} {box[2, 1]:.17g} xy xz yz")
    out += ["", "Masses", ""]
    for kind, name in enumerate(structure.species_names, 1):
        atoms = np.flatnonzero(structure.species == kind - 1)
        number = int(structure.numbers[atoms[0]]) if len(atoms) else 0
        out.append(f"{kind} {atomic_masses[number]:.6f} # {name}")
    molecular = structure.layer is not None
    out += ["", f"Atoms # {'molecular' if molecular else 'atomic'}", ""]
    kinds = structure.species + 1
    for n, (kind, place) in enumerate(zip(kinds.tolist(), positions.tolist(), strict=True)):
        molecule = f" {int(structure.layer[n]) + 1}" if molecular else ""
        out.append(f"{n + 1}{molecule} {kind} {place[0]:.12f} {place[1]:.12f} {place[2]:.12f}")
    return "\n".join([*out, ""])
