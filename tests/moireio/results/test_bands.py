"""Band structures: named energies, states read one k point at a time, damage."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_examples import example_bands

from moireio.errors import DamagedError, MoireioError
from moireio.results.bands import BandsKind, has_states, read_states
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

KIND = BandsKind()


@given(st.integers(1, 6), st.booleans(), st.integers(0, 10**6))
def test_the_valence_band_maximum_is_the_last_occupied_level(electrons, spinor, seed):
    energies = np.sort(np.random.default_rng(seed).normal(size=(1, 5, 8)), axis=2)
    bands = replace(example_bands(1), energies=energies, spinor=spinor, first_band=0)
    bands = replace(bands, electrons=float(electrons if spinor else 2 * electrons))
    assert bands.vbm() == energies[0, :, electrons - 1].max() == bands.zero("vbm")
    above = replace(bands, energies=energies[:, :, electrons - 1 :], first_band=electrons - 1)
    assert above.vbm() == bands.vbm()


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_both_spins_share_the_electrons(electrons, seed):
    energies = np.sort(np.random.default_rng(seed).normal(size=(2, 3, 4)), axis=2)
    bands = replace(example_bands(2), energies=energies, first_band=0, electrons=float(electrons))
    at_k = [np.sort(energies[:, k].ravel())[electrons - 1] for k in range(3)]
    assert bands.vbm() == max(at_k)


def test_energies_without_a_name():
    bands = replace(example_bands(1), fermi=None, electrons=None)
    assert (bands.zero("none"), bands.zero(1.5)) == (0.0, 1.5)
    with pytest.raises(MoireioError, match=r"Fermi level is unknown \(use `zero` vbm or none\)"):
        bands.zero("fermi")
    with pytest.raises(MoireioError, match="needs the number of electrons"):
        bands.vbm()
    with pytest.raises(MoireioError, match="not among the bands"):
        replace(bands, electrons=2.0).vbm()
    with pytest.raises(MoireioError, match="bands from the lowest"):
        replace(example_bands(2), electrons=2.0).vbm()


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_states_one_k_point_at_a_time(tmp_path, suffix):
    bands = example_bands(2)
    with write_container(tmp_path / f"x{suffix}") as out:
        KIND.write(out, "bands", bands)
        KIND.write(out, "bands-bare", replace(bands, states=None))
    container = open_container(tmp_path / f"x{suffix}")
    assert has_states(container, "bands")
    assert KIND.summary(container, "bands", bands)["states"]
    for channel, point in np.ndindex(2, 5):
        states = read_states(container, "bands", bands, point, channel)
        assert (states == bands.states[channel, point].T).all()
    with pytest.raises(MoireioError, match="no k point 5"):
        read_states(container, "bands", bands, 5)
    with pytest.raises(MoireioError, match="has no states"):
        read_states(container, "bands-bare", bands, 0)
    container.close()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("k", np.zeros((4, 3))),
        ("distance", np.zeros(4)),
        ("label_index", np.array([0, 9], dtype=np.int32)),
        ("energies", np.zeros((3, 5, 3))),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, name, values):
    with write_container(tmp_path / "a.h5") as out:
        KIND.write(out, "bands", example_bands(2))
    source = open_container(tmp_path / "a.h5")
    with write_container(tmp_path / "b.h5") as out:
        out.create_group("bands", {"unit": "eV"})
        for array in source.arrays("bands"):
            contents = values if array == name else source.read(f"bands/{array}")
            dtype = "string" if contents.dtype == object else contents.dtype
            out.create_array(f"bands/{array}", contents.shape, dtype)
            out.write(f"bands/{array}", contents)
    source.close()
    container = open_container(tmp_path / "b.h5")
    with pytest.raises(DamagedError, match="do not fit together"):
        KIND.read(container, "bands")
    container.close()


def test_numbers_that_are_not_finite(tmp_path):
    bands = example_bands(2)
    bands.energies[0, 1, 2] = np.nan
    bands.states[1, 3, 0, 0] = np.inf
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "bands", bands)
    container = open_container(tmp_path / "x.h5")
    findings = KIND.check(container, "bands", KIND.read(container, "bands"), None)
    assert [f.where for f in findings] == ["/bands/energies", "/bands/states"]
    container.close()
