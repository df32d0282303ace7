"""DeepH-dock's split storage of H, overlaps with both spins, settings that are not known."""

import os

import numpy as np
import pytest
from deeph_folders import write_dock_folder
from deeph_systems import SPLIT, change_info, halves, split_folder, write_blocks

from moireio.errors import MoireioError
from moireio.formats.deeph import dock


@pytest.mark.parametrize("settings", SPLIT)
def test_the_parts_are_added(tmp_path, settings):
    write_dock_folder(tmp_path / "whole", spin=True, noise=0.0)
    split_folder(tmp_path / "split", settings)
    whole = dock.open_folder(str(tmp_path / "whole")).operator("hamiltonian")
    both = dock.read(str(tmp_path / "split")).hamiltonian
    np.testing.assert_allclose(both.rows(0, 2), whole.data, atol=1e-14)
    assert both.meta.spin == "spinor"


def test_pairs_of_one_part_only(tmp_path):
    """A pair without spin-orbit coupling need not be in hkb.h5."""
    blocks = split_folder(tmp_path / "a")
    parts = {key: halves(block) for key, block in blocks.items()}
    write_blocks(
        tmp_path / "a" / "hkb.h5", {key: part[1] for key, part in parts.items() if key[3] == key[4]}
    )
    both = dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    offsite = np.kron(np.eye(2), parts[0, 0, 0, 0, 1][0])
    np.testing.assert_allclose(both.data[64 : 64 + 32].reshape(8, 4), offsite, atol=1e-14)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"spinful": False}, "has split_hkb, but not spinful"),
        ({"split_hkb": 1}, "split_hkb is 1, true or false expected"),
        ({"split_hkb": False, "hamiltonian_storage": "spinless_plus_hkb"}, "contradict each other"),
        ({"hamiltonian_storage": "other"}, "hamiltonian_storage is 'other': what H is then is not"),
        ({"hamiltonian_storage": ["full"]}, "what H is then is not known"),
        ({"split_hkb": False}, "it has no spin"),
        ({"upper_only": True}, "has 'upper_only': True, which is not known here"),
        ({"entry_scale": 0.5}, "has 'entry_scale': 0.5, which is not known here"),
        ({"orbital_order": "openmx"}, "has 'orbital_order': 'openmx', which is not known here"),
    ],
)
def test_settings_that_are_refused(tmp_path, settings, complaint):
    split_folder(tmp_path / "a")
    change_info(tmp_path / "a", **settings)
    with pytest.raises(MoireioError) as error:
        dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    assert complaint in str(error.value)
    assert "info.json" in str(error.value) or "hamiltonian.h5" in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"hamiltonian_storage": "full", "split_hkb": False},
        {"comment": "made by hand", "occupation": 8, "scf_converged": True, "soc": None},
    ],
)
def test_settings_that_do_no_harm(tmp_path, settings):
    write_dock_folder(tmp_path / "a")
    before = dock.open_folder(str(tmp_path / "a")).operator("hamiltonian").data
    change_info(tmp_path / "a", **settings)
    after = dock.open_folder(str(tmp_path / "a")).operator("hamiltonian").data
    np.testing.assert_array_equal(after, before)


def test_missing_part(tmp_path):
    split_folder(tmp_path / "a")
    os.remove(tmp_path / "a" / "hkb.h5")
    with pytest.raises(MoireioError, match=r"has no hkb.h5, the part of H with spin"):
        dock.read(str(tmp_path / "a"))


def test_a_whole_hamiltonian_is_not_added_to(tmp_path):
    blocks = split_folder(tmp_path / "a")
    write_blocks(tmp_path / "a" / "hamiltonian.h5", blocks)
    with pytest.raises(MoireioError, match="has spinor blocks, but info"):
        dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")


def overlaps():
    rng = np.random.default_rng(1)
    small = rng.normal(size=(4, 2)) / 10
    blocks = {(0, 0, 0, 0, 0): np.eye(4), (0, 0, 0, 1, 1): np.eye(2)}
    return blocks | {(0, 0, 0, 0, 1): small, (0, 0, 0, 1, 0): small.T}


def test_overlap_with_both_spins(tmp_path):
    write_dock_folder(tmp_path / "a", spin=True)
    blocks = overlaps()
    write_blocks(tmp_path / "a" / "overlap.h5", blocks)
    spinless = dock.open_folder(str(tmp_path / "a")).operator("overlap").data
    both = {key: np.kron(np.eye(2), block) for key, block in blocks.items()}
    write_blocks(tmp_path / "a" / "overlap.h5", both)
    found = dock.open_folder(str(tmp_path / "a")).operator("overlap")
    np.testing.assert_array_equal(found.data, spinless)
    assert found.meta.spin == "none"
    both[0, 0, 0, 0, 0][0, 5] = 0.1
    write_blocks(tmp_path / "a" / "overlap.h5", both)
    with pytest.raises(MoireioError, match=r"overlap.h5: .* up and down overlap by 1.0e-01"):
        dock.open_folder(str(tmp_path / "a")).operator("overlap")


def test_predictions_of_the_spinless_part(tmp_path):
    """What spin adds follows from the structure, so the same hkb.h5 belongs to a prediction."""
    split_folder(tmp_path / "a")
    whole = dock.open_folder(str(tmp_path / "a")).operator("hamiltonian").data
    os.rename(tmp_path / "a" / "hamiltonian.h5", tmp_path / "a" / "hamiltonian_pred.h5")
    with dock.read(str(tmp_path / "a"), predicted=True) as found:
        np.testing.assert_array_equal(found.hamiltonian.rows(0, 2), whole)
