"""H(k) and S(k) of a block file."""


def bloch_sums(file):
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
        What the states are.
    """
    spin = file.hamiltonian.meta.spin
    channels = range(2) if spin == "collinear" else (None,)
    overlap = file.overlap
    if overlap is not None:
        overlap = overlap.assembler(spinor=spin == "spinor")
    return [file.hamiltonian.assembler(component=c) for c in channels], overlap, spin
