"""Random numbers of torch that leave no trace."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's random numbers, and restore their state afterwards.

    Parameters
    ----------
    seed : int
        Seed, on the CPU and on the GPUs that are in use.

    Yields
    ------
    None
        While the seeded sequence runs.
    """
    import torch

    # A GPU that nobody has used yet would be started by asking for its state.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(list(devices)):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield
