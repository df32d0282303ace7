"""The schema of the block file: prose in ``blockfile-1.md``, JSON Schema in ``blockfile-1.json``."""
