"""The schema of the block file: ``blockfile-1.md`` is prose, ``blockfile-1.json`` JSON Schema."""
