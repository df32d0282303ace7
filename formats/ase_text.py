"""Text formats of structures that ASE reads, each by its name.

ASE's own detection of formats is not used: it splits file names at "@", starts programs for some
formats and opens files beside the one named for others. What is not in the table is refused.
Kept: cell, elements, positions, periodicity, magnetic moments. Lost: everything else.
"""

import io
import re
import warnings

import numpy as np

from moireio.errors import MoireioError, first_line
from moireio.formats.structure_text import StructureText, last_digit

# Suffix → (format of ASE, its name in messages).
SUFFIXES = {
    ".cif": ("cif", "cif"),
    ".xsf": ("xsf", "xsf"),
    ".pwi": ("espresso-in", "input of Quantum ESPRESSO"),
    ".pwo": ("espresso-out", "output of Quantum ESPRESSO"),
    ".gen": ("gen", "gen file of DFTB+"),
    ".res": ("res", "SHELX file"),
    ".cube": ("cube", "cube file"),
    ".pdb": ("proteindatabank", "pdb file"),
    ".xv": ("siesta-xv", "XV file of SIESTA"),
}
# Format of ASE → how the text looks; tried in this order.
LOOKS = {
    "cif": re.compile(r"^\s*data_.*^\s*_cell_length_a\b", re.M | re.S | re.I),
    "xsf": re.compile(
        r"\A(?:\s*#.*\n|\s*\n)*\s*(?:ANIMSTEPS|DIM-GROUP|CRYSTAL|SLAB|POLYMER|MOLECULE|ATOMS)\b"
    ),
    "espresso-out": re.compile(r"Program PWSCF"),
    "espresso-in": re.compile(r"^\s*&system\b", re.M | re.I),
    "aims": re.compile(r"^\s*(?:lattice_vector|atom|atom_frac)\s+[-+.\d]", re.M),
    "gen": re.compile(r"\A\s*\d+\s+[SFC]\s*\n(?:\s*[A-Z][a-z]?)+\s*\n", re.M),
    "siesta-xv": re.compile(r"\A(?:\s*(?:[-+.\dEe]+\s+){5}[-+.\dEe]+\s*\n){3}\s*\d+\s*\n"),
    "cube": re.compile(
        r"\A.*\n.*\n\s*-?\d+(?:\s+[-+.\dEe]+){3,4}\s*\n(?:\s*-?\d+(?:\s+[-+.\dEe]+){3}\s*\n){3}"
    ),
}
NAMES = dict(SUFFIXES.values()) | {"aims": "geometry.in of FHI-aims"}


def format_of(name: str, text: str) -> str | None:
    """Return the format of a text.

    Parameters
    ----------
    name : str
        The file's name without folder and compression.
    text : str
        Its text.

    Returns
    -------
    str or None
        A key of `NAMES`; None if it is none of them.
    """
    for suffix, (form, _) in SUFFIXES.items():
        if name.lower().endswith(suffix):
            return form
    head = text[: 2**16]
    return next((form for form, pattern in LOOKS.items() if pattern.search(head)), None)


def read(text: str, path: str, form: str) -> StructureText:
    """Read the last structure of a text.

    Parameters
    ----------
    text : str
        The text of the file.
    path : str
        The file, for messages.
    form : str
        A key of `NAMES`.

    Returns
    -------
    StructureText
        Its structure.

    Raises
    ------
    MoireioError
        If ASE cannot read it.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            images = _images(text, form)
            atoms = images[-1]
            cell = np.asarray(atoms.cell, dtype=np.float64)
            positions = np.array(atoms.positions, dtype=np.float64)
            numbers = np.array(atoms.numbers)
            pbc = np.array(atoms.pbc)
        except MemoryError as error:
            raise MoireioError(
                f"cannot be read as a structure: the {NAMES[form]} announces more than fits into "
                "memory",
                path=path,
                remedy="correct the numbers of atoms or points",
            ) from error
        except Exception as error:  # ASE's readers raise whatever the text makes them
            raise MoireioError(
                f"cannot be read as a structure: no sound {NAMES[form]}: {_reason(error)}",
                path=path,
                remedy="correct it, or write it again as POSCAR, cif or extended xyz",
            ) from error
    if form == "cif":
        _compare_formula(text, numbers, path, len(images))
    magmoms = None
    if atoms.has("initial_magmoms"):
        magmoms = atoms.get_initial_magnetic_moments()
    return StructureText(
        cell,
        numbers,
        positions,
        pbc=pbc & cell.any(axis=1),
        magmoms=magmoms,
        precision=_precision(text, form),
        images=len(images),
    )


def _images(text, form):
    if form == "res":
        from ase.io.res import Res

        return [Res.from_string(text).atoms]
    if form == "cube":
        from ase.io.cube import read_cube

        return [read_cube(io.StringIO(text), read_data=False)["atoms"]]
    if form == "espresso-in":
        _check_brackets(text)
    from ase.io.formats import ioformats

    row = ioformats[form]
    stream = io.BytesIO(text.encode()) if row.isbinary else io.StringIO(text)
    options = {} if row.single else {"index": slice(None)}
    if form == "espresso-out":
        options["results_required"] = False
    images = list(row.read(stream, **options))
    if not images:
        raise MoireioError("it holds no structure")
    return images


def _check_brackets(text):
    # ASE's reading of sums in brackets does not end where one is not closed.
    for number, line in enumerate(text.split("\n"), 1):
        plain = line.partition("!")[0]
        if plain.count("(") != plain.count(")") or ")(" in plain.replace(" ", ""):
            raise MoireioError(f"line {number}: brackets that do not close")


def _compare_formula(text, numbers, path, images):
    """Warn if the atoms of a cif do not have the composition that the file states."""
    stated = re.findall(
        r"^\s*_chemical_formula_sum\s+(?:'([^'\n]*)'|\"([^\"\n]*)\"|(\w+))", text, re.M
    )
    if images > 1 or len(stated) != 1:
        return
    found = re.findall(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?", "".join(stated[0]))
    shares = {symbol: float(count or 1) for symbol, count in found}
    from ase.data import chemical_symbols

    counts = {chemical_symbols[n]: int((numbers == n).sum()) for n in set(numbers.tolist())}
    ratios = [counts.get(symbol, 0) / share for symbol, share in shares.items() if share]
    if set(counts) != set(shares) or max(ratios) > 1.001 * min(ratios):
        formula = "".join(f"{s}{n if n > 1 else ''}" for s, n in sorted(counts.items()))
        warnings.warn(
            f"{path}: its atoms make {formula}, its _chemical_formula_sum is "
            f"{''.join(stated[0])!r}: is it damaged, or has it partly occupied sites?",
            UserWarning,
            stacklevel=4,
        )


def _reason(error):
    if isinstance(error, MoireioError):
        return error.what
    kind = type(error).__name__
    text = first_line(error)
    if isinstance(error, (KeyError, StopIteration, AssertionError, AttributeError)) or not text:
        return f"something that it must have is missing ({kind} {text})".replace(" )", ")")
    return text


def _precision(text, form):
    if form == "cif":
        found = re.findall(r"^\s*_cell_length_[abc]\s+(\S+)", text, re.M | re.I)
        return last_digit(found)
    return last_digit([text[: 2**16]])
