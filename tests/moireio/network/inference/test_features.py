"""Features in memory and in a file."""

import numpy as np
import pytest
import torch

from moireio.network.inference.features import FeatureStore
from moireio.network.irreps import Irreps

IRREPS = Irreps.parse("3x0e+2x1o+1x2e")


@pytest.mark.parametrize("in_file", [False, True])
def test_rows_come_back(tmp_path, in_file):
    """Consecutive rows and any rows, in any order."""
    store = FeatureStore(IRREPS, 9, torch.float32, str(tmp_path / "f") if in_file else None)
    parts = [torch.randn(9, 2 * d + 1, c) for d, c in enumerate(store.layout.per_degree)]
    store.put(0, [p[:4] for p in parts])
    store.put(4, [p[4:] for p in parts])
    store.flush()
    rows = np.array([7, 0, 0, 3])
    for stored, part in zip(store.get(2, 6), parts, strict=True):
        assert torch.equal(stored, part[2:6])
    for stored, part in zip(store.take(rows), parts, strict=True):
        assert torch.equal(stored, part[rows])
    store.close()


@pytest.mark.parametrize("in_file", [False, True])
def test_rows_order_by_order(tmp_path, in_file):
    path = str(tmp_path / "f") if in_file else None
    store = FeatureStore(IRREPS, 5, torch.float32, path, orders=True)
    parts = [torch.randn(5, *shape) for shape in store.layout.order_shapes]
    store.put(0, parts)
    for stored, part in zip(store.get(1, 4), parts, strict=True):
        assert torch.equal(stored, part[1:4])
    store.close()


def test_a_file_that_was_cut(tmp_path):
    path = tmp_path / "f"
    store = FeatureStore(IRREPS, 9, torch.float32, str(path))
    with open(path, "r+b") as stream:
        stream.truncate(10)
    with pytest.raises(OSError, match="shorter than expected"):
        store.get(0, 9)
    store.close()
