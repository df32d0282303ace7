"""Structures relaxed in the forces of a calculator."""
