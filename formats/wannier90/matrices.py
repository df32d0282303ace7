"""The matrices in Wannier90's files of Hamiltonians: ``_hr.dat`` and ``_tb.dat``.

Both list the elements of all functions m, n for one R after another, m fastest where Wannier90
wrote them, and number from 1. Each R counts 1/degeneracy; ``_wsvec.dat`` says to which images of R
its elements belong (`moireio.formats.wannier90.wsvec`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.formats.text.tables import NumberFile, Run
from moireio.formats.wannier90.wsvec import FARTHEST, Images, cell_keys

HR_ROW = "R1 R2 R3 m n and the real and imaginary part of H"
TB_ROW = "m n and the real and imaginary part of H"
POSITION_ROW = "m n and the real and imaginary parts of x, y and z"
MOST_FUNCTIONS = 1 << 20
MOST_CELLS = 1 << 24


@dataclass(eq=False)
class Matrices:
    """H(R), and the positions where the file has them.

    Parameters
    ----------
    comment : str
        First line of the file.
    cells : (n_cells, 3) array of int64
        The lattice vectors R.
    degeneracy : (n_cells,) array of int64
        Wigner–Seitz degeneracy of each R.
    hamiltonian : (n_cells, n, n) array of complex128
        ⟨m,0|H|n,R⟩, eV, not divided by the degeneracy.
    position : (3, n_cells, n, n) array of complex128, optional
        ⟨m,0|r|n,R⟩, Å, not divided either.
    cell : (3, 3) array, optional
        Lattice vectors as rows, Å.
    """

    comment: str
    cells: npt.NDArray[np.int64]
    degeneracy: npt.NDArray[np.int64]
    hamiltonian: npt.NDArray[np.complex128]
    position: npt.NDArray[np.complex128] | None = None
    cell: npt.NDArray[np.float64] | None = field(default=None)

    @property
    def n(self) -> int:
        """Number of functions."""
        return self.hamiltonian.shape[1]

    def weighted(self, images: Images | None) -> Matrices:
        """Return the matrices whose plain Bloch sum is H(k).

        Parameters
        ----------
        images : Images or None
            Those of ``_wsvec.dat``; None leaves each element in the cell that the file gives it.

        Returns
        -------
        Matrices
            With all degeneracies 1; the arrays of this object are changed.
        """
        weights = 1.0 / self.degeneracy
        self.hamiltonian *= weights[:, None, None]
        if self.position is not None:
            self.position *= weights[:, None, None]
        ones = np.ones(len(self.cells), dtype=np.int64)
        if images is None:
            return Matrices(
                self.comment, self.cells, ones, self.hamiltonian, self.position, self.cell
            )
        bound = int(np.abs(images.cells).max(initial=0))
        keys = cell_keys(images.cells, bound)
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        cells = images.cells[first]
        within = self.n * self.n
        target = place.ravel() * within + images.element % within

        def spread(matrices: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
            values = matrices.reshape(-1)[images.element] * images.weights
            out = np.empty(len(cells) * within, dtype=np.complex128)
            out.real = np.bincount(target, values.real, len(out))
            out.imag = np.bincount(target, values.imag, len(out))
            return out.reshape(len(cells), self.n, self.n)

        position = None
        if self.position is not None:
            position = np.stack([spread(one) for one in self.position])
        ones = np.ones(len(cells), dtype=np.int64)
        return Matrices(self.comment, cells, ones, spread(self.hamiltonian), position, self.cell)

    def with_home(self) -> Matrices:
        """Return the matrices with R = 0, where a file leaves it out since all energies are 0.

        Returns
        -------
        Matrices
            This one where it has R = 0; else with zeros, and without positions, whose centres
            would be there.
        """
        if not self.cells.any(axis=1).all():
            return self
        return Matrices(
            self.comment,
            np.concatenate([np.zeros_like(self.cells[:1]), self.cells]),
            np.concatenate([np.ones_like(self.degeneracy[:1]), self.degeneracy]),
            np.concatenate([np.zeros_like(self.hamiltonian[:1]), self.hamiltonian]),
            None,
            self.cell,
        )


def read_counts(file: NumberFile, columns: int) -> tuple[int, npt.NDArray[np.int64]]:
    """Read the numbers of functions and cells, and the degeneracies.

    Parameters
    ----------
    file : NumberFile
        After what comes before them.
    columns : int
        Numbers in a line of the matrices, for the check against the size of the file.

    Returns
    -------
    n : int
        Number of functions.
    degeneracy : (n_cells,) array of int64
        One for each R. Numbers beyond the last in its line are ignored: some programs write them.
    """
    file.skip_blank()
    (n,) = file.whole("the number of Wannier functions", 1, MOST_FUNCTIONS)
    file.skip_blank()
    (count,) = file.whole("the number of lattice vectors R", 1, MOST_CELLS)
    if n < 1 or count < 1:
        file.fail(f"{n} functions and {count} lattice vectors: both must be positive")
    announced = f"{n} functions and {count} lattice vectors"
    file.require_room(count * n * n, columns, announced)
    degeneracy: list[int] = []
    while len(degeneracy) < count:
        file.skip_blank()
        values = file.whole("degeneracies of R", most=MOST_CELLS)
        if min(values) < 1:
            file.fail(f"a degeneracy of {min(values)}: 1 or more expected")
        degeneracy += values
    return n, np.array(degeneracy[:count], dtype=np.int64)


def read_matrices(path: str) -> Matrices:
    """Read either file of a Hamiltonian.

    Parameters
    ----------
    path : str
        The file, compressed or not; lattice vectors after the comment are those of ``_tb.dat``.

    Returns
    -------
    Matrices
        As `read_hr` or `read_tb`.
    """
    with NumberFile(path) as file:
        file.line("a comment")
        file.skip_blank()
        line = file.line("the number of functions or a lattice vector")
        vectors = len(line.split("!")[0].split("#")[0].split())
    return read_tb(path) if vectors == 3 else read_hr(path)


def read_hr(path: str) -> Matrices:
    """Read ``_hr.dat``: comment, counts, degeneracies, and ``R1 R2 R3 m n Re Im`` for all elements.

    Parameters
    ----------
    path : str
        The file, compressed or not.

    Returns
    -------
    Matrices
        Without positions and lattice vectors.

    Raises
    ------
    DamagedError
        With the line that is not as it should be.
    """
    with NumberFile(path) as file:
        comment = file.line("a comment")
        n, degeneracy = read_counts(file, 7)
        table = _Elements(file, n, len(degeneracy))
        for run in file.rows(table.count, 7, HR_ROW):
            table.take(run)
        table.finish()
        _require_end(file, table.count)
    return Matrices(comment, table.cells, degeneracy, table.values.reshape(-1, n, n))


class _Elements:
    """The elements of ``_hr.dat``, filled in run by run."""

    def __init__(self, file: NumberFile, n: int, n_cells: int) -> None:
        self._file, self._n = file, n
        self._block = n * n
        self.count = n_cells * self._block
        self.cells = np.zeros((n_cells, 3), dtype=np.int64)
        self.values = np.empty(self.count, dtype=np.complex128)
        self._seen: npt.NDArray[np.bool_] | None = None
        self._done = 0
        # text and place of the elements inside a block, once a whole one was read
        self._pattern: npt.NDArray[np.uint8] | None = None
        self._order: npt.NDArray[np.int64] | None = None
        self._last: npt.NDArray[np.uint8] | None = None

    def take(self, run: Run) -> None:
        """Take some lines."""
        rows = np.arange(self._done, self._done + run.lines)
        block, within = np.divmod(rows, self._block)
        values = np.ascontiguousarray(run.columns(5, 7)).view(np.complex128)[:, 0]
        if self._repeats(run, block, within):
            assert self._order is not None
            self.values[block * self._block + self._order[within]] = values
            if self._seen is not None:
                self._seen[rows] = True  # whole blocks are permutations
        else:
            self._number_by_number(run, block, within, values)
        self._done += run.lines

    def _repeats(
        self, run: Run, block: npt.NDArray[np.int64], within: npt.NDArray[np.int64]
    ) -> bool:
        """Read the cells of a run whose text is that of the first block but for R and H."""
        if run.table is None or self._pattern is None:
            return False
        names = run.text(3, 5)
        if names.shape[1] != self._pattern.shape[1]:
            return False
        starts = np.flatnonzero(within == 0)
        cells = run.text(0, 3)
        begin = np.concatenate([[0], starts]) if within[0] else starts
        known = np.repeat(cells[begin], np.diff(np.append(begin, run.lines)), axis=0)
        carried = not within[0] or (
            self._last is not None
            and self._last.shape == cells[0].shape
            and bool((self._last == cells[0]).all())
        )
        if not carried or not (known == cells).all():
            return False
        if not (self._pattern[within] == names).all():
            return False
        text = b"\n".join(row.tobytes() for row in cells[starts])
        words = text.split()
        if len(words) != 3 * len(starts):
            return False
        try:
            found = np.array([int(word) for word in words], dtype=np.int64).reshape(-1, 3)
        except (ValueError, OverflowError):
            return False
        if np.abs(found).max(initial=0) > FARTHEST:
            return False
        self.cells[block[starts]] = found
        self._last = cells[-1].copy()
        return True

    def _number_by_number(
        self,
        run: Run,
        block: npt.NDArray[np.int64],
        within: npt.NDArray[np.int64],
        values: npt.NDArray[np.complex128],
    ) -> None:
        """Take a run whose cells and functions are read as numbers."""
        numbers = run.columns(0, 5)
        names = np.rint(numbers).astype(np.int64)
        functions = names[:, 3:] - 1
        low, high = functions.min(axis=1), functions.max(axis=1)
        wrong = (low < 0) | (high >= self._n) | (names != numbers).any(axis=1)
        wrong |= np.abs(names[:, :3]).max(axis=1) > FARTHEST
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            self._file.fail(
                f"{HR_ROW} expected, m and n from 1 to {self._n}; found "
                + " ".join(f"{number:g}" for number in numbers[place]),
                line=run.first + place,
            )
        starts = np.flatnonzero(within == 0)
        self.cells[block[starts]] = names[starts, :3]
        other = (self.cells[block] != names[:, :3]).any(axis=1)
        if other.any():
            place = int(np.flatnonzero(other)[0])
            expected = " ".join(str(c) for c in self.cells[block[place]])
            self._file.fail(
                f"R = {' '.join(str(c) for c in names[place, :3])} inside the {self._block} lines "
                f"of R = {expected}",
                "a line is missing, or the number of functions is wrong",
                line=run.first + place,
            )
        target = functions[:, 0] * self._n + functions[:, 1]
        if self._seen is None:
            self._seen = np.zeros(self.count, dtype=bool)
            self._seen[: self._done] = True
        places = block * self._block + target
        inside = slice(int(block[0]) * self._block, (int(block[-1]) + 1) * self._block)
        before = np.count_nonzero(self._seen[inside])
        again = self._seen[places]
        self._seen[places] = True
        if np.count_nonzero(self._seen[inside]) < before + len(places):
            order = np.argsort(places, kind="stable")
            twice = order[1:][np.diff(places[order]) == 0]
            place = int(min(np.append(twice, np.flatnonzero(again))))
            m, n = names[place, 3:]
            self._file.fail(f"the element {m} {n} of its R is there twice", line=run.first + place)
        self.values[places] = values
        self._learn(run, within, target)

    def _learn(
        self, run: Run, within: npt.NDArray[np.int64], target: npt.NDArray[np.int64]
    ) -> None:
        """Keep the text of a whole block, by which the following ones are known."""
        if run.table is None:
            return
        cells = run.text(0, 3)
        self._last = cells[-1].copy()
        starts = np.flatnonzero(within == 0)
        if len(starts) and run.lines - starts[0] >= self._block:
            whole = slice(starts[0], starts[0] + self._block)
            self._pattern = run.text(3, 5)[whole].copy()
            self._order = target[whole].copy()

    def finish(self) -> None:
        """Refuse a list with a cell twice."""
        distinct, first = np.unique(self.cells, axis=0, return_index=True)
        if len(distinct) < len(self.cells):
            place = int(np.setdiff1d(np.arange(len(self.cells)), first)[0])
            cell = " ".join(str(c) for c in self.cells[place])
            self._file.fail(f"the file lists R = {cell} twice")


def read_tb(path: str) -> Matrices:
    """Read ``_tb.dat``: comment, lattice vectors, counts, degeneracies, H, positions.

    Parameters
    ----------
    path : str
        The file, compressed or not.

    Returns
    -------
    Matrices
        With lattice vectors, and positions where the file goes on to them.

    Raises
    ------
    DamagedError
        With the line that is not as it should be.
    """
    with NumberFile(path) as file:
        comment = file.line("a comment")
        cell = np.concatenate(
            [run.columns(0, 3) for run in file.rows(3, 3, "a lattice vector (Å)")]
        )
        n, degeneracy = read_counts(file, 4)
        hamiltonian = np.empty((len(degeneracy), n, n), dtype=np.complex128)
        cells = np.empty((len(degeneracy), 3), dtype=np.int64)
        for place in range(len(degeneracy)):
            cells[place] = _tb_cell(file)
            hamiltonian[place] = _tb_block(file, n, 1)[0]
        if len(np.unique(cells, axis=0)) < len(cells):
            file.fail("the file lists an R twice")
        file.skip_blank()
        position = None
        if not file.at_end:
            position = np.empty((3, *hamiltonian.shape), dtype=np.complex128)
            for place in range(len(degeneracy)):
                found = _tb_cell(file)
                if found != cells[place].tolist():
                    file.fail(
                        f"R = {found} of the positions, but H has {cells[place].tolist()} here"
                    )
                position[:, place] = _tb_block(file, n, 3)
        _require_end(file, len(degeneracy) * n * n)
    return Matrices(comment, cells, degeneracy, hamiltonian, position, cell)


def _tb_cell(file: NumberFile) -> list[int]:
    file.skip_blank()
    found = file.whole("R1 R2 R3", most=FARTHEST)
    if len(found) != 3:
        file.fail(f"R1 R2 R3 expected, found {len(found)} numbers")
    return found


def _tb_block(file: NumberFile, n: int, components: int) -> npt.NDArray[np.complex128]:
    """Return the matrices of one R, (components, n, n)."""
    out = np.empty((components, n * n), dtype=np.complex128)
    seen = np.zeros(n * n, dtype=bool)
    expected = TB_ROW if components == 1 else POSITION_ROW
    for run in file.rows(n * n, 2 + 2 * components, expected):
        numbers = run.columns(0, 2 + 2 * components)
        names = np.rint(numbers[:, :2]).astype(np.int64)
        wrong = (names != numbers[:, :2]).any(axis=1) | (names < 1).any(axis=1)
        wrong |= (names > n).any(axis=1)
        target = (np.where(wrong, 1, names[:, 0]) - 1) * n + np.where(wrong, 1, names[:, 1]) - 1
        wrong |= seen[target]
        seen[target] = True
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            file.fail(
                f"{expected} expected, every m and n from 1 to {n} once; found "
                + " ".join(f"{number:g}" for number in numbers[place, :2]),
                line=run.first + place,
            )
        out[:, target] = (numbers[:, 2::2] + 1j * numbers[:, 3::2]).T
    if not seen.all():
        m, other = np.divmod(int(np.flatnonzero(~seen)[0]), n)
        file.fail(f"the lines before it lack the element {m + 1} {other + 1}")
    return out.reshape(components, n, n)


def _require_end(file: NumberFile, count: int) -> None:
    """Refuse a file that goes on."""
    file.skip_blank()
    if not file.at_end:
        file.line("nothing")
        file.fail(
            f"goes on after the {count} elements that its header announces",
            "the counts in its first lines are wrong, or a line is there twice",
        )
