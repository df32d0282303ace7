"""Pools of processes: order, errors, and that nothing is left behind."""

import multiprocessing
import os
import signal
import time

import pytest

from moireio.errors import MoireioError
from moireio.runtime.processes import in_order, worker_pool

SHARED = {}


def _square(n):
    return n * n + SHARED.get("offset", 0)


def _late(n):
    time.sleep(0.02 * (3 - n))
    return n


def _refuse(n):
    raise MoireioError(f"{n} is odd", path="a.h5")


def _prepare(offset):
    SHARED["offset"] = offset


def _hang(_):
    time.sleep(60)


def _ignores_ctrl_c(_):
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_results_come_in_the_order_of_the_tasks():
    with worker_pool(2) as pool:
        assert list(in_order(pool, _late, range(3))) == [0, 1, 2]


def test_workers_are_prepared_and_leave_ctrl_c_to_the_parent():
    with worker_pool(2, _prepare, (10,)) as pool:
        assert list(in_order(pool, _square, range(4))) == [10, 11, 14, 19]
        assert pool.submit(_ignores_ctrl_c, 0).result()
    assert SHARED == {}


def test_an_error_of_a_worker_is_the_callers():
    with worker_pool(1) as pool, pytest.raises(MoireioError, match=r"^a\.h5: 1 is odd$"):
        list(in_order(pool, _refuse, [1]))


def test_an_exception_stops_this_pool_and_no_other_process():
    other = multiprocessing.get_context("fork").Process(target=_hang, args=(0,))
    other.start()
    try:
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:  # noqa: PT012
            pool.submit(_hang, 0)
            raise KeyboardInterrupt
        assert time.monotonic() - begin < 30
        assert multiprocessing.active_children() == [other]
        assert other.is_alive()
    finally:
        other.kill()
        other.join()


def _pool_of_a_child(connection):
    with worker_pool(1) as pool:
        connection.send(pool.submit(os.getpid).result())
        time.sleep(60)


def test_workers_end_with_a_parent_that_is_killed():
    here, there = multiprocessing.Pipe()
    parent = multiprocessing.get_context("fork").Process(target=_pool_of_a_child, args=(there,))
    parent.start()
    worker = here.recv()
    parent.kill()
    parent.join()
    for _ in range(500):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the worker lives")
