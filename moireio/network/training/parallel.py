"""One training in several processes: what they share, and how they are started."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from threading import Thread

import torch
from torch import distributed

from moireio.errors import MoireioError
from moireio.runtime.processes import die_with_parent
from moireio.runtime.workdirs import end_with_this


class Workers:
    """The processes of a training; a training in one process is one worker.

    Parameters
    ----------
    rank, count : int
        Number of this process, and of all.
    device : torch.device
        Where it computes.
    """

    def __init__(self, rank=0, count=1, device="cpu"):
        self.rank, self.count, self.device = rank, count, torch.device(device)

    @property
    def first(self):
        """Whether this process writes files and talks."""
        return self.rank == 0

    def own(self, items):
        """Return this process's share of a sequence."""
        return items[self.rank :: self.count]

    def total(self, values):
        """Return sums of numbers over all processes.

        Parameters
        ----------
        values : sequence of float
            The same number in every process.

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

    def gather(self, value):
        """Return what every process has, in order of their numbers."""
        if self.count == 1:
            return [value]
        out = [None] * self.count
        distributed.all_gather_object(out, value)
        return out

    def wrap(self, module):
        """Return a module whose gradients are means over all processes."""
        if self.count == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        ids = [self.device] if self.device.type == "cuda" else None
        # not every structure has every pair of species
        return DistributedDataParallel(module, device_ids=ids, find_unused_parameters=True)


@contextlib.contextmanager
def workers(device="cpu"):
    """Join the other processes, if the environment tells of any (as torchrun's does).

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where to compute; of several GPUs the one with the process's local number.

    Yields
    ------
    Workers
        This process among them.
    """
    if device == "cuda":
        if not torch.cuda.is_available():
            raise MoireioError("no GPU can be used", path="--device cuda", remedy="use cpu")
        local, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= there:
            raise MoireioError(f"process {local} has no GPU: there are {there}", path="--processes")
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Workers(device=device)
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Workers(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()


def launch(words, count):
    """Run a moireio command in several processes on this machine, and wait for them.

    The first one's messages appear as they come. If one fails, the others are stopped, and one
    error is shown.

    Parameters
    ----------
    words : sequence of str
        Command and arguments.
    count : int
        How many.

    Returns
    -------
    int
        1 if one failed, else 0.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running, talk, errors = [], [], []
    children = contextlib.ExitStack()
    for rank in range(count):
        around = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": count,
            "LOCAL_WORLD_SIZE": count,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "moireio", *words],
            env=os.environ | {k: str(v) for k, v in around.items()},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        children.enter_context(end_with_this(process))
        running.append(process)
        loud = rank == 0 or "--debug" in words
        thread = Thread(target=_listen, args=(process.stderr, loud, errors))
        thread.start()
        talk.append(thread)
    try:
        while any(p.poll() is None for p in running) and not any(p.poll() for p in running):
            time.sleep(0.05)
        first = [p.poll() or 0 for p in running]
        if any(first):  # the others may still tell the reason
            time.sleep(1.0)
    finally:
        for process in running:
            process.kill()
        codes = [process.wait() for process in running]
        children.close()
        for thread in talk:
            thread.join()
    if any(codes):
        # who lost its partner reports something unexpected; the partner knows why
        told = sorted(errors, key=lambda line: "unexpected" in line)
        killed = [-code for code in first if code < 0]
        if killed and (not told or "unexpected" in told[0]):
            told = [f"error: a process of the training was ended from outside (signal {killed[0]})"]
        if told:
            print(told[0], file=sys.stderr)
    return int(any(codes))


def _listen(stream, loud, errors):
    """Pass on what a process says; keep its errors."""
    for line in stream:
        if line.startswith("error: "):
            errors.append(line.rstrip())
        elif loud:
            print(line, end="", file=sys.stderr, flush=True)
