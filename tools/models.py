"""``models``: registries of trained networks, with their cards."""

import json
import os

import click

from moireio.tools.common import Command, Group, fail, say
from moireio.tools.options import BlockFile, options
from moireio.tools.progress import show_progress

HELP = {"help_option_names": ["-h", "--help"]}


@click.group("models", cls=Group, context_settings=HELP)
def main():
    """Keep, check and choose trained networks.

    A registry is a folder of model files, each with a card: what it was trained on, where it holds,
    its errors on test cells, licence, authors and reference. It needs no server.
    """


@main.command("list", cls=Command, context_settings=HELP)
@options("registry", "json")
def list_models(registries, as_json):
    """List the models: elements, basis, layers, errors on test cells, damage."""
    from moireio.models.registry import entries, registry_folders

    found = entries(registry_folders(registries))
    if as_json:
        click.echo(json.dumps([entry.to_plain() for entry in found], ensure_ascii=False))
        return
    for entry in found:
        click.echo(_row(entry))
    if not found:
        click.echo("no models")


def _row(entry):
    """Return the line of a model."""
    if not entry.usable:
        return f"{entry.name:<24} {entry.status}: {entry.why}"
    card = entry.card
    basis = ", ".join(f"{k} ({v})" for k, v in entry.basis.items())
    layers = f"  {', '.join(map(str, card.layers))} layers" if card.layers else ""
    tests = ", ".join(f"{test.cell} {test.mean:.2f} meV" for test in card.tests)
    parts = [basis, "spinor" if entry.spin == "spinor" else "", card.functional or ""]
    return f"{entry.name:<24} {'  '.join(filter(None, parts))}{layers}  {tests or 'no test'}"


@main.command("show", cls=Command, context_settings=HELP)
@click.argument("name")
@options("registry", "json")
def show(name, registries, as_json):
    """Print the card of a model."""
    from moireio.models.registry import find, registry_folders

    entry = find(name, registry_folders(registries))
    full = entry.full()
    if as_json:
        click.echo(json.dumps(full, ensure_ascii=False))
        return
    tests = full.pop("test")
    for key, value in full.items():
        if value not in (None, "", [], {}):
            click.echo(f"{key:<12} {_text(value)}")
    for test in tests:
        click.echo(f"{'test':<12} {test['cell']}: mean |ΔH| {test['mean_meV']:.3f} meV")
        for pair, row in test["pairs"].items():
            click.echo(
                f"{'':<12}   {pair:<8} {row['mean']:9.3f}   largest {row.get('largest', 0):.1f}"
            )


def _text(value):
    """Return a value of a card as text."""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_text(v)}" for k, v in value.items() if v not in (None, {}, []))
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@main.command("add", cls=Command, context_settings=HELP)
@click.argument("model", type=click.Path(), metavar="MODEL")
@click.option("--name", help="What it shall be called.  [default: the name of its file or folder]")
@click.option(
    "--card",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Fields of the card in TOML: functional, layers, stackings, licence, authors, reference, "
    "and a table domain with angles (°), distances (Å), strain (%), each of two numbers.",
)
@click.option(
    "--data",
    "training",
    multiple=True,
    metavar="DATA",
    help="Structures that it was trained on: numbers of layers and their distances follow. "
    "Repeatable.",
)
@click.option(
    "--test",
    "tests",
    multiple=True,
    metavar="DATA",
    help="Structures with Hamiltonians that it was not trained on, for the errors on the card. "
    "Repeatable.",
)
@click.option(
    "--cells/--no-cells",
    default=True,
    show_default=True,
    help="Keep the test cells in the model file; otherwise only their digests.",
)
@click.option("--functional", help="Exchange-correlation functional, as PBE.")
@click.option("--licence", help="Terms of use.")
@click.option("--author", "authors", multiple=True, help="Who made it. Repeatable.")
@click.option("--reference", help="Publication.")
@options("registry", "force")
@click.pass_context
def add(ctx, model, name, card, training, tests, cells, registries, force, **fields):
    """Put a model into a registry, the first that is named, with its card.

    MODEL is a model file of moireio or a result folder of DeepH-E3 (with best_model.pkl and src/),
    which becomes a model file.
    """
    from moireio.formats.calculations import find_calculations, open_calculation
    from moireio.formats.models import load_model
    from moireio.models.registry import registry_folders, user_folder
    from moireio.network.register import add, with_card

    network = load_model(model)
    name = name or _default_name(model)
    given = _card_file(card) if card else {}
    given |= {k: v for k, v in fields.items() if v}
    carded = with_card(
        network,
        given,
        find_calculations(training),
        find_calculations(tests),
        open_calculation,
        cells,
    )
    folder = registry_folders(registries)[0] if registries else user_folder()
    path = add(folder, name, carded, force)
    say(ctx, f"{path}: {name}, {len(carded.card.tests)} test cells")


