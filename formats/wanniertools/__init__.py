"""WannierTools: Hamiltonians in dense and sparse form, with overlaps, and its input."""
