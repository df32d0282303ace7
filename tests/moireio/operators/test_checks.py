"""Checks of operators: checksums, partners, finite numbers, positive overlap, patterns."""

import h5py
import numpy as np
import pytest
from damage import copy_to, findings, rewrite_checksums


@pytest.fixture
def good(tmp_path, made):
    return copy_to(tmp_path, made["gr_ab"])


@pytest.mark.parametrize("careful", [False, True])
def test_a_block_changed_by_1e_3(good, careful):
    with h5py.File(good, "r+") as file:
        file["hamiltonian/data"][20_000] += 1e-3
        if careful:
            rewrite_checksums(file, "hamiltonian")
    found = findings(good)
    assert any(
        "differs from its partner's adjoint by 1.0e-03 eV (2 such pairs)" in f for f in found
    )
    assert any("checksum" in f for f in found) != careful


def test_a_pair_without_its_partner(good):
    with h5py.File(good, "r+") as file:
        group = file["overlap"]
        # pair (0, 3, R) becomes (0, 3, R + 9a): sorted still, but alone
        row = group["R"][: group["indptr"][1]]
        last = len(row) - 1
        group["R"][last] = row[last] + [9, 0, 0]
        rewrite_checksums(file, "overlap")
    found = findings(good)
    assert any(
        f.startswith("error: /overlap: pair (0, 3, R = ") and "no partner" in f for f in found
    )
    # and H now has pairs that S lacks
    assert any("is not among those of /overlap" in f for f in found)


def test_an_overlap_that_is_not_positive(good):
    with h5py.File(good, "r+") as file:
        size = 13 * 13
        place = int(file["overlap/row_offset"][0])
        onsite = next(
            p
            for p in range(file["overlap/indptr"][1])
            if file["overlap/j"][p] == 0 and not file["overlap/R"][p].any()
        )
        begin = place + onsite * size
        block = file["overlap/data"][begin : begin + size].reshape(13, 13)
        block[0, 0] = -block[0, 0]
        file["overlap/data"][begin : begin + size] = block.ravel()
        rewrite_checksums(file, "overlap")
    where = "k = 0.0000 0.0000 0.0000"
    assert findings(good) == [f"error: /overlap: is not positive definite at {where}"]


def test_a_large_overlap_is_checked_by_its_pivots(good, monkeypatch):
    from moireio.operators import checks

    monkeypatch.setattr(checks, "DENSE_ORBITALS", 10)
    assert findings(good) == []
    test_an_overlap_that_is_not_positive(good)


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "not finite (NaN), as atom 0"), (-1e300, "numbers beyond 1e+12, as atom 0")],
)
def test_numbers_that_mean_nothing(good, value, words):
    with h5py.File(good, "r+") as file:
        file["hamiltonian/data"][100] = value
        rewrite_checksums(file, "hamiltonian")
    assert any(words in f for f in findings(good))


def test_a_position_that_breaks_its_rule(good):
    with h5py.File(good, "r+") as file:
        file["position/data"][2, 30_000] += 1e-4
        rewrite_checksums(file, "position")
    assert any("/position" in f and "breaks the rule" in f for f in findings(good))
