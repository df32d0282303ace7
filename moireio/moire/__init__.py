"""Moiré structures: layers, commensurate cells, strain, twisted stacks, ribbons."""
