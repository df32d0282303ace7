"""Crystal fields: the levels of every atom's on-site block, the group ``x_crystal_field``."""

from dataclasses import dataclass

import numpy as np

from moireio.errors import DamagedError
from moireio.results.kind import ResultKind
from moireio.store.base import seal, verify, write_array
from moireio.store.finding import Finding


@dataclass(frozen=True, eq=False)
class CrystalField:
    """Levels of the on-site blocks of H.

    Parameters
    ----------
    atom : (n,) array of int
        Atom of each level, ascending.
    energies : (ns, n) array
        eV, ascending for every atom; ns = 2 for collinear spin (up, down), else 1.
    """

    atom: np.ndarray
    energies: np.ndarray


def crystal_field(onsite):
    """Return the levels of the operator ``x_onsite``, whose orbitals of an atom are orthonormal."""
    sizes = onsite.sizes
    levels = []
    for atom, size in enumerate(sizes):
        blocks = onsite.rows(atom, atom + 1).reshape(-1, size, size)
        levels.append(np.linalg.eigvalsh(blocks))
    return CrystalField(np.repeat(np.arange(len(sizes)), sizes), np.concatenate(levels, axis=1))


class CrystalFieldKind(ResultKind[CrystalField]):
    """How a block file keeps crystal fields."""

    def schema(self):
        """Return the JSON Schema of the group."""
        return {"properties": {"arrays": {"required": ["atom", "energies"]}}}

    def read(self, container, group):
        """Read a group."""
        verify(container, group)
        values = {name: container.read(f"{group}/{name}") for name in ("atom", "energies")}
        if values["energies"].shape[1:] != values["atom"].shape:
            raise DamagedError(f"/{group}: its arrays do not fit together", path=container.label)
        return CrystalField(**values)

    def write(self, container, group, value, compression="none"):
        """Write a group."""
        container.create_group(group, {"unit": "eV"})
        write_array(container, f"{group}/atom", value.atom)
        write_array(container, f"{group}/energies", value.energies)
        seal(container, group)

    def check(self, container, group, value, structure):
        """Find levels that are out of order, or of atoms that do not exist."""
        findings = []
        same_atom = np.diff(value.atom) == 0
        if not (np.diff(value.energies)[:, same_atom] >= 0).all():
            findings.append(Finding(f"/{group}/energies", "levels of an atom do not ascend"))
        if structure is not None and value.atom.max() >= len(structure.numbers):
            findings.append(Finding(f"/{group}/atom", "there is no such atom"))
        return findings

    def summary(self, container, group, value):
        """Return the number of levels and the largest splitting of an atom, eV."""
        spread = [np.ptp(value.energies[:, value.atom == n]) for n in np.unique(value.atom)]
        return {"levels": len(value.atom), "largest_splitting": float(max(spread))}

    def lines(self, group, summary):
        """Return one line for `h5-info`."""
        return [
            f"{group:<12} {summary['levels']} levels, "
            f"split by {summary['largest_splitting']:.3f} eV at most"
        ]


CRYSTAL_FIELD = CrystalFieldKind()
