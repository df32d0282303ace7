"""H(k) and S(k) of a block file."""

from typing import TYPE_CHECKING

from moireio.errors import MoireioError

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.operators.bloch import BlochSum


def bloch_sums(file: "BlockFile") -> tuple[list["BlochSum"], "BlochSum | None", str]:
    """Return H(k) and S(k) of a block file.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.

    Returns
    -------
    sums : list of BlochSum
        H; of collinear spin, up and down.
    overlap : BlochSum or None
        S of the same states; None if orthogonal.
    spin : {"none", "collinear", "spinor"}
        Spin of the states.

    Raises
    ------
    MoireioError
        If H is stored as not Hermitian.
    """
    if file.hamiltonian.meta.parity != 1:
        raise MoireioError(
            "/hamiltonian is not Hermitian, so that it has no bands",
            path=file.label,
            remedy="predict-h without `raw` keeps the Hermitian part",
        )
    spin = file.hamiltonian.meta.spin
    channels = (0, 1) if spin == "collinear" else (None,)
    operator = file.overlap
    overlap = None if operator is None else operator.assembler(spinor=spin == "spinor")
    return [file.hamiltonian.assembler(component=c) for c in channels], overlap, spin
