"""``convert-h``: H and S of any program into a block file, and from there into others."""

import json
import os
import re
from contextlib import contextmanager

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.options import options
from moireio.tools.progress import show_progress

BLOCK = "moireio"


@click.command("convert-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", default="-", type=click.Path(allow_dash=True))
@options("output")
@click.option("--from", "source_format", metavar="FORMAT", help="Format of SOURCE.")
@click.option("--to", "target_format", metavar="FORMAT", help="Format of OUTPUT.")
@click.option(
    "--with",
    "companions",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="A further file of SOURCE's calculation that is not beside it. Repeatable.",
)
@click.option(
    "--option",
    "words",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of a format; --list --json has them. Repeatable.",
)
@click.option(
    "--orthogonalise",
    metavar="N1xN2xN3",
    help="For formats without an overlap: Löwdin's orthogonal orbitals, at each k of a mesh; the "
    "largest error of bands between its points is noted.",
)
@click.option(
    "--projections",
    metavar="ORBITALS",
    help="A small model instead, also as a block file: the Wannier functions nearest to these "
    "orbitals, as C:pz or Mo:d,Te:s+p, on the mesh of --orthogonalise. Errors of levels are noted.",
)
@click.option(
    "--window",
    nargs=2,
    type=float,
    help="Lowest and highest energy of the bands that --projections keeps, eV from the Fermi "
    "level where it is known.",
)
@click.option(
    "--frozen",
    nargs=2,
    type=float,
    help="Energies between which states are kept exactly at the k points of the mesh.",
)
@click.option(
    "--smearing",
    type=float,
    default=2.0,
    show_default=True,
    help="Width of the edges of --window, eV.",
)
@click.option(
    "--kpoints",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Write H(k), S(k) at the k points of a text file, three fractional coordinates a line; "
    "OUTPUT is .npz, .mtx or .petsc (--to petsc-real: for a PETSc of real numbers).",
)
@click.option("--list", "show_list", is_flag=True, help="Print all formats; with --json as JSON.")
@options("json", "container", "storage", "precision", "compression", "force", "pbc", "soc")
@click.pass_context
def main(ctx, source, output, source_format, target_format, companions, words, show_list, **opts):
    """Convert H(R), S(R) and structure of one program into the form of another.

    SOURCE is a block file or what another program writes (--list): its format is found by suffix
    and content. OUTPUT is a block file, by default on standard output; with --to FORMAT, or by its
    suffix, that program's file or folder; with a suffix of structure files (.cif, .vasp, .xyz,
    .lmp, .dat …; also POSCAR) the structure alone. What gets lost is printed, and kept in the
    history of a block file. Between block files --container, --storage, --precision and
    --compression change how values are stored, not the values (--precision float32 rounds them).
    """
    if show_list:
        _print_formats(opts["as_json"])
        return
    if opts["as_json"]:
        raise click.UsageError("--json belongs to --list.")
    from moireio.blockfile.stream import check_outputs
    from moireio.errors import MissingFileError, MoireioError
    from moireio.formats.archives import needs_unpacking, unpacked
    from moireio.runtime.files import require_free

    target = "-" if output is None else output
    if opts["kpoints"]:
        kind, writer = "at k", None
        if target == "-":
            raise click.UsageError("--kpoints needs -o.")
    else:
        kind, writer = _target(target, target_format, opts["container"])
    if kind != "format" or not os.path.isdir(target):  # the writer decides about its own folders
        check_outputs([target], [source, *companions], opts["force"])
    elif source != "-" and os.path.exists(source) and os.path.samefile(source, target):
        raise MoireioError("is an input too", path=target, remedy="name another folder")
    for name in ("storage", "precision", "compression", "container"):
        if kind != "block" and _given(ctx, name):
            raise click.UsageError(f"--{name} is for block files; {target} is none.")
    if opts["soc"] and kind != "structure":
        raise click.UsageError("--soc is for OpenMX inputs: -o FILE.dat.")
    missing = next((name for name in companions if not os.path.exists(name)), None)
    if missing is not None:
        raise MissingFileError("no such file or folder", path=missing)
    archive = None
    if source != "-" and needs_unpacking(source, source_format, companions):
        archive = ctx.with_resource(unpacked(source, source_format))
    reader = _source(source, source_format) if archive is None else archive.format
    small = _projections(ctx, kind, opts)
    if opts["orthogonalise"] and not small:
        if writer is None or "orthogonalise" not in writer.options:
            raise click.UsageError(
                "--orthogonalise is for formats without an overlap ("
                + ", ".join(_without_overlap())
                + "), or goes with --projections."
            )
        words = (*words, f"orthogonalise={opts['orthogonalise']}")
    if reader.name == BLOCK and words and source != "-":
        with reader.read(source):  # what is damaged has no options either
            pass
    reading, writing = _format_options(words, reader, writer)
    if reader.name == BLOCK:
        _refuse(ctx, companions, reading)
        if kind == "block" and not small:
            _copy_block_file(ctx, source, target, opts)
            return
        if kind == "structure":
            _structure_of_block_file(ctx, source, target, opts["soc"])
            return
    read = _reader(reader, companions, reading, opts["pbc"])
    with _opened(source, read, reader.name == BLOCK, archive) as calculation:
        calculation.notes.extend(_unread(calculation.files, companions))
        if target != "-":  # of what is read beside SOURCE, too, nothing is replaced
            require_free(target, force=True, inputs=calculation.files)
        if small:
            calculation = _downfolded(ctx, calculation, small, opts)
        if kind == "block":
            _to_block_file(ctx, calculation, target, opts)
        elif kind == "structure":
            _to_structure(ctx, calculation, target, opts["soc"])
        elif kind == "at k":
            _to_matrices_at_k(ctx, calculation, target, target_format, opts)
        else:
            _to_format(ctx, calculation, target, writer, writing, opts["force"])


