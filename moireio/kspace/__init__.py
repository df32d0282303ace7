"""Paths through the Brillouin zone and meshes of k points."""
