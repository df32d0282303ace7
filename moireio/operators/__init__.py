"""Operators as sparse blocks."""
