"""Foreign file formats, one file each; installed as ``moireio.formats``."""
