"""Entry points of other distributions are found, imported late, and fail in one line."""

import sys
from importlib import metadata

import pytest
from plugin_packages import install

from moireio.errors import MoireioError
from moireio.runtime import plugins


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return str(tmp_path)


def test_a_plugin_is_listed_without_import_and_loaded_on_demand(site):
    install(
        site,
        "toy-solver",
        {"moireio.solvers": {"toy": "toy_solver_a:Maker.solve"}, "console_scripts": {"x": "y:z"}},
        {"toy_solver_a.py": "class Maker:\n    solve = 42\n"},
        summary="A toy.",
    )
    found = plugins.entries("moireio.solvers")
    assert (found["toy"].distribution, found["toy"].summary) == ("toy_solver", "A toy.")
    assert "toy_solver_a" not in sys.modules
    assert found["toy"].load() == 42
    assert "toy" not in plugins.entries("moireio.formats")


def test_names_are_those_of_importlib(site):
    install(site, "toy_names", {"moireio.formats": {"b": "m:b", "a c": "m.n"}})
    expected = {e.name: e.value for e in metadata.entry_points(group="moireio.formats")}
    assert {n: p.value for n, p in plugins.entries("moireio.formats").items()} == expected


@pytest.mark.parametrize(
    ("text", "value", "complaint"),
    [
        ("raise RuntimeError('no licence\\nsecond line')", "broken_a:main", "no licence"),
        ("", "broken_a:main", "has no attribute 'main'"),
        ("", "no_such_module_here:main", "No module named"),
    ],
)
def test_a_broken_plugin_is_one_line_with_the_name_of_its_distribution(
    site, text, value, complaint
):
    sys.modules.pop("broken_a", None)
    install(site, "badly-made", {"moireio.commands": {"bad": value}}, {"broken_a.py": text})
    with pytest.raises(MoireioError, match=complaint) as caught:
        plugins.entries("moireio.commands")["bad"].load()
    assert "badly_made" in str(caught.value)
    assert "second line" not in str(caught.value)


def test_two_distributions_with_one_name_are_both_named(site):
    for name in ("first", "second"):
        install(site, name, {"moireio.formats": {"same": "sys:path"}})
    with pytest.raises(MoireioError, match=r"first.*second"):
        plugins.entries("moireio.formats")["same"].load()


def test_a_builtin_name_is_not_replaced(site):
    install(site, "bold", {"moireio.formats": {"openmx": "sys:path"}})
    with pytest.warns(UserWarning, match="bold"):
        assert plugins.entries("moireio.formats", {"openmx"}) == {}


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(tmp_path, monkeypatch):
    for version in ("1.0", "2.0"):
        folder = tmp_path / version
        folder.mkdir()
        rows = {"moireio.results": {"x_toy": f"toy_{version[0]}:row"}}
        install(str(folder), "toy", rows, version=version)
        monkeypatch.syspath_prepend(str(folder))
    assert plugins.entries("moireio.results")["x_toy"].value == "toy_2:row"
