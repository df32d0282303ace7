"""Populations, and states in real space."""
