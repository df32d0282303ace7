"""Structures, bases, orbitals, pairs of atoms."""
