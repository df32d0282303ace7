"""Two-centre integrals of atomic orbitals: overlap, position, and the orbitals themselves."""
