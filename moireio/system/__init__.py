"""Structures, bases, pairs of atoms."""
