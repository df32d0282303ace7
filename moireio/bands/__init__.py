"""Energies along paths, flat bands, bands of other programs."""
