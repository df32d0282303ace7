"""The catalogue of operators: one row each.

Readers, checks, the schema and everything that makes an operator take its unit, parity,
components and spin from here. Another package adds an operator with an entry point in the group
``moireio.operators`` that names an `OperatorType` called ``x_…``, which is also its group in a
block file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moireio.errors import MoireioError
from moireio.operators.blocks import OperatorMeta
from moireio.runtime import plugins

SPINS = ("none", "collinear", "spinor")
GROUP = "moireio.operators"


@dataclass(frozen=True)
class OperatorType:
    """What all operators of one name have in common.

    Parameters
    ----------
    name : str
        Its group in a block file.
    unit : str
        Unit of the elements.
    formula : str
        The element between orbital α of atom i and orbital β of atom j in cell R.
    spins : tuple of str
        Spins that its blocks may have. An operator that acts on space alone has only "none": its
        blocks stay spinless where H has spinor blocks.
    parity : {1, -1, 0}
        The block of the partner (j, i, −R) is the adjoint, minus the adjoint, or follows another
        rule.
    vector : bool
        Three components along x, y, z.
    shifted : str, optional
        For parity 0: P_ij(R) = P_ji(−R)† + (τ_j + R − τ_i) O_ij(R) with the operator O of this
        name.
    within : str, optional
        The operator whose pairs include all pairs of this one.
    positive : bool
        O(k) is positive definite.
    """

    name: str
    unit: str
    formula: str
    spins: tuple[str, ...] = ("none",)
    parity: int = 1
    vector: bool = False
    shifted: str | None = None
    within: str | None = None
    positive: bool = False

    def spin_of(self, calculation: str) -> str:
        """Return the spin of the blocks in a calculation.

        Parameters
        ----------
        calculation : {"none", "collinear", "spinor"}
            Spin of the Hamiltonian.

        Returns
        -------
        str
            The same, or "none" where the operator stays spinless.
        """
        return calculation if calculation in self.spins else "none"

    def components(self, spin: str = "none") -> int:
        """Return the number of components of the blocks.

        Parameters
        ----------
        spin : {"none", "collinear", "spinor"}
            Spin of the blocks.

        Returns
        -------
        int
            3 for vectors; 2 for collinear spin, up and down; else 1.
        """
        if self.vector:
            return 3
        return 2 if spin == "collinear" else 1

    def meta(
        self, *, spin: str = "none", dtype: str | None = None, **attributes: Any
    ) -> OperatorMeta:
        """Return the attributes of an operator of this type.

        Parameters
        ----------
        spin : {"none", "collinear", "spinor"}
            Spin of the calculation; see `spin_of`.
        dtype : str, optional
            NumPy's name of the element type; by default complex128 for spinor blocks, else
            float64.
        **attributes
            Further fields of `OperatorMeta`: `source`, `storage`, `residual`, `extra`, and
            `parity` where the blocks do not obey the type's.

        Returns
        -------
        OperatorMeta
            With unit, parity and components of the type.
        """
        spin = self.spin_of(spin)
        return OperatorMeta(
            name=self.name,
            unit=self.unit,
            spin=spin,
            components=self.components(spin),
            dtype=dtype or ("complex128" if spin == "spinor" else "float64"),
            **{"parity": self.parity} | attributes,
        )

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the operator's group.

        Returns
        -------
        dict
            It refers to ``#/$defs/operator`` or ``#/$defs/vector`` of the block file's schema.
        """
        attributes = {
            "unit": {"const": self.unit},
            "parity": {"enum": sorted({self.parity, 0})},
            "spin": {"enum": list(self.spins)},
        }
        return {
            "$ref": "#/$defs/vector" if self.vector else "#/$defs/operator",
            "description": self.formula + ("" if self.unit == "1" else f", {self.unit}"),
            "properties": {"attributes": {"properties": attributes}},
        }


CATALOGUE = {
    row.name: row
    for row in (
        OperatorType("hamiltonian", "eV", "⟨i,0|H|j,R⟩", spins=SPINS, within="overlap"),
        OperatorType("overlap", "1", "⟨i,0|j,R⟩", positive=True),
        OperatorType(
            "position",
            "Å",
            "⟨i,0|r − τ_i|j,R⟩",
            parity=0,
            vector=True,
            shifted="overlap",
            within="overlap",
        ),
        OperatorType("momentum", "1/Å", "⟨i,0|∂|j,R⟩", parity=-1, vector=True),
        OperatorType("density", "1", "ρ_ij(R)", spins=SPINS),
    )
}


def operator_names() -> list[str]:
    """Return the names of all operators, those of other packages last.

    Returns
    -------
    list of str
        Nothing is imported for them.
    """
    return [*CATALOGUE, *plugins.entries(GROUP, CATALOGUE)]


def operator_type(name: str) -> OperatorType:
    """Return a row of the catalogue.

    Parameters
    ----------
    name : str
        Such as "hamiltonian".

    Returns
    -------
    OperatorType
        The row.

    Raises
    ------
    MoireioError
        If there is none of that name, or another package's is unusable.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    plugin = plugins.entries(GROUP, CATALOGUE).get(name)
    if plugin is None:
        raise MoireioError(
            f"no operator is called {name!r}", remedy="known: " + ", ".join(operator_names())
        )
    row = plugin.load()
    if not isinstance(row, OperatorType) or row.name != name or not name.startswith("x_"):
        raise MoireioError(
            f"{name!r} ({GROUP}) of the distribution {plugin.distribution} is not an OperatorType "
            "of that name, which must begin with x_",
            remedy=f"update or uninstall {plugin.distribution}",
        )
    return row
