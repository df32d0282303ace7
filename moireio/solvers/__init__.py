"""Eigensolvers at one k point behind one protocol."""
