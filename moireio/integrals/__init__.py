"""Two-centre integrals of atomic orbitals: overlaps and positions without DFT."""
