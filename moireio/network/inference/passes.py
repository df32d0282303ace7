"""Prediction for structures of any size, in bounded memory.

The network is evaluated in passes over the edges, a few thousand at a time: in each block one pass
sums the messages to the atoms, one updates the edges. Between passes the edges' features lie in
memory or, beyond a limit, in files. Norms over the whole graph need its moments: a pass that
updates edges stores them before the norm and adds up the moments; the next reader applies the norm.
"""

import json
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from moireio.errors import MoireioError
from moireio.network.convolution import sums_at_atoms
from moireio.network.ends import Edges
from moireio.network.graph import Graph
from moireio.network.inference.features import FeatureStore
from moireio.network.irreps import Irreps
from moireio.network.layers import PreparedUpdate, add
from moireio.network.model import NetworkModel
from moireio.network.net import Network
from moireio.operators.blocks import slab_bounds
from moireio.runtime.files import write_text, write_whole
from moireio.runtime.locks import Lock
from moireio.runtime.memory import size_text
from moireio.runtime.progress import Progress
from moireio.runtime.workdirs import claim, is_marked, remove_folder, remove_leftover

EDGES_AT_ONCE = 4096
SAVE_SECONDS = 10.0

# of atoms (n, 2l + 1, channels), degree by degree; of edges (n, 1 or 2, channels), order by order
Features = list[torch.Tensor]
# A run of atoms: whether it stands for their own edges (else their bonds), first atom, end
Slab = tuple[bool, int, int]


