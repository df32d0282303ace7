#!/usr/bin/env bash
# predict-h, train-h and dense bands on a GPU: are they equal to the CPU's, and how long they take.
#
# Rerun, from the root of the clone: bash tests/bench/gpu.sh WORK [WHEELS]
#   WORK    folder for files and for gpu.md, the table for RESULTS.md
#   WHEELS  folder of wheels for a machine without a network, made beforehand by
#           pip download -d WHEELS --no-deps ase click jsonschema matscipy spglib threadpoolctl zarr
#           and what those need there
#   DATA    environment variable: patterns of training folders, for the time of an epoch
# torch with CUDA, h5py and e3nn are expected on the machine. DEVICE=cpu compares the CPU with
# itself, to try the script where there is no GPU.
set -euo pipefail
work=${1:?usage: gpu.sh WORK [WHEELS]}
wheels=${2:-}
mkdir -p "$work"
if [ -n "$wheels" ]; then
    python3 -m pip install -q --no-index --no-deps --find-links "$wheels" "$wheels"/*.whl
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec python3 tests/bench/bench_gpu.py "$work" --device "${DEVICE:-cuda}" ${DATA:+--data $DATA}
