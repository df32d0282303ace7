"""moireio: from DFT output to the topology of twisted two-dimensional materials.

The public names are `open`, `create`, `BlockFile`, `Structure`, `Basis`, `BandStructure`,
`KPath`, `make_path`, `solve_bands`, `find_filling`, `plot_bands`, `validate` and `MoireioError`.
They are imported when first used, so that a command's ``--help`` is quick.
"""

import os
from importlib import import_module

TYPE_CHECKING = False  # typing is not imported while the current folder may be on the path
if TYPE_CHECKING:
    from typing import Any

    from moireio.bands.solve import solve_bands
    from moireio.blockfile.checks import validate
    from moireio.blockfile.reader import BlockFile
    from moireio.blockfile.reader import open_blockfile as open
    from moireio.blockfile.stream import write_target as create
    from moireio.errors import MoireioError
    from moireio.kspace.path import make_path
    from moireio.plots.bands import plot_bands
    from moireio.results.bands import BandStructure
    from moireio.results.kpath import KPath
    from moireio.spectrum.filling import find_filling
    from moireio.system.basis import Basis
    from moireio.system.structure import Structure

__version__ = "0.1.0"

_NAMES = {
    "open": ("moireio.blockfile.reader", "open_blockfile"),
    "create": ("moireio.blockfile.stream", "write_target"),
    "BlockFile": ("moireio.blockfile.reader", "BlockFile"),
    "Structure": ("moireio.system.structure", "Structure"),
    "Basis": ("moireio.system.basis", "Basis"),
    "BandStructure": ("moireio.results.bands", "BandStructure"),
    "KPath": ("moireio.results.kpath", "KPath"),
    "make_path": ("moireio.kspace.path", "make_path"),
    "solve_bands": ("moireio.bands.solve", "solve_bands"),
    "find_filling": ("moireio.spectrum.filling", "find_filling"),
    "plot_bands": ("moireio.plots.bands", "plot_bands"),
    "validate": ("moireio.blockfile.checks", "validate"),
    "MoireioError": ("moireio.errors", "MoireioError"),
}
__all__ = [
    "BandStructure",
    "Basis",
    "BlockFile",
    "KPath",
    "MoireioError",
    "Structure",
    "create",
    "find_filling",
    "make_path",
    "open",
    "plot_bands",
    "solve_bands",
    "validate",
]

# In a clone that is not installed, formats/, tools/ and schemas/ lie beside this folder.
_root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if os.path.isfile(os.path.join(_root, "pyproject.toml")) and os.path.isdir(f"{_root}/formats"):
    __path__.append(_root)


def __getattr__(name: str) -> "Any":
    """Import a public name when it is first used."""
    if name not in _NAMES:
        raise AttributeError(f"module 'moireio' has no attribute {name!r}")
    module, attribute = _NAMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
