"""Densities of states: meshes of k points, projections, broadening, kernel polynomials."""
