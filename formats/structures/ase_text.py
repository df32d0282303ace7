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
from moireio.formats.structures.text import StructureText, last_digit

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
MOST_BLOCKS = 1000  # of a cif, each of which ASE reads
XSF = {"ANIMSTEPS", "DIM-GROUP", "CRYSTAL", "SLAB", "POLYMER", "MOLECULE", "ATOMS"}
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
    return _format_of_lines(text[: 2**16].split("\n"))


def _format_of_lines(raw):
    """Return the format whose beginning some lines have; line by line, so that none takes long."""
    lines = [line.split() for line in raw if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        return None
    words = {row[0].lower() for row in lines}
    if "_cell_length_a" in words and any(word.startswith("data_") for word in words):
        return "cif"
    if lines[0][0] in XSF:
        return "xsf"
    if any(row[:2] == ["Program", "PWSCF"] for row in lines):
        return "espresso-out"
    if "&system" in words:
        return "espresso-in"
    places = [row for row in lines if row[0] in ("lattice_vector", "atom", "atom_frac")]
    # An output repeats the atoms of every step, but does not begin with them.
    if places and places[0] is lines[0] and _numbers(places[0][1:4]) == 3:
        return "aims"
    if len(lines) > 1 and lines[0][0].isdigit() and lines[0][1:] in (["S"], ["F"], ["C"]):
        return "gen"
    if [_numbers(row) for row in lines[:4]] == [6, 6, 6, 1]:
        return "siesta-xv"
    rows = [line.split() for line in raw[2:6]]
    if [_numbers(row) for row in rows] in ([4] * 4, [5, 4, 4, 4]) and all(
        row[0].lstrip("-").isdigit() for row in rows
    ):
        return "cube"
    return None


def _numbers(words):
    """Return how many words there are if all are numbers, else -1."""
    try:
        return len([float(word) for word in words])
    except ValueError:
        return -1


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
            if form == "espresso-in" and "ibrav != 0" in str(error):
                raise MoireioError(
                    "has its cell as ibrav of Quantum ESPRESSO, which is not read",
                    path=path,
                    remedy="write CELL_PARAMETERS with ibrav = 0, or give the output of pw.x",
                ) from error
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
    if form == "cif" and text.count("data_") > MOST_BLOCKS:
        raise MoireioError(f"more than {MOST_BLOCKS} data blocks")
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
        r"^[ \t]*_chemical_formula_sum[ \t]+(?:'([^'\n]*)'|\"([^\"\n]*)\"|(\w+))", text, re.M
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
        found = re.findall(r"^[ \t]*_cell_length_[abc][ \t]+(\S+)", text, re.M | re.I)
        return last_digit(found)
    return last_digit([text[: 2**16]])
