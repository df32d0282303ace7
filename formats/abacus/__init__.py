"""ABACUS's matrices H(R) and S(R) of numerical atomic orbitals, and its STRU."""
