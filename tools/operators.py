"""What commands share that compute operators of a structure."""

import click

from moireio.runtime.threads import cores
from moireio.tools.common import say
from moireio.tools.progress import show_progress


def structure_source(stack, source, in_place, pbc):
    """Open a SOURCE that is a block file or a structure file of another program.

    Parameters
    ----------
    stack : contextlib.ExitStack
        Keeps the block file open.
    source : str
        A path, or "-".
    in_place : bool
        The value of ``--in-place``.
    pbc : tuple of three bool or None
        The value of ``--pbc``, which block files refuse.

    Returns
    -------
    file : BlockFile or None
        None if it is no block file.
    structure : Structure
        Its structure; for `settled_periodicity` if it is of another program.
    known : Basis or None
        Its basis, as far as the file holds it.
    inputs : list of (str, str)
        Its name and digest, for the history.
    """
    from moireio.blockfile.calculation import is_block_file
    from moireio.blockfile.stream import open_source
    from moireio.formats.structures import files as structure_files
    from moireio.runtime.files import digest_files

    if is_block_file(source):
        if pbc is not None:
            raise click.UsageError("--pbc is for structure files; a block file has its own.")
        file = stack.enter_context(open_source(source))
        known = file.basis if "basis" in file else None
        return file, file.structure, known, [(file.label, file.digest())]
    if in_place:
        raise click.UsageError("--in-place needs a block file as SOURCE.")
    structure, known = structure_files.read_foreign(source)
    return None, structure, known, [(source, digest_files(source))]


def settled_periodicity(file, structure, reach, pbc):
    """Decide along which vectors a structure of another program is periodic.

    Parameters
    ----------
    file : BlockFile or None
        The block file that SOURCE is, which determines it itself.
    structure : Structure
        The structure that `structure_source` returned.
    reach : float or None
        Largest distance of two orbitals that overlap, Å.
    pbc : tuple of three bool or None
        The value of ``--pbc``.

    Returns
    -------
    structure : Structure
        The same object for a block file.
    notes : list of str
        What was decided, to be printed once the structure has proved sound.
    """
    if file is not None:
        return structure, []
    from moireio.system.periodicity import settle_structure

    settled, text = settle_structure(structure, reach, pbc)
    if text is None:
        return settled, []
    return settled, [f"note: {text}" if pbc else f"note: {text} (see `pbc`)"]


def former_results(ctx, file):
    """Name the results that belong to the operators that a command replaces.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    file : BlockFile or None
        The block file that SOURCE is.

    Returns
    -------
    list of str
        Groups that do not go into the output.
    """
    from moireio.blockfile.stream import computed_results

    groups = [] if file is None else computed_results(file)
    if groups:
        names = ", ".join(f"/{group}" for group in groups)
        say(ctx, f"note: left out, of the former operators: {names}")
    return groups


def write_operators(ctx, writer, sources, precision, jobs, label):
    """Write operators that are computed, with progress.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    writer : BlockWriter
        To which they go.
    sources : sequence of OperatorSource
        In double precision.
    precision : {"float32", "float64"} or None
        The value of ``--precision``.
    jobs : int or None
        The value of ``--jobs``.
    label : str
        The command.
    """
    from moireio.operators.views import CastView

    if precision == "float32":
        sources = [CastView(source, precision) for source in sources]
    with show_progress(ctx, label) as update:
        writer.operators(sources, progress=update, jobs=jobs or cores())
