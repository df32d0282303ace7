"""FHI-aims."""
