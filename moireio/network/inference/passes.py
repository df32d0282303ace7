"""Prediction for structures of any size, in bounded memory.

The network is evaluated in passes over the edges, a few thousand at a time: in each block one pass
sums the messages to the atoms, one updates the edges. Between passes the edges' features lie in
memory or, beyond a limit, in files. Norms over the whole graph need its moments: a pass that
updates edges stores them before the norm and adds up the moments; the next reader applies the norm.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass

import numpy as np
import torch

from moireio.errors import MoireioError
from moireio.network.frames import by_order, out_of_frames
from moireio.network.inference.features import FeatureStore
from moireio.network.layers import add, gather_pair
from moireio.operators.blocks import block_offsets, scatter, slab_bounds
from moireio.operators.catalogue import operator_type

EDGES_AT_ONCE = 4096
SAVE_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class Graph:
    """The edges of a structure: all pairs but the on-site ones, sorted by their first atom.

    Parameters
    ----------
    structure : Structure
        The atoms.
    pairs : Pairs
        All pairs, with both partners of each.
    species : (N,) array of int
        Species in the order of the model.
    """

    structure: object
    pairs: object
    species: np.ndarray

    def __post_init__(self):
        """Leave out on-site pairs and find partners."""
        pairs = self.pairs
        site = np.zeros(len(pairs), dtype=bool)
        own = pairs.onsite()
        if (own < 0).any():
            atom = int(np.flatnonzero(own < 0)[0])
            raise MoireioError(f"the pairs hold no on-site pair of atom {atom}")
        site[own] = True
        bonds = pairs.select(~site)
        partner = bonds.partner()
        if (partner < 0).any():
            raise MoireioError("the pairs do not hold both partners of each")
        object.__setattr__(self, "bonds", bonds)
        object.__setattr__(self, "partner", partner)

    def __len__(self):
        """Return the number of edges."""
        return len(self.bonds)

    def first(self, edges):
        """Return the first atoms of some edges, given by ascending numbers or any."""
        return np.searchsorted(self.bonds.indptr, edges, side="right") - 1

    def vectors(self, i, edges):
        """Return the vectors of some edges, (n, 3), Å."""
        s, bonds = self.structure, self.bonds
        return s.positions[bonds.j[edges]] + bonds.R[edges] @ s.cell - s.positions[i]


class Predictor:
    """Evaluates a model on a structure.

    Parameters
    ----------
    model : Model
        The model.
    graph : Graph
        The structure's edges.
    memory : float, optional
        Bytes that features may take before they go to files.
    work : str, optional
        Folder for those files, and for going on after an interruption.
    key : str
        What identifies the calculation; work files of another one are not used.
    device : str
        "cpu" or "cuda".
    progress : Progress, optional
        Called with edges done, and those of all passes.
    """

    def __init__(self, model, graph, memory=None, work=None, key="", device="cpu", progress=None):
        self.model, self.graph = model, graph
        self.key = f"{key} in pieces of {EDGES_AT_ONCE}"
        self.network = model.network.to(device)
        self.device, self.dtype = torch.device(device), model.network.dtype
        self._progress = progress
        self.species = torch.as_tensor(graph.species, device=self.device)
        self.n_atoms = len(graph.species)
        counts = np.diff(graph.bonds.indptr)
        self.slabs = [(True, *b) for b in slab_bounds(np.ones(self.n_atoms), EDGES_AT_ONCE)]
        self.slabs += [(False, *b) for b in slab_bounds(counts, EDGES_AT_ONCE)]
        self._work = None
        need = self.memory_of_features(model.network, len(graph) + self.n_atoms)
        frames = sum((2 * n + 1) ** 2 for n in range(self.network.lmax + 1))
        frames *= len(graph) * torch.finfo(self.dtype).bits // 8
        self._geometry, self._keep_geometry = {}, memory is None or need + frames < memory
        if memory is not None and need > memory:
            if work is None:
                raise MoireioError(
                    f"the features take {need / 1e9:.1f} GB, more than --memory allows",
                    remedy="give -o FILE, beside which work files can lie, or more --memory",
                )
            self._work = work
            os.makedirs(work, exist_ok=True)
        self._stores, self._pending, self._current = {}, None, None
        self._tail = None  # nodes and the last update, where it is made with the blocks of H
        self._norms = []  # of every block's edges, where they are needed
        self._done, self._sums = 0, None  # of the pass that was interrupted
        self._saved = time.monotonic()

    @staticmethod
    def memory_of_features(network, edges):
        """Return the bytes that the features of some edges take, all stores counted.

        Parameters
        ----------
        network : Network
            The network.
        edges : int
            How many.

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
    def passes(self):
        """Number of passes over the edges before blocks can be had.

        Without norms over the graph the last update of an edge is made where its block is.
        """
        return 2 * len(self.network.blocks) - int(self.network.settings.local)

    def close(self):
        """Close work files."""
        for store in self._stores.values():
            store.close()

    def remove_work(self):
        """Remove the work files, when nothing will go on from them."""
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)

    # What follows is the network's forward, cut into passes.

    @torch.no_grad()
    def run(self):
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
            self._tail = nodes, self.network.blocks[-1].edge.prepare(fold=True)

    def _stage(self, number):
        """Tell where the edges' features lie when a pass begins."""
        blocks, b = self.network.blocks, number // 2
        local, self._pending = self.network.settings.local, None
        if number % 2 or local:
            self._current = self._edges(b, blocks[b - 1].edge.out) if b else None
            return
        self._current = self._edges(b - 1, blocks[b - 2].edge.out) if b > 1 else None
        if b:
            update = blocks[b - 1].edge
            store = self._store("before", update.out)
            self._pending = store, update.prepare(fold=True), self._norms[b - 1]

    def _edges(self, b, irreps):
        return self._store(f"edges{b % 2}", irreps)

    def _group(self, slab):
        """Return the first row and the edges of a run of atoms: its own edges, or its bonds."""
        site, i0, i1 = slab
        if site:
            atoms = torch.arange(i0, i1, device=self.device)
            return len(self.graph) + i0, self.network.edges(atoms, atoms, self.species, None)
        span = self.graph.bonds.rows(i0, i1)
        if slab not in self._geometry:
            made = self.edges(np.arange(span.start, span.stop))
            if not self._keep_geometry:
                return span.start, made
            self._geometry[slab] = made
        return span.start, self._geometry[slab]

    def edges(self, numbers):
        """Return the geometry of some edges.

        Parameters
        ----------
        numbers : (n,) array of int
            Which.

        Returns
        -------
        Edges
            With frames.
        """
        i = self.graph.first(numbers)
        vectors = torch.as_tensor(self.graph.vectors(i, numbers), device=self.device)
        j = torch.as_tensor(self.graph.bonds.j[numbers].astype(np.int64), device=self.device)
        return self.network.edges(torch.as_tensor(i, device=self.device), j, self.species, vectors)

    def _store(self, name, irreps, rows=None):
        key = name, str(irreps)
        if key not in self._stores:
            for old in [k for k in self._stores if k[0] == name]:
                self._stores.pop(old).close()
            path = None if self._work is None else self._path(f"{name}.features")
            rows = len(self.graph) + self.n_atoms if rows is None else rows
            self._stores[key] = FeatureStore(irreps, rows, self.dtype, path)
        return self._stores[key]

    def _to_device(self, parts):
        return parts if self.device.type == "cpu" else [p.to(self.device) for p in parts]

    def features(self, group, rows):
        """Return the features of edges before the running pass.

        Parameters
        ----------
        group : Edges
            The edges.
        rows : (int, int) or (n,) array of int
            Where they lie: from – to, or one by one.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            In the frames of the edges.
        """

        def read(store):
            found = store.get(*rows) if isinstance(rows, tuple) else store.take(rows)
            return self._to_device(found)

        old = self.network.initial_edges(group) if self._current is None else read(self._current)
        if self._tail is not None:
            nodes, ready = self._tail
            return self._updated(ready, nodes, group, old)
        if self._pending is None:
            return old
        store, ready, sums = self._pending
        count = len(self.graph) + self.n_atoms
        normed = ready.norm(read(store), sums, count, group.frames)
        return ready.finish(normed, old)

    def _updated(self, ready, nodes, group, own):
        """Return edges after an update, before a norm that is one of the graph."""
        radial = self.network.radial(group.distance)
        new = ready.convolve(gather_pair(nodes, group), by_order(own), radial, group.site)
        new = ready.combine(new, own, group.kind)
        return ready.finish(ready.norm(new), own) if self.network.settings.local else new

    def _node_pass(self, number, nodes):
        b = number // 2
        update = self.network.blocks[b].node
        ready, before = update.prepare(fold=False), update.lin_pre(nodes)
        keep = self._pending is not None
        target = self._edges(b, self.network.blocks[b - 1].edge.out) if keep else None
        totals = [self._store(n, update.out, self.n_atoms) for n in ("bonds", "sites")]
        for slab in self._remaining(number, [*totals, target]):
            site, i0, i1 = slab
            row, group = self._group(slab)
            own = self.features(group, (row, row + len(group)))
            if keep:
                target.put(row, own)
            radial = self.network.radial(group.distance)
            new = ready.convolve(gather_pair(before, group), by_order(own), radial, site)
            if group.envelope is not None:
                new = [p * group.envelope for p in new]
            if not site:
                zero = [p.new_zeros(i1 - i0, *p.shape[1:]) for p in new]
                new = out_of_frames(new, group.frames)
                new = [z.index_add_(0, group.i - i0, p) for z, p in zip(zero, new, strict=True)]
            totals[site].put(i0, new)
        scale = np.sqrt(self.network.settings.neighbours)
        sums = add(*(self._to_device(t.get(0, self.n_atoms)) for t in totals))
        sums = [t / scale for t in sums]
        new = ready.combine(sums, nodes, self.species)
        new = ready.finish(update.norm(new, update.norm.sums(new), self.n_atoms), nodes)
        if self._work is not None:
            if keep:
                target.flush()
            torch.save([p.cpu() for p in new], self._path("nodes.new"))
            os.replace(self._path("nodes.new"), self._path(f"nodes{number}.pt"))
            self._write_journal(number + 1, 0)
        return new

    def _edge_pass(self, number, nodes):
        b = number // 2
        update = self.network.blocks[b].edge
        ready, local = update.prepare(fold=True), self.network.settings.local
        target = self._edges(b + 1, update.out) if local else self._store("before", update.out)
        for slab in self._remaining(number, [target]):
            row, group = self._group(slab)
            own = self.features(group, (row, row + len(group)))
            new = self._updated(ready, nodes, group, own)
            if not local:
                part = update.norm.sums(new, group.frames)
                self._sums = part if self._sums is None else add(self._sums, part)
            target.put(row, new)
        if not local:
            self._norms.append(self._sums)
        self._sums = None
        if self._work is not None:
            target.flush()
            self._write_journal(number + 1, 0)

    def _remaining(self, number, stores):
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

    def _report(self, edges):
        if self._progress is not None:
            self._progress(edges, self.passes * len(self.graph))

    # Going on after an interruption.

    def _path(self, name):
        return os.path.join(self._work, name)

    def _write_journal(self, number, done):
        entry = {"key": self.key, "pass": number, "done": done, "sums": _plain(self._sums)}
        entry["norms"] = [_plain(s) for s in self._norms]
        with open(self._path("journal.new"), "w", encoding="utf-8") as stream:
            json.dump(entry, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(self._path("journal.new"), self._path("journal.json"))
        self._saved = time.monotonic()

    def _load(self):
        """Return the pass to begin with and the atoms' features then; None from the start."""
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
                nodes = torch.load(self._path(f"nodes{last}.pt"), weights_only=True)
                nodes = self._to_device(nodes)
            self._norms = [self._moments(s) for s in entry["norms"]]
            self._sums, self._done = self._moments(entry["sums"]), entry["done"]
        except (OSError, ValueError, KeyError, RuntimeError):
            self._norms, self._sums, self._done = [], None, 0
            return 0, None
        return number, nodes

    def _moments(self, values):
        if values is None:
            return None
        return [torch.tensor(v, dtype=torch.float64, device=self.device) for v in values]


def _plain(sums):
    return None if sums is None else [s.cpu().tolist() for s in sums]


class HamiltonianSource:
    """The predicted Hamiltonian, by runs of atoms.

    Parameters
    ----------
    predictor : Predictor
        After its `run`.
    raw : bool
        As the network gives it; otherwise the mean of every block and its partner's adjoint.
    """

    def __init__(self, predictor, raw=False):
        self._predictor, self._raw = predictor, raw
        graph, targets = predictor.graph, predictor.model.targets
        self._head = predictor.model.prepare()
        pairs = graph.pairs
        kept = np.ones(len(pairs), dtype=bool) if raw else pairs.upper()
        self.pairs = pairs.select(kept)
        edge = np.full(len(pairs), -1, dtype=np.int64)
        site = np.zeros(len(pairs), dtype=bool)
        site[pairs.onsite()] = True
        edge[~site] = np.arange(len(graph))
        self._edge = edge[kept]
        widths = [sum(2 * n + 1 for n in own) for own in targets.shells]
        factor = 2 if targets.spinful else 1
        self.sizes = factor * np.array(widths, dtype=np.int64)[graph.species]
        precision = str(predictor.dtype).removeprefix("torch.")
        complex_ = {"float32": "complex64", "float64": "complex128"}[precision]
        row = operator_type("hamiltonian")
        self.meta = row.meta(
            parity=0 if raw else row.parity,
            spin="spinor" if targets.spinful else "none",
            storage="full" if raw else "upper",
            dtype=complex_ if targets.spinful else precision,
            source="model",
        )
        self.residual = 0.0

    @torch.no_grad()
    def rows(self, i0, i1):
        """Return all blocks of the atoms ``i0 <= i < i1``, as `OperatorSource.rows`.

        Parameters
        ----------
        i0, i1 : int
            The run.

        Returns
        -------
        (n,) array
            Pair after pair, eV.
        """
        graph, span = self._predictor.graph, self.pairs.rows(i0, i1)
        i = np.repeat(np.arange(i0, i1), np.diff(self.pairs.indptr[i0 : i1 + 1]))
        j, edge = self.pairs.j[span], self._edge[span]
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        out = np.empty(offsets[-1], dtype=self.meta.dtype)
        kinds = len(self._predictor.model.targets.shells)
        code = (graph.species[i] * kinds + graph.species[j]) * 2 + (edge < 0)
        for value in np.unique(code):
            kind, site = divmod(int(value), 2)
            members = np.flatnonzero(code == value)
            for start in range(0, len(members), EDGES_AT_ONCE):
                part = members[start : start + EDGES_AT_ONCE]
                if site:
                    blocks = self._site(i[part], *divmod(kind, kinds))
                else:
                    blocks = self._bonds(edge[part], *divmod(kind, kinds))
                flat = blocks.cpu().numpy().reshape(len(part), -1)
                scatter(out, offsets[part], flat)
        return out

    def _site(self, atoms, one, two):
        p = self._predictor
        where = torch.as_tensor(atoms, device=p.device)
        group = p.network.edges(where, where, p.species, None)
        parts = p.features(group, len(p.graph) + atoms)
        blocks = self._blocks(parts, group, one, two)
        return self._combined(blocks, blocks.mH)

    def _blocks(self, *words):
        """Return what the head makes, symmetric under time reversal to the last bit if it is."""
        blocks = self._head(*words)
        if self._raw or not self._predictor.model.targets.time_reversal:
            return blocks
        # matrix products may round the columns of both spins differently, depending on the CPU
        n, m = (size // 2 for size in blocks.shape[1:])
        up = blocks[:, :n]
        down = torch.cat([-up[:, :, m:], up[:, :, :m]], dim=2).conj()
        return torch.cat([up, down], dim=1)

    def _bonds(self, edges, one, two):
        p = self._predictor
        group = p.edges(edges)
        blocks = self._blocks(p.features(group, edges), group, one, two)
        partner = p.graph.partner[edges]
        group = p.edges(partner)
        other = self._blocks(p.features(group, partner), group, two, one).mH
        return self._combined(blocks, other)

    def _combined(self, blocks, other):
        if not self._raw:
            return (blocks + other) / 2
        self.residual = max(self.residual, float((blocks - other).abs().max()))
        return blocks
