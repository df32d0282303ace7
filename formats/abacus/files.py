"""ABACUS's H(R) and S(R): CSR files of every form, with STRU and log.

Layout: see `moireio.formats.abacus.csr` and `stru`. Kept: structure, shells, H (nspin 1, 2 and 4),
S, positions (``data-rR-sparse.csr`` or ``rr.csr``), Fermi level and electrons of the log. Lost:
derivatives, magnetic moments of STRU, earlier ionic steps. H and S have about nine digits.

ABACUS moves all atoms of STRU into the cell, 0 ≤ x < 1, and counts R between them there; the result
has the positions of STRU, with R to match. Orbitals are those of the atoms in turn, by l, zeta and
m = 0, 1, −1, 2, −2 … with the sign (−1)^m; with nspin 4 up and down of every orbital.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MissingFileError, MoireioError, naming
from moireio.formats.abacus.csr import letter_of, read_csr
from moireio.formats.abacus.matrices import Consumed, RealSpaceMatrices
from moireio.formats.abacus.orbitals import (
    AbacusShells,
    Log,
    find_orbital_file,
    latname_of_input,
    read_log,
    shells_of_orbital_file,
    spins_of_input,
    two_levels,
)
from moireio.formats.abacus.positions import position
from moireio.formats.abacus.stru import BOHR, Stru, read_stru, species_number
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import OrbitalMap, source_from_matrices
from moireio.formats.assembly.orders import ABACUS
from moireio.formats.assembly.placing import with_moves
from moireio.formats.assembly.shells import parse_shells_option
from moireio.formats.structures.text import plain_name
from moireio.formats.text.streams import beside, require_companions
from moireio.operators.blocks import block_offsets, read_pairs
from moireio.operators.views import ArraySource
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure
from moireio.units import Constants

#: As in ABACUS and pyatb.
RYDBERG_EV = 13.605698066
# Deviation from Hermitian beyond which a file counts as damaged, eV and 1: files have nine digits,
# old ones five or six.
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-4}
USUAL_RESIDUAL = {"hamiltonian": 1e-4, "overlap": 1e-5, "position": 1e-4}
NAMES = ("hrs1_nao.csr", "data-HR-sparse_SPIN0.csr", "hrs1_nao.dat")
OVERLAPS = ("srs1_nao.csr", "sr_nao.csr", "data-SR-sparse_SPIN0.csr")
RUNS = ("scf", "nscf", "relax", "cell-relax", "md")
POSITIONS = ("data-rR-sparse.csr", "rr.csr")
LOGS = tuple(f"running_{run}.log" for run in RUNS)
STRUCTURES = ("STRU_ION_D", "STRU")
SAME_CELL = 1e-4  # relative: headers of 2025 have six digits


def detect(path: str) -> bool:
    """Return whether a path is a file of ABACUS's matrices, or a folder with H among them.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By its first bytes, folders by the names in them, also of S alone, so that the message
        names what is missing.
    """
    if os.path.isdir(path):
        return _in_folder(path) is not None or beside(path, *OVERLAPS) is not None
    return plain_name(path).endswith((".csr", "_nao.dat")) and letter_of(path) is not None


def _in_folder(path: str) -> str | None:
    """Return the H of a folder, or of the one folder OUT.… in it."""
    found = beside(path, *NAMES) or beside(os.path.join(path, "matrix"), *NAMES)
    if found is not None:
        return found
    inside = [
        beside(name, *NAMES) for name in sorted(glob.glob(os.path.join(glob.escape(path), "OUT.*")))
    ]
    hits = [name for name in inside if name is not None]
    return hits[0] if len(hits) == 1 else None


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
    shells: str | None = None,
) -> Calculation:
    """Read H, with S, STRU and log.

    Parameters
    ----------
    path : str
        The file of H (of spin up, where there are two), compressed or not; or a folder ``OUT.…``
        with it.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        Further files: S, H of spin down, positions, STRU, log, orbital files. Those beside `path`
        are found, STRU also in the folder above.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    shells : str, optional
        Shells of the species, where neither names of orbital files nor a log say them, as in
        ``Si=2s2p1d``.

    Returns
    -------
    Calculation
        In memory.

    Raises
    ------
    MoireioError
        If something cannot be read, or a file that is needed is missing.
    DamagedError
        If a file is cut short or contradicts itself.
    """
    notes: list[str] = []
    given = {name: AbacusShells(one) for name, one in parse_shells_option(shells).items()}
    if os.path.isdir(path):
        inside = _in_folder(path)
        if inside is None:
            raise MissingFileError(
                f"has no {' or '.join(NAMES)}, and no single folder OUT.… with one", path=path
            )
        path, label = inside, label or inside
        others = [name for name in NAMES if beside(os.path.dirname(path), name) not in (None, path)]
        notes += [f"{os.path.basename(path)} is read; its folder has {n} too" for n in others]
    label = label or path
    files = _Files(path, companions)
    hamiltonian = read_csr(path)
    if hamiltonian.letter not in ("H", ""):
        raise MoireioError(
            f"holds {hamiltonian.letter}(R)",
            path=path,
            remedy="give the file of H(R) as the source",
        )
    if hamiltonian.steps > 1:
        notes.append(f"the last of {hamiltonian.steps} ionic steps is read")
    log = read_log(files.log) if files.log else Log()
    notes += log.notes
    _require_both_spins(hamiltonian, files, log, label)
    down = read_csr(files.down) if files.down else None
    fermi = log.fermi if hamiltonian.fermi is None else hamiltonian.fermi
    if down is not None and fermi is not None and down.fermi not in (None, fermi):
        notes.append(two_levels(fermi, down.fermi))
        fermi = None
    if hamiltonian.folded:
        notes.append("ABACUS used only Γ: all R are summed into R = 0")
    if files.log is None and hamiltonian.fermi is None:
        notes.append("the Fermi level is unknown: no running_scf.log is beside it")
    stru, moves = _structure(hamiltonian, files, label)
    structure = stru.structure
    spinor = hamiltonian.is_complex
    basis = _basis(stru, log, given, files, hamiltonian, 2 if spinor else 1)
    with naming(path):
        operators = {"hamiltonian": _hamiltonian(hamiltonian, down, files, structure, basis)}
    del down
    if files.overlap:
        with naming(files.overlap):
            operators["overlap"] = _overlap(files.overlap, structure, basis, spinor)
        if files.position and not hamiltonian.folded:
            there = replace(structure, positions=structure.positions - moves @ structure.cell)
            orbitals = OrbitalMap.make(there, basis, ABACUS)
            with naming(files.position):
                operators["position"] = position(
                    files.position, there, orbitals, operators["overlap"], spinor=spinor
                )
        only_s = not any(any(basis[name].l) for name in structure.species_names)
        if only_s and _is_one(operators["overlap"]):  # a model
            del operators["overlap"]
            basis = replace(basis, orthogonal=True)
    else:
        notes.append(f"{files.expected_overlap} is not beside it: there is no overlap")
    if files.position and "position" not in operators:
        why = "all R are summed" if hamiltonian.folded else "it needs S"
        notes.append(f"{os.path.basename(files.position)} is left out: {why}")
    notes += files.notes
    if moves.any():
        operators = {name: with_moves(source, moves) for name, source in operators.items()}
    if stru.order is not None:
        structure, basis, operators = _reordered(structure, basis, operators, stru.order)
    return assemble(
        label,
        structure,
        basis,
        operators,
        electrons=Electrons(count=log.electrons, fermi=fermi),
        notes=notes,
        files=list(dict.fromkeys(files.read)),
        pbc=pbc,
        usual_residual=USUAL_RESIDUAL,
        constants=Constants(BOHR, 2 * RYDBERG_EV),
        described=None if hamiltonian.folded else "STRU or an orbital file",
    )


class _Files:
    """The files that belong to one of H.

    Parameters
    ----------
    path : str
        That of H.
    companions : sequence of str
        Named by the user.
    """

    def __init__(self, path: str, companions: Sequence[str]) -> None:
        require_companions(companions)
        folder, name = os.path.dirname(path), plain_name(path)
        self.notes: list[str] = []
        self.path = path
        if re.search(r"SPIN1\.csr$|^hrs2", name):
            raise MoireioError(
                "is H of spin down",
                path=path,
                remedy="give that of spin up, "
                + name.replace("SPIN1", "SPIN0").replace("hrs2", "hrs1"),
            )
        overlaps = [name.replace("HR", "SR").replace("hrs1", "srs1"), name.replace("hrs1", "sr")]
        if name.startswith("hrs1g"):
            overlaps.append(name.replace("hrs1", "srs1"))
        overlaps = [one for one in dict.fromkeys(overlaps) if one != name]
        self.expected_overlap = overlaps[0] if overlaps else "a file of S(R)"
        downs = [name.replace("SPIN0", "SPIN1").replace("hrs1", "hrs2")]
        downs = [one for one in downs if one != name]
        rest = list(companions)

        def of_letter(letter: str) -> str | None:
            for one in rest:
                if plain_name(one).endswith((".csr", "_nao.dat")) and letter_of(one) == letter:
                    rest.remove(one)
                    return one
            return None

        def named(names: Sequence[str], *, start: str = "") -> str | None:
            for one in rest:
                if plain_name(one) in names or (start and plain_name(one).startswith(start)):
                    rest.remove(one)
                    return one
            return None

        self.expected_down = downs[0] if downs else "a file of H of spin down"
        self.position = named(POSITIONS) or of_letter("r") or beside(folder, *POSITIONS)
        self.overlap = named(overlaps) or of_letter("S") or beside(folder, *overlaps)
        self.down = named(downs) or of_letter("H") or (beside(folder, *downs) if downs else None)
        above = os.path.join(folder, os.pardir)
        further = os.path.join(above, os.pardir)
        self.log = named(LOGS, start="running_") or next(
            filter(None, (beside(place, *LOGS) for place in (folder, above))), None
        )
        self.stru = named(STRUCTURES, start="STRU") or next(
            filter(None, (beside(place, *STRUCTURES) for place in (folder, above, further))), None
        )
        places = (folder, above) if os.path.basename(folder).startswith("OUT.") else (folder,)
        self.input = named(["INPUT"]) or next(
            filter(None, (beside(place, "INPUT") for place in places)), None
        )
        own = beside(os.path.dirname(self.stru), "INPUT") if self.stru else None
        setting = self.input or own
        self.latname = latname_of_input(setting) if setting else None
        self.orbitals = [os.path.dirname(one) or "." for one in rest if one.endswith(".orb")]
        self.folders = [*self.orbitals, folder or ".", above, further]
        read = (path, self.overlap, self.down, self.position, self.stru, self.log, setting)
        self.read = [name for name in read if name is not None]

    def orbital_file(self, name: str) -> str | None:
        """Return where an orbital file is, which will be read."""
        found = find_orbital_file(name, self.folders)
        if found is not None:
            self.read.append(found)
        return found


def _require_both_spins(
    hamiltonian: RealSpaceMatrices, files: _Files, log: Log, label: str
) -> None:
    """Raise if the calculation has two spins, and H of spin down is missing."""
    if files.down or hamiltonian.is_complex:
        return
    spins, where = hamiltonian.spins, files.path
    if spins is None and files.log:
        spins, where = log.spins, files.log
    if spins is None and files.input:
        spins, where = spins_of_input(files.input), files.input
    if spins == 2:
        raise MissingFileError(
            f"is of spin up alone: {os.path.basename(where)} has two spins, and "
            f"{files.expected_down} is not beside it",
            path=label,
            remedy="give it in `companions`",
        )


def _structure(
    hamiltonian: RealSpaceMatrices, files: _Files, label: str
) -> tuple[Stru, npt.NDArray[np.int64]]:
    """Return the atoms of STRU, or of a header of 2025.

    Also the lattice vectors by which they are away from where ABACUS has them, which moves all
    atoms into the cell and counts R between them there.
    """
    stru = read_stru(files.stru, files.latname) if files.stru else None
    atoms = hamiltonian.atoms
    if stru is None and atoms is None:
        raise MissingFileError("no STRU is beside it", path=label, remedy="give it in `companions`")
    if stru is None:
        assert atoms is not None
        names = list(dict.fromkeys(atoms.labels))
        files.notes.append("no STRU is beside it: the cell has the six digits of the header")
        structure = Structure(
            atoms.cell,
            atoms.positions,
            [species_number(name) for name in atoms.labels],
            [names.index(name) for name in atoms.labels],
            names,
            (True, True, True),
        )
        return Stru(structure, {}), np.zeros((len(structure), 3), dtype=np.int64)
    if atoms is None:
        return stru, stru.moves
    own = stru.structure
    scale = np.abs(atoms.cell).max()
    same = own.species_of_atoms == atoms.labels
    if not same or np.abs(own.cell - atoms.cell).max() > SAME_CELL * scale:
        raise MoireioError(
            f"has other atoms or another cell than {files.stru}",
            path=label,
            remedy="give the STRU of this run in `companions`",
        )
    fractional = own.positions @ np.linalg.inv(own.cell)
    away = fractional - atoms.positions @ np.linalg.inv(atoms.cell)
    moves = np.rint(away).astype(np.int64)
    if np.abs(away - moves).max() > SAME_CELL:
        files.notes.append(f"positions are those of the header, not of {files.stru}")
        return replace(stru, structure=replace(own, positions=atoms.positions)), 0 * moves
    return stru, moves


def _basis(
    stru: Stru,
    log: Log,
    given: dict[str, AbacusShells],
    files: _Files,
    hamiltonian: RealSpaceMatrices,
    spins: int,
) -> Basis:
    """Return the shells of all species."""
    structure, species = stru.structure, {}
    for name in structure.species_names:
        found = given.get(name)
        file = stru.orbital_files.get(name)
        if found is None and file is not None:
            found = shells_of_orbital_file(file, files.orbital_file(file))
        found = found or log.shells.get(name)
        if found is None:
            where = "NUMERICAL_ORBITAL names none" if file is None else f"{file} is not beside it"
            if files.stru is None:
                where = "no STRU is beside it"
            raise MissingFileError(
                f"the shells of {name} are unknown: {where}, and no running_scf.log gives them",
                path=files.path,
                remedy="give one of these files in `companions`, or `shells` as in Si=2s2p1d",
            )
        species[name] = SpeciesBasis(
            found.shells, name=None, cutoff=found.cutoff, valence=log.valence.get(name)
        )
    basis = Basis(species)
    orbitals = int(basis.sizes(structure).sum()) * spins
    if orbitals != hamiltonian.orbitals:
        shells = ", ".join(f"{name} {one.label}" for name, one in species.items())
        raise MoireioError(
            f"has {hamiltonian.orbitals} orbitals; the {len(structure)} atoms with {shells} have "
            f"{orbitals}",
            path=files.path,
            remedy="STRU, orbital files or `shells` are of another calculation",
        )
    return basis


def _hamiltonian(
    up: RealSpaceMatrices,
    down: RealSpaceMatrices | None,
    files: _Files,
    structure: Structure,
    basis: Basis,
) -> ArraySource:
    spin = "collinear" if down is not None else "spinor" if up.is_complex else "none"
    orbitals = OrbitalMap.make(
        structure, basis, ABACUS, spinor="interleaved" if spin == "spinor" else None
    )
    cells, matrices = up.cells, up.matrices
    channels: object = Consumed(matrices)
    if down is not None:
        if down.orbitals != up.orbitals or down.is_complex or up.is_complex:
            raise DamagedError(
                f"has {down.orbitals} orbitals, that of spin up {up.orbitals}", path=down.path
            )
        cells, both = _common(up, down)
        channels = [Consumed(one) for one in both]
    return source_from_matrices(
        "hamiltonian",
        cells,
        channels,
        orbitals,
        label=files.path,
        spin=spin,
        scale=RYDBERG_EV,
        limit=LIMITS["hamiltonian"],
    )


def _common(up: RealSpaceMatrices, down: RealSpaceMatrices) -> tuple[list, tuple[list, list]]:
    """Return the cells of two files together, and both lists of matrices for them."""
    from scipy.sparse import csr_array

    cells = list(dict.fromkeys([*up.cells, *down.cells]))
    empty = csr_array((up.orbitals, up.orbitals))
    both = []
    for one in (up, down):
        if len(set(one.cells)) != len(one.cells):
            raise DamagedError("lists an R twice", path=one.path)
        found = dict(zip(one.cells, one.matrices, strict=True))
        both.append([found.get(cell, empty) for cell in cells])
    return cells, (both[0], both[1])


def _overlap(path: str, structure: Structure, basis: Basis, spinor: bool) -> ArraySource:
    found = read_csr(path)
    if found.letter not in ("S", ""):
        raise MoireioError(f"holds {found.letter}(R), S(R) expected", path=path)
    matrices = found.matrices
    if spinor and found.orbitals == 2 * int(basis.sizes(structure).sum()):
        matrices = [matrix[::2, ::2].real for matrix in matrices]
    return source_from_matrices(
        "overlap",
        found.cells,
        Consumed(matrices),
        OrbitalMap.make(structure, basis, ABACUS),
        label=path,
        limit=LIMITS["overlap"],
    )


def _is_one(overlap: ArraySource) -> bool:
    """Return whether S is exactly 1."""
    onsite = overlap.pairs.onsite()
    at = block_offsets(overlap.pairs.block_elements(overlap.sizes))[:-1][onsite]
    one = np.zeros_like(overlap.data)
    for begin, n in zip(at, overlap.sizes, strict=True):
        one[begin : begin + n * n : n + 1] = 1
    return bool((overlap.data == one).all())


def _reordered(
    structure: Structure, basis: Basis, operators: dict[str, ArraySource], order: np.ndarray
) -> tuple[Structure, Basis, dict[str, ArraySource]]:
    """Return everything with the atoms in the order of the block file that moireio wrote."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))  # place[a]: where atom a of the block file stands here
    names = list(dict.fromkeys(structure.species_of_atoms[at] for at in place))
    turned = Structure(
        structure.cell,
        structure.positions[place],
        structure.numbers[place],
        [names.index(structure.species_of_atoms[at]) for at in place],
        names,
        structure.pbc,
    )
    moved = {}
    for name, source in operators.items():
        pairs, where = Pairs.sort(
            len(order), order[source.pairs.i], order[source.pairs.j], source.pairs.R
        )
        data, _ = read_pairs(source, where)
        moved[name] = ArraySource(source.meta, source.sizes[place], pairs, data)
    species = {name: basis[name] for name in names}
    return turned, Basis(species, orthogonal=basis.orthogonal), moved