@contextmanager
def _opened(source, read, is_block, archive=None):
    """Open SOURCE; errors name it, also where it is a pipe or in an archive."""
    from moireio.blockfile.stream import source_file
    from moireio.errors import MoireioError
    from moireio.store.containers import kind_of_bytes

    if archive is not None:
        with archive.opened(read) as calculation:
            yield calculation
        return
    with source_file(source, kind_of_bytes if is_block else None) as (path, label):
        try:
            calculation = read(path, label=label)
        except MoireioError as error:
            if error.path == path:
                error.path = label
            raise
        with calculation:
            yield calculation


def _given(ctx, name):
    from click.core import ParameterSource

    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _print_formats(as_json):
    """Print what is read and written, and what is kept of it."""
    from moireio.formats.registry import format_names, named_format

    rows = [named_format(name) for name in format_names()]
    if as_json:
        table = [
            {
                "format": row.name,
                "description": row.description,
                "read": row.read is not None,
                "write": row.write is not None or row.name == BLOCK,
                "detect": row.detect is not None,
                "suffixes": list(row.suffixes),
                "keeps": row.keeps,
                "loses": row.loses,
                "companions": row.companions,
                "options": {
                    name: {"description": one.description, "for": ", ".join(one.of)}
                    for name, one in row.options.items()
                },
            }
            for row in rows
        ]
        click.echo(json.dumps(table, ensure_ascii=False))
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        ways = "read, write" if row.write is not None or row.name == BLOCK else "read"
        click.echo(f"{row.name:{width}}  {ways:11}  {row.description}")
        for what, text in (("keeps", row.keeps), ("loses", row.loses), ("with", row.companions)):
            if text:
                click.echo(f"{'':{width}}  {'':11}  {what}: {text}")
        for name, one in row.options.items():
            click.echo(f"{'':{width}}  {'':11}  --option {name}=…: {one.description}")


def _target(target, name, container):
    """Return the kind of OUTPUT ("block", "structure", "format"), and its Format or None."""
    from moireio.errors import MoireioError
    from moireio.formats.registry import format_names, named_format, writable_format
    from moireio.formats.structures import files as structure_files
    from moireio.store.containers import kind_of_name

    if name == BLOCK or (name is None and container):
        return "block", None
    if name is not None:
        row = named_format(name)
        if row.write is None:
            written = [n for n in format_names() if named_format(n).write is not None]
            raise MoireioError(
                f"moireio reads the format {name}, but does not write it",
                remedy="written: " + ", ".join([BLOCK, *written]),
            )
        if target == "-":
            raise click.UsageError(f"--to {name} needs -o.")
        return "format", row
    if target == "-" or kind_of_name(target) is not None:
        return "block", None
    row = writable_format(target)
    if row is not None:
        return "format", row
    form = structure_files.kind(target)
    if form == "block":
        return "block", None
    if form is None:
        raise MoireioError(
            "has no suffix of a block file, of a structure file or of another program's",
            path=target,
            remedy="use .h5, .zarr or .zarr.zip, or --to FORMAT; --list prints the formats; for "
            "the structure alone .cif, .vasp, .xyz, .lmp or .dat",
        )
    return "structure", None


