"""DeePTB and dftio."""
