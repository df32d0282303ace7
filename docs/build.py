"""Build the site: ``python docs/build.py`` writes out/site/index.html.

Pages come from docs/, from README, CONTRIBUTING, CHANGELOG and schemas/, and are made of the
commands' help and the library's docstrings. They are gathered in out/pages first; links between
files of the repository become links between pages. A link that leads nowhere fails.
"""

import posixpath
import re
import shutil
import subprocess
import sys
from inspect import cleandoc
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent

# Page of the site: the file of the repository that it shows.
ELSEWHERE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "blockfile.md": "schemas/blockfile-1.md",
    "modelfile.md": "schemas/model-1.md",
}

CONTENTS = {
    "How to": [
        "howto-openmx",
        "howto-build",
        "howto-relax",
        "howto-force-field",
        "howto-convert",
        "howto-overlap",
        "howto-predict",
        "howto-train",
        "howto-models",
        "tight-binding",
        "howto-solvers",
        "howto-anchors",
        "howto-flat",
        "howto-dos",
        "howto-chern",
        "howto-edges",
        "howto-symmetry",
    ],
    "Reference": [
        "commands",
        "library",
        "conventions",
        "Block files <blockfile>",
        "Model files <modelfile>",
        "trust",
        "papers",
    ],
    "Development": ["house", "contributing", "extending", "changelog"],
}

# What notebooks call beside the names of `moireio` itself.
LIBRARY = [
    "moireio.spectrum.states.solve_states",
    "moireio.projection.mulliken.atomic_populations",
    "moireio.spectrum.states.BlochStates",
    "moireio.spectrum.anchors.model.ReducedModel",
    "moireio.spectrum.anchors.reduction.reduced_model",
    "moireio.kspace.mesh.make_mesh",
    "moireio.dos.solve.density_of_states",
    "moireio.dos.solve.EnergyGrid",
    "moireio.results.dos.DensityOfStates",
    "moireio.topology.bandgroups.BandGroup",
    "moireio.topology.solve.solve_chern",
    "moireio.topology.rotation.threefold_eigenvalues",
    "moireio.topology.rotation_report.chern_of_all",
    "moireio.topology.symmetrise.symmetrise",
    "moireio.topology.irreps.levels_by_irreps",
    "moireio.results.symmetry.RotationEigenvalues",
    "moireio.topology.links.Links",
    "moireio.topology.curvature.curvature_at",
    "moireio.topology.metric.quantum_geometry",
    "moireio.results.chern.ChernNumbers",
    "moireio.results.chern.ChernGroup",
    "moireio.topology.ribbon.cut_ribbon",
    "moireio.topology.edges.follow_edges",
    "moireio.results.edges.EdgeStates",
    "moireio.tightbinding.modelfile.read_model",
    "moireio.blockfile.convert.convert",
    "moireio.blockfile.convert.Conversion",
    "moireio.formats.matrices.cells.read",
    "moireio.formats.matrices.cells.write",
    "moireio.formats.matrices.at_k.write",
    "moireio.formats.sisl.objects.read",
    "moireio.formats.sisl.objects.write",
    "moireio.formats.pyscf.objects.read",
    "moireio.formats.pyscf.objects.from_arrays",
    "moireio.formats.gpaw.objects.read",
    "moireio.formats.gpaw.objects.from_arrays",
    "moireio.formats.pythtb.objects.read",
    "moireio.formats.tbmodels.objects.read",
    "moireio.formats.tbmodels.objects.write",
    "moireio.formats.kwant.objects.read",
    "moireio.formats.kwant.objects.write",
    "moireio.formats.pybinding.objects.read",
    "moireio.formats.tbplas.objects.read",
    "moireio.system.basis.SpeciesBasis",
    "moireio.system.orbitals.orbital_values",
    "moireio.network.irreps.Irreps",
    "moireio.network.wigner.coupling",
]