def _default_name(path):
    """Return the name of a model's file, or of the folder whose `model` it is."""
    parts = os.path.abspath(path).rstrip("/").split("/")
    if parts[-1] == "best_model.pkl":
        parts.pop()
    stem = parts[-1] if os.path.isdir(path) else os.path.splitext(parts[-1])[0]
    return parts[-2] if stem in ("model", "best_model") and len(parts) > 1 else stem


def _card_file(path):
    """Read the fields of a card."""
    import tomllib

    from moireio.errors import MoireioError

    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MoireioError(f"is not TOML: {error}", path=path) from error


@main.command("verify", cls=Command, context_settings=HELP)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--data",
    multiple=True,
    metavar="DATA",
    help="Calculations among which test cells are looked for that do not lie in a model file. "
    "Repeatable.",
)
@options("registry", "json")
@click.pass_context
def verify(ctx, names, data, registries, as_json):
    """Predict the test cells of models again, by default of all, and compare with the cards.

    The exit code is 1 if a model is damaged, of another version, or has other errors now.
    """
    from moireio.errors import MoireioError
    from moireio.formats.calculations import find_calculations, open_calculation
    from moireio.formats.models import load_model
    from moireio.models.registry import entries, find, registry_folders
    from moireio.network.register import Check, digests_of, verify

    folders = registry_folders(registries)
    found = [find(name, folders) for name in names] if names else entries(folders)
    known = digests_of(find_calculations(data), open_calculation) if data else {}
    rows, bad = [], 0
    with show_progress(ctx, "verify") as progress:
        for entry in found:
            try:
                model = load_model(entry.path) if entry.usable else None
                checks = verify(entry, model, known)
            except MoireioError as error:  # the others are still verified
                checks = [Check("", None, None, False, " ".join(error.what.split()))]
            progress(1, len(found))
            bad += not all(check.agrees for check in checks)
            rows.append({"name": entry.name, "path": entry.path, "checks": checks})
    if as_json:
        plain = [
            {
                "name": row["name"],
                "path": row["path"],
                "agrees": all(check.agrees for check in row["checks"]),
                "checks": [check.to_plain() for check in row["checks"]],
            }
            for row in rows
        ]
        click.echo(json.dumps(plain, ensure_ascii=False))
    else:
        for row in rows:
            for check in row["checks"]:
                click.echo(f"{row['name']:<24} {_checked(check)}")
    ctx.exit(1 if bad else 0)


def _checked(check):
    """Return the line of a test cell."""
    verdict = "agrees" if check.agrees else "DIFFERS"
    if check.found is None:
        verdict = verdict if not check.agrees else "-"
        return f"{check.cell + ' ' if check.cell else ''}{verdict}: {check.why}"
    numbers = f"{check.expected:.3f} meV on the card, {check.found:.3f} now"
    return f"{check.cell} {verdict}: {numbers}"


