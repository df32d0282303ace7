"""``overlap``: S(R), and positions, from the orbitals alone."""

import contextlib

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.operators import (
    former_results,
    settled_periodicity,
    structure_source,
    write_operators,
)
from moireio.tools.options import destination, options, structure_argument


@click.command("overlap", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@structure_argument
@options("pao", "basis", "pbc")
@click.option(
    "--position",
    is_flag=True,
    help="Add position matrices ⟨i| r − τ_i |j⟩, Å (always full storage).",
)
@click.option(
    "--layers",
    type=click.IntRange(1),
    metavar="N",
    help="Divide the atoms into N layers, at the widest gaps in height.  "
    "[default: the layers of SOURCE, else a new layer after every gap above 2.3 Å]",
)
@options("output", "in_place", "storage", "precision", "compression", "container", "force", "jobs")
@click.pass_context
def main(ctx, source, pao, basis, pbc, position, layers, output, in_place, jobs, **settings):
    """Compute the overlap S(R) of a structure from its atomic orbitals; no DFT run is needed.

    SOURCE is a block file with a structure (from build-twist, for example) or a structure file:
    POSCAR, cif, xyz, LAMMPS data, OpenMX's input, xsf, Quantum ESPRESSO, FHI-aims and others. All
    pairs of atoms closer than the sum of their cutoff radii are kept. The result, with /overlap and
    the radial functions, goes to -o OUT, into SOURCE itself (--in-place), or to standard output. By
    default one of each pair of partners is stored (--storage upper). If neither SOURCE nor --pao
    has radial functions, those of a model that comes with moireio are used.
    """
    from moireio.blockfile.stream import check_container, check_outputs, write_target
    from moireio.formats.openmx.library import open_library
    from moireio.integrals.library import complete_basis, shipped_library
    from moireio.integrals.pairs import overlapping_pairs
    from moireio.integrals.sources import OrbitalIntegrals, OverlapSource, PositionSource
    from moireio.system.periodicity import reach_of

    destination(output, in_place)
    output = "-" if output is None and not in_place else output
    check_outputs([output], [source], settings["force"])
    check_container(output, settings["container"])
    with contextlib.ExitStack() as stack:
        file, structure, stored, inputs = structure_source(stack, source, in_place, pbc)
        library = shipped_library(structure) if pao is None else open_library(pao)
        complete = complete_basis(structure, stored, basis, library, inputs[0][0])
        reach = reach_of(complete, structure)
        structure, notes = settled_periodicity(file, structure, reach, pbc)
        layered = _layers(structure, layers)
        pairs = overlapping_pairs(layered, complete)
        integrals = OrbitalIntegrals(complete, position)
        sources = [OverlapSource(layered, integrals, pairs, settings["storage"] or "upper")]
        if position:
            sources.append(PositionSource(layered, integrals, pairs))
        for note in notes:
            say(ctx, note)
        say(ctx, _describe(layered, complete, pairs))
        drop = ["basis", *(operator.meta.name for operator in sources)]
        if layered is not structure:
            drop.append("structure")
        write = stack.enter_context(
            write_target(
                output,
                base=file,
                in_place=in_place,
                force=settings["force"],
                container=settings["container"],
                compression=settings["compression"],
                drop=(*drop, *former_results(ctx, file)),
            )
        )
        if file is None or layered is not structure:
            write.structure(layered)
        write.basis(complete)
        write_operators(ctx, write, sources, settings["precision"], jobs, "overlap")
        write.history("overlap", arguments(), inputs)


def _layers(structure, count):
    """Return the structure with its atoms divided into layers; the same object if they are."""
    from dataclasses import replace

    from moireio.system.layers import assign_layers

    if structure.layer is not None and count is None:
        return structure
    return replace(structure, layer=assign_layers(structure, count))


def _describe(structure, basis, pairs):
    count = int(structure.layer.max()) + 1
    names = ", ".join(basis[name].label for name in structure.species_names)
    layers = (
        f" in {count} layer{'s' if count > 1 else ''}"
        if count > 1 or structure.pbc.sum() == 2
        else ""
    )
    return (
        f"{len(structure)} atoms{layers}, "
        f"{int(basis.sizes(structure).sum())} orbitals ({names}), {len(pairs)} pairs"
    )
