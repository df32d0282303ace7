"""Sizes of networks: refused before anything is made of them."""

import dataclasses

import pytest
from systems import small_model

from moireio.errors import MoireioError
from moireio.network.bounds import require_outputs, require_weights, update_lists
from moireio.network.head import Targets
from moireio.network.irreps import Irreps


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"harmonics_lmax": 10**24}, "harmonics_lmax is 10000000.*, 0 to 12 expected"),
        ({"harmonics_lmax": -1}, "harmonics_lmax is -1"),
        ({"harmonics_lmax": 3.0}, r"harmonics_lmax is 3\.0"),
        ({"blocks": 0}, "blocks is 0, 1 to 64 expected"),
        ({"blocks": 10**9}, "blocks is 1000000000"),
        ({"species": 1000}, "species is 1000, 1 to 118"),
        ({"radial": 10**9}, "radial is 1000000000"),
        ({"cutoff": float("inf")}, "cutoff is inf, above 0 up to 100 Å expected"),
        ({"cutoff": -7.2}, r"cutoff is -7\.2"),
        ({"neighbours": float("nan")}, "neighbours is nan, a number above 0 expected"),
        ({"reaches": (1e9,)}, "up to 100 Å expected"),
        ({"mid_node": Irreps()}, "mid_node has 0 entries"),
        ({"mid_edge": Irreps.parse("+".join(["1x0e"] * 65))}, "mid_edge has 65 entries, 1 to 64"),
        ({"mid_node": Irreps.parse("8x0e+1x99e")}, "mid_node has a representation of degree 99"),
        ({"embed_node": Irreps.parse("99999999x0e")}, "embed_node has 99999999 channels"),
        ({"embed_node": Irreps.parse("0x0e")}, "embed_node has 0 channels"),
        ({"out_edge": Irreps.parse("999999x0e")}, "out_edge has 999999 channels"),
    ],
)
def test_settings_out_of_bounds(model, changes, message):
    with pytest.raises(MoireioError, match=message):
        model.network.settings.with_(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": ()}, "atomic numbers"),
        ({"numbers": (6, 700)}, "0 to 118 expected"),
        ({"shells": ((0,),)}, "shells of 1 species, 2 expected"),
        ({"shells": ((0, 9), (0,))}, "degrees from 0 to 5 expected"),
        ({"shells": ((0,) * 101, (0,))}, "degrees from 0 to 5 expected"),
        ({"targets": ()}, "predicts no blocks"),
        ({"targets": ({(0, 2): (0, 0)},)}, "which there is not"),
        ({"targets": ({(0, 0): (0, -1)},)}, "which there is not"),
        ({"targets": ({(0, 0): (0, 0)}, {(0, 0): (0, 0)})}, r"shells \(0, 0\), twice"),
        ({"targets": ({(0, 0): (0, 0), (0, 1): (1, 0)},)}, "share channels, one pair of degrees"),
    ],
)
def test_targets_that_are_no_blocks(changes, message):
    good = {"numbers": (6, 7), "shells": ((0, 1), (0,)), "spinful": False}
    good["targets"] = ({(0, 0): (0, 0), (1, 1): (0, 0)},)
    assert Targets(**good).halves == 1
    with pytest.raises(MoireioError, match=message):
        Targets(**good | changes)


@pytest.mark.parametrize("case", [(False, False), (True, False), (False, True), (True, True)])
def test_weights_counted_without_the_network(case):
    """Names and numbers are those of the network itself."""
    model = small_model(*case)
    counts = {name: value.numel() for name, value in model.network.state_dict().items()}
    asked = {}
    require_weights(model.network.settings, lambda name: asked.setdefault(name, counts.get(name)))
    assert {name for name, count in asked.items() if count is None} == {
        "blocks.2.node.lin_pre.weight"
    }
    for lists in update_lists(model.network.settings):
        update = getattr(model.network.blocks[lists.block], lists.half)
        assert lists.paths == update.conv.tp.sizes
        assert lists.out == update.out
    for name in asked:
        wrong = counts | {name: counts.get(name, 0) + 1}
        with pytest.raises(MoireioError, match=name if name in counts else "the file has more"):
            require_weights(model.network.settings, wrong.get)
    for name in counts.keys() & asked.keys():
        fewer = {key: count for key, count in counts.items() if key != name}
        with pytest.raises(MoireioError, match=f"has no weight {name}"):
            require_weights(model.network.settings, fewer.get)


def test_outputs_are_those_of_the_targets(model):
    settings = model.network.settings
    require_outputs(settings, model.targets)
    with pytest.raises(MoireioError, match="representations of its targets"):
        require_outputs(settings.with_(out_edge=Irreps(settings.out_edge[:-1])), model.targets)
    with pytest.raises(MoireioError, match="3 species, its targets have 2"):
        require_outputs(settings.with_(species=3), model.targets)
    fewer = dataclasses.replace(model.targets, targets=model.targets.targets[:-1])
    with pytest.raises(MoireioError, match="representations of its targets"):
        require_outputs(settings, fewer)
