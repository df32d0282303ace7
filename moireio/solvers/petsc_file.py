"""Sparse matrices as PETSc's binary files.

All numbers are big-endian: a mark, rows, columns and elements; the length of each row; columns;
values. Whole numbers have as many bytes as the indices with which PETSc was built, and values are
real or complex as it was built.
"""

import numpy as np

MARK = 1211216
CHUNK = 4_000_000  # elements


def write_matrix(path, matrix, paired, index=4):
    """Write a matrix.

    Parameters
    ----------
    path : str
        The file.
    matrix : (n, n) scipy.sparse.csr_array
        Real for a PETSc of real numbers, complex for one of complex numbers.
    paired : bool
        Write the real matrix of 2n rows that acts on (Re x₀, Im x₀, Re x₁, Im x₁, …) as the complex
        `matrix` on x.
    index : {4, 8}
        Bytes of PETSc's indices.
    """
    whole = np.dtype(f">i{index}")
    n, copies = matrix.shape[0], 2 if paired else 1
    lengths = np.diff(matrix.indptr)
    count = matrix.nnz * copies**2
    # a count that does not fit is left to the lengths of the rows
    head = [MARK, n * copies, n * copies, min(count, np.iinfo(whole).max)]
    with open(path, "wb") as stream:
        np.array(head, dtype=whole).tofile(stream)
        (np.repeat(lengths, copies) * copies).astype(whole).tofile(stream)
        for begin, end in _chunks(matrix.indptr, copies):
            span = slice(matrix.indptr[begin], matrix.indptr[end])
            columns = matrix.indices[span]
            if paired:
                both = 2 * np.repeat(columns, 2)
                both[1::2] += 1
                columns = _twice(both, both, 2 * lengths[begin:end])
            columns.astype(whole).tofile(stream)
        for begin, end in _chunks(matrix.indptr, copies):
            values = matrix.data[matrix.indptr[begin] : matrix.indptr[end]]
            if paired:
                # a + ib as the rows (a, −b) and (b, a)
                upper = np.stack([values.real, -values.imag], axis=1).ravel()
                lower = np.stack([values.imag, values.real], axis=1).ravel()
                values = _twice(upper, lower, 2 * lengths[begin:end])
            values.astype(">f8" if values.dtype.kind == "f" else ">c16").tofile(stream)


def _chunks(indptr, copies):
    """Yield runs of rows of some million elements."""
    begin, n = 0, len(indptr) - 1
    while begin < n:
        end = int(np.searchsorted(indptr, indptr[begin] + CHUNK // copies**2, side="right")) - 1
        end = min(max(end, begin + 1), n)
        yield begin, end
        begin = end


def _twice(upper, lower, lengths):
    """Return the rows of two matrices in turn, first those that come first."""
    rows = np.cumsum(lengths) - lengths
    place = np.repeat(rows, lengths) + np.arange(len(upper))
    out = np.empty(2 * len(upper), dtype=upper.dtype)
    out[place] = upper
    out[place + np.repeat(lengths, lengths)] = lower
    return out
