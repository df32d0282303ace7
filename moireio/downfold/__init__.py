"""Models with fewer or simpler orbitals, from H and S."""
