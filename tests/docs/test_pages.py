"""What the pages say about the code is true."""

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from moireio.tools.main import main

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("schemas/*.md")],
    key=lambda page: page.name,
)
NOT_PYTHON = {
    "moireio.bash",  # a file of completions
    "moireio.commands",  # a group of entry points that is no package
}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def resolves(path):
    """Whether a dotted name is a module, or an attribute of one."""
    module, _, attribute = path, "", None
    attributes = []
    while module:
        try:
            value = import_module(module)
            break
        except ModuleNotFoundError:
            module, _, attribute = module.rpartition(".")
            attributes.insert(0, attribute)
    for attribute in attributes:
        if not hasattr(value, attribute):
            return False
        value = getattr(value, attribute)
    return True


def test_a_name_that_does_not_exist_is_noticed():
    assert resolves("moireio.kspace.path.make_path")
    assert resolves("moireio.open")
    assert not resolves("moireio.kspace.path.no_such_name")
    assert not resolves("moireio.no_such_room")


@pages
def test_dotted_names_exist(page):
    names = set(re.findall(r"\bmoireio(?:\.[A-Za-z_]\w*)+", page.read_text("utf-8")))
    assert [name for name in sorted(names - NOT_PYTHON) if not resolves(name)] == []


@pages
def test_files_exist(page):
    text = page.read_text("utf-8")
    paths = set(re.findall(r"`((?:moireio|formats|tools|tests|schemas|docs)/[\w./-]*)`", text))
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_options_exist():
    """Options on the pages are those of the commands, or of other programs."""

    def options_of(command):
        context = click.Context(command)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                yield from options_of(command.get_command(context, name))
        for parameter in command.get_params(context):
            yield from parameter.opts

    others = "--allow-run-as-root --all-files --dist --hostfile --mca --nproc-per-node --version"
    deepmd = "--finetune --pt --use-pretrain-script"
    known = {*options_of(main), *others.split(), *deepmd.split()}
    for page in PAGES:
        written = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", page.read_text("utf-8")))
        assert sorted(written - known) == [], page.name


@pytest.mark.parametrize("page", ["docs/house.md", "CONTRIBUTING.md"])
def test_all_rooms_are_listed(page):
    text = (ROOT / page).read_text("utf-8")
    rows = re.findall(
        r"^\| (?:ground|matter|file|quantum|questions|makers|pictures) .*$", text, re.M
    )
    # The first cell is the floor; rooms are the names in the second one.
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    rooms = {path.parent.name for path in ROOT.glob("moireio/*/__init__.py")}
    assert listed - {"errors", "units"} == rooms


def test_what_the_pages_import_is_on_the_library_page():
    text = (ROOT / "docs/build.py").read_text("utf-8")
    documented = set(re.findall(r'"(moireio\.[\w.]+)"', text))
    for page in ROOT.glob("docs/*.md"):
        for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S):
            for module, names in re.findall(r"^from (moireio[\w.]+) import (.*)$", code, re.M):
                assert {f"{module}.{name}" for name in names.split(", ")} <= documented, page.name


def test_recipes_quote_the_package_that_is_tested():
    package = ROOT / "tests/support/outsider"
    files = [package / "pyproject.toml", *package.glob("**/*.py")]
    sources = [file.read_text("utf-8") for file in files]
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Recipes")[2]
    recipes = re.split(r"^### Add an? ", text, flags=re.M)[1:]
    assert [recipe.split("\n")[0] for recipe in recipes] == [
        "solver",
        "format",
        "operator",
        "result",
        "command",
    ]
    for recipe in recipes:
        blocks = re.findall(r"^```\w+\n(.*?)^```", recipe, re.S | re.M)
        assert len(blocks) >= 2
        for block in blocks:
            assert any(block in source for source in sources), block
