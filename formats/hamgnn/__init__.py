"""HamGNN's graph files and predictions."""
