"""Options of the solvers."""

from dataclasses import FrozenInstanceError, fields

import pytest

from moireio.errors import MoireioError
from moireio.solvers.options import PRECISIONS, DenseOptions, SlepcOptions, SparseOptions
from moireio.solvers.registry import make_solver

ALL = [DenseOptions, SparseOptions, SlepcOptions]


@pytest.mark.parametrize("options", ALL)
def test_options_are_values_with_defaults(options):
    """They can be compared and be keys, and nothing changes them."""
    defaults = options()
    assert {defaults: 1}[options()] == 1
    for field in fields(options):
        with pytest.raises(FrozenInstanceError):
            setattr(defaults, field.name, field.default)
    assert options(precision="float64") != defaults


@pytest.mark.parametrize(("options", "name"), [(DenseOptions, "dense"), (SlepcOptions, "slepc")])
@pytest.mark.parametrize("precision", ["float32", "half"])
def test_solvers_in_double_precision(options, name, precision):
    """The line names the solver and the one that has the other precision."""
    complaint = f"the {name} solver works in double precision, not in {precision} .*sparse solver"
    with pytest.raises(MoireioError, match=complaint):
        options(precision=precision)
    with pytest.raises(MoireioError, match=complaint):
        make_solver(name, {"precision": precision})


def test_precisions_of_the_sparse_solver():
    assert [SparseOptions(precision=p).precision for p in PRECISIONS] == list(PRECISIONS)
    complaint = r"no `precision` is called 'half' \(auto, float32, float64\)"
    with pytest.raises(MoireioError, match=complaint):
        SparseOptions(precision="half")
