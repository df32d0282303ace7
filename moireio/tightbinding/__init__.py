"""Slater–Koster tight-binding models: their files, and the Hamiltonians that they give."""
