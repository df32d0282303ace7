"""DFTB+."""
