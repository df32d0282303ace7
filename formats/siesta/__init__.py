"""SIESTA's matrices: ``.HSX``, ``.TSHS`` and ``.nc``, and sisl's Hamiltonians."""
