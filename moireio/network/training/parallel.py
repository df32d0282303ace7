"""One training in several processes: what they share, and how they are started."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from typing import IO, Any, TypeVar

import torch
from torch import distributed, nn

from moireio.errors import MoireioError
from moireio.runtime.processes import die_with_parent
from moireio.runtime.workdirs import end_with_this

T = TypeVar("T")


class Workers:
    """The processes of a training; a training in one process is one worker.

    Parameters
    ----------
    rank, count : int
        Number of this process, and number of processes.
    device : torch.device or str
        Device on which this process computes.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank, self.count, self.device = rank, count, torch.device(device)

    @property
    def first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's share of a sequence."""
        return items[self.rank :: self.count]

    def total(self, values: Sequence[float]) -> list[float]:
        """Return sums of numbers over all processes.

        Parameters
        ----------
        values : sequence of float
            As many in every process.

        Returns
        -------
        list of float
            Sums.
        """
        if self.count == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in order of their numbers."""
        if self.count == 1:
            return [value]
        out: list[Any] = [None] * self.count
        distributed.all_gather_object(out, value)
        return out

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are means over all processes."""
        if self.count == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        ids = [self.device] if self.device.type == "cuda" else None
        # not every structure has every pair of species
        return DistributedDataParallel(module, device_ids=ids, find_unused_parameters=True)


@contextlib.contextmanager
def workers(device: str = "cpu") -> Iterator[Workers]:
    """Join the other processes, if the environment names any (torchrun's variables).

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where to compute; of several GPUs the one with the process's local number.

    Yields
    ------
    Workers
        This process among them.

    Raises
    ------
    MoireioError
        If there is no GPU for this process.
    """
    with contextlib.ExitStack() as stack:
        if device == "cuda":
            gpu = _gpu_of_process()
            stack.enter_context(torch.cuda.device(gpu))
            device = f"cuda:{gpu}"
        count = int(os.environ.get("WORLD_SIZE", 1))
        if count == 1:
            yield Workers(device=device)
            return
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        stack.callback(distributed.destroy_process_group)
        yield Workers(distributed.get_rank(), count, device)


def _gpu_of_process() -> int:
    """Return the number of this process's GPU."""
    if not torch.cuda.is_available():
        raise MoireioError("torch finds no GPU", remedy="set `device` to cpu")
    local, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if local >= count:
        raise MoireioError(
            f"process {local} has no GPU: there are {count}", remedy="use fewer `processes`"
        )
    return local


def launch(words: Sequence[str], count: int, write: Callable[[str], None]) -> int:
    """Run a moireio command in several processes on this machine, and wait for them.

    The first one's messages appear as they come. If one fails, the others are stopped, and one
    error is shown.

    Parameters
    ----------
    words : sequence of str
        Command and arguments.
    count : int
        Number of processes.
    write : callable
        Called with every line that the user shall see.

    Returns
    -------
    int
        1 if a process failed, else 0.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes, threads, errors = [], [], []
    children = contextlib.ExitStack()
    for rank in range(count):
        variables = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": count,
            "LOCAL_WORLD_SIZE": count,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "moireio", *words],
            env=os.environ | {k: str(v) for k, v in variables.items()},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        children.enter_context(end_with_this(process))
        processes.append(process)
        shown = write if rank == 0 or "--debug" in words else None
        thread = Thread(target=_listen, args=(process.stderr, shown, errors))
        thread.start()
        threads.append(thread)
    try:
        while any(p.poll() is None for p in processes) and not any(p.poll() for p in processes):
            time.sleep(0.05)
        first_codes = [p.poll() or 0 for p in processes]
        if any(first_codes):  # the others may still report the reason
            time.sleep(1.0)
    finally:
        for process in processes:
            process.kill()
        codes = [process.wait() for process in processes]
        children.close()
        for thread in threads:
            thread.join()
    if any(codes):
        message = _one_error(errors, [-code for code in first_codes if code < 0])
        if message:
            write(message)
    return int(any(codes))


def _one_error(errors: Sequence[str], signals: Sequence[int]) -> str | None:
    """Choose the error to show from the processes' error lines and the signals that ended them."""
    # A process that lost its partner reports something unexpected; the partner knows the reason.
    message = min(errors, key=lambda line: "unexpected" in line, default=None)
    if signals and (message is None or "unexpected" in message):
        return f"error: a process of the training was ended from outside (signal {signals[0]})"
    return message


def _listen(stream: IO[str], write: Callable[[str], None] | None, errors: list[str]) -> None:
    """Pass on the lines of a process; keep its errors."""
    for line in stream:
        if line.startswith("error: "):
            errors.append(line.rstrip())
        elif write is not None:
            write(line.rstrip("\n"))
