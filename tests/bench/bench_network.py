"""The network against DeepH-E3's formulation, and predictions of whole structures.

``python tests/bench/bench_network.py speed`` compares with the same function written with e3nn's
modules (tests/support/reference_net.py): time forward, and forward and backward; memory; where the
time goes. ``--before FOLDER`` adds another checkout of moireio. Processes alternate; of one thread
the least CPU time is taken, of two the least wall time. ``… sizes --pao DIR`` predicts structures
of rising size by the commands. All weights are random.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support")]
HARMONICS = "1x0e+1x1o+1x2e+1x3o+1x4e"
HIDDEN = "64x0e+32x1o+16x2e+8x3o+8x4e"
MATERIALS = {
    "graphene": ((6,), ((0, 0, 1, 1, 2),), False, ("C",)),
    "MoTe2": ((42, 52), ((0, 0, 0, 1, 1, 2, 2),) * 2, True, ("Mo", "Te")),
}
BASIS = {
    "graphene": ["--basis", "C=C6.0-s2p2d1"],
    "MoTe2": ["--basis", "Mo=Mo7.0-s3p2d2", "--basis", "Te=Te7.0-s3p2d2"],
}


def network(material, local):
    """Return a model with random weights."""
    from dataclasses import replace

    import torch

    from moireio.network.create import with_reachable
    from moireio.network.head import all_targets
    from moireio.network.irreps import Irreps
    from moireio.network.model import NetworkModel
    from moireio.network.net import Network, NetworkSettings

    torch.manual_seed(0)
    numbers, shells, spin, names = MATERIALS[material]
    targets = all_targets(numbers, shells, spin)
    if local and spin:
        targets = replace(targets, time_reversal=True)
    mid, scalars = Irreps.parse(HIDDEN), Irreps.parse("64x0e")
    post = targets.irreps().sort()[0].simplify()
    nodes = with_reachable(mid, mid, mid, post, Irreps.parse(HARMONICS)) if spin else mid
    reach = {"graphene": (3.2,), "MoTe2": (3.71, 3.71)}[material]
    settings = NetworkSettings(
        len(numbers), scalars, scalars, mid, mid, nodes, post, targets.irreps(), 3, 4, 7.2,
        local=local, reaches=reach, neighbours=60.0,
    )  # fmt: skip
    kind = "moireio" if local else "deeph-e3"
    return NetworkModel(Network(settings), targets, kind, names)


def flat_graph():
    """Return species, i, j, vectors of the edges of twisted graphene: 28 atoms, 80 each."""
    import numpy as np
    import torch

    import moireio
    from moireio.integrals.pairs import overlapping_pairs
    from moireio.system.basis import Basis, SpeciesBasis

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.h5")
        command = [sys.executable, "-m", "moireio", "build-twist", "graphene", "--index", "2", "1"]
        subprocess.run([*command, "-o", path, "-q"], check=True)
        with moireio.open(path) as file:
            structure = file.structure
    pairs = overlapping_pairs(structure, Basis({"C": SpeciesBasis((0,), cutoff=3.17506)}))
    i, j = pairs.i.astype(np.int64), pairs.j.astype(np.int64)
    vectors = structure.positions[j] + pairs.R @ structure.cell - structure.positions[i]
    keep = np.linalg.norm(vectors, axis=1) > 1e-6
    species = torch.zeros(len(structure), dtype=torch.long)
    return species, torch.tensor(i[keep]), torch.tensor(j[keep]), torch.tensor(vectors[keep])


def child(which, mode, threads):
    """Run one formulation in a process of its own; print best wall and CPU s, and peak bytes."""
    import torch

    torch.set_num_threads(threads)
    model, (species, i, j, vectors) = network("graphene", False), flat_graph()
    own = model.network
    if which == "e3nn":
        from reference_net import ReferenceNet

        reference = ReferenceNet(own)
        atoms = torch.arange(len(species))
        ends = torch.cat([i, atoms]), torch.cat([j, atoms])
        lengths = torch.cat([vectors, vectors.new_zeros(len(species), 3)])

        def evaluate():
            return reference(species, *ends, lengths)

    else:

        def evaluate():
            return torch.cat(own.output(species, own.chunks(species, i, j, vectors)))

    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall = cpu = float("inf")
    for _ in range(3 if which == "e3nn" else 8):
        begin = time.perf_counter(), time.process_time()
        if mode == "forward":
            with torch.no_grad():
                evaluate()
        else:
            evaluate().square().mean().backward()
        wall = min(wall, time.perf_counter() - begin[0])
        cpu = min(cpu, time.process_time() - begin[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base  # kB, on Linux
    print(wall, cpu, peak * 1024, len(i) + len(species))


def measured(which, mode, threads, before):
    """Run `child` in a process; return what it prints."""
    words = [sys.executable, __file__, "child", which, mode, str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    if which == "before":
        environment["PYTHONPATH"] = before
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [float(v) for v in done.stdout.split()]


def speed(rounds, before):
    """Print times and ratios."""
    kinds = ["e3nn", *(["before"] if before else []), "moireio"]
    print("| | threads |", " | ".join(f"{k}, µs/edge" for k in kinds), end=" | ")
    print(" | ".join(f"e3nn/{k}" for k in kinds[1:]), "| memory, kB/edge:", ", ".join(kinds), "|")
    print("|---" * (2 * len(kinds) + 2) + "|")
    for mode in ("forward", "forward and backward"):
        for threads in (1, 2):
            found = {k: [] for k in kinds}
            for _ in range(rounds):
                for k in kinds:
                    found[k].append(measured(k, mode, threads, before))
            n = found["e3nn"][0][3]
            best = {k: min(f[threads == 1] for f in found[k]) / n * 1e6 for k in kinds}
            memory = [f"{min(f[2] for f in found[k]) / n / 1e3:.0f}" for k in kinds]
            ratios = [f"**{best['e3nn'] / best[k]:.1f}**" for k in kinds[1:]]
            cells = [mode, threads, *(f"{best[k]:.0f}" for k in kinds), *ratios]
            print("|", " | ".join(map(str, [*cells, ", ".join(memory)])), "|", flush=True)
    parts()


def parts():
    """Print where the time of a forward pass goes, by torch's profiler."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(1)
    own, (species, i, j, vectors) = network("graphene", False).network, flat_graph()
    with torch.no_grad():
        own.output(species, own.chunks(species, i, j, vectors))
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            own.output(species, own.chunks(species, i, j, vectors))
    groups = {
        "matrix products (convolutions, maps, radial networks)": (
            "aten::mm",
            "aten::addmm",
            "aten::addmm_",
            "aten::mv",
            "aten::addmv",
        ),
        "products of frames with atoms, and sums at atoms": ("aten::bmm", "aten::baddbmm_"),
        "rearranging (other order of edges, degrees and orders)": (
            "aten::index_select",
            "aten::index",
            "aten::cat",
            "aten::copy_",
        ),
        "exponentials, gates": ("aten::exp", "aten::silu", "aten::sigmoid", "aten::mul_"),
    }
    rows = {e.key: e.self_cpu_time_total for e in profiler.key_averages()}
    total = sum(rows.values())
    print("\n| part of a forward pass, one thread | share |\n|---|---|")
    for title, keys in groups.items():
        print(f"| {title} | {100 * sum(rows.pop(k, 0) for k in keys) / total:.0f} % |")
    print(f"| everything else | {100 * sum(rows.values()) / total:.0f} % |")


