"""Model files: what is read, what is refused, and the models that come along."""

import copy
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.tightbinding.modelfile import LONGEST, parse_model, read_model, shipped

GOOD = {
    "name": "test",
    "species": {"C": {"orbitals": ["s", "pz"], "onsite": {"s": -1.0}, "valence": 4}},
    "bond": [
        {
            "species": ["C", "C"],
            "cutoff": 3.0,
            "ss_sigma": {"value": -2.0, "r0": 1.4, "decay": 0.5},
            "sp_sigma": 1.0,
        }
    ],
}


def test_good_model():
    model = parse_model(GOOD)
    carbon = model.species["C"]
    assert carbon.onsite == (-1.0, 0.0)
    assert carbon.valence == 4
    assert model.orthogonal
    assert model.cutoff("C", "C") == 3.0
    blocks = model.blocks("hopping", "C", "C", np.array([[0.0, 0], [0, 0], [0, 2]]))
    np.testing.assert_allclose(blocks[:, :, 0], [[-1, 0], [0, 0]])
    ss = -2 * np.exp(-0.6 / 0.5)
    np.testing.assert_allclose(blocks[:, :, 1], [[ss, 1], [-1, 0]], atol=1e-15)


def test_energies_of_orbitals_override_those_of_shells():
    content = copy.deepcopy(GOOD)
    content["species"]["C"] |= {"orbitals": ["p", "s*"], "onsite": {"pz": 3.0, "p": 1.0, "s*": 7}}
    content["bond"][0] = {"species": ["C", "C"], "cutoff": 2.0, "s*p_sigma": 1.0}
    model = parse_model(content)
    assert model.species["C"].onsite == (1.0, 3.0, 1.0, 7.0)
    assert [s.label for s in model.species["C"].shells] == ["p", "s*"]
    block = model.blocks("hopping", "C", "C", np.array([[0.0], [0], [1]]))[:, :, 0]
    expected = np.zeros((4, 4))
    expected[3, 1], expected[1, 3] = 1, -1
    np.testing.assert_allclose(block, expected, atol=1e-15)


def change(path, value):
    def changed(content):
        *way, last = path
        for key in way:
            content = content[key]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return changed


LAW = ("bond", 0, "ss_sigma")


BAD = {
    "name is missing": change(("name",), None),
    "species is missing": change(("species",), None),
    "species has no entry": change(("species",), {}),
    "species is 'C', not a table": change(("species",), "C"),
    "colour is not known here": change(("colour",), 1),
    "species.C: valence is missing": change(("species", "C", "valence"), None),
    "species.C: valence is -1, below 0": change(("species", "C", "valence"), -1),
    "species.C: mass is not known here": change(("species", "C", "mass"), 12),
    "species.C: orbitals is empty": change(("species", "C", "orbitals"), []),
    "species.C: orbitals has 'f'": change(("species", "C", "orbitals"), ["f"]),
    "species.C: orbitals has 3": change(("species", "C", "orbitals"), [3]),
    "species.C: orbitals has pz twice": change(("species", "C", "orbitals"), ["p", "pz"]),
    "species.C.onsite: px is no orbital": change(("species", "C", "onsite"), {"px": 1}),
    "species.C.onsite: s is 'low', not a number": change(("species", "C", "onsite", "s"), "low"),
    "species.C.onsite: s is nan, not finite": change(("species", "C", "onsite", "s"), np.nan),
    "bond is not a list of tables": change(("bond",), [1]),
    "bond is {}, not a list": change(("bond",), {}),
    "bond 1: species is missing": change(("bond", 0, "species"), None),
    "bond 1: species is ['C'], not two names": change(("bond", 0, "species"), ["C"]),
    "bond 1: species names H": change(("bond", 0, "species"), ["C", "H"]),
    "bond 1: cutoff is missing": change(("bond", 0, "cutoff"), None),
    "bond 1: cutoff is True, not a number": change(("bond", 0, "cutoff"), True),
    "bond 1: cutoff is 0, not above 0": change(("bond", 0, "cutoff"), 0),
    "bond 1: cutoff is 80.0 Å, more than 50 Å": change(("bond", 0, "cutoff"), 80),
    "bond 1: above is 3.0, not below the cutoff": change(("bond", 0, "above"), 3),
    "bond 1.smooth: width is missing": change(("bond", 0, "smooth"), {"radius": 2}),
    "bond 1: pp_delta does not exist": change(("bond", 0, "pp_delta"), 1),
    "bond 1: sd_sigma needs a shell d": change(("bond", 0, "sd_sigma"), 1),
    "bond 1: Vss is not known here": change(("bond", 0, "Vss"), 1),
    "bond 1: ps_sigma is given in both orders": change(("bond", 0, "ps_sigma"), 1),
    "bond 1: has no integrals": change(("bond", 0), {"species": ["C", "C"], "cutoff": 3}),
    "bond 1.ss_sigma: value is missing": change((*LAW, "value"), None),
    "bond 1.ss_sigma: r0 is missing": change((*LAW, "r0"), None),
    "bond 1.ss_sigma: r0 has no decay or power": change((*LAW, "decay"), None),
    "bond 1.ss_sigma: decay is so steep": change((*LAW, "decay"), 1e-4),
    "bond 1.ss_sigma: range is not known here": change((*LAW, "range"), 1),
    "bond 1.overlap: tt is not known here": change(("bond", 0, "overlap"), {"tt": 1}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_models(message):
    content = copy.deepcopy(GOOD)
    BAD[message](content)
    with pytest.raises(MoireioError) as caught:
        parse_model(content, "x.toml")
    assert str(caught.value).startswith(f"x.toml: {message}")


def test_models_that_come_along():
    assert list(shipped()) == ["graphene-nn", "moon-koshino", "trambly"]
    for name in shipped():
        model = read_model(name)
        assert model.name == name
        assert "Phys." in model.citation
        assert model.species["C"].valence == 1


def test_no_model(tmp_path):
    with pytest.raises(MoireioError, match="no model of this name comes with moireio"):
        read_model(str(tmp_path / "x.toml"))
    path = tmp_path / "y.toml"
    path.write_text("name = \n")
    with pytest.raises(MoireioError, match="is not TOML"):
        read_model(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(MoireioError, match="is not TOML"):
        read_model(str(path))
    with pytest.raises(MoireioError, match="cannot be read"):
        read_model(str(tmp_path))
    assert LONGEST == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[\n" * 5000, "nested too deep"),
        ("a" + ".a" * 100_000 + " = 1", "too large"),
        ("# \n" * 400_000, "too large"),
    ],
)
def test_models_that_python_cannot_read_in_time(tmp_path, text, message):
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(MoireioError, match=message):
        read_model(str(tmp_path / "m.toml"))


def test_a_device_is_no_model():
    with pytest.raises(MoireioError, match="too large for a model"):
        read_model("/dev/zero")


def test_the_example_of_the_page():
    page = Path(__file__).parents[3] / "docs" / "tight-binding.md"
    (text,) = re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.S)
    model = parse_model(tomllib.loads(text))
    assert model.species["Mo"].onsite == (5.0, 0.5, 0.5, 0.1, 0.5, 0.5)
    assert model.cutoff("S", "Mo") == 3.0
    along = np.array([[0.0], [0], [2.41]])
    block = model.blocks("hopping", "Mo", "S", along)[:, :, 0]
    assert block[0, 1] == pytest.approx(1.2)  # s, pz
    assert block[3, 1] == pytest.approx(2.6)  # dz2, pz: from d to p is against the table's way
