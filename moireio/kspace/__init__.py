"""Bloch sums, paths and meshes of k points."""
