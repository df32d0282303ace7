"""Symmetry operations of crystals."""
