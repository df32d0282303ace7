"""How much memory there is."""

import os


def free_memory():
    """Return the memory that is free.

    Returns
    -------
    float
        Bytes; 4e9 where the system does not tell.
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
