"""Worker processes that end with their parent."""

import contextlib
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def worker_pool(jobs, initializer=None, initargs=()):
    """Give a pool of processes that leaves nothing behind, however it ends.

    Parameters
    ----------
    jobs : int
        How many processes.
    initializer : callable, optional
        Called in each of them first.
    initargs : tuple
        Its arguments. Forked processes share them with the parent instead of copying them.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
        The pool. If an exception leaves the block, what still runs is stopped.
    """
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(jobs, context, _begin, (os.getpid(), initializer, initargs))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent, initializer, initargs):
    # Ctrl-C reaches every process of a terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != parent and multiprocessing.get_start_method(allow_none=True) == "fork":
        os._exit(1)  # the parent was gone before the line above
    if initializer is not None:
        initializer(*initargs)


def die_with_parent():
    """Ask the system (Linux) to end this process when the thread that started it is gone."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
