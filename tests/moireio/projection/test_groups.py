"""Groups of orbitals."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import random_operator, write_file

import moireio
from moireio.errors import MoireioError
from moireio.projection.groups import flipped_rows, make_projection
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure


def test_labels_of_orbitals(made):
    with moireio.open(made["gr_ab"]) as file:
        projection = make_projection(file, ["element,orbital", "atom,shell"])
        assert projection.labels[:4] == ("C s", "C py", "C pz", "C px")
        assert "C dx2-y2" in projection.labels
        assert projection.labels[9:12] == ("C0 s", "C0 p", "C0 d")
        # s2p2d1 on four atoms
        assert projection.indicator.sum(axis=1)[:4].tolist() == [8, 8, 8, 8]


def test_every_row_has_one_group_of_each_way(made):
    with moireio.open(made["hbn_soc"]) as file:
        projection = make_projection(file, ["element", "atom,orbital", "spin", "element"])
        assert projection.names == ("element", "atom,orbital", "spin")
        rows = 2 * int(file.orbitals.sum())
        assert projection.indicator.shape == (len(projection), rows)
        for way in range(3):
            sums = projection.indicator[projection.way == way].sum(axis=0)
            assert (np.asarray(sums) == 1).all()


def test_ways_that_do_not_fit(made):
    with moireio.open(made["o2_col"]) as file, pytest.raises(MoireioError, match="apart anyway"):
        make_projection(file, ["spin"])
    with moireio.open(made["gr_ab"]) as file:
        for wrong, text in ((["spin"], "no spin"), (["x"], "'x'")):
            with pytest.raises(MoireioError, match=text):
                make_projection(file, wrong)
    with moireio.open(made["o2_col"]) as file, pytest.raises(MoireioError, match="no layers"):
        make_projection(file, ["layer"])


def test_incomplete_shells(tmp_path):
    """m lists the orbitals of shells that are not whole: p_z alone, then a whole d shell."""
    structure = Structure(np.eye(3) * 9, np.zeros((1, 3)), [6], [0], ["C"], [0, 0, 0])
    basis = Basis({"C": SpeciesBasis(l=(1, 2), m=(0, -2, -1, 0, 1, 2))}, orthogonal=True)
    H, _ = random_operator(0, np.array([6]), reach=0)
    with moireio.open(write_file(tmp_path / "x.h5", structure, basis, H)) as file:
        labels = make_projection(file, ["orbital"]).labels
        assert labels == ("pz", "dxy", "dyz", "dz2", "dxz", "dx2-y2")


def test_rows_with_the_other_spin():
    assert flipped_rows(np.array([2, 4]), True).tolist() == [1, 0, 4, 5, 2, 3]
    assert flipped_rows(np.array([2, 4]), False).tolist() == [0, 1, 2, 3, 4, 5]


def test_layers_count_from_1(made, tmp_path):
    with moireio.open(made["hbn_soc"]) as file:
        layer = np.arange(len(file.structure))
        structure = replace(file.structure, layer=layer)
        labels = make_projection(_With(file, structure), ["layer"]).labels
    assert labels == tuple(f"layer {n}" for n in range(1, len(layer) + 1))


class _With:
    """A block file with another structure."""

    def __init__(self, file, structure):
        self.file, self.structure = file, structure

    def __getattr__(self, name):
        return getattr(self.file, name)
