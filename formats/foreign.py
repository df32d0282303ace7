"""Files of other programs that moireio does not read, named for messages.

Each is known by what its program always writes into its beginning; by its name alone where the
file is binary or the name is unmistakable. A file that could be another's is given no name.
"""

import lzma
import os
import re
import zlib
from collections.abc import Callable

from moireio.formats.structures.text import BOM, MAGIC, plain_name

HEAD_BYTES = 4096

#: Magic numbers of binary files.
_BYTES = {
    b"MATLAB 7.3 MAT-file": "a MATLAB file",
    b"MATLAB 5.0 MAT-file": "a MATLAB file",
    b"- of Ulm": "a file of GPAW or ASE",
    b"\x93NUMPY": "a NumPy array",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF file",
    b"CDF\x01": "a netCDF file",
    b"CDF\x02": "a netCDF file",
    b"CDF\x05": "a netCDF file",
}
#: What stands in the beginning of a text, and what the file then is.
_TEXTS = (
    (r"\A.*written on .* with use_ws_distance", "a _wsvec.dat of Wannier90"),
    (r"^\s*num_wann\b", "an input of Wannier90"),
    (r"Number of non-zeros lines of HmnR", "a sparse Hamiltonian of WannierTools"),
    (r"^\s*&TB_FILE\b", "an input of WannierTools"),
    (r"^\s*Matrix Dimension of [HSrTd]\w*\(R\)", "a matrix of ABACUS"),
    (r"--- Ionic Step \d+ ---", "a matrix of ABACUS"),
    (r"\A\s*INPUT_PARAMETERS\b", "an input of ABACUS"),
    (r"\A\s*ATOMIC_SPECIES\b[\s\S]*^\s*(NUMERICAL_ORBITAL|LATTICE_CONSTANT)", "an STRU of ABACUS"),
    (r"^\s*&GLOBAL\b[\s\S]*^\s*&(END|FORCE_EVAL)\b", "an input of CP2K"),
    (r"^ (DBCSR|CP2K)\| ", "an output of CP2K"),
    (r"\A# Set +\d+: .*special points", "bands of CP2K"),
    (r"\|\s+DFTB\+ (release|version|development)", "an output of DFTB+"),
    (r"\A\s*Geometry\s*=\s*\w*\s*\{", "an input of DFTB+"),
    (r"\A#\s+NATOM\s+\d+\s+#\s+IATOM\s+NNEIGH\s+NORB", "a matrix of DFTB+"),
    (r"Invoking FHI-aims", "an output of FHI-aims"),
    (r"\A\s*fn\.\s+type\s+at\.\s+n\s+l\s+m", "a basis-indices.out of FHI-aims"),
    (r"\A\s*n_hamiltonian_matrix_size:", "an rs_indices.out of FHI-aims"),
    (r"\A\s*&(inputpp|inputph|bands|projwfc|dos)\b", "an input of Quantum ESPRESSO"),
    (r"\A\s*vasp\.\d.*\n\s*executed on", "an OUTCAR of VASP"),
    (r"\A<\?xml[\s\S]*<modeling>", "a vasprun.xml of VASP"),
    (r"\A\s*ITEM: TIMESTEP", "a trajectory of LAMMPS"),
    (r"\bWelcome to SIESTA\b|^Siesta Version|^Executable\s+: siesta", "an output of SIESTA"),
    (r"^\s*%block\s+\w|^\s*SystemLabel\s", "an input of SIESTA"),
    (r"orbitals in unit cell and supercell\. See end of file", "an ORB_INDX of SIESTA"),
)
#: Whole names, without regard to case.
_NAMES = (
    (r".*\.hsx", "an HSX of SIESTA"),
    (r".*\.(tshs|tsde)", "a file of TranSIESTA"),
    (r".*\.fdf", "an input of SIESTA"),
    (r"data-\d+-[hs]", "a matrix of ABACUS"),
    (r".*-(ks|s)_spin_\d.*\.csr", "a matrix of CP2K"),
    (r"rs_(hamiltonian(_up|_dn)?|overlap)\.out", "a matrix of FHI-aims"),
    (r"control\.in", "a control.in of FHI-aims"),
    (r"wavecar|chgcar|chg|doscar|eigenval|procar|kpoints|incar|potcar", "a file of VASP"),
)
_REGIONS = [(re.compile(pattern, re.M | re.I), words) for pattern, words in _TEXTS]
_WHOLE_NAMES = [(re.compile(pattern, re.I), words) for pattern, words in _NAMES]


def describe(name: str, head: bytes) -> str | None:
    """Return the program and kind of a foreign file.

    Parameters
    ----------
    name : str
        Its name without folder and compression.
    head : bytes
        Its beginning, some kilobytes.

    Returns
    -------
    str or None
        Such as "a matrix of ABACUS"; None if it is not known.
    """
    for magic, words in _BYTES.items():
        if head.startswith(magic):
            return words
    if b"\0" not in head:
        text = head.removeprefix(BOM).decode("utf-8", "replace")
        wannier = _wannier(text.split("\n"))
        if wannier is not None:
            return wannier
        for pattern, words in _REGIONS:
            if pattern.search(text):
                return words
    return next((words for pattern, words in _WHOLE_NAMES if pattern.fullmatch(name)), None)


def describe_file(path: str) -> str | None:
    """Return the program and kind of a file by its first lines, compressed or not.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    str or None
        As `describe`; None also for what cannot be read.
    """
    if not os.path.isfile(path):
        return None  # a pipe would lose what is read of it
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
        opener = next((o for magic, o in MAGIC.items() if head.startswith(magic)), None)
        if opener is not None:
            with opener(path) as stream:
                head = stream.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return None
    return describe(plain_name(path), head)


def _wannier(lines: list[str]) -> str | None:
    """Return which of Wannier90's two files of a Hamiltonian has a beginning of some lines.

    Its ``_hr.dat`` has a comment, the numbers of functions and of lattice vectors, then the
    degeneracies; its ``_tb.dat`` has the three lattice vectors after the comment.
    """
    rows = [line.split("!")[0].split("#")[0].split() for line in lines[1:40]]
    rows = [row for row in rows if row]
    rows += [[]] * (7 - len(rows))
    whole = [_count(row, int) for row in rows]
    if whole[:2] == [1, 1] and _degeneracies(int(rows[1][0]), rows[2:]):
        return "a Hamiltonian of Wannier90 (_hr.dat)"
    vectors = [_count(row, float) for row in rows[:3]] == [3, 3, 3] and whole[3:5] == [1, 1]
    if vectors and _degeneracies(int(rows[4][0]), rows[5:]):
        return "a Hamiltonian of Wannier90 (_tb.dat)"
    return None


def _degeneracies(cells: int, rows: list[list[str]]) -> bool:
    """Return whether lines begin with degeneracies: up to 15 in a line, all, or one in each."""
    counts = [_count(row, int) for row in rows]
    if 0 < min(cells, 15) <= counts[0] <= 15 or 0 < cells == counts[0]:
        return True
    after = rows[cells : cells + 1]  # a line of the first R, where it is among these
    followed = len(after[0]) in (3, 7) if after else len(rows) > 15
    return cells > 1 and followed and counts[:cells] == [1] * min(cells, len(rows))


def _count(words: list[str], number: Callable[[str], float]) -> int:
    """Return how many words there are if all are numbers, else -1."""
    try:
        return len([number(word) for word in words])
    except ValueError:
        return -1
