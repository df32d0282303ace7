"""The Hamiltonian of a stack from several models, each for two neighbouring layers.

Every expert is evaluated on its own sub-structure: two layers, or one alone. Blocks between two
layers are those of the expert of that pair. Blocks inside a layer that two pairs share are
H(12) + H(23) − H(2), with H(2) of an expert of the layer alone, or else the mean of H(12) and
H(23). Before that the experts are brought to one zero of energy: H(23) is replaced by H(23) + μS
with the μ that minimises |H(12) − H(23) − μS| over the blocks of the common layer; what is left is
an estimate of the error there. Blocks between layers that no expert covers are μS with μ the mean
of the levels tr H_ii / tr S_ii of the two atoms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.reader import BlockFile
from moireio.errors import MoireioError
from moireio.network.cellerrors import overlap_like
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.network.inference.predict import PredictionTask, prepare
from moireio.network.model import NetworkModel
from moireio.operators.blocks import block_offsets
from moireio.operators.catalogue import operator_type
from moireio.operators.views import stored_as
from moireio.system.basis import Basis
from moireio.system.layers import assign_layers
from moireio.system.pairs import Pairs

PAIRS_AT_ONCE = 8192

IntArray = npt.NDArray[np.integer]


class LayersOfFile:
    """Some layers of a block file, as far as a prediction needs them.

    Parameters
    ----------
    file : BlockFile
        With /overlap.
    atoms : (n,) array of int
        The atoms of the layers, ascending.
    pairs : Pairs
        Pairs of the whole structure, both partners.
    """

    def __init__(self, file: BlockFile, atoms: IntArray, pairs: Pairs) -> None:
        self._file, self.atoms = file, atoms
        self.label = file.label
        s = file.structure
        self.structure = replace(
            s,
            positions=s.positions[atoms],
            numbers=s.numbers[atoms],
            species=s.species[atoms],
            layer=None,
            magmoms=None,
        )
        number = np.full(len(s), -1, dtype=np.int64)
        number[atoms] = np.arange(len(atoms))
        kept = (number[pairs.i] >= 0) & (number[pairs.j] >= 0)
        counts = np.bincount(number[pairs.i[kept]], minlength=len(atoms))
        indptr = np.concatenate([[0], np.cumsum(counts)])
        #: Both partners of every pair, atoms numbered within the layers.
        self.pairs = Pairs(indptr, number[pairs.j[kept]], pairs.R[kept])

    def __contains__(self, group: object) -> bool:
        """Return whether the file has a group."""
        return group in self._file

    @property
    def basis(self) -> Basis:
        """The basis of the file."""
        return self._file.basis

    def operator(self, name: str) -> "_PairsOnly":
        """Return the pairs of an operator."""
        return _PairsOnly(self.pairs, replace(self._file.operator(name).meta, storage="full"))

    def digest(self) -> str:
        """Return a digest of the file and the layers."""
        return f"{self._file.digest()} atoms {self.atoms[0]} to {self.atoms[-1]}, {len(self.atoms)}"


@dataclass(frozen=True)
class _PairsOnly:
    pairs: Pairs
    meta: Any


@dataclass(frozen=True, eq=False)
class Expert:
    """A model for some layers of a structure.

    Parameters
    ----------
    layers : tuple of int
        One or two neighbouring layers, from 0.
    part : LayersOfFile
        These layers.
    task : PredictionTask
        The model and its sub-structure.
    """

    layers: tuple[int, ...]
    part: LayersOfFile
    task: PredictionTask

    @property
    def name(self) -> str:
        """Name of the model, and the layers, from 1, as "a.h5 (layers 1, 2)"."""
        word = "layers" if len(self.layers) > 1 else "layer"
        return f"{self.task.model.name} ({word} {', '.join(str(n + 1) for n in self.layers)})"


@dataclass(eq=False)
class Stack:
    """A structure that is divided into layers.

    Parameters
    ----------
    file : BlockFile
        With structure, basis and /overlap.

    Raises
    ------
    MoireioError
        If it has no overlap.
    """

    file: BlockFile
    layer: npt.NDArray[np.int64] = field(init=False)
    pairs: Pairs = field(init=False)

    def __post_init__(self) -> None:
        """Find the layers and the pairs."""
        structure = self.file.structure
        if "overlap" not in self.file:
            raise MoireioError(
                "has no /overlap, which joins the models",
                path=self.file.label,
                remedy="add it: overlap FILE | …",
            )
        stored = structure.layer
        layer = assign_layers(structure) if stored is None else stored
        self.layer = np.unique(layer, return_inverse=True)[1].astype(np.int64)
        pairs = self.file.overlap.pairs
        full = self.file.overlap.meta.storage == "full"
        self.pairs = pairs if full else pairs.with_partners()

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return int(self.layer.max()) + 1

    def part(self, layers: Sequence[int]) -> LayersOfFile:
        """Return some of the layers."""
        return LayersOfFile(self.file, np.flatnonzero(np.isin(self.layer, layers)), self.pairs)

    def sub_structures(self) -> list[tuple[int, ...]]:
        """Return the layers that need an expert: neighbouring pairs, or the only one."""
        if self.n_layers == 1:
            return [(0,)]
        return [(n, n + 1) for n in range(self.n_layers - 1)]

    def expert(
        self, layers: Sequence[int], model: NetworkModel, precision: str | None, device: str
    ) -> Expert:
        """Return an expert for some layers.

        Parameters
        ----------
        layers : sequence of int
            One or two neighbouring layers.
        model : NetworkModel
            The model.
        precision, device : str
            As for `prepare`.

        Returns
        -------
        Expert
            Ready to run.

        Raises
        ------
        MoireioError
            If model and layers do not fit.
        """
        part = self.part(layers)
        return Expert(tuple(layers), part, prepare(model, part, precision, device))


@dataclass(frozen=True)
class Joint:
    """How the blocks inside a layer that two pairs share were found.

    Parameters
    ----------
    layer : int
        The layer, from 0.
    alone : bool
        Whether an expert of the layer alone was used; else it is the mean.
    difference : float
        Mean |H(12) − H(23) − μS| over the elements of the layer's blocks, eV.
    """

    layer: int
    alone: bool
    difference: float


class ExpertsSource:
    """The Hamiltonian of a stack from several experts, by runs of atoms.

    Parameters
    ----------
    stack : Stack
        The structure.
    experts : sequence of Expert
        One for each of `Stack.sub_structures`, in order, and perhaps some of middle layers alone.
    predictors : sequence of Predictor
        Those of the experts, after their `run`.
    align : bool
        Bring the experts to one zero of energy.

    Attributes
    ----------
    shifts : list of float
        μ of each expert, eV; that of the first is 0.
    joints : list of Joint
        The layers that two pairs share.
    uncovered : int
        Pairs of atoms (one of each pair of partners) that no expert covers.

    Raises
    ------
    MoireioError
        If the experts differ in spin or sizes of blocks.
    """

    def __init__(
        self,
        stack: Stack,
        experts: Sequence[Expert],
        predictors: Sequence[Predictor],
        align: bool = True,
    ) -> None:
        self._stack, self._experts = stack, list(experts)
        self._sources = [HamiltonianSource(p) for p in predictors]
        spins = {source.meta.spin for source in self._sources}
        if len(spins) > 1:
            raise MoireioError(
                "the models give spinless and spinor Hamiltonians",
                path=stack.file.label,
                remedy="take models of one kind",
            )
        self._overlap = stored_as(stack.file.overlap, "upper")
        self.pairs = self._overlap.pairs
        factor = 2 if spins == {"spinor"} else 1
        self.sizes = factor * np.asarray(self._overlap.sizes, dtype=np.int64)
        self._places = [self._place(e, s) for e, s in zip(experts, self._sources, strict=True)]
        one, two = stack.layer[self.pairs.i], stack.layer[self.pairs.j]
        self._low, self._high = np.minimum(one, two), np.maximum(one, two)
        self._offsets = block_offsets(self.pairs.block_elements(self.sizes))
        self._terms = self._plan()
        self.meta = operator_type("hamiltonian").meta(
            spin=self._sources[0].meta.spin,
            storage="upper",
            dtype=np.result_type(*(s.meta.dtype for s in self._sources)).name,
            source="model",
        )
        self.residual = 0.0
        self.shifts = [0.0] * len(self._experts)
        self.joints: list[Joint] = []
        self._difference = np.zeros(len(stack.layer))
        self._join(align)
        self.uncovered = int((self._high > self._low + 1).sum())
        self._levels = self._onsite_levels() if self.uncovered else None
        self.expected_error = self._expected()
        self.meta = self.meta.with_(extra=self._attributes())

    def _place(self, expert: Expert, source: HamiltonianSource) -> IntArray:
        """Return the numbers, among all pairs, of an expert's pairs."""
        atoms, pairs = expert.part.atoms, source.pairs
        if (source.sizes != self.sizes[atoms]).any():
            raise MoireioError(
                f"its blocks have other sizes than those of {self._stack.file.label}",
                path=expert.task.model.label,
            )
        return self.pairs.find(atoms[pairs.i], atoms[pairs.j], pairs.R)

    def _plan(self) -> dict[tuple[int, int], list[tuple[int, float]]]:
        """Return the experts of every pair of layers, with their factors; the sum is 1."""
        terms: dict[tuple[int, int], list[tuple[int, float]]] = {}
        alone = {e.layers[0]: n for n, e in enumerate(self._experts) if len(e.layers) == 1}
        count = self._stack.n_layers
        if count == 1:
            return {(0, 0): [(0, 1.0)]}
        for n in range(count - 1):
            terms[n, n + 1] = [(n, 1.0)]
        for layer in range(count):
            own = [n for n in (layer - 1, layer) if 0 <= n < count - 1]
            if len(own) == 1:
                terms[layer, layer] = [(own[0], 1.0)]
            elif layer in alone:
                terms[layer, layer] = [(own[0], 1.0), (own[1], 1.0), (alone[layer], -1.0)]
            else:
                terms[layer, layer] = [(own[0], 0.5), (own[1], 0.5)]
        return terms

    def _join(self, align: bool) -> None:
        """Find the shifts, and what is left of the differences."""
        for layer in range(1, self._stack.n_layers - 1):
            members = np.flatnonzero((self._low == layer) & (self._high == layer))
            terms = self._terms[layer, layer]
            first, second = terms[0][0], terms[1][0]
            others = [n for n, _ in terms[1:]]
            for n in others if align else []:
                self.shifts[n] = self.shifts[first] + self._best_shift(first, n, members)
            onsite = np.isin(members, self.pairs.onsite())
            twice = np.where(onsite, 1.0, 2.0)
            total, elements = 0.0, 0
            sums, counts = (np.zeros(len(self._stack.layer)) for _ in range(2))
            shift = self.shifts[second] - self.shifts[first]
            for start in range(0, len(members), PAIRS_AT_ONCE):
                some = slice(start, start + PAIRS_AT_ONCE)
                D, S, size = self._differences(first, second, members[some])
                left = np.abs(D - shift * S)
                per_pair = np.add.reduceat(left, np.concatenate([[0], np.cumsum(size)[:-1]]))
                total += float((twice[some] * per_pair).sum())
                elements += int((twice[some] * size).sum())
                for atoms, weight in (
                    (self.pairs.i[members[some]], np.ones(len(size))),
                    (self.pairs.j[members[some]], twice[some] - 1),
                ):
                    np.add.at(sums, atoms, weight * per_pair)
                    np.add.at(counts, atoms, weight * size)
            self._difference += sums / np.maximum(counts, 1)
            self.joints.append(Joint(layer, len(terms) == 3, total / max(elements, 1)))

    def _differences(
        self, first: int, second: int, members: IntArray
    ) -> tuple[npt.NDArray, npt.NDArray, IntArray]:
        """Return H of one expert minus that of another, S, and the sizes of the blocks."""
        one, two = (self._blocks(n, members) for n in (first, second))
        S = overlap_like(self._overlap, self, members, self._stack.file.label)
        size = np.diff(self._offsets)[members]
        return one.astype(np.result_type(one, np.float64)) - two, S, size

    def _blocks(self, number: int, members: IntArray) -> npt.NDArray:
        """Return the blocks of an expert for some of all pairs."""
        place = self._places[number]  # ascending, as atoms are numbered in the same order
        return self._sources[number].take(np.searchsorted(place, members))

    def _best_shift(self, first: int, second: int, members: IntArray) -> float:
        """Return the μ that minimises |H(first) − H(second) − μS|, eV."""
        onsite = np.isin(members, self.pairs.onsite())
        weight = np.where(onsite, 1.0, 2.0)
        SD = SS = 0.0
        for start in range(0, len(members), PAIRS_AT_ONCE):
            some = slice(start, start + PAIRS_AT_ONCE)
            D, S, size = self._differences(first, second, members[some])
            w = np.repeat(weight[some], size)
            SD += float((w * S * D.real).sum())
            SS += float((w * S * S).sum())
        return SD / SS

    def _onsite_levels(self) -> npt.NDArray[np.float64]:
        """Return tr H_ii / tr S_ii of every atom, eV."""
        levels = np.zeros(len(self._stack.layer))
        onsite = self.pairs.onsite()
        for start in range(0, len(onsite), PAIRS_AT_ONCE):
            some = onsite[start : start + PAIRS_AT_ONCE]
            H = self._covered(some)
            S = overlap_like(self._overlap, self, some, self._stack.file.label)
            size = np.diff(self._offsets)[some]
            offsets = block_offsets(size)
            for n, atom in enumerate(self.pairs.i[some].tolist()):
                rows = int(self.sizes[atom])
                part = slice(offsets[n], offsets[n + 1])
                h, s = (np.trace(v[part].reshape(rows, rows)).real for v in (H, S))
                levels[atom] = h / s
        return levels

    def _expected(self) -> npt.NDArray[np.float64] | None:
        """Return the expected errors of the atoms; None if no expert can expect one."""
        total, weight = (np.zeros(len(self._stack.layer)) for _ in range(2))
        known = True
        for expert, source in zip(self._experts, self._sources, strict=True):
            if len(expert.layers) == 1 and self._stack.n_layers > 1:
                continue
            if source.expected_error is None:
                known = False
                continue
            total[expert.part.atoms] += source.expected_error
            weight[expert.part.atoms] += 1
        if not known:
            return None
        return total / weight + self._difference

    def _attributes(self) -> dict[str, str | float | int]:
        """Return the attributes about the experts that the file keeps."""
        models = [e.task.model for e in self._experts]
        extra: dict[str, Any] = {
            "model": "; ".join(e.name for e in self._experts),
            "model_digest": ", ".join(m.digest() for m in models),
            "uncovered_pairs": self.uncovered,
            "expert_shifts": [float(mu) for mu in self.shifts],
        }
        if self.expected_error is not None:
            extra["expected_error"] = float(self.expected_error.mean())
        if self.joints:
            how = ["H(12)+H(23)-H(2)" if joint.alone else "mean" for joint in self.joints]
            extra["middle_layers"] = ", ".join(how)
            extra["middle_difference"] = [joint.difference for joint in self.joints]
        return extra

    def rows(self, i0: int, i1: int) -> npt.NDArray:
        """Return all blocks of a run of atoms, as `OperatorSource.rows`.

        Parameters
        ----------
        i0, i1 : int
            Atoms ``i0 <= i < i1``.

        Returns
        -------
        (n,) array
            Pair after pair, eV.
        """
        span = self.pairs.rows(i0, i1)
        return self._covered(np.arange(span.start, span.stop), with_uncovered=True)

    def _covered(self, wanted: IntArray, with_uncovered: bool = False) -> npt.NDArray:
        """Return the blocks of some pairs, ascending."""
        size = np.diff(self._offsets)[wanted]
        offsets = block_offsets(size)
        out = np.zeros(offsets[-1], dtype=self.meta.dtype)
        mu = np.zeros(len(wanted))
        layers = self._low[wanted] * self._stack.n_layers + self._high[wanted]
        for number in range(len(self._experts)):
            factors = np.zeros(self._stack.n_layers**2)
            for (low, high), terms in self._terms.items():
                factors[low * self._stack.n_layers + high] = dict(terms).get(number, 0.0)
            mine = np.flatnonzero(factors[layers] != 0)
            if not len(mine):
                continue
            data = self._blocks(number, wanted[mine])
            index = np.repeat(offsets[mine] - block_offsets(size[mine])[:-1], size[mine])
            index += np.arange(len(data))
            factor = factors[layers[mine]]
            out[index] += data if (factor == 1).all() else np.repeat(factor, size[mine]) * data
            mu[mine] += factor * self.shifts[number]
        if with_uncovered and self._levels is not None:
            far = np.flatnonzero(self._high[wanted] > self._low[wanted] + 1)
            i, j = self.pairs.i[wanted[far]], self.pairs.j[wanted[far]]
            mu[far] = (self._levels[i] + self._levels[j]) / 2
        moved = np.flatnonzero(mu)
        if len(moved):
            S = overlap_like(self._overlap, self, wanted[moved], self._stack.file.label)
            index = np.repeat(offsets[moved] - block_offsets(size[moved])[:-1], size[moved])
            index += np.arange(len(S))
            out[index] += (np.repeat(mu[moved], size[moved]) * S).astype(out.dtype)
        return out
