"""Wannier90's ``X_hr.dat`` and ``X_tb.dat``: H(R) in Wannier functions, and their positions.

Layout of ``X_hr.dat``: a comment; the number of functions n; the number of lattice vectors; their
degeneracies, 15 a line; then ``R1 R2 R3 m n Re Im`` for every element, eV, six decimals. Layout of
``X_tb.dat``: a comment; the lattice vectors as rows, Å; n; the number of lattice vectors; their
degeneracies; then for every R a blank line, ``R1 R2 R3`` and lines ``m n Re Im`` of H, eV; then the
same with ``m n`` and x, y, z of the position matrices, Å, whose diagonal has the centres.

Read with them, where they are beside or given: ``X.win`` (lattice, atoms, whether functions are
spinors), ``X_wsvec.dat`` (which images elements belong to), ``X_centres.xyz`` or ``X.wout``
(centres). A second Hamiltonian among the companions is that of the down spin.

Kept: all of these, position matrices where there is no spin; the atoms in the group
``x_wannier90``. Lost: spreads, the k mesh, the projections. What is not known there: Fermi level,
number of electrons.
"""

from __future__ import annotations

from collections.abc import Sequence

from moireio.blockfile.calculation import Calculation
from moireio.formats.foreign import describe_file
from moireio.formats.wannier90.calculation import read_calculation
from moireio.formats.wannier90.write import write_calculation

HR, TB = (f"a Hamiltonian of Wannier90 ({end})" for end in ("_hr.dat", "_tb.dat"))


def detect(path: str) -> bool:
    """Return whether a file is a Hamiltonian of Wannier90.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By its first lines.
    """
    return describe_file(path) in (HR, TB)


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
    spinor_order: str | None = None,
) -> Calculation:
    """Read ``X_hr.dat`` or ``X_tb.dat`` and the files beside it.

    Parameters
    ----------
    path : str
        The file, compressed or not.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        ``X.win``, ``X_wsvec.dat``, ``X_centres.xyz``, ``X.wout`` where they are elsewhere, the
        Hamiltonian of the down spin, or a structure file for the lattice.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    spinor_order : {"alternating", "blocks"}, optional
        How spinor functions are arranged; by default up and down alternate, unless their centres
        show that all up functions come first.

    Returns
    -------
    Calculation
        One site for each centre, with s functions; its operators are in memory.

    Raises
    ------
    MoireioError
        If a file is of another run, or the lattice vectors of a run of Wannier90 are missing.
    DamagedError
        If a file is cut short or contradicts itself.
    """
    return read_calculation(
        path, label=label, companions=companions, pbc=pbc, spinor_order=spinor_order
    )


def write(
    calculation: Calculation,
    path: str,
    *,
    force: bool = False,
    orthogonalise: str | None = None,
    digits: int | None = None,
) -> None:
    """Write ``X_hr.dat`` or ``X_tb.dat`` with ``X.win`` and ``X_centres.xyz`` beside it.

    Parameters
    ----------
    calculation : Calculation
        With H; remarks are added to its notes.
    path : str
        ``X_hr.dat`` or ``X_tb.dat``, which has positions too. Where spin is collinear
        ``X_up_hr.dat`` and ``X_dn_hr.dat`` are written; rows of spinors alternate between up and
        down.
    force : bool
        Replace what exists.
    orthogonalise : str, optional
        Mesh of k points for Löwdin's orthogonalisation, as ``12x12x1``, where S is not 1.
    digits : int, optional
        Digits after the point; by default all digits of double precision.

    Raises
    ------
    MoireioError
        If S is not 1 and no mesh is given, or a file exists.
    """
    kind = "tb" if path.endswith("_tb.dat") else "hr"
    write_calculation(
        calculation, path, kind, force=force, orthogonalise=orthogonalise, digits=digits
    )
