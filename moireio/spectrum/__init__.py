"""Eigenproblems at many k points."""
