"""The commands, one file each; installed as ``moireio.tools``."""
