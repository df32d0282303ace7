"""The predicted Hamiltonian as a source of blocks."""

import numpy as np
import numpy.typing as npt
import torch

from moireio.errors import MoireioError
from moireio.network.inference.passes import Predictor
from moireio.operators.blocks import block_offsets, scatter
from moireio.operators.catalogue import operator_type
from moireio.system.pairs import pair_name

COMPLEX = {"float32": "complex64", "float64": "complex128"}


class HamiltonianSource:
    """The predicted Hamiltonian, by runs of atoms.

    Parameters
    ----------
    predictor : Predictor
        After its `run`.
    raw : bool
        Blocks as the network gives them; otherwise the mean of every block and its partner's
        adjoint.
    """

    def __init__(self, predictor: Predictor, raw: bool = False) -> None:
        self._predictor, self._raw = predictor, raw
        graph, targets = predictor.graph, predictor.model.targets
        self._head = predictor.model.prepare()
        pairs = graph.pairs
        kept = np.ones(len(pairs), dtype=bool) if raw else pairs.upper()
        self.pairs = pairs.select(kept)
        edge = np.full(len(pairs), -1, dtype=np.int64)
        onsite = np.zeros(len(pairs), dtype=bool)
        onsite[pairs.onsite()] = True
        edge[~onsite] = np.arange(len(graph))
        self._edge = edge[kept]
        n_orbitals = [sum(2 * n + 1 for n in shells) for shells in targets.shells]
        factor = 2 if targets.spinful else 1
        self.sizes = factor * np.array(n_orbitals, dtype=np.int64)[graph.species]
        precision = str(predictor.dtype).removeprefix("torch.")
        row = operator_type("hamiltonian")
        model = predictor.model
        self.expected_error = predictor.expected_error()
        origin: dict[str, str | float] = {
            "model": model.name,
            "model_digest": model.digest(),
        }
        if self.expected_error is not None:
            origin["expected_error"] = float(self.expected_error.mean())
        self.meta = row.meta(
            parity=0 if raw else row.parity,
            spin="spinor" if targets.spinful else "none",
            storage="full" if raw else "upper",
            dtype=COMPLEX[precision] if targets.spinful else precision,
            source="model",
            extra=origin,
        )
        self.residual = 0.0

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

        Raises
        ------
        MoireioError
            If the network gives numbers that are not finite.
        """
        span = self.pairs.rows(i0, i1)
        return self.take(np.arange(span.start, span.stop))

    @torch.no_grad()
    def take(self, indices: npt.NDArray[np.integer]) -> npt.NDArray:
        """Return the blocks of some pairs.

        Parameters
        ----------
        indices : (m,) array of int
            Numbers of the pairs.

        Returns
        -------
        (n,) array
            Block after block, in the order asked for, eV.

        Raises
        ------
        MoireioError
            If the network gives numbers that are not finite.
        """
        graph = self._predictor.graph
        i = np.searchsorted(self.pairs.indptr, indices, side="right") - 1
        j, edge = self.pairs.j[indices], self._edge[indices]
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        out = np.empty(offsets[-1], dtype=self.meta.dtype)
        n_species = len(self._predictor.model.targets.shells)
        code = (graph.species[i] * n_species + graph.species[j]) * 2 + (edge < 0)
        for value in np.unique(code):
            pair_type, site = divmod(int(value), 2)
            pair = divmod(pair_type, n_species)
            members = np.flatnonzero(code == value)
            step = self._predictor.edges_at_once
            for start in range(0, len(members), step):
                part = members[start : start + step]
                blocks = self._site(i[part], *pair) if site else self._bonds(edge[part], *pair)
                scatter(out, offsets[part], blocks.cpu().numpy().reshape(len(part), -1))
        bad = np.flatnonzero(~np.isfinite(out))
        if len(bad):
            wrong = np.unique(np.searchsorted(offsets, bad, side="right") - 1)
            first = int(wrong[0])
            name = pair_name(int(i[first]), int(j[first]), self.pairs.R[indices[first]])
            raise MoireioError(
                f"predicts numbers that are not finite, in {len(wrong)} blocks of atoms "
                f"{i.min()} to {i.max()}, first in that of {name}",
                path=self._predictor.model.label,
                remedy="the model or the structure is not sound",
            )
        return out

    def _site(self, atoms: npt.NDArray[np.int64], one: int, two: int) -> torch.Tensor:
        p = self._predictor
        index = torch.as_tensor(atoms, device=p.device)
        group = p.network.edges(index, index, p.species, None)
        blocks = self._blocks(p.features(group, len(p.graph) + atoms), group, one, two)
        return self._combined(blocks, blocks.mH)

    def _bonds(self, edges: npt.NDArray[np.int64], one: int, two: int) -> torch.Tensor:
        p = self._predictor
        tail = p.network.settings.local  # the last update of edges is made here
        group = p.edges(edges, for_layers=tail)
        blocks = self._blocks(p.features(group, edges), group, one, two)
        partner = p.graph.partner[edges]
        group = p.edges(partner, for_layers=tail)
        adjoint = self._blocks(p.features(group, partner), group, two, one).mH
        return self._combined(blocks, adjoint)

    def _blocks(self, *arguments) -> torch.Tensor:
        """Return blocks from the head; where they are symmetric under time reversal, exactly so."""
        blocks = self._head(*arguments)
        if self._raw or not self._predictor.model.targets.time_reversal:
            return blocks
        # matrix products may round the columns of both spins differently, depending on the CPU
        n, m = (size // 2 for size in blocks.shape[1:])
        up = blocks[:, :n]
        down = torch.cat([-up[:, :, m:], up[:, :, :m]], dim=2).conj()
        return torch.cat([up, down], dim=1)

    def _combined(self, blocks: torch.Tensor, adjoint: torch.Tensor) -> torch.Tensor:
        if not self._raw:
            return (blocks + adjoint) / 2
        self.residual = max(self.residual, float((blocks - adjoint).abs().max()))
        return blocks
