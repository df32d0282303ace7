"""Edge states of large ribbons: counts, time and memory of ``edge-project``.

    python tests/bench/bench_edges.py haldane --width 50000
    python tests/bench/bench_edges.py bismuth FILE.scfout --width 120
    python tests/bench/bench_edges.py twisted --width 31

haldane: two orbitals a cell, C = −1, a window inside the gap. bismuth: a layer with a gap of
20 meV, whose edge states decay over 25 cells, by a ribbon and as half-infinite layers. twisted:
bilayer graphene at 2.00° (3268 orbitals a cell), sublattices ±50 meV apart.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))


def measured(*words):
    """Run a command; return its JSON, and print time and memory."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "moireio", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        " ".join(map(str, words[:1] + words[2:])),
        f"\n  {time.perf_counter() - begin:.0f} s, {cpu:.0f} s of CPU, "
        f"{after.ru_maxrss / 1e6:.2f} GB, load {os.getloadavg()[0]:.1f}",
    )
    return json.loads(done.stdout) if "--json" in words else None


def show(found):
    """Print the counts and how many states there were."""
    for gap in found["gaps"]:
        for edge in ("low", "high"):
            count = gap[edge]
            k = " ".join(f"{v:.5f}" for v in count["k"])
            print(f"  {gap['energy']} {edge} net {count['net']}, {count['crossings']} at {k}")
        print(f"  C {gap['chern']}, agree {gap['agree']}")
    weights = found["weights"]
    total = [
        a + b + c
        for one in zip(weights["low"], weights["high"], weights["middle"], strict=True)
        for a, b, c in zip(*one, strict=True)
        if a is not None
    ]
    if total:
        print(f"  {len(total)} states, weights add up to 1 within {max(abs(1 - t) for t in total)}")


def haldane(options, folder):
    """Very wide ribbons of Haldane's model."""
    import toymodels

    source = toymodels.haldane(M=0.1).write(folder / "x.h5")
    words = ("--cut", options.width, "--open", 1, "--energy", 0, "--window", -0.3, 0.3)
    show(measured("edge-project", source, *words, "-n", options.points, "--json", "-j", 1))


def bismuth(options, folder):
    """The layer of the shared data, openmx/bi_bilayer_soc."""
    source = folder / "x.h5"
    measured("openmx2h5", options.file, "-o", source)
    words = ("--energy", -3.8804, "-n", options.points, "--json")
    window = ("--window", -3.889, -3.872, "-j", 1)
    for axis in options.open:
        words_of = ("edge-project", source, "--open", axis, *words)
        if not options.only_ribbon:
            show(measured(*words_of, "--semi-infinite"))
        show(measured(*words_of, "--cut", options.width, *window))


def twisted(options, folder):
    """Twisted bilayer graphene with a gap."""
    import numpy as np

    import moireio
    from moireio.blockfile.stream import write_target
    from moireio.operators.views import ArraySource

    cell, plain, source = (folder / f"{name}.h5" for name in ("cell", "h", "x"))
    measured("build-twist", "graphene", "--index", 17, 16, "-o", cell)
    measured("tb-h", cell, "-m", "moon-koshino", "-o", plain)
    with moireio.open(plain) as file:
        H = file.hamiltonian.full()
        data = H.rows(0, len(H.sizes)).copy()
        onsite = H.pairs.onsite()
        data[onsite] += 0.05 * (1 - 2 * (np.arange(len(onsite)) % 2))  # A and B take turns
        made = ArraySource(H.meta.with_(storage="full"), H.sizes, H.pairs, data)
        with write_target(str(source)) as out:
            out.structure(file.structure)
            out.basis(file.basis)
            out.electrons(file.electrons)
            out.operator(made)
    words = ("--cut", options.width, "--energy", options.energy, "--bands", 24, "-j", 1)
    show(measured("edge-project", source, *words, "-n", options.points, "--json"))


def main():
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=["haldane", "bismuth", "twisted"])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--width", type=int, default=120)
    parser.add_argument("--points", type=int, default=21)
    parser.add_argument("--open", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--energy", type=float, default=0.785)
    parser.add_argument("--only-ribbon", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        globals()[options.system](options, Path(folder))


if __name__ == "__main__":
    main()
