"""Records of Fortran's unformatted files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError

MARK = 4  # bytes before and after a record
#: Lengths of first records, the most significant byte first.
FIRST_MARKS = (b"\0\0\0\4", b"\0\0\0\x10")


class Records:
    """The records of a file, one after another.

    Parameters
    ----------
    content : bytes-like
        The file.
    path : str
        Its name, for messages.

    Raises
    ------
    DamagedError
        If the first record is not a single number, as it is in SIESTA's files.

    Notes
    -----
    A record stands between two copies of its length; one beyond 2 GiB is cut into pieces, whose
    lengths are negative where another piece follows or precedes.
    """

    def __init__(self, content: bytes | memoryview, path: str) -> None:
        self._content = memoryview(content).cast("B")
        self._at = 0
        self.path = path
        self.order = "<"
        if len(self._content) >= MARK and bytes(self._content[:MARK]) in FIRST_MARKS:
            self.order = ">"

    @property
    def left(self) -> int:
        """Bytes that follow."""
        return len(self._content) - self._at

    def next(self, what: str) -> memoryview | bytes:
        """Return the next record.

        Parameters
        ----------
        what : str
            What it holds.

        Returns
        -------
        bytes-like
            Without its lengths.
        """
        pieces = []
        while True:
            length = self._mark(what)
            begin = self._at
            if abs(length) > self.left - MARK:
                raise self.damaged(f"ends inside {what}", "it is cut short: copy it again")
            self._at += abs(length)
            pieces.append(self._content[begin : self._at])
            if abs(self._mark(what)) != abs(length):
                raise self.damaged(f"the record with {what}, at byte {begin}, has no end")
            if length >= 0:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def numbers(self, what: str, dtype: str, count: int) -> npt.NDArray[np.generic]:
        """Return a record that holds so many numbers of one type.

        Parameters
        ----------
        what : str
            What they are.
        dtype : str
            Such as "i4" or "f8".
        count : int
            How many.

        Returns
        -------
        (count,) array
            A view of the file.
        """
        return self.fields(what, (dtype, count))[0]

    def fields(self, what: str, *parts: tuple[str, int]) -> list[npt.NDArray[np.generic]]:
        """Return a record that holds several arrays.

        Parameters
        ----------
        what : str
            What they are.
        *parts : (str, int)
            Type and length of each.

        Returns
        -------
        list of arrays
            Views of the file.
        """
        record = self.next(what)
        dtypes = [(np.dtype(dtype).newbyteorder(self.order), count) for dtype, count in parts]
        expected = sum(dtype.itemsize * count for dtype, count in dtypes)
        if len(record) != expected:
            raise self.damaged(f"has {len(record)} bytes of {what}, {expected} expected")
        found, begin = [], 0
        for dtype, count in dtypes:
            found.append(np.frombuffer(record, dtype, count, begin))
            begin += dtype.itemsize * count
        return found

    def damaged(self, what: str, remedy: str | None = None) -> DamagedError:
        """Return the error of this file.

        Parameters
        ----------
        what : str
            What is wrong.
        remedy : str, optional
            What to do.

        Returns
        -------
        DamagedError
            To be raised.
        """
        remedy = remedy or "it is damaged, or of a version that is not known here"
        return DamagedError(what, path=self.path, remedy=remedy)

    def _mark(self, what: str) -> int:
        if self.left < MARK:
            raise self.damaged(f"ends where {what} should follow", "it is cut short: copy it again")
        self._at += MARK
        mark = np.frombuffer(self._content, f"{self.order}i4", 1, self._at - MARK)
        return int(mark[0])