RUNS = [
    ("graphene", "10 9", False, "8G"),
    ("graphene", "10 9", True, "8G"),
    ("MoTe2", "8 7", False, "8G"),
    ("MoTe2", "8 7", True, "8G"),
    ("MoTe2", "8 7", True, "100M"),
    ("MoTe2", "18 17", True, "1G"),
    ("MoTe2", "38 37", True, "1G"),
]


def sizes(pao, first=0):
    """Print times of whole predictions by the commands."""
    import moireio
    from moireio.network.modelfile import write

    print("| structure | model | --memory | atoms | pairs | s | ms/atom | peak, MB | H, GB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for material, index, local, memory in RUNS[first:]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            write("model.h5", network(material, local))
            module = [sys.executable, "-m", "moireio"]
            words = ["build-twist", material, "--index", *index.split(), *BASIS[material]]
            subprocess.run([*module, *words, "-o", "a.h5", "-q"], check=True)
            subprocess.run(
                [*module, "overlap", "a.h5", "--pao", pao, "-o", "b.h5", "-q"], check=True
            )
            words = ["predict-h", "b.h5", "-m", "model.h5", "--memory", memory, "--jobs", "2"]
            begin = time.perf_counter()
            process = subprocess.Popen(
                [*module, *words, "-o", "c.h5", "-q"], env=os.environ | {"OMP_NUM_THREADS": "2"}
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
            assert status == 0, material
            with moireio.open("c.h5") as file:
                atoms, pairs = file.hamiltonian.n_atoms, file.hamiltonian.n_pairs
            size = os.path.getsize("c.h5") - os.path.getsize("b.h5")
            os.chdir("/")
        kind = "moireio" if local else "DeepH-E3"
        print(
            f"| {material} {index} | {kind} | {memory} | {atoms} | {pairs} | {seconds:.1f} "
            f"| {seconds / atoms * 1e3:.1f} | {usage.ru_maxrss / 1e3:.0f} | {size / 1e9:.2f} |",
            flush=True,
        )


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "sizes", "child"])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--pao")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before")
    options = parser.parse_args()
    if options.what == "child":
        child(options.words[0], options.words[1], int(options.words[2]))
    elif options.what == "speed":
        speed(options.rounds, options.before and os.path.abspath(options.before))
    else:
        sizes(os.path.abspath(options.pao), options.first)


if __name__ == "__main__":
    main()
