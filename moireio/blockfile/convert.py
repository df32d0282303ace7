"""Conversions of a block file: container, storage, precision, compression."""

from moireio.operators.views import CastView, UpperView


def converted_operators(file, storage=None, precision=None):
    """Return the operators of a file in another storage or precision.

    Parameters
    ----------
    file : BlockFile
        The file.
    storage : {"full", "upper"}, optional
        Both partners of every pair, or one. Position matrices are always full.
    precision : {"float32", "float64"}, optional
        Precision of the elements.

    Returns
    -------
    list of OperatorSource
        One for every operator that changes.
    """
    changed = []
    for name in file.operators:
        source = operator = file.operator(name)
        if storage == "full":
            source = source.full()
        elif storage == "upper" and source.meta.storage == "full" and source.meta.parity:
            source = UpperView(source)
        if precision and not source.meta.dtype.endswith(_digits(source.meta.dtype, precision)):
            source = CastView(source, precision)
        if source is not operator:
            changed.append(source)
    return changed


def _digits(dtype, precision):
    """Return the number with which a type of that precision ends, as "64" or "128"."""
    bits = int(precision.removeprefix("float"))
    return str(2 * bits if dtype.startswith("complex") else bits)
