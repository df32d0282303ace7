"""Calculators by name, with what is recorded of them: version, files, elements, memory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moireio.errors import MoireioError, first_line
from moireio.relax import serve
from moireio.runtime.files import digest_files
from moireio.runtime.memory import size_text, usable_memory
from moireio.system.structure import Structure

#: Bytes an atom that one evaluation takes, by kind (measured on bilayers with 1302 atoms and more).
BYTES_PER_ATOM = {
    "lammps": 3e4,
    "chgnet": 4.0e6,
    "sevenn": 2.5e6,
    "deepmd": 4e5,
    "mace": 3e6,
    "nequip": 2.5e6,
}
UNIVERSAL = ("chgnet", "sevenn")
DISPERSIONS = ("pbe", "none")
NEEDS_FILE = ("deepmd", "mace", "nequip")

Evaluate = Callable[[Any, bool], dict[str, Any]]


@dataclass(eq=False)
class ForceField:
    """A calculator that is ready.

    Parameters
    ----------
    label : str
        As it was named, with its dispersion, such as "chgnet + D3(PBE)".
    version : str
        Version of its package, such as "chgnet 0.4.2".
    files : dict of str to str
        Digests of its parameter files by name.
    evaluate : callable
        Takes ``ase.Atoms`` and whether the stress is wanted; returns ``energy`` (eV), ``forces``
        (N, 3) in eV/Å and ``stress`` (6,) in eV/Å³, in ASE's order.
    """

    label: str
    version: str
    evaluate: Evaluate
    files: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What a run that is resumed must agree in."""
        return {"calculator": self.label, "version": self.version, "files": self.files}


@contextlib.contextmanager
def open_calculator(
    name: str,
    structure: Structure,
    *,
    d3: str | None = None,
    python: str | None = None,
    memory: float | None = None,
) -> Iterator[ForceField]:
    """Make a calculator for a structure.

    Parameters
    ----------
    name : str
        ``auto``, ``lammps:FILE.in``, ``chgnet``, ``sevenn:NAME``, ``deepmd:FILE``, ``mace:FILE``,
        ``nequip:FILE`` or ``MODULE:FACTORY``.
    structure : Structure
        The structure.
    d3 : {"pbe", "none"}, optional
        Dispersion to be added (DFT-D3 with the damping of Becke and Johnson).
    python : str, optional
        The Python of the environment in which the force field is installed.
    memory : float, optional
        Limit, bytes.

    Yields
    ------
    ForceField
        Ready.

    Raises
    ------
    MoireioError
        If there is no potential, package, file or memory for it, or if a universal model is named
        without a word on dispersion.
    """
    kind, colon, argument = name.partition(":")
    if kind in NEEDS_FILE and not argument:
        raise MoireioError(f"`calculator` {kind} needs a model", remedy=f"{kind}:FILE")
    known = ("auto", "lammps", *serve.PACKAGES)
    if not kind or (not colon and kind not in known):
        names = "auto, lammps:FILE.in, chgnet, sevenn:NAME, deepmd:FILE, mace:FILE, nequip:FILE"
        raise MoireioError(f"no calculator {name!r}", remedy=f"{names} or MODULE:FACTORY")
    if kind in UNIVERSAL and d3 is None:
        raise MoireioError(
            f"{name} holds no dispersion: most layers would not bind",
            remedy="`d3` pbe adds it, `d3` none goes without",
        )
    kind = "lammps" if kind == "auto" else kind
    check_memory(kind, len(structure), memory)
    if kind == "lammps":
        if python is not None:
            raise MoireioError("LAMMPS runs in this process", remedy="leave out `python`")
        opened = _lammps(name, argument, structure)
    else:
        opened = _elsewhere(name, python)
    with opened as (version, files, elements, evaluate):
        _require_elements(name, structure, elements)
        label = name
        if d3 not in (None, "none"):
            label += f" + D3({d3.upper()})"
            evaluate = _with_dispersion(evaluate, d3)
        yield ForceField(label, version, evaluate, files)


