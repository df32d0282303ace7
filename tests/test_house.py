"""The rooms of the house: packages, floors, and imports that never go up.

The table is that of the design. A room is a folder of moireio/; formats/ and tools/ stand on top.
"""

import ast
import os
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = (
    ("errors", "units", "runtime"),
    ("system",),
    ("store", "operators", "results", "blockfile"),
    ("kspace", "symmetry", "solvers", "spectrum", "projection"),
    ("bands", "dos", "topology", "compare", "downfold"),
    ("moire", "integrals", "tightbinding", "network", "models", "relax"),
    ("plots",),
    ("formats",),
    ("tools",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LOOSE = {"__init__", "__main__", "errors", "units"}
PLANNED = set()


def sources():
    """Every module: its dotted name and its path."""
    for top in ("moireio", "formats", "tools"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            parts = parts if top == "moireio" else ["moireio", *parts]
            yield ".".join(p for p in parts if p != "__init__"), path


def imported(tree, package):
    """Every module that a syntax tree imports anywhere, in functions and under `if` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            module = ".".join(filter(None, [base if node.level else "", node.module]))
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__") and node.args:
                value = getattr(node.args[0], "value", None)
                yield from [value] if isinstance(value, str) else []


@pytest.fixture(scope="module")
def edges():
    """Where each room imports another: {(room, other): [place]}."""
    found = defaultdict(list)
    for name, path in sources():
        room = name.split(".")[1] if "." in name else "__init__"
        if room in ("__init__", "__main__"):
            continue  # the public names; the entry point that finds tools/
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        for module in imported(ast.parse(path.read_text("utf-8")), package):
            if module.startswith("moireio."):
                other = module.split(".")[1]
                if other in FLOOR and other != room:
                    found[room, other].append(f"{path.relative_to(ROOT)} imports {module}")
    return found


def test_every_room_is_on_a_floor_and_there_are_no_loose_modules():
    entries = [e for e in os.scandir(ROOT / "moireio") if not e.name.startswith("__pycache__")]
    rooms = {e.name for e in entries if e.is_dir()}
    modules = {e.name.removesuffix(".py") for e in entries if e.name.endswith(".py")}
    assert modules == LOOSE
    assert rooms | modules | {"formats", "tools"} <= set(FLOOR) | LOOSE
    assert set(FLOOR) - rooms - modules - {"formats", "tools"} <= PLANNED


def test_packages_are_the_folders():
    with open(ROOT / "pyproject.toml", "rb") as stream:
        setuptools = tomllib.load(stream)["tool"]["setuptools"]
    folders = {name if p.stem == "__init__" else name.rpartition(".")[0] for name, p in sources()}
    assert set(setuptools["packages"]) == folders | {"moireio.schemas"}
    for name, path in sources():
        assert (path.parent / "__init__.py").exists(), name
    places = setuptools["package-dir"]
    assert all((ROOT / folder / "__init__.py").exists() for folder in places.values())


def test_no_import_goes_up(edges):
    up = [p for (room, other), ps in edges.items() if FLOOR[room] < FLOOR[other] for p in ps]
    assert up == []


def test_questions_do_not_ask_each_other(edges):
    """What two of them need stands below, in `spectrum` or `projection`."""
    questions = FLOORS[FLOOR["bands"]]
    across = [
        p for (room, other), ps in edges.items() if {room, other} <= set(questions) for p in ps
    ]
    assert across == []


def test_rooms_of_one_floor_have_no_circles(edges):
    below = defaultdict(set)
    for room, other in edges:
        if FLOOR[room] == FLOOR[other]:
            below[room].add(other)

    def reach(room, seen=()):
        for other in below[room]:
            if other not in seen:
                seen = reach(other, (*seen, other))
        return seen

    assert [room for room in list(below) if room in reach(room)] == []


def test_only_commands_use_click():
    users = {
        name.split(".")[1]
        for name, path in sources()
        for module in imported(ast.parse(path.read_text("utf-8")), name)
        if module.partition(".")[0] == "click"
    }
    assert users == {"tools"}


def test_lazy_and_relative_imports_count():
    text = (
        "def f():\n    from . import a\n    import_module('moireio.tools.main')\n    import b.c\n"
    )
    tree = ast.parse(text)
    assert set(imported(tree, "moireio.x")) == {"moireio.x.a", "moireio.tools.main", "b.c"}
