"""Threads of BLAS, MKL and torch: the one place that sets them.

NumPy's BLAS, MKL and torch each start as many threads as there are cores. Two of them at once, or
one of them in each of several processes, run slower than a single thread would.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctypes import CDLL


def cores() -> int:
    """Return how many cores this process may use.

    Returns
    -------
    int
        At least 1.
    """
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def blas_threads(count: int | None) -> contextlib.AbstractContextManager:
    """Limit the threads of all BLAS libraries, MKL included.

    Parameters
    ----------
    count : int or None
        Threads; None for no limit.

    Returns
    -------
    context manager
        In which the limit holds.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(count, user_api="blas")


def blas_beside_mkl() -> contextlib.AbstractContextManager:
    """Limit NumPy's BLAS to one thread while MKL uses several.

    A limit on all BLAS libraries would hold for MKL as well, until its own number is set.

    Returns
    -------
    context manager
        In which the limit holds.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(internal_api=["openblas", "blis"]).limit(limits=1)


@contextlib.contextmanager
def mkl_threads(library: CDLL, count: int) -> Iterator[int]:
    """Set the threads of MKL for calls from this thread, and restore their number.

    Limits by threadpoolctl (`blas_threads`) do not hold inside.

    Parameters
    ----------
    library : ctypes.CDLL
        MKL (see `moireio.solvers.mkl.library`).
    count : int
        Threads.

    Yields
    ------
    int
        The number that MKL uses, which may be smaller.
    """
    # the setting of this very thread, which precedes the one that threadpoolctl leaves behind
    before = library.MKL_Set_Num_Threads_Local(count)
    try:
        yield library.MKL_Get_Max_Threads()
    finally:
        library.MKL_Set_Num_Threads_Local(before)


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Set the threads of torch, and restore their number.

    Parameters
    ----------
    count : int or None
        Threads; None leaves them as they are.

    Yields
    ------
    None
        While the number holds.
    """
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def wait_passively() -> None:
    """Have threads of OpenMP sleep while they have nothing to do, in a process of a command's own.

    Threads that wait in a loop would take the cores from other processes and other libraries. The
    choice holds for libraries that are loaded later, and for child processes.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