def check_memory(kind: str, n_atoms: int, limit: float | None = None) -> None:
    """Refuse a calculation that does not fit into memory.

    Parameters
    ----------
    kind : str
        Kind of calculator; of those that are not known nothing is expected.
    n_atoms : int
        Number of atoms.
    limit : float, optional
        Limit, bytes; by default what is free.

    Raises
    ------
    MoireioError
        If it does not fit.
    """
    needed = BYTES_PER_ATOM.get(kind, 0.0) * n_atoms
    usable = usable_memory(limit)
    if needed > usable:
        raise MoireioError(
            f"{kind}: {n_atoms} atoms need about {size_text(needed)}, {size_text(usable)} may be "
            "used",
            remedy="`memory` sets the limit; a smaller cell, or `calculator` auto, needs less",
        )


@contextlib.contextmanager
def _lammps(name: str, path: str, structure: Structure) -> Iterator[Any]:
    from moireio.relax.lammps import LammpsCalculator
    from moireio.relax.potentials import automatic_setup, input_setup

    if name == "lammps:":
        raise MoireioError("`calculator` lammps: names no file", remedy="lammps:FILE.in")
    setup = input_setup(path, structure) if path else automatic_setup(structure)
    calculator = LammpsCalculator(setup)
    files = {os.path.basename(file): digest_files(file) for file in setup.files}

    def evaluate(atoms: Any, with_stress: bool) -> dict[str, Any]:
        calculator.calculate(atoms)
        return calculator.results

    try:
        yield f"lammps {calculator.version}", files, None, evaluate
    finally:
        calculator.close()


@contextlib.contextmanager
def _elsewhere(name: str, python: str | None) -> Iterator[Any]:
    """Open a calculator of another package, here or in a process of another environment."""
    argument = name.partition(":")[2]
    path = argument if os.path.isfile(argument) else None
    files = {} if path is None else {os.path.basename(path): digest_files(path)}
    if python is not None:
        from moireio.relax.worker import Worker

        with Worker(python, name) as worker:
            yield worker.version, files, worker.elements, worker.evaluate
        return
    with _as_errors():
        calculator, version = serve.make_calculator(name)

    def evaluate(atoms: Any, with_stress: bool) -> dict[str, Any]:
        with _as_errors():
            return serve.evaluate(calculator, atoms, with_stress)

    yield version, files, serve.known_elements(calculator), evaluate


@contextlib.contextmanager
def _as_errors() -> Iterator[None]:
    """Make errors of calculators those of moireio; what they print goes to standard error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except serve.CalculatorError as error:
        raise MoireioError(str(error)) from error


def _require_elements(name: str, structure: Structure, known: list[str] | None) -> None:
    if known is None:
        return
    lacking = sorted(set(structure.element_symbols) - set(known))
    if lacking:
        raise MoireioError(
            f"{name} holds no potential for {', '.join(lacking)}",
            remedy=f"it knows {', '.join(known[:8])}{' …' if len(known) > 8 else ''}",
        )


def _with_dispersion(evaluate: Evaluate, functional: str) -> Evaluate:
    """Return a calculator with DFT-D3 (Becke and Johnson's damping) added."""
    try:
        from dftd3.ase import DFTD3
    except ImportError as error:
        raise MoireioError(
            f"needs the package dftd3: {first_line(error)}", remedy="pip install 'moireio[relax]'"
        ) from error
    dispersion = DFTD3(method=functional.upper(), damping="d3bj")

    def with_dispersion(atoms: Any, with_stress: bool) -> dict[str, Any]:
        values = evaluate(atoms, with_stress)
        with _as_errors():
            more = serve.evaluate(dispersion, atoms, with_stress)
        return {key: np.asarray(values[key] + more[key]) for key in more}

    return with_dispersion
