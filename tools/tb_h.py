"""``tb-h``: a Hamiltonian from a tight-binding model."""

import contextlib

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.operators import (
    former_results,
    settled_periodicity,
    structure_source,
    write_operators,
)
from moireio.tools.options import Suggested, destination, options, package_files, structure_argument


@click.command("tb-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@structure_argument
@click.option(
    "--model",
    "-m",
    metavar="NAME|FILE.toml",
    type=Suggested(lambda _: package_files("moireio.tightbinding", ".toml", "models")),
    help="A model that comes with moireio (see --list), or a file (see docs/tight-binding.md).",
)
@click.option("--list", "as_list", is_flag=True, help="Print the models that come with moireio.")
@options(
    "pbc", "output", "in_place", "storage", "precision", "compression", "container", "force", "jobs"
)
@click.pass_context
def main(ctx, source, model, as_list, pbc, output, in_place, jobs, **settings):
    """Make a Slater–Koster tight-binding Hamiltonian of a structure; no DFT is needed.

    SOURCE is a block file with a structure (from build-twist, for example) or a structure file:
    POSCAR, cif, xyz, LAMMPS data, OpenMX's input, xsf, Quantum ESPRESSO, FHI-aims and others. The
    result, with /hamiltonian (eV), /basis and the number of electrons, goes to -o OUT, into SOURCE
    itself (--in-place), or to standard output. It has /overlap only if the model is not orthogonal.
    Operators of SOURCE that belong to another basis are left out. By default one of each pair of
    partners is stored (--storage upper).
    """
    from moireio.blockfile.stream import check_container, check_outputs, write_target
    from moireio.results.electrons import Electrons
    from moireio.runtime.files import digest_files
    from moireio.system.periodicity import USUAL_REACH
    from moireio.tightbinding import modelfile
    from moireio.tightbinding.source import TightBindingSource, bonded_pairs, fallen_orbitals

    if as_list:
        click.echo(_table())
        return
    if model is None:
        raise click.UsageError("give --model NAME or --model FILE.toml (see --list).")
    destination(output, in_place)
    output = "-" if output is None and not in_place else output
    path = modelfile.shipped().get(model, model)
    check_outputs([output], [source, path], settings["force"])
    check_container(output, settings["container"])
    tb_model = modelfile.read_model(model)
    with contextlib.ExitStack() as stack:
        file, structure, _, inputs = structure_source(stack, source, in_place, pbc)
        # Models of close neighbours do not make open what orbitals would join.
        longest = float(tb_model.reach(structure).max(initial=0))
        reach = longest if longest > USUAL_REACH else None
        structure, notes = settled_periodicity(file, structure, reach, pbc)
        pairs = bonded_pairs(structure, tb_model)
        basis = tb_model.basis(structure)
        names = ["hamiltonian"] if tb_model.orthogonal else ["overlap", "hamiltonian"]
        storage = settings["storage"] or "upper"
        sources = [TightBindingSource(structure, tb_model, pairs, n, storage) for n in names]
        hoppings = len(pairs) - len(structure)
        orbitals = int(basis.sizes(structure).sum())
        fallen = fallen_orbitals(structure, tb_model)
        for note in [*notes, *([f"warning: {fallen}"] if fallen else [])]:
            say(ctx, note)
        say(
            ctx,
            f"{tb_model.name}: {len(structure)} atoms, {orbitals} orbitals, {hoppings} hoppings, "
            f"{basis.valence(structure):g} electrons",
        )
        dropped = ("hamiltonian", "overlap", "position", "momentum", "density")
        stale = [n for n in dropped[1:] if file is not None and n in file and n not in names]
        if stale:
            say(ctx, f"note: left out, of another basis: {', '.join('/' + n for n in stale)}")
        write = stack.enter_context(
            write_target(
                output,
                base=file,
                in_place=in_place,
                force=settings["force"],
                container=settings["container"],
                compression=settings["compression"],
                drop=("basis", "electrons", *dropped, *former_results(ctx, file)),
            )
        )
        if file is None:
            write.structure(structure)
        write.basis(basis)
        write.electrons(Electrons(count=basis.valence(structure)))
        write_operators(ctx, write, sources, settings["precision"], jobs, "tb-h")
        write.history("tb-h", arguments(), [*inputs, (model, digest_files(path))])


def _table():
    """Return a table of the models that come with moireio."""
    from moireio.tightbinding import modelfile

    lines = []
    for name in modelfile.shipped():
        model = modelfile.read_model(name)
        longest = max(bond.cutoff for bond in model.bonds)
        elements = " ".join(model.species)
        lines.append(f"{name:<14} {elements:<8} to {longest:g} Å   {model.citation}")
    return "\n".join(lines)
