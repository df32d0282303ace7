"""The block file: reading, writing, streaming, checking."""
