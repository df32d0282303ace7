"""The species of training data, and whether calculations fit each other."""

from collections.abc import Container

from moireio.errors import MoireioError
from moireio.network.model import NetworkModel
from moireio.network.training.sets import CalculationSummary
from moireio.system.basis import Basis, SpeciesBasis


class CollectedSpecies:
    """Species of the calculations accepted so far.

    Parameters
    ----------
    initial : NetworkModel, optional
        Model that training begins with; calculations must fit it too.
    """

    def __init__(self, initial: NetworkModel | None = None) -> None:
        self._initial = initial
        self._basis: dict[str, SpeciesBasis] = {}
        self._numbers: dict[str, int] = {}
        self._spinful: bool | None = None
        self._first: str | None = None
        if initial is not None:
            self._spinful, self._first = initial.targets.spinful, initial.label

    @property
    def spinful(self) -> bool:
        """Whether blocks are spinor blocks."""
        return bool(self._spinful)

    def accept(self, path: str, summary: CalculationSummary) -> None:
        """Add the species of a calculation.

        Parameters
        ----------
        path : str
            Path of the calculation, for messages.
        summary : CalculationSummary
            Its basis, elements and spin.

        Raises
        ------
        MoireioError
            If spin or orbitals are not those of the calculations before.
        """
        if self._spinful not in (None, summary.spinful):
            kind = "spinor" if self._spinful else "spinless"
            raise MoireioError(
                f"its Hamiltonian is not {kind}, as that of {self._first} is", path=path
            )
        for name, basis in summary.basis.items():
            expected, origin = self._expected(name, summary.elements[name])
            if expected is not None and not _same_orbitals(expected, basis):
                raise MoireioError(
                    f"species {name} has {basis.label}, but {expected.label} in {origin}", path=path
                )
        self._spinful, self._first = summary.spinful, self._first or path
        for name, basis in summary.basis.items():
            self._basis.setdefault(name, basis)
            self._numbers.setdefault(name, summary.elements[name])

    def _expected(self, name: str, number: int) -> tuple[SpeciesBasis | None, str | None]:
        """Return the basis that a species must have, if it is known, and where it comes from."""
        initial = self._initial
        if initial is None or number not in initial.targets.numbers:
            return self._basis.get(name), self._first
        place = initial.targets.numbers.index(number)
        if initial.basis is not None:
            return initial.basis[initial.names[place]], initial.label
        return SpeciesBasis(initial.targets.shells[place]), initial.label

    def beyond(self, numbers: Container[int], need_cutoffs: bool) -> tuple[Basis, list[int]]:
        """Return the species whose elements are not among some.

        Parameters
        ----------
        numbers : container of int
            Atomic numbers of the elements to leave out.
        need_cutoffs : bool
            Refuse species whose cutoff is not known.

        Returns
        -------
        basis : Basis
            The species, in order of their atomic numbers.
        numbers : list of int
            Their atomic numbers.

        Raises
        ------
        MoireioError
            If a cutoff is missing.
        """
        names = [n for n in self._basis if self._numbers[n] not in numbers]
        names.sort(key=self._numbers.__getitem__)
        for name in names:
            if need_cutoffs and self._basis[name].cutoff is None:
                raise MoireioError(f"the cutoff of species {name} is not known", path=self._first)
        basis = Basis({name: self._basis[name] for name in names})
        return basis, [self._numbers[name] for name in names]


def _same_orbitals(one: SpeciesBasis, two: SpeciesBasis) -> bool:
    """Compare shells, and names and cutoffs where both are known."""
    other_name = one.name and two.name and one.name != two.name
    other_cutoff = one.cutoff and two.cutoff and abs(one.cutoff - two.cutoff) > 1e-6
    return one.l == two.l and not other_name and not other_cutoff
