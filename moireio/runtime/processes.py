"""Worker processes that end with their parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any, TypeVar

PR_SET_PDEATHSIG = 1

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextlib.contextmanager
def worker_pool(
    jobs: int,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Iterator[ProcessPoolExecutor]:
    """Make a pool of processes that leaves nothing behind, however it ends.

    Parameters
    ----------
    jobs : int
        Number of processes.
    initializer : callable, optional
        Called in each of them first.
    initargs : tuple
        Its arguments. Forked processes share them with the parent instead of copying them.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
        The pool. If an exception leaves the block, tasks that still run are stopped.
    """
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, context, _begin, (os.getpid(), initializer, initargs))
    try:
        yield pool
    except BaseException:
        # Cancelling tasks that wait would make the pool's own thread fail, with a traceback, when
        # it finds its processes gone.
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    pool: Executor, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """Yield the results of tasks in their order.

    Parameters
    ----------
    pool : concurrent.futures.Executor
        From `worker_pool`.
    function : callable
        Called with each task, in a worker.
    tasks : iterable
        The tasks.

    Yields
    ------
    object
        The function's results. Unlike with the pool's own ``map``, tasks that wait are not
        cancelled when this ends early.
    """
    for future in [pool.submit(function, task) for task in tasks]:
        yield future.result()


def _begin(
    parent: int, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    # Ctrl-C reaches every process of a terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != parent and multiprocessing.get_start_method(allow_none=True) == "fork":
        os._exit(1)  # the parent was gone before the line above
    if initializer is not None:
        initializer(*initargs)


def die_with_parent() -> None:
    """Ask the system (Linux) to end this process when the thread that started it is gone."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