class Predictor:
    """Evaluates a model on a structure.

    Parameters
    ----------
    model : NetworkModel
        The model.
    graph : Graph
        Edges of the structure.
    memory : float, optional
        Bytes that features may take before they go to files.
    work : str, optional
        Folder for those files, and for going on after an interruption.
    key : str
        Identifies the calculation; work files of another one are not used.
    device : {"cpu", "cuda"}
        Device of the network.
    progress : Progress, optional
        Called with edges done, and those of all passes.

    Raises
    ------
    MoireioError
        If the features do not fit into memory and there is no work folder.
    """

    def __init__(
        self,
        model: NetworkModel,
        graph: Graph,
        memory: float | None = None,
        work: str | None = None,
        key: str = "",
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> None:
        self.model, self.graph = model, graph
        self.edges_at_once = EDGES_AT_ONCE
        self.key = f"{key} order by order in pieces of {self.edges_at_once}"
        if model.expected_error is not None:
            self.key += f", errors {model.expected_error.level.tolist()}"
        self.network = model.network.to(device)
        self.device, self.dtype = torch.device(device), model.network.dtype
        self._progress = progress
        self.species = torch.as_tensor(graph.species, device=self.device)
        self.n_atoms = len(graph.species)
        # squared distances of the atoms from the training data, as far as the passes have got
        self.squared_distance = torch.zeros(self.n_atoms, dtype=torch.float64, device=self.device)
        counts = np.diff(graph.bonds.indptr)
        self.slabs: list[Slab] = [
            (site, i0, i1)
            for site, edges_of_atom in ((True, np.ones(self.n_atoms)), (False, counts))
            for i0, i1 in slab_bounds(edges_of_atom, self.edges_at_once)
        ]
        self._work: str | None = None
        self._lock: Lock | None = None
        need = self.memory_of_features(model.network, len(graph) + self.n_atoms)
        # frames by edges, and sorted by either of their atoms
        frames = 3 * sum((2 * n + 1) ** 2 for n in range(self.network.lmax + 1))
        frames *= len(graph) * torch.finfo(self.dtype).bits // 8
        self._geometry: dict[Slab, Edges] = {}
        self._keep_geometry = memory is None or need + frames < memory
        if memory is not None and need > memory:
            if work is None:
                raise MoireioError(
                    f"the features take {size_text(need)}, more than `memory` allows",
                    remedy="raise `memory`, or give an `output` file: work files lie beside it",
                )
            self._work, self._lock = work, claim(work)
        elif work is not None and is_marked(work) and remove_leftover(work):
            warnings.warn(f"removed what a killed run has left: {work}", stacklevel=2)
        self._stores: dict[tuple[str, str], FeatureStore] = {}
        self._current: FeatureStore | None = None
        # features before their norm, the update they come from, and their moments
        self._pending: tuple[FeatureStore, PreparedUpdate, Features] | None = None
        # nodes and the last update, where it is made with the blocks of H
        self._tail: tuple[Features, PreparedUpdate] | None = None
        self._norms: list[Features] = []  # moments of every block's edges, where they are needed
        self._done = 0  # slabs done of the pass that was interrupted
        self._sums: Features | None = None  # their moments
        self._saved = time.monotonic()

    @staticmethod
    def memory_of_features(network: Network, edges: int) -> int:
        """Return the bytes that the features of some edges take, all stores counted.

        Parameters
        ----------
        network : Network
            The network.
        edges : int
            Number of edges.

        Returns
        -------
        int
            Bytes.
        """
        local = network.settings.local
        blocks = network.blocks[:-1] if local else network.blocks
        widest = max((b.edge.out.dim for b in blocks), default=0)
        stores = 2 if local else 3
        return stores * edges * widest * torch.finfo(network.dtype).bits // 8

    @property
    def passes(self) -> int:
        """Number of passes over the edges before blocks can be made.

        Without norms over the graph the last update of an edge is made where its block is.
        """
        return 2 * len(self.network.blocks) - int(self.network.settings.local)

    def close(self) -> None:
        """Close work files."""
        for store in self._stores.values():
            store.close()
        if self._lock is not None:
            self._lock.release()

    def expected_error(self) -> npt.NDArray[np.float64] | None:
        """Return the expected mean |ΔH| of every atom's blocks, after `run`.

        Returns
        -------
        (N,) array or None
            eV; None if the model does not know about its errors.
        """
        known = self.model.expected_error
        if known is None:
            return None
        return known.of_atoms(self.squared_distance.cpu().numpy(), self.graph.species)

    def remove_work(self) -> None:
        """Remove the work files, when the calculation is complete."""
        if self._work is not None:
            remove_folder(self._work)

    # The network's forward, cut into passes.

    @torch.no_grad()
    def run(self) -> None:
        """Make the edges' last features; go on where the work files end."""
        begin, nodes = self._load()
        if nodes is None:
            nodes = self.network.initial_nodes(self.species)
        for number in range(self.passes):
            if number < begin:
                self._report(len(self.graph))
                continue
            self._stage(number)
            if number % 2 == 0:
                nodes = self._node_pass(number, nodes)
            else:
                self._edge_pass(number, nodes)
        self._stage(self.passes)
        if self.network.settings.local:
            self._tail = nodes, self.network.blocks[-1].edge.prepare(of_edges=True)

    def _stage(self, number: int) -> None:
        """Set from which stores a pass reads the edges' features."""
        blocks, b = self.network.blocks, number // 2
        local, self._pending = self.network.settings.local, None
        if number % 2 or local:
            self._current = self._edges(b, blocks[b - 1].edge.out) if b else None
            return
        self._current = self._edges(b - 1, blocks[b - 2].edge.out) if b > 1 else None
        if b:
            update = blocks[b - 1].edge
            store = self._store("before", update.out)
            self._pending = store, update.prepare(of_edges=True), self._norms[b - 1]

    def _edges(self, b: int, irreps: Irreps) -> FeatureStore:
        return self._store(f"edges{b % 2}", irreps)

    def _group(self, slab: Slab) -> tuple[int, Edges]:
        """Return the first row and the edges of a run of atoms: its own edges, or its bonds."""
        site, i0, i1 = slab
        if site:
            atoms = torch.arange(i0, i1, device=self.device)
            return len(self.graph) + i0, self.network.edges(atoms, atoms, self.species, None)
        span = self.graph.bonds.rows(i0, i1)
        if slab not in self._geometry:
            edges = self.edges(np.arange(span.start, span.stop))
            if not self._keep_geometry:
                return span.start, edges
            self._geometry[slab] = edges
        return span.start, self._geometry[slab]

    def edges(self, numbers: npt.NDArray[np.int64], for_layers: bool = True) -> Edges:
        """Return the geometry of some edges.

        Parameters
        ----------
        numbers : (n,) array of int
            Numbers of the edges.
        for_layers : bool
            With what layers need.

        Returns
        -------
        Edges
            The edges with their frames.
        """
        i = self.graph.first(numbers)
        vectors = torch.as_tensor(self.graph.vectors(i, numbers), device=self.device)
        j = torch.as_tensor(self.graph.bonds.j[numbers].astype(np.int64), device=self.device)
        i = torch.as_tensor(i, device=self.device)
        return self.network.edges(i, j, self.species, vectors, for_layers)

    def _store(self, name: str, irreps: Irreps, atoms: bool = False) -> FeatureStore:
        key = name, str(irreps)
        if key not in self._stores:
            for old in [k for k in self._stores if k[0] == name]:
                self._stores.pop(old).close()
            path = None if self._work is None else self._path(f"{name}.features")
            rows = self.n_atoms if atoms else len(self.graph) + self.n_atoms
            self._stores[key] = FeatureStore(irreps, rows, self.dtype, path, orders=not atoms)
        return self._stores[key]

    def _to_device(self, parts: Features) -> Features:
        return parts if self.device.type == "cpu" else [p.to(self.device) for p in parts]

    def features(self, group: Edges, rows: tuple[int, int] | npt.NDArray[np.int64]) -> Features:
        """Return the features of edges before the running pass.

        Parameters
        ----------
        group : Edges
            The edges.
        rows : (int, int) or (n,) array of int
            Their rows in the stores: first and end, or one by one.

        Returns
        -------
        list of (n, 1 or 2, channels) tensors
            In the frames of the edges, order by order.
        """

        def read(store: FeatureStore) -> Features:
            parts = store.get(*rows) if isinstance(rows, tuple) else store.take(rows)
            return self._to_device(parts)

        old = self.network.initial_edges(group) if self._current is None else read(self._current)
        if self._tail is not None:
            nodes, ready = self._tail
            return self._updated(ready, nodes, group, old)
        if self._pending is None:
            return old
        store, ready, sums = self._pending
        count = len(self.graph) + self.n_atoms
        return ready.finish(read(store), old, sums, count, group.frames)

    def _updated(
        self, ready: PreparedUpdate, nodes: Features, group: Edges, own: Features
    ) -> Features:
        """Return edges after an update; a norm over the whole graph is left out."""
        radial = self.network.radial(group.distance)
        new = ready.convolve(nodes, own, radial, group)
        new = ready.combine(new, own, group.kind)
        return ready.finish(new, own) if self.network.settings.local else new

    def _node_pass(self, number: int, nodes: Features) -> Features:
        b = number // 2
        update = self.network.blocks[b].node
        ready, before = update.prepare(of_edges=False), update.lin_pre(nodes)
        keep = self._pending is not None
        target = self._edges(b, self.network.blocks[b - 1].edge.out) if keep else None
        totals = [self._store(n, update.out, atoms=True) for n in ("bonds", "sites")]
        for slab in self._remaining(number, [*totals, target]):
            site, i0, i1 = slab
            row, group = self._group(slab)
            own = self.features(group, (row, row + len(group)))
            if keep:
                target.put(row, own)
            radial = self.network.radial(group.distance)
            new = ready.convolve(before, own, radial, group, group.envelope)
            totals[site].put(i0, sums_at_atoms(new, group, ready.counts, i0, i1 - i0))
        scale = np.sqrt(self.network.settings.neighbours)
        sums = add(*(self._to_device(t.get(0, self.n_atoms)) for t in totals))
        sums = [t / scale for t in sums]
        new = ready.combine(sums, nodes, self.species)
        new = ready.finish(new, nodes, ready.sums(new), self.n_atoms)
        if self.model.expected_error is not None:
            known = self.model.expected_error
            self.squared_distance += known.squared_distance(b, new, self.species)
        if self._work is not None:
            if keep:
                target.flush()
            with write_whole(self._path(f"nodes{number}.pt")) as part:
                torch.save([p.cpu() for p in (*new, self.squared_distance)], part)
            self._write_journal(number + 1, 0)
        return new

    def _edge_pass(self, number: int, nodes: Features) -> None:
        b = number // 2
        update = self.network.blocks[b].edge
        ready, local = update.prepare(of_edges=True), self.network.settings.local
        target = self._edges(b + 1, update.out) if local else self._store("before", update.out)
        for slab in self._remaining(number, [target]):
            row, group = self._group(slab)
            own = self.features(group, (row, row + len(group)))
            new = self._updated(ready, nodes, group, own)
            if not local:
                part = ready.sums(new, group.frames)
                self._sums = part if self._sums is None else add(self._sums, part)
            target.put(row, new)
        if not local:
            self._norms.append(self._sums)
        self._sums = None
        if self._work is not None:
            target.flush()
            self._write_journal(number + 1, 0)

    def _remaining(self, number: int, stores: Sequence[FeatureStore | None]) -> Iterator[Slab]:
        """Yield the runs of atoms that a pass has not handled, and keep the journal."""
        indptr = self.graph.bonds.indptr
        for n, slab in enumerate(self.slabs):
            if n >= self._done:
                yield slab
                if self._work is not None and time.monotonic() - self._saved > SAVE_SECONDS:
                    for store in filter(None, stores):
                        store.flush()
                    self._write_journal(number, n + 1)
            if not slab[0]:
                self._report(int(indptr[slab[2]] - indptr[slab[1]]))
        self._done = 0

    def _report(self, edges: int) -> None:
        if self._progress is not None:
            self._progress(edges, self.passes * len(self.graph))

    # Going on after an interruption.

    def _path(self, name: str) -> str:
        return os.path.join(self._work, name)

    def _write_journal(self, number: int, done: int) -> None:
        entry = {"key": self.key, "pass": number, "done": done, "sums": _plain(self._sums)}
        entry["norms"] = [_plain(s) for s in self._norms]
        with write_text(self._path("journal.json")) as stream:
            json.dump(entry, stream)
        self._saved = time.monotonic()

    def _load(self) -> tuple[int, Features | None]:
        """Return the pass to begin with and the atoms' features then (None: the initial ones)."""
        if self._work is None:
            return 0, None
        try:
            with open(self._path("journal.json"), encoding="utf-8") as stream:
                entry = json.load(stream)
            if entry["key"] != self.key:
                return 0, None
            number = entry["pass"]
            nodes = None
            if number:
                last = number - 1 if number % 2 else number - 2
                kept = torch.load(self._path(f"nodes{last}.pt"), weights_only=True)
                *nodes, self.squared_distance = self._to_device(kept)
            self._norms = [self._moments(s) for s in entry["norms"]]
            self._sums, self._done = self._moments(entry["sums"]), entry["done"]
        except (OSError, ValueError, KeyError, RuntimeError):
            self._norms, self._sums, self._done = [], None, 0
            self.squared_distance = torch.zeros_like(self.squared_distance)
            return 0, None
        return number, nodes

    def _moments(self, values: list | None) -> Features | None:
        if values is None:
            return None
        return [torch.tensor(v, dtype=torch.float64, device=self.device) for v in values]


def _plain(sums: Features | None) -> Any:
    return None if sums is None else [s.cpu().tolist() for s in sums]