# What a package that extends moireio implements or fills in.
EXTENDING = [
    "moireio.solvers.base.Solver",
    "moireio.solvers.base.SolverCapabilities",
    "moireio.solvers.base.EigenProblem",
    "moireio.operators.catalogue.OperatorType",
    "moireio.operators.blocks.OperatorSource",
    "moireio.results.kind.ResultKind",
    "moireio.formats.registry.Format",
    "moireio.blockfile.calculation.Calculation",
]

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def gather(folder):
    """Write all pages of the site into a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = {path.name: f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} | ELSEWHERE
    for page, path in pages.items():
        text = with_site_links((ROOT / path).read_text("utf-8"), path, pages)
        (folder / page).write_text(text + (contents() if page == "index.md" else ""), "utf-8")
    for path in (ROOT / "docs").iterdir():
        if path.suffix in (".png", ".svg"):
            shutil.copy(path, folder)
    (folder / "commands.md").write_text(commands(), "utf-8")
    (folder / "library.md").write_text(library(), "utf-8")
    (folder / "extending.md").write_text(extending(), "utf-8")


def with_site_links(text, path, pages):
    """Turn links between files of the repository into links between pages."""
    page_of = {file: page for page, file in pages.items()}

    def on_site(match):
        image, label, target, anchor = match.groups()
        if not target or "://" in target:
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if not (ROOT / file).exists():
            return match[0]  # Sphinx reports it
        if file in page_of or image:
            return f"{image}[{label}]({page_of.get(file, posixpath.basename(file))}{anchor or ''})"
        return label  # a file of the repository that has no page

    return LINK.sub(on_site, text)


def contents():
    """Return the contents that stand beside every page."""
    return "".join(
        "\n\n".join(["", f"```{{toctree}}\n:hidden:\n:caption: {title}\n", "\n".join(names), "```"])
        for title, names in CONTENTS.items()
    )


def commands():
    """Return a page of all commands with their options, from click."""
    from moireio.tools.main import main

    parts = [
        "# Commands",
        "Every command is a program of its own, and also `moireio COMMAND` and "
        "`python -m moireio COMMAND`. This page shows what `--help` prints.",
    ]
    context = click.Context(main, info_name="moireio")
    for name in main.list_commands(context):
        parts += of_command(main.get_command(context, name), name, "##")
    return "\n\n".join(parts) + "\n"


def of_command(command, name, level):
    """Yield the parts of one command's section, and those of its subcommands."""
    context = click.Context(command, info_name=name)
    yield f"{level} {name}"
    yield f"```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```"
    for paragraph in re.split(r"\n\s*\n", cleandoc(command.help or "")):
        verbatim = paragraph.startswith("\b\n")
        yield f"```text\n{paragraph[2:]}\n```" if verbatim else escaped(paragraph)
    records = [parameter.get_help_record(context) for parameter in command.params]
    for names, text in filter(all, filter(None, records)):
        yield f"`{names}`\n: {' '.join(escaped(text).split())}"
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            yield from of_command(command.get_command(context, sub), f"{name} {sub}", f"{level}#")


def escaped(text):
    """Return a text without marks that Markdown would read."""
    return re.sub(r"([\\*_<>\[\]`])", r"\\\1", text)


def library():
    """Return a page of the library's public names, from their docstrings."""
    import moireio

    parts = [
        "# Library",
        "The names of `moireio` itself, and what else a notebook calls. What is not on this page "
        "may change.",
    ]
    for path in [f"moireio.{name}" for name in moireio.__all__] + LIBRARY:
        parts += section(path)
    return "\n\n".join(parts) + "\n"


def extending():
    """Return a page of what packages that extend moireio implement or fill in."""
    parts = [
        "# Extension points",
        "What a solver, a format, an operator or a result has to be. "
        "[Contributing](contributing.md) has a recipe and an example for each.",
    ]
    for path in EXTENDING:
        parts += section(path)
    return "\n\n".join(parts) + "\n"


def section(path):
    """Yield the heading and the documentation of one object."""
    from importlib import import_module

    module, _, name = path.rpartition(".")
    kind = "autoclass" if isinstance(getattr(import_module(module), name), type) else "autofunction"
    yield f"## {path}"
    yield f"```{{eval-rst}}\n.. {kind}:: {path}\n```"


if __name__ == "__main__":
    pages, site = ROOT / "out" / "pages", ROOT / "out" / "site"
    gather(pages)
    words = ["-q", "-W", "--keep-going", "-E", "-c", ROOT / "docs", pages, site]
    done = subprocess.run([sys.executable, "-m", "sphinx", *map(str, words)])
    sys.exit(done.returncode)