def _source(source, name):
    """Return the Format of SOURCE; a stream is a block file unless another format is named."""
    from moireio.blockfile.stream import is_compressed_block
    from moireio.errors import MissingFileError, MoireioError
    from moireio.formats.registry import detect_format, format_by_suffix, named_format

    if name is not None:
        return named_format(name)
    if source == "-":
        return named_format(BLOCK)
    if not os.path.exists(source):
        raise MissingFileError("no such file or folder", path=source)
    if os.path.isfile(source) and os.path.getsize(source) == 0:
        raise MoireioError("is empty", path=source, remedy="make it again")
    row = detect_format(source) or format_by_suffix(source)
    if row is None and is_compressed_block(source):
        return named_format(BLOCK)
    if row is None:
        remedy = "convert-h --list prints them; --from FORMAT names one"
        known = _known_near(source)
        if known is not None:
            remedy = (
                f"name one of its files, as {known}"
                if os.path.isdir(source)
                else (f"{known}, which is beside it, may be what it belongs to")
            )
        raise MoireioError("is of no known format", path=source, remedy=remedy)
    return row


def _known_near(source):
    """Return a file of a known format in a folder, or beside a file with the same beginning."""
    from moireio.formats.registry import detect_format

    inside = os.path.isdir(source)
    folder = source if inside else os.path.dirname(source)
    start = "" if inside else re.split(r"[._]", os.path.basename(source))[0]
    for name in sorted(os.listdir(folder or ".")):
        path = os.path.join(folder, name)
        if name.startswith(start) and os.path.isfile(path) and path != source:
            row = detect_format(path)
            if row is not None and (inside or row.name != BLOCK):
                return path
    return None


