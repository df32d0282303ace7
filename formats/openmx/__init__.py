"""Files of OpenMX: ``.scfout``, the input text (``.dat``), ``.Band``."""
