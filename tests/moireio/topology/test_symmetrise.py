"""H and S averaged over the group of a crystal: which group, what it removes."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import convert
from toymodels import haldane, kane_mele, random_c3

import moireio
from moireio.errors import MoireioError
from moireio.symmetry.average import in_memory
from moireio.topology.symmetrise import symmetrise, symmetry_group


def test_what_is_removed_from_hbn(made):
    """FINDINGS_TOPOLOGY: 3.0 meV at most, 5e-5 eV rms, by C3."""
    with moireio.open(made["hbn_soc"]) as file:
        found = symmetrise(file, ["C3"])
        report = found.report()
        (entry,) = report["operations"]
        assert entry["name"] == "C3"
        assert entry["max_removed_eV"] == pytest.approx(3.0e-3, rel=0.03)
        assert entry["rms_removed_eV"] == pytest.approx(5e-5, rel=0.1)
        assert set(report["band_shift_eV"]) == {"G", "K", "K'", "M"}
        # at Γ and K first order vanishes
        assert report["band_shift_eV"]["K"] < 1e-6 < report["band_shift_eV"]["M"] < 2e-3
        assert [s.meta.name for s in found.sources[:3]] == ["hamiltonian", "overlap", "position"]
        whole = symmetrise(file, bands=0)
        assert whole.band_shift is None
        assert whole.report()["band_shift_eV"] == {"G": None, "K": None, "K'": None}
        assert {"C3", "S3", "Mz", "Mx", "T", "C2y"} <= set(whole.names)
        assert not any(name.endswith("^-1") for name in whole.names)
        assert whole.order == 24


def test_what_is_removed_from_mote2(shared, tmp_path):
    convert(shared / "openmx/mote2_mx_soc/mote2_mx_soc.scfout", tmp_path / "x.h5")
    with moireio.open(tmp_path / "x.h5") as file:
        report = symmetrise(file, ["C3"]).report()
    assert report["max_removed_eV"] == pytest.approx(7.1e-3, rel=0.01)
    assert report["rms_removed_eV"] == pytest.approx(9e-5, rel=0.05)


def test_time_reversal_is_in_the_group_where_h_obeys_it(tmp_path):
    with moireio.open(kane_mele().write(tmp_path / "x.h5")) as file:
        group, reported = symmetry_group(file)
        assert "T" in reported
        assert len(group) == 24  # the flat layer has Mz
    with moireio.open(random_c3(0).write(tmp_path / "y.h5")) as file:
        group, reported = symmetry_group(file, ["C3"])
        assert list(reported) == ["C3"]
        assert len(group) == 3
        found = symmetrise(file, ["C3"])
        assert found.hamiltonian.removed.largest < 1e-13


def test_changes_that_are_too_large(tmp_path):
    """A flux breaks the mirrors that the atoms have; with time reversal it keeps them."""
    with moireio.open(haldane(t2=0.1).write(tmp_path / "x.h5")) as file:
        message = (
            r"averaging would change H by 0.1 eV, which breaks .*C2.*choose a `group`, as .*C3"
        )
        with pytest.raises(MoireioError, match=message):
            symmetrise(file)
        found = symmetrise(file, ["C3", "MxT"])
        assert found.hamiltonian.removed.largest < 1e-13
        assert symmetrise(file, ["T"], max_change=0.2).hamiltonian.removed.largest == (
            pytest.approx(0.1)
        )


def test_positions_obey_their_rule(made, tmp_path):
    """⟨r⟩ of the averaged file turns as a vector, and keeps the rule of partners."""
    from moireio.blockfile.stream import write_target

    with moireio.open(made["hbn_soc"]) as file:
        found = symmetrise(file, ["C3", "Mz"])
        with write_target(str(tmp_path / "x.h5")) as writer:
            writer.structure(file.structure)
            writer.basis(file.basis)
            writer.operators(found.sources)
        before = in_memory(file.operator("position"))
    with moireio.open(tmp_path / "x.h5") as file:
        assert moireio.validate(file) == []
        after = in_memory(file.operator("position"))
        assert 0 < np.abs(after.data - before.data).max() < 1e-4
        again = symmetrise(file, ["C3", "Mz"])
        twice = in_memory(again.sources[2])
        assert np.abs(twice.data - after.data).max() < 1e-12


def test_collinear_spin(made):
    with moireio.open(made["o2_col"]) as file:
        with pytest.raises(MoireioError, match="collinear spin does not allow time reversal"):
            symmetry_group(file, ["T"])
        found = symmetrise(file, ["C2z"], bands=4)
        assert found.hamiltonian.removed.largest < 0.02


def test_a_crystal_without_symmetry(tmp_path):
    model = random_c3(0)
    positions = model.structure.positions + np.array([[0.3, 0.1, 0.2], [0, 0, 0]])
    odd = replace(model, structure=replace(model.structure, positions=positions))
    with (
        moireio.open(odd.write(tmp_path / "x.h5")) as file,
        pytest.raises(MoireioError, match=r"has no operation C3 \(it has T; "),
    ):
        symmetry_group(file, ["C3"])
