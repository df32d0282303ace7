"""``tb-h``: a Hamiltonian from a tight-binding model."""

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


@click.command("tb-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@click.option(
    "--model",
    "-m",
    metavar="NAME|FILE.toml",
    help="One that comes with moireio (see --list), or a file (docs/tight-binding.md).",
)
@click.option("--list", "as_list", is_flag=True, help="Print the models that come with moireio.")
@options("output", "in_place", "storage", "precision", "compression", "container", "force", "jobs")
@click.pass_context
def main(ctx, source, model, as_list, output, in_place, jobs, **settings):
    """Make a Slater–Koster tight-binding Hamiltonian of a structure; no DFT is needed.

    SOURCE is a block file (with a structure, as of build-twist) or any structure file that ASE
    reads. The result, with /hamiltonian (eV), /basis and the number of electrons, goes to -o OUT,
    into SOURCE itself (--in-place), or to standard output; /overlap is there only if the model is
    not orthogonal. Operators of another basis in SOURCE are left out. By default one of each pair
    of partners is stored (--storage upper).
    """
    from moireio.blockfile.stream import check_container, check_outputs, write_target
    from moireio.formats import structures
    from moireio.results.electrons import Electrons
    from moireio.tightbinding import modelfile
    from moireio.tightbinding.source import TightBindingSource, bonded_pairs

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
    chosen = modelfile.read_model(model)
    with contextlib.ExitStack() as stack:
        file, structure, _, inputs = structure_source(stack, source, in_place)
        pairs = bonded_pairs(structure, chosen)
        basis = chosen.basis(structure)
        names = ["hamiltonian"] if chosen.orthogonal else ["overlap", "hamiltonian"]
        storage = settings["storage"] or "upper"
        sources = [TightBindingSource(structure, chosen, pairs, n, storage) for n in names]
        hoppings = len(pairs) - len(structure)
        orbitals = int(basis.sizes(structure).sum())
        say(
            ctx,
            f"{chosen.name}: {len(structure)} atoms, {orbitals} orbitals, {hoppings} hoppings, "
            f"{basis.valence(structure):g} electrons",
        )
        old = ("hamiltonian", "overlap", "position", "momentum", "density")
        lost = [n for n in old[1:] if file is not None and n in file and n not in names]
        if lost:
            say(ctx, f"note: left out, of another basis: {', '.join('/' + n for n in lost)}")
        write = stack.enter_context(
            write_target(
                output,
                base=file,
                in_place=in_place,
                force=settings["force"],
                container=settings["container"],
                compression=settings["compression"],
                drop=("basis", "electrons", *old),
            )
        )
        if file is None:
            write.structure(structure)
        write.basis(basis)
        write.electrons(Electrons(count=basis.valence(structure)))
        write_operators(ctx, write, sources, settings["precision"], jobs, "tb-h")
        write.history("tb-h", arguments(), [*inputs, (model, structures.digest(path))])


def _table():
    """Return the models that come with moireio as text."""
    from moireio.tightbinding import modelfile

    lines = []
    for name in modelfile.shipped():
        model = modelfile.read_model(name)
        reach = max(bond.cutoff for bond in model.bonds)
        elements = " ".join(model.species)
        lines.append(f"{name:<14} {elements:<8} to {reach:g} Å   {model.citation}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
