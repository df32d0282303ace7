"""Wannier90: Hamiltonians in Wannier functions, and the files beside them."""
