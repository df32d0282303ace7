"""Irreps of levels of real calculations and models, and Z2 from parities."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import convert
from toymodels import haldane, random_c3

import moireio
from moireio.errors import MoireioError
from moireio.system.basis import Basis
from moireio.topology.bandgroups import BandGroup
from moireio.topology.irreps import irreps_object, irreps_table, levels_by_irreps, parity_z2


def test_graphene_bilayer(made):
    """AB graphene: the four π levels at K are E and A1 + A2 of D3, as textbooks have them."""
    with moireio.open(made["gr_ab"]) as file:
        points = levels_by_irreps(file, BandGroup(7, 10))
        assert points["G"].little_group == "D3d (-3m)"
        assert points["M"].little_group == "C2h (2/m)"
        assert [p.label for p in points["K"].levels] == ["A1", "E", "A2"]
        assert [p.bands for p in points["K"].levels] == [
            BandGroup(7, 7),
            BandGroup(8, 9),
            BandGroup(10, 10),
        ]
        assert {p.label for p in points["G"].levels} <= {"Eg", "Eu"}
        assert {p.label for p in points["M"].levels} <= {"Ag", "Au", "Bg", "Bu"}
        assert max(level.deviation for p in points.values() for level in p.levels) < 1e-4
        # the centre of inversion lies between the layers
        assert points["G"].origin[2] == pytest.approx(file.structure.positions[:, 2].mean())


def test_spinors_of_hbn(made):
    with moireio.open(made["hbn_soc"]) as file:
        points = levels_by_irreps(file, BandGroup(5, 12), ["G", "K"])
        assert points["G"].little_group.startswith("D3h")
        assert points["K"].little_group.startswith("C3h")
        assert [p.label[-4:] for p in points["G"].levels] == ["E1/2", "E3/2", "E1/2", "E1/2"]
        # C3 turns the upper valence pair by −1 each: 2 cos(3π/3)
        assert points["G"].levels[1].characters["C3"].real == pytest.approx(-2, abs=0.01)
        found = irreps_object(points)["K"]
        assert set(found["levels"][0]) == {"bands", "energy", "characters", "deviation", "label"}
        text = irreps_table(points)
        assert "# Γ: little group D3h (-6m2), origin 0.0000 0.0000 10.0000 Å" in text
        assert parity_z2(file, 8) is None


def test_models_with_c3_only(tmp_path):
    """n of c3-chern and the labels of C3 are the same thing."""
    from moireio.topology.rotation import threefold_eigenvalues

    with moireio.open(random_c3(0).write(tmp_path / "x.h5")) as file:
        notes = []
        points = levels_by_irreps(file, BandGroup(1, 4), ["G", "K"], note=notes.append)
        assert points["K"].little_group == "C3 (3)"
        assert notes[0].startswith("operations of the atoms that H breaks are left out: Mx")
        n = threefold_eigenvalues(file, BandGroup(1, 4)).n[0, 0]
        for point, label in enumerate(("G", "K")):
            levels = points[label].levels
            assert [
                abs(p.characters["C3"] - np.exp(1j * np.pi * m / 3))
                for p, m in zip(levels, n[point], strict=True)
            ] == pytest.approx([0] * 4, abs=1e-9)
            assert [p.label == "A" for p in levels] == [m == 0 for m in n[point]]
        with pytest.raises(MoireioError, match="there is no corner X"):
            levels_by_irreps(file, BandGroup(1, 1), ["X"])


def test_operations_that_two_bands_break(tmp_path):
    """The flux of the Haldane model breaks the mirrors at K, of all bands that there are."""
    model = haldane()
    alike = replace(
        model,
        structure=replace(model.structure, numbers=[6, 6], species=[0, 0], species_names=("C",)),
        basis=Basis({"C": model.basis["B"]}, orthogonal=True),
    )
    with moireio.open(alike.write(tmp_path / "x.h5")) as file:
        notes = []
        points = levels_by_irreps(file, BandGroup(1, 2), ["K"], note=notes.append)
        assert points["K"].little_group == "C3h (-6)"
        assert all(level.deviation < 1e-9 for level in points["K"].levels)
        assert "?" not in [level.label for level in points["K"].levels]
        assert notes[0].startswith("operations of the atoms that H breaks are left out")


def test_labels_do_not_depend_on_images_of_atoms(tmp_path):
    """Atoms that are several cells away from each other are the same crystal."""
    model = random_c3(0)
    labels = []
    for name, one in (("a", model), ("b", model.other_images([[3, -2, 0], [-1, 3, 0]]))):
        with moireio.open(one.write(tmp_path / f"{name}.h5")) as file:
            points = levels_by_irreps(file, BandGroup(1, 4))
            labels.append({k: [level.label for level in p.levels] for k, p in points.items()})
    assert labels[0] == labels[1]
    assert all("?" not in found for found in labels[1].values())


def test_parities_of_bismuth(shared, tmp_path):
    """A buckled bismuth layer has Z2 = 1; the three M points have the same parities."""
    convert(shared / "openmx/bi_bilayer_soc/bi_bilayer_soc.scfout", tmp_path / "x.h5")
    with moireio.open(tmp_path / "x.h5") as file:
        z2, signs = parity_z2(file, 30)
        assert z2 == 1
        assert len(set(signs[1:])) == 1
        assert signs[0] == -signs[1]
        assert parity_z2(file, 28)[0] in (0, 1)
        with pytest.raises(MoireioError, match="29 bands are no Kramers pairs"):
            parity_z2(file, 29)


def test_parities_of_the_model_of_kane_and_mele(tmp_path):
    """With inversion (M = 0, no Rashba coupling): Z2 = 1."""
    from dataclasses import replace

    from toymodels import honeycomb, kane_mele, one_orbital

    from moireio.system.basis import Basis

    model = replace(
        kane_mele(M=0.0, rashba=0.0),
        structure=honeycomb(("C", "C")),
        basis=Basis({"C": one_orbital()}, orthogonal=True),
    )
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        assert parity_z2(file, 2)[0] == 1
