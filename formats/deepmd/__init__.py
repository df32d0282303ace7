"""Training sets of force fields: DeePMD-kit's folders, extended xyz."""
