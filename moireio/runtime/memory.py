"""Memory: how much is free, how much may be used."""

import gc
import os

USABLE = 0.9  # of the free memory
# New objects after which Python looks for cycles among them; its own 700 take a sixth of the
# import of torch.
COLLECTED = 10_000


def collect_seldom() -> None:
    """Have Python look seldom for cycles of objects.

    For programs of one command: modules stay until the end. What is left is collected then as ever,
    since h5py crashes where its objects outlive its library.
    """
    gc.set_threshold(COLLECTED)


def free_memory() -> float:
    """Return the memory that is free.

    Returns
    -------
    float
        Bytes; 4e9 where the system does not report it.
    """
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            lines = dict(line.split(":") for line in stream)
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError, AttributeError):
        return 4e9


def usable_memory(limit: float | None = None) -> float:
    """Return how many bytes a computation may use.

    Parameters
    ----------
    limit : float, optional
        A limit that was set, bytes.

    Returns
    -------
    float
        The limit; without one, nearly all that are free.
    """
    return USABLE * free_memory() if limit is None else limit


def size_text(nbytes: float) -> str:
    """Return a number of bytes for messages.

    Parameters
    ----------
    nbytes : float
        The number.

    Returns
    -------
    str
        Such as "24.0 MB".
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= scale:
            return f"{min(nbytes / scale, 1e6):.1f} {unit}"
    return f"{nbytes:.0f} bytes"
