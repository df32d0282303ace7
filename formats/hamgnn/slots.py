"""Where HamGNN puts the orbitals of an atom, for each program whose matrices it takes.

A block has nao × nao elements for every pair. Shells have fixed places, those that an element does
not have are zero. Inside a shell orbitals have the order and the signs of the program that made
the numbers; with 19 orbitals those of SIESTA stand at OpenMX's places with SIESTA's signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.assembly.orders import ABACUS, OPENMX, SIESTA, OrbitalOrder
from moireio.system.basis import SHELL_LETTERS, SpeciesBasis
from moireio.units import HARTREE_EV

#: Shells of each number of orbitals and program, in the order of the slots.
LAYOUTS = {
    (14, "openmx"): "s3p2d1",
    (19, "openmx"): "s3p2d2",
    (26, "openmx"): "s3p2d2f1",
    (13, "siesta"): "s2p2d1",
    (19, "siesta"): "s3p2d2",
    (13, "abacus"): "s2p2d1",
    (15, "abacus"): "s4p2d1",
    (27, "abacus"): "s4p2d2f1",
    (40, "abacus"): "s4p4d2f2",
}
#: OpenMX's places with SIESTA's signs.
SIESTA_19 = OrbitalOrder("SIESTA (19 orbitals)", OPENMX.shell, SIESTA.negative)
# The scripts take OpenMX's numbers as they are, and 13.6058/27.21138506 Hartree for a Rydberg:
# SIESTA's own Rydberg is 13.6058 eV, that of ABACUS 13.605698066 eV.
HARTREE = {
    "openmx": HARTREE_EV,
    "siesta": 27.21138506,
    "abacus": 27.21138506 * 13.605698066 / 13.6058,
}
CODES = tuple(HARTREE)


@dataclass(frozen=True)
class Slots:
    """The places of shells.

    Parameters
    ----------
    nao : int
        Orbitals of every atom, those that are not used included.
    code : {"openmx", "siesta", "abacus"}
        The program.
    """

    nao: int
    code: str

    @property
    def order(self) -> OrbitalOrder:
        """Order and signs inside a shell."""
        if (self.nao, self.code) == (19, "siesta"):
            return SIESTA_19
        return {"openmx": OPENMX, "siesta": SIESTA, "abacus": ABACUS}[self.code]

    @property
    def shells(self) -> list[tuple[int, int]]:
        """Angular momentum and first slot of every shell."""
        text = LAYOUTS[self.nao, self.code]
        found, at = [], 0
        for letter, count in zip(text[::2], text[1::2], strict=True):
            momentum = SHELL_LETTERS.index(letter)
            for _ in range(int(count)):
                found.append((momentum, at))
                at += 2 * momentum + 1
        return found

    def basis(self, used: npt.NDArray[np.bool_], name: str) -> tuple[SpeciesBasis, npt.NDArray]:
        """Return the orbitals of an atom, and their slots in the program's order.

        Parameters
        ----------
        used : (nao,) array of bool
            Slots that the atom has.
        name : str
            The atom, for messages.

        Returns
        -------
        basis : SpeciesBasis
            Its shells.
        slots : (n,) array of int
            Slot of every orbital, in the program's order.

        Raises
        ------
        MoireioError
            If a shell is used in part.
        """
        momenta, slots = [], []
        for momentum, at in self.shells:
            shell = used[at : at + 2 * momentum + 1]
            if not shell.any():
                continue
            if not shell.all():
                raise MoireioError(
                    f"{name} uses {int(shell.sum())} of {len(shell)} orbitals of a "
                    f"{SHELL_LETTERS[momentum]} shell at slot {at}",
                    remedy=f"the slots are those of {self.code} with {self.nao} orbitals; another "
                    "program is named with `code`",
                )
            momenta.append(momentum)
            slots += range(at, at + len(shell))
        if not momenta:
            raise MoireioError(f"{name} has no orbitals: its overlap is zero")
        return SpeciesBasis(tuple(momenta)), np.array(slots, dtype=np.int64)

    def places(self, momenta: tuple[int, ...], name: str) -> npt.NDArray[np.int64]:
        """Return the slots of some shells, in the program's order.

        Parameters
        ----------
        momenta : tuple of int
            Angular momenta of the shells, in any order.
        name : str
            The species, for messages.

        Returns
        -------
        (n,) array of int
            Slots of the orbitals.

        Raises
        ------
        MoireioError
            If there are more shells than slots.
        """
        free = self.shells
        slots: list[int] = []
        for momentum in momenta:
            fitting = next((shell for shell in free if shell[0] == momentum), None)
            if fitting is None:
                raise MoireioError(
                    f"the shells of {name} do not fit into {self.nao} orbitals, "
                    f"{LAYOUTS[self.nao, self.code]} of {self.code}"
                )
            free.remove(fitting)
            slots += range(fitting[1], fitting[1] + 2 * momentum + 1)
        return np.array(slots, dtype=np.int64)


def codes_of(nao: int) -> list[str]:
    """Return the programs whose matrices have some number of orbitals.

    Parameters
    ----------
    nao : int
        Orbitals of every atom.

    Returns
    -------
    list of str
        Names, perhaps several or none.
    """
    return [code for number, code in LAYOUTS if number == nao]


def smallest(shells: dict[str, tuple[int, ...]], code: str, nao: int | None = None) -> Slots:
    """Return the smallest slots that hold some bases.

    Parameters
    ----------
    shells : dict of str to tuple of int
        Angular momenta of the shells of every species.
    code : str
        The program.
    nao : int, optional
        Orbitals of every atom; by default as few as possible.

    Returns
    -------
    Slots
        Large enough for all.

    Raises
    ------
    MoireioError
        If there are none.
    """
    numbers = sorted(number for number, name in LAYOUTS if name == code)
    if nao is not None and nao not in numbers:
        raise MoireioError(
            f"HamGNN has no {nao} orbitals for {code}",
            remedy="it has " + ", ".join(map(str, numbers)),
        )
    for number in numbers if nao is None else [nao]:
        slots = Slots(number, code)
        try:
            for name, momenta in shells.items():
                slots.places(momenta, name)
        except MoireioError:
            if number == (numbers[-1] if nao is None else nao):
                raise
            continue
        return slots
    raise AssertionError
