"""Calculators of force fields, in this process or in one of another environment.

This file is also a script of its own, run by the Python of another virtual environment that has
numpy, ase and the force field, but not moireio: it imports nothing else. It reads and writes
messages on its standard input and output: 8 letters, a length (8 bytes, little-endian), and npz.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from typing import IO, Any

import numpy as np

MARK = b"moireio:"
LONGEST = 200  # letters of a package's message
PACKAGES = {
    "chgnet": ("chgnet", "chgnet"),
    "sevenn": ("sevenn", "sevenn"),
    "deepmd": ("deepmd", "deepmd-kit"),
    "mace": ("mace", "mace-torch"),
    "nequip": ("nequip", "nequip"),
}


class CalculatorError(Exception):
    """What is wrong with a calculator, in one line."""


def make_calculator(name: str) -> tuple[Any, str]:
    """Return a calculator of ASE, and the versions of its packages.

    Parameters
    ----------
    name : str
        ``chgnet``, ``sevenn:NAME``, ``deepmd:FILE``, ``mace:FILE``, ``nequip:FILE`` or
        ``MODULE:FACTORY``.

    Returns
    -------
    calculator : ase.calculators.calculator.Calculator
        In double precision where it has a choice.
    versions : str
        Such as "chgnet 0.4.2".
    """
    from importlib import metadata

    kind, _, argument = name.partition(":")
    module, package = PACKAGES.get(kind, (kind, kind))
    try:
        calculator = _FACTORIES.get(kind, _foreign)(kind, argument)
    except ImportError as error:
        lacking = (getattr(error, "name", "") or "").partition(".")[0]
        if kind in PACKAGES and (lacking == module or not _is_there(module)):
            text = f"needs the package {package} (pip install {package}, here or in an environment"
            raise CalculatorError(f"{text} that `python` names)") from error
        if lacking == module.partition(".")[0]:
            raise CalculatorError(f"there is no module {module}") from error
        raise CalculatorError(f"{name}: {_line(error)}") from error
    except CalculatorError:
        raise
    except Exception as error:
        raise CalculatorError(f"{name}: {_line(error)}") from error
    if not callable(getattr(calculator, "get_property", None)):
        raise CalculatorError(f"{name}: makes no calculator of ASE")
    try:
        version = f"{package} {metadata.version(package)}"
    except Exception:  # no distribution of that name
        version = kind
    return calculator, version


def evaluate(calculator: Any, atoms: Any, with_stress: bool) -> dict[str, Any]:
    """Return energy, forces and stress of atoms.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
        Any.
    atoms : ase.Atoms
        Any.
    with_stress : bool
        Compute the stress too.

    Returns
    -------
    dict of str to array
        ``energy`` (eV), ``forces`` (eV/Å), ``stress`` (6, eV/Å³; xx, yy, zz, yz, xz, xy).
    """
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        values = {
            "energy": calculator.get_property("energy", atoms),
            "forces": calculator.get_property("forces", atoms),
        }
        if with_stress:
            values["stress"] = calculator.get_property("stress", atoms)
    except PropertyNotImplementedError as error:
        raise CalculatorError(f"the calculator has no {_line(error)}") from error
    except CalculatorError:
        raise
    except Exception as error:
        raise CalculatorError(f"the calculator failed: {_line(error)}") from error
    return {key: np.asarray(value, dtype=np.float64) for key, value in values.items()}


def known_elements(calculator: Any) -> list[str] | None:
    """Return the symbols of the elements that a calculator knows; None if it does not say."""
    from ase.data import chemical_symbols

    potential = getattr(calculator, "dp", None)  # deepmd
    if potential is not None:
        return [str(s) for s in potential.get_type_map()]
    if hasattr(calculator, "type_map") and isinstance(calculator.type_map, dict):  # sevenn
        return [chemical_symbols[int(number)] for number in calculator.type_map]
    table = getattr(calculator, "z_table", None)  # mace
    if table is not None:
        return [chemical_symbols[int(number)] for number in table.zs]
    for transform in getattr(calculator, "transforms", None) or ():  # nequip
        table = getattr(transform, "lookup_table", None)
        if table is not None:
            types = np.asarray(table).tolist()
            return [chemical_symbols[number] for number, kind in enumerate(types) if kind >= 0]
    return None


def _chgnet(kind: str, argument: str) -> Any:
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore")


def _sevenn(kind: str, argument: str) -> Any:
    from sevenn.calculator import SevenNetCalculator

    try:
        return SevenNetCalculator(argument or "7net-0", device="cpu")
    except OSError as error:
        raise CalculatorError(
            f"the weights of {argument} are not here, and cannot be downloaded ({_kind(error)}); "
            "7net-0 and 7net-l3i5 come with sevenn, sevenn:FILE takes a checkpoint"
        ) from error


def _deepmd(kind: str, argument: str) -> Any:
    _require_file(argument)
    import deepmd.env

    # The compiled operators are built for one release of torch; models run without them.
    deepmd.env.SHARED_LIB_DIR = type(deepmd.env.SHARED_LIB_DIR)("/nonexistent")
    from deepmd.calculator import DP

    return DP(model=argument)


def _mace(kind: str, argument: str) -> Any:
    _require_file(argument)
    from mace.calculators import MACECalculator

    return MACECalculator(model_paths=argument, device="cpu", default_dtype="float64")


def _nequip(kind: str, argument: str) -> Any:
    _require_file(argument)
    try:
        from nequip.integrations.ase import NequIPCalculator
    except ImportError:  # releases before 0.17
        from nequip.ase import NequIPCalculator

    return NequIPCalculator.from_compiled_model(argument, device="cpu")


def _foreign(kind: str, argument: str) -> Any:
    import importlib

    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module = importlib.import_module(kind)
    factory = getattr(module, argument, None)
    if not callable(factory):
        raise CalculatorError(f"{kind} has no function {argument}")
    return factory()


_FACTORIES = {
    "chgnet": _chgnet,
    "sevenn": _sevenn,
    "deepmd": _deepmd,
    "mace": _mace,
    "nequip": _nequip,
}


def _require_file(path: str) -> None:
    if not os.path.exists(path):
        raise CalculatorError(f"{path}: there is no such file")


def _is_there(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return _kind(error)
    text = lines[0] if len(lines[0]) <= LONGEST else lines[0][: LONGEST - 1] + "…"
    return f"{_kind(error)}: {text}"


def _kind(error: BaseException) -> str:
    return type(error).__name__


def send(stream: IO[bytes], **arrays: Any) -> None:
    """Write a message of arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    stream.write(MARK + struct.pack("<q", buffer.tell()))
    stream.write(buffer.getbuffer())
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read a message; None where the stream has ended, or holds something else."""
    head = stream.read(16)
    if len(head) < 16 or head[:8] != MARK:
        return None
    (size,) = struct.unpack("<q", head[8:])
    data = stream.read(size)
    if len(data) < size:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def serve(name: str) -> None:
    """Answer requests on standard input until it ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a package prints is no message
    sys.stdout = sys.stderr
    try:
        from ase import Atoms

        calculator, version = make_calculator(name)
    except CalculatorError as error:
        send(replies, error=str(error))
        return
    except ImportError as error:
        send(replies, error=f"needs the package {error.name} (pip install {error.name})")
        return
    elements = known_elements(calculator)
    known = {} if elements is None else {"elements": np.array(elements)}
    send(replies, version=version, **known)
    requests = os.fdopen(0, "rb", closefd=False)
    atoms = None
    while (request := receive(requests)) is not None:
        if atoms is None or "numbers" in request:
            atoms = Atoms(request["numbers"], pbc=request["pbc"])
        atoms.set_cell(request["cell"], scale_atoms=False)
        atoms.set_positions(request["positions"])
        try:
            send(replies, **evaluate(calculator, atoms, bool(request["with_stress"])))
        except CalculatorError as error:
            send(replies, error=str(error))


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder or ".") != here]
    serve(sys.argv[1])