def _format_options(words, reader, writer):
    """Return the values of ``--option`` for the reader and for the writer."""
    reading, writing = {}, {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise click.UsageError(f"--option {word}: expected KEY=VALUE.")
        places = []
        for row, values, way in ((reader, reading, "read"), (writer, writing, "write")):
            option = None if row is None else row.options.get(key)
            if option is not None and way in option.of:
                places.append((option, values))
        if not places:
            known = [
                name
                for row, way in ((reader, "read"), (writer, "write"))
                for name, one in ({} if row is None else row.options).items()
                if way in one.of
            ]
            names = ", ".join(dict.fromkeys(known)) or "none"
            raise click.UsageError(f"--option {key}: the formats here have {names}.")
        for option, values in places:
            try:
                values[key] = option.parse(text)
            except ValueError as error:
                raise click.UsageError(
                    f"--option {word}: {option.description} expected."
                ) from error
    return reading, writing


def _without_overlap():
    """Return the formats that are written with --orthogonalise."""
    from moireio.formats.registry import format_names, named_format

    return [name for name in format_names() if "orthogonalise" in named_format(name).options]


def _projections(ctx, kind, opts):
    """Return mesh and trial orbitals of a small model, or None where none is asked for."""
    from moireio.downfold.lowdin import parse_mesh
    from moireio.downfold.trial import parse_projections

    if opts["projections"] is None:
        for name in ("window", "frozen", "smearing"):
            if _given(ctx, name):
                raise click.UsageError(f"--{name} belongs to --projections.")
        return None
    if kind == "structure":
        raise click.UsageError("--projections is for Hamiltonians, OUTPUT is a structure file.")
    if not opts["orthogonalise"] or not opts["window"]:
        raise click.UsageError("--projections needs --orthogonalise and --window.")
    try:
        mesh = parse_mesh(opts["orthogonalise"])
    except ValueError as error:
        raise click.UsageError("--orthogonalise: a mesh such as 12x12x1 expected.") from error
    return mesh, parse_projections(opts["projections"])


def _downfolded(ctx, calculation, small, opts):
    """Return the small model of a calculation."""
    from moireio.downfold.nearest import nearest_model
    from moireio.formats.wannier90.calculation import GROUP

    mesh, projections = small
    with show_progress(ctx, "convert-h") as update:
        model = nearest_model(
            calculation,
            mesh,
            projections,
            energy_window=opts["window"],
            frozen=opts["frozen"],
            smearing=opts["smearing"],
            progress=update,
        ).calculation
    structure = calculation.structure
    if len(model.structure) < len(structure):
        atoms = {"numbers": structure.numbers, "positions": structure.positions}
        model.extra[GROUP] = atoms
        model.notes.append(f"atoms without functions are kept in /{GROUP} only")
    return model


def _refuse(ctx, companions, reading):
    """Refuse what only files of other programs have."""
    for name, given in (("with", companions), ("option", reading), ("pbc", _given(ctx, "pbc"))):
        if given:
            raise click.UsageError(f"--{name} is for files of other programs.")


def _reader(row, companions, reading, pbc):
    """Return a function of a path and a label that opens SOURCE."""
    from functools import partial

    given = dict(reading)
    if companions:
        if not row.companions:
            raise click.UsageError(f"--with: the format {row.name} takes no further files.")
        given["companions"] = tuple(companions)
    if pbc is not None:
        given["pbc"] = pbc
    return partial(row.read, **given)


def _unread(files, companions):
    """Return notes on files of --with that are not among those that were read."""
    read = [os.path.realpath(name) for name in files]
    for name in companions:
        real = os.path.realpath(name)
        if not any(file == real or file.startswith(real + os.sep) for file in read):
            yield (
                f"{name} of --with is not read: the format has no such file, or another one of its "
                "kind comes before it"
            )


def _to_block_file(ctx, calculation, target, opts):
    """Write a calculation of another program as a block file."""
    from moireio.blockfile.convert import Conversion, convert
    from moireio.blockfile.stream import check_container, check_stdout

    if target == "-":
        check_stdout()
    check_container(target, opts["container"])
    names = ("storage", "precision", "container", "compression", "force")
    settings = Conversion(
        "convert-h", arguments=arguments(), check=True, **{name: opts[name] for name in names}
    )
    with show_progress(ctx, "convert-h") as update:
        notes = convert(calculation, target, settings, update)
    _say_notes(ctx, calculation.label, notes)


def _structure_of_block_file(ctx, source, target, soc):
    """Write the structure of a block file, which may have nothing else."""
    from moireio.blockfile.stream import open_source

    with open_source(source) as file:
        basis = file.basis if "basis" in file else None
        left = [name for name in file.groups if name not in ("structure", "basis", "history")]
        _write_structure(ctx, file.label, target, file.structure, basis, left, soc)


def _to_structure(ctx, calculation, target, soc):
    """Write the structure of a calculation of another program."""
    left = list(calculation.operators)
    left += [name for name in ("electrons", "moire", "kpath") if getattr(calculation, name)]
    _write_structure(
        ctx, calculation.label, target, calculation.structure, calculation.basis, left, soc
    )
    _say_notes(ctx, calculation.label, calculation.notes)


def _write_structure(ctx, label, target, structure, basis, left, soc):
    """Write a structure, with the names of its bases where OUTPUT has them."""
    from moireio.formats.structures import files as structure_files

    structure_files.write(target, structure, basis, f"moireio convert-h {label}", soc)
    if left:
        names = ", ".join(f"/{name}" for name in left)
        say(ctx, f"note: {target} holds the structure alone, without {names}")


def _to_format(ctx, calculation, target, row, writing, force):
    """Write a calculation as another program has it."""
    read = list(calculation.notes)
    row.write(calculation, target, force=force, **writing)
    _say_notes(ctx, calculation.label, read)
    _say_notes(ctx, target, calculation.notes[len(read) :])


def _to_matrices_at_k(ctx, calculation, target, form, opts):
    """Write H(k) and S(k) at the k points of a file."""
    from moireio.bands.paths import read_kpoints
    from moireio.formats.matrices import at_k

    form = at_k.form_of(target, form)
    k = read_kpoints(opts["kpoints"])
    with show_progress(ctx, "convert-h") as update:
        notes = at_k.write(
            calculation,
            k,
            target,
            form=form,
            force=opts["force"],
            inputs=[opts["kpoints"], *calculation.files],
            progress=update,
        )
    _say_notes(ctx, calculation.label, calculation.notes)
    _say_notes(ctx, target, notes)


def _say_notes(ctx, label, notes):
    for note in notes:
        say(ctx, f"note: {label}: {note}")


def _copy_block_file(ctx, source, target, opts):
    """Copy a block file into another container, storage or precision."""
    from moireio.blockfile.stream import open_source, write_target
    from moireio.operators.blocks import row_bytes
    from moireio.operators.views import stored_as
    from moireio.runtime.progress import share

    with open_source(source) as file:
        kept, changed = [], []
        for name in file.operators:
            operator = file.operator(name)
            view = stored_as(operator, opts["storage"], opts["precision"])
            if view is operator and opts["compression"] == "none":
                kept.append(operator)
            else:
                changed.append(view)
        total = sum(int(row_bytes(s).sum()) for s in (*changed, *kept))
        with (
            write_target(
                target,
                base=file,
                container=opts["container"],
                force=opts["force"],
                drop=tuple(s.meta.name for s in changed),
                compression=opts["compression"],
            ) as writer,
            show_progress(ctx, "convert-h") as update,
        ):
            step = share(update, total)
            for operator in kept:  # copied as they are, chunk by chunk: only checked here
                operator.check(step)
            for operator in changed:
                writer.operator(operator, progress=step)
            writer.history("convert-h", arguments(), [(file.label, file.digest())])
