"""Calculations in the files of any format, by moireio's writers or by naive ones."""

import os

import numpy as np
from deeph_systems import local_folder
from foreign_cells import Example, write_aims, write_dftbplus, write_rescu
from hamgnn_graphs import naive_graph, save_plainly

from moireio.blockfile.calculation import read
from moireio.formats.registry import FORMATS

WRITTEN = {
    "abacus": "a", "deeph": "d", "deeph-dock": "d", "cp2k": "c", "deeptb": "t",
    "hamgnn": "graph_data.npz", "wanniertools": "x.dat",
}  # fmt: skip
NAIVE = {"aims": write_aims, "dftbplus": write_dftbplus, "rescu": write_rescu}


def make(folder, case, made):
    """Write a calculation; return the name of the source, and the format's."""
    if case == "rh":
        local_folder(folder / "d", False, "npz")
        return "d", "deeph"
    if case in NAIVE:
        example = Example(shells={"C": (0, 1), "Mo": (0,), "H": (0,)}, reach=3.2)
        return os.path.relpath(NAIVE[case](folder, example), folder), case
    with read(str(made["gr_ab"])) as calculation:
        if case == "hamgnn-prediction":
            graph = naive_graph(calculation, 14)
            save_plainly(folder / "graph_data.npz", graph)
            rows = np.concatenate([graph["Hon"], graph["Hoff"]])
            np.save(folder / "prediction_hamiltonian.npy", rows)
            return "prediction_hamiltonian.npy", case
        name = "deeph" if case == "pieces" else case
        FORMATS[name].write(calculation, str(folder / WRITTEN[name]))
    if case == "pieces":
        os.rename(folder / "d" / "overlaps.h5", folder / "d" / "overlaps_0.h5")
    return WRITTEN[name], name
