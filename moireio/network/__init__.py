"""E(3)-equivariant networks that predict Hamiltonians."""
