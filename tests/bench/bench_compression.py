"""Size and speed of every compression on the blocks of real Hamiltonians.

Rerun: python tests/bench/bench_compression.py FILE.scfout ...
"""

import os
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"


def main():
    import h5py  # noqa: F401  (imports are not what is timed)
    import zarr  # noqa: F401

    import moireio
    from moireio.blockfile.convert import Conversion, convert
    from moireio.formats.openmx import scfout

    print(f"{'file':<14} {'container':<6} {'compression':<11} {'size':>6} {'write':>8} {'read':>8}")
    for source in sys.argv[1:]:
        name = os.path.basename(source).removesuffix(".scfout")
        with tempfile.TemporaryDirectory() as folder:
            plain = os.path.join(folder, "plain.h5")
            with scfout.read(source) as calculation:
                convert(calculation, plain, Conversion("bench", ("hamiltonian", "overlap")))
            with moireio.open(plain) as file:
                n = len(file.structure)
                loaded = [_InMemory(file.operator(o), n) for o in ("hamiltonian", "overlap")]
                structure, basis = file.structure, file.basis
            total = sum(o.data.nbytes for o in loaded)
            for suffix, kinds in (
                (".h5", ("none", "lzf", "gzip")),
                (".zarr", ("none", "gzip", "zstd")),
            ):
                for kind in kinds:
                    path = os.path.join(folder, f"{kind}{suffix}")
                    begin = time.perf_counter()
                    with moireio.create(path, compression=kind) as out:
                        out.structure(structure)
                        out.basis(basis)
                        for operator in loaded:
                            out.operator(operator)
                    middle = time.perf_counter()
                    with moireio.open(path) as file:
                        for o in ("hamiltonian", "overlap"):
                            file.operator(o).rows(0, n)
                    end = time.perf_counter()
                    written, read = (total / 1e6 / t for t in (middle - begin, end - middle))
                    print(
                        f"{name:<14} {suffix[1:]:<6} {kind:<11} {_size(path) / total:6.3f} "
                        f"{written:6.0f} M {read:6.0f} M"
                    )
    print("size: on disk / bytes of the blocks; write, read: MB/s, checksums and all")


class _InMemory:
    def __init__(self, operator, n):
        self.meta, self.pairs, self.sizes = operator.meta, operator.pairs, operator.sizes
        from moireio.operators.views import ArraySource

        self.data = operator.rows(0, n)
        self.rows = ArraySource(self.meta, self.sizes, self.pairs, self.data).rows


def _size(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(path) for f in fs)


if __name__ == "__main__":
    main()
