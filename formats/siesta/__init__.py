"""SIESTA's matrices: ``.HSX``, ``.TSHS`` and ``.nc``."""
