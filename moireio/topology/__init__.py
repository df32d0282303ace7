"""Topology of bands: Chern numbers, invariants, edge states."""
