"""Threads: limits hold inside their blocks only."""

import os

import pytest
import torch
from threadpoolctl import threadpool_info

from moireio.runtime.threads import (
    blas_beside_mkl,
    blas_threads,
    cores,
    torch_threads,
    wait_passively,
)


def _blas():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def _openblas():
    return [p["num_threads"] for p in threadpool_info() if p["internal_api"] == "openblas"]


def test_cores_are_those_that_may_be_used():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)


def test_blas_is_limited_inside_the_block():
    before = _blas()
    with blas_threads(2):
        inside = _blas()
    with pytest.raises(KeyError), blas_threads(1):
        raise KeyError
    assert inside == [2] * len(before)
    assert _blas() == before


def test_numpy_has_one_thread_beside_mkl():
    with blas_threads(2):
        with blas_beside_mkl():
            assert set(_openblas()) <= {1}
        assert set(_openblas()) <= {2}


@pytest.mark.parametrize("count", [1, 2, None])
def test_torch_gets_its_number_back(count):
    before = torch.get_num_threads()
    with torch_threads(3), torch_threads(count):
        assert torch.get_num_threads() == (count or 3)
    assert torch.get_num_threads() == before


def test_the_users_choice_of_waiting_stays(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