@main.command("choose", cls=Command, context_settings=HELP)
@click.argument("source", default="-", type=BlockFile())
@options("registry", "memory", "json")
@click.pass_context
def choose(ctx, source, registries, memory, as_json):
    """Choose the model that serves SOURCE best, and say why.

    SOURCE is a block file, a structure file or a calculation. Models that know its species (in the
    basis of its /overlap, if it has one) are ranked by the mean |ΔH| that they expect for its
    atoms.
    The exit code is 1 if none fits.
    """
    from moireio.formats.models import load_model
    from moireio.models.registry import entries, registry_folders
    from moireio.network.choice import rank

    found = entries(registry_folders(registries))
    ranking = rank(question_of(source), found, load_model, memory)
    chosen = next((c.entry.name for c in ranking if c.fits), None)
    if as_json:
        plain = {"chosen": chosen, "ranking": [c.to_plain() for c in ranking]}
        click.echo(json.dumps(plain, ensure_ascii=False))
    else:
        for candidate in ranking:
            mark = "fits" if candidate.fits else "-"
            click.echo(f"{candidate.entry.name:<24} {mark:<5} {candidate.why}")
        click.echo(f"chosen: {chosen}" if chosen else "chosen: none fits")
    ctx.exit(0 if chosen else 1)


def question_of(source):
    """Return the question that a file asks the gate.

    Parameters
    ----------
    source : str
        A block file, "-", a structure file, or a calculation of another program.

    Returns
    -------
    moireio.network.choice.Question
        With basis and pairs, if the file has blocks.
    """
    from moireio.blockfile.calculation import is_block_file
    from moireio.blockfile.stream import open_source
    from moireio.formats.calculations import open_calculation
    from moireio.formats.registry import detect_format
    from moireio.formats.structures import files as structure_files
    from moireio.network.choice import Question, question_of_file

    if is_block_file(source):
        with open_source(source) as file:
            return question_of_file(file)
    if detect_format(source) is not None:
        with open_calculation(source) as calculation:
            pairs = calculation.hamiltonian.pairs
            return Question(source, calculation.structure, calculation.basis, pairs)
    return Question(source, structure_files.read(source))


@main.command("export", cls=Command, context_settings=HELP)
@click.argument("name")
@click.option("-o", "--output", required=True, type=click.Path(), help="File to write (.h5).")
@options("registry", "force")
@click.pass_context
def export(ctx, name, output, registries, force):
    """Copy a model with its card and test cells out of a registry, to give it to others."""
    from moireio.blockfile.stream import check_outputs
    from moireio.formats.models import load_model
    from moireio.models.registry import find, registry_folders
    from moireio.network import modelfile
    from moireio.network.register import with_card

    entry = find(name, registry_folders(registries))
    check_outputs([output], [entry.path], force)
    modelfile.write(output, with_card(load_model(entry.path), {}), force)
    say(ctx, f"{output}: {entry.name}")


@main.command("remove", cls=Command, context_settings=HELP)
@click.argument("name")
@options("registry")
@click.pass_context
def remove(ctx, name, registries):
    """Delete a model from its registry; those that come with moireio stay."""
    from moireio.models.registry import entries, registry_folders, shipped_folder
    from moireio.network.register import remove

    folders = [f for f in registry_folders(registries) if f != shipped_folder()]
    found = [entry for entry in entries(folders) if entry.name == name]
    if not found:
        fail(f"{name}: no model of this name is in a registry that can be changed")
    remove(found[0], folders)
    say(ctx, f"removed {found[0].path}")


@main.command("page", cls=Command, context_settings=HELP)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False))
@options("registry", "force")
@click.pass_context
def page(ctx, folder, registries, force):
    """Write a page of all models into DIR: cards, errors, bands, flat bands.

    DIR/index.html works from a file; nothing is loaded from elsewhere.
    """
    from moireio.models.registry import entries, registry_folders
    from moireio.plots.modelpage import write_page

    found = entries(registry_folders(registries))
    path = write_page(folder, found, force)
    say(ctx, f"{path}: {len(found)} models")
