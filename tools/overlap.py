"""``overlap``: S(R), and positions, from the orbitals alone."""

import contextlib

import click

from moireio.tools.common import (
    Command,
    arguments,
    destination,
    options,
    say,
    source_argument,
    structure_source,
    write_operators,
)


@click.command("overlap", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@options("pao", "basis")
@click.option("--position", is_flag=True, help="Also ⟨i| r − τ_i |j⟩, Å (always full storage).")
@click.option(
    "--layers",
    type=click.IntRange(1),
    metavar="N",
    help="Assign the atoms to N layers, at the widest gaps in height.  "
    "[default: those of SOURCE, else gaps above 2.3 Å]",
)
@options("output", "in_place", "storage", "precision", "compression", "container", "force", "jobs")
@click.pass_context
def main(ctx, source, pao, basis, position, layers, output, in_place, jobs, **settings):
    """Compute the overlap S(R) of a structure from its atomic orbitals; no DFT run is needed.

    SOURCE is a block file (with a structure, as of build-twist) or any structure file that ASE
    reads. All pairs of atoms closer than the sum of their cutoff radii are kept. The result, with
    /overlap and the radial functions, goes to -o OUT, into SOURCE itself (--in-place), or to
    standard output. By default one of each pair of partners is stored (--storage upper). Where
    neither SOURCE nor --pao has radial functions, those of a model that comes with moireio are
    taken.
    """
    from moireio.blockfile.stream import check_container, check_outputs, write_target
    from moireio.formats.openmx.library import open_library
    from moireio.integrals import library as orbital_library
    from moireio.integrals.pairs import overlapping_pairs
    from moireio.integrals.sources import OrbitalIntegrals, OverlapSource, PositionSource

    destination(output, in_place)
    output = "-" if output is None and not in_place else output
    check_outputs([output], [source], settings["force"])
    check_container(output, settings["container"])
    with contextlib.ExitStack() as stack:
        file, structure, known, inputs = structure_source(stack, source, in_place)
        label = inputs[0][0]
        shipped = orbital_library.shipped_library
        library = shipped(structure) if pao is None else open_library(pao)
        complete = orbital_library.complete(structure, known, basis, library, label)
        assigned = _layers(structure, layers)
        pairs = overlapping_pairs(assigned, complete)
        integrals = OrbitalIntegrals(complete, position)
        sources = [OverlapSource(assigned, integrals, pairs, settings["storage"] or "upper")]
        if position:
            sources.append(PositionSource(assigned, integrals, pairs))
        say(ctx, _describe(assigned, complete, pairs))
        drop = ["basis", *(one.meta.name for one in sources)]
        if assigned is not structure:
            drop.append("structure")
        write = stack.enter_context(
            write_target(
                output,
                base=file,
                in_place=in_place,
                force=settings["force"],
                container=settings["container"],
                compression=settings["compression"],
                drop=tuple(drop),
            )
        )
        if file is None or assigned is not structure:
            write.structure(assigned)
        write.basis(complete)
        write_operators(ctx, write, sources, settings["precision"], jobs, "overlap")
        write.history("overlap", arguments(), inputs)


def _layers(structure, count):
    """Return the structure with layers; the same one if it has them."""
    from dataclasses import replace

    from moireio.moire.layers import assign

    if structure.layer is not None and count is None:
        return structure
    return replace(structure, layer=assign(structure, count))


def _describe(structure, basis, pairs):
    count = int(structure.layer.max()) + 1
    return (
        f"{len(structure)} atoms in {count} layer{'s' if count > 1 else ''}, "
        f"{int(basis.sizes(structure).sum())} orbitals, {len(pairs)} pairs"
    )


if __name__ == "__main__":
    main()
