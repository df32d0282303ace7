"""What reads files: for each format a good sample, the commands, and what must come out.

``compare`` names the parts that a format keeps twice (partners of blocks, checksums, coordinates
in the text and in numbers): damage there is refused or does no harm. Formats without redundancy
have no such parts; docs/trust.md lists both.
"""

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from helpers import convert
from mutations import damage_file, edit_hdf5

import moireio

DATA = Path(__file__).resolve().parents[1] / "data"
MODEL = "graphene-nn"


def nothing(work):
    """No result to compare."""


def no_difference(reference, work):
    """Formats without redundancy: nothing is compared."""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Parameters
    ----------
    name : str
        Its name.
    make : callable
        Fills a folder; returns the names of the samples in it.
    run : callable
        Returns for a sample's name the commands that read it.
    result : callable
        Reads what they wrote, for `compare`.
    compare : callable
        Returns a text on the first difference between a result and that of undamaged input, in
        parts that the format keeps twice, or an empty one.
    missing : bool
        The sample is a folder, of which files may vanish.
    may_refuse : tuple of str
        Commands after whose refusal the next still runs.
    damage : callable
        Damages a sample (path, seed, missing); returns a few words on it.
    writers : tuple of str
        Commands that leave no ``out`` behind when they fail.
    """

    name: str
    make: Callable
    run: Callable
    result: Callable = nothing
    compare: Callable = no_difference
    missing: bool = False
    may_refuse: tuple = ()
    damage: Callable = damage_file
    writers: tuple = ("openmx2h5", "overlap", "tb-h", "predict-h", "deeph2h5", "convert-h")

    def commands(self, name):
        """Return the commands for a sample."""
        return self.run(name)

    def outputs(self, work):
        """Return outputs and remains of outputs."""
        return [n for n in os.listdir(work) if n.startswith(("out", ".out"))]


def contents(path):
    """Structure, pairs and elements of a block file."""
    with moireio.open(str(path)) as file:
        n = len(file.structure)
        s = file.structure
        out = {"numbers": s.numbers, "cell": s.cell, "positions": s.positions}
        out["orbitals"] = file.basis.sizes(s)
        for name in ("hamiltonian", "overlap"):
            if name in file.operators:
                operator = file.operator(name)
                out[f"{name}: pairs"] = np.c_[operator.pairs.j, operator.pairs.R]
                out[name] = operator.rows(0, n)
    return out


def differs(reference, result, limits):
    """Return the first part of two results that differs by more than its limit."""
    for name, limit in limits.items():
        if name not in reference:
            continue
        if name not in result:
            return f"{name} is missing"
        a, b = reference[name], result[name]
        if a.shape != b.shape:
            return f"{name}: shape {b.shape} instead of {a.shape}"
        largest = np.abs(a - b).max(initial=0.0) if a.dtype.kind in "fc" else (a != b).sum()
        if not largest <= limit:
            return f"{name} differs by {largest:.3g}"
    return ""


def of_out(work):
    """Contents of ``out.h5``."""
    return contents(work / "out.h5")


EXACT = dict.fromkeys(
    (
        "numbers", "cell", "positions", "orbitals", "hamiltonian: pairs", "hamiltonian",
        "overlap: pairs", "overlap",
    ), 0
)  # fmt: skip


def exactly(reference, work):
    """All of ``out.h5`` as it was."""
    return differs(reference, of_out(work), EXACT)


# OpenMX ------------------------------------------------------------------------------------------


def _scfout(folder):
    names = []
    for name in ("gr_ab", "hbn_soc", "o2_col", "gr_ab_v38"):
        shutil.copy(DATA / f"{name}.scfout", folder)
        names.append(f"{name}.scfout")
    return names


def _compare_deeph(reference, work):
    """Blocks have partners; a folder without one of its files is a folder of the other."""
    result = of_out(work)
    for name in ("hamiltonian", "overlap"):
        if name not in result:
            reference = {k: v for k, v in reference.items() if not k.startswith(name)}
    return _compare_partners(reference, result)


def _compare_scfout(reference, work):
    """Diagonal elements have no partner; all others do, and coordinates stand in the text too."""
    result = of_out(work)
    limits = {"numbers": 0, "cell": 1e-5, "positions": 1e-5}
    return differs(reference, result, limits) or _compare_partners(reference, result)


def _compare_partners(reference, result):
    limits = {"orbitals": 0, "hamiltonian: pairs": 0, "overlap: pairs": 0}
    text = differs(reference, result, limits)
    if text:
        return text
    for name, limit in (("hamiltonian", 1e-4), ("overlap", 1e-6)):
        if name not in reference:
            continue
        wrong = np.abs(reference[name] - result[name]) > limit
        # A diagonal element has no partner: a single one that is wrong goes unnoticed.
        if wrong.sum() > 1:
            return f"{wrong.sum()} elements of {name} differ by more than {limit:g}"
    return ""


def _orbital_file(folder):
    from orbitals import write_pao

    (folder / "pao").mkdir()
    write_pao(folder / "pao" / "C7.0.pao")
    (folder / "x.xyz").write_text(
        '2\nLattice="2.46 0 0 1.23 2.130422 0 0 0 20" Properties=species:S:1:pos:R:3 pbc="T T F"\n'
        "C 0 0 5\nC 1.23 0.710141 5\n"
    )
    return ["pao"]


def _copy(*names):
    def make(folder):
        for name in names:
            shutil.copy(DATA / name, folder)
        return list(names)

    return make


def _inputs(folder):
    """Inputs of three cells, and a model that knows all their elements."""
    lines = ['name = "any"']
    for name in ("B", "C", "N", "O"):
        lines += [f"[species.{name}]", 'orbitals = ["s"]', "valence = 1"]
    lines += ["[[bond]]", 'species = ["C", "C"]', "cutoff = 2.0", "ss_sigma = -1.0"]
    (folder / "any.toml").write_text("\n".join(lines) + "\n")
    return _copy("gr_ab.dat", "hbn_soc.dat", "o2_col.dat")(folder)


def _dataset(folder):
    import json

    for name in ("a", "b"):
        (folder / "set" / name).mkdir(parents=True)
        shutil.copy(DATA / "gr_ab.out", folder / "set" / name / f"{name}.out")
        shutil.copy(DATA / "gr_ab.dat", folder / "set" / name / f"{name}.dat")
        shutil.copy(DATA / "gr_ab.scfout", folder / "set" / name / f"{name}.scfout")
    rows = [{"name": n, "atoms": 4, "digest": "", "origin": {}} for n in ("a", "b")]
    manifest = {"format": "moireio-dataset", "version": 1, "code": "openmx", "structures": rows}
    (folder / "set" / "manifest.json").write_text(json.dumps(manifest))
    return ["set"]


# Structures --------------------------------------------------------------------------------------


def _structures(folder):
    import ase.io
    from ase import Atoms

    cell = [[2.46, 0, 0], [1.23, 2.1304225, 0], [0, 0, 20]]
    atoms = Atoms("C2", cell=cell, pbc=(True, True, False))
    atoms.positions = [[0, 0, 5], [1.23, 0.71014083, 5]]
    forms = {
        "g.vasp": "vasp", "g.cif": "cif", "g.xyz": "extxyz", "g.lmp": "lammps-data", "g.xsf": "xsf",
        "g.in": "espresso-in", "geometry.in": "aims", "g.gen": "gen",
        "g.res": "res", "g.cube": "cube", "g.pdb": "proteindatabank",
    }  # fmt: skip
    made = []
    for name, form in forms.items():
        options = {}
        if form == "espresso-in":
            options["pseudopotentials"] = {"C": "C.upf"}
        if form == "lammps-data":
            options["masses"] = True
        ase.io.write(folder / name, atoms, format=form, **options)
        made.append(name)
    (folder / "g.vasp.gz").write_bytes(gzip.compress((folder / "g.vasp").read_bytes()))
    rows = [f"{' '.join(f'{x / 0.529177:.9f}' for x in v)} 0 0 0" for v in cell] + ["2"]
    for place in atoms.positions / 0.529177:
        rows.append(f"1 6 {' '.join(f'{x:.9f}' for x in place)} 0 0 0")
    (folder / "g.XV").write_text("\n".join(rows) + "\n")
    return [*made, "g.vasp.gz", "g.XV"]


# DeepH -------------------------------------------------------------------------------------------


CELL_SOURCES = {"cp2k": "cp2k/x.out", "rescu": "rescu/x.h5"}


def _cells(folder):
    """Files with one matrix a cell, or one array a pair, of five programs."""
    from foreign_cells import (
        Example,
        write_aims,
        write_cp2k,
        write_deeptb,
        write_dftbplus,
        write_rescu,
    )

    example = Example(reach=3.2, shells={"C": (0, 1), "Mo": (0,), "H": (0,)})
    writers = {"cp2k": write_cp2k, "aims": write_aims, "dftbplus": write_dftbplus}
    writers |= {"rescu": write_rescu, "deeptb": write_deeptb}
    for name, write in writers.items():
        (folder / name).mkdir()
        write(folder / name, example)
    return list(writers)


def _deeph(folder):
    """Legacy and dock folders with Hermitian blocks."""
    import json

    import h5py

    source = folder / "source.h5"
    _small_block_file(source)
    with moireio.open(str(source)) as file:
        structure, basis = file.structure, file.basis
        operators = {
            "hamiltonian": ("hamiltonians.h5", "hamiltonian.h5"),
            "overlap": ("overlaps.h5", "overlap.h5"),
        }
        legacy, dock = folder / "legacy", folder / "dock"
        legacy.mkdir(), dock.mkdir()
        np.savetxt(legacy / "lat.dat", structure.cell.T)
        np.savetxt(legacy / "site_positions.dat", structure.positions.T)
        np.savetxt(legacy / "element.dat", structure.numbers, fmt="%d")
        shells = [list(basis[n].l) for n in _names(structure)]
        (legacy / "orbital_types.dat").write_text(
            "\n".join(" ".join(map(str, row)) for row in shells) + "\n"
        )
        (legacy / "info.json").write_text(json.dumps({"isspinful": False, "fermi_level": -1.0}))
        atoms = structure.to_ase()
        import ase.io

        ase.io.write(dock / "POSCAR", atoms, format="vasp", direct=False)
        kinds = {
            s: list(map(int, basis[n].l))
            for s, n in zip(structure.element_symbols, _names(structure), strict=True)
        }
        info = {"spinful": False, "fermi_energy_eV": -1.0, "elements_orbital_map": kinds}
        (dock / "info.json").write_text(json.dumps(info))
        for name, (old, new) in operators.items():
            operator = file.operator(name)
            keys, blocks = [], []
            for i in range(len(structure)):
                begin, end = operator.pairs.indptr[i : i + 2]
                for p in range(begin, end):
                    j, R = int(operator.pairs.j[p]), operator.pairs.R[p]
                    keys.append([*map(int, R), i, j])
                    blocks.append(np.asarray(operator.block(i, j, R)))
            with h5py.File(legacy / old, "w") as out:
                for (x, y, z, i, j), block in zip(keys, blocks, strict=True):
                    out[str([x, y, z, i + 1, j + 1])] = block
            with h5py.File(dock / new, "w") as out:
                out["atom_pairs"] = np.array(keys)
                out["chunk_shapes"] = np.array([b.shape for b in blocks])
                out["chunk_boundaries"] = np.cumsum([0, *(b.size for b in blocks)])
                out["entries"] = np.concatenate([b.ravel() for b in blocks])
    source.unlink()
    pieces = folder / "pieces"
    shutil.copytree(legacy, pieces)
    (pieces / "hamiltonians.h5").unlink(), (pieces / "output").mkdir()
    with h5py.File(pieces / "overlaps.h5") as whole:
        for number in range(3):
            with h5py.File(pieces / "output" / f"overlaps_{number}.h5", "w") as piece:
                for key in list(whole)[number::3]:
                    piece[key] = whole[key][()]
    (pieces / "overlaps.h5").unlink()
    return ["legacy", "dock", "pieces"]


def _names(structure):
    return [structure.species_names[s] for s in structure.species]


# Block files -------------------------------------------------------------------------------------


def _small_block_file(path):
    """Four atoms of bilayer graphene, H and S."""
    convert(str(DATA / "gr_ab.scfout"), str(path))


def _blocks(folder):
    for name in ("x.h5", "x.zarr", "x.zarr.zip"):
        _small_block_file(folder / name)
    return ["x.h5", "x.zarr", "x.zarr.zip"]


def _one_block_file(folder):
    _small_block_file(folder / "x.h5")
    return ["x.h5"]


# Models ------------------------------------------------------------------------------------------

SHELLS = {"C": "s2p2d1", "N": "s1"}


def _cell_for_models(folder):
    """Write a cell with an overlap, from Gaussian orbitals."""
    from click.testing import CliRunner
    from orbitals import write_pao

    from moireio.tools import overlap

    write_pao(folder / "C7.0.pao")
    (folder / "x.xyz").write_text(GRAPHENE)
    words = [folder / "x.xyz", "--basis", "C=C7.0-s2p2d1", "--pao", folder, "-o", folder / "s.h5"]
    done = CliRunner().invoke(overlap.main, [*map(str, words), "-q"])
    assert done.exit_code == 0, done.output


def _model_file(folder):
    import torch
    from systems import small_model

    from moireio.network.modelfile import write

    _cell_for_models(folder)
    write(str(folder / "m.h5"), small_model(local=True, dtype=torch.float32, **SHELLS))
    return ["m.h5"]


def _checkpoint(folder):
    import torch
    from e3_runs import export
    from systems import small_model

    _cell_for_models(folder)
    export(small_model(dtype=torch.float32, **SHELLS), folder / "run")
    return ["run"]


def _same_hamiltonian(reference, work):
    """Weights are guarded by checksums: either refused, or the same prediction."""
    return differs(reference, of_out(work), {"hamiltonian: pairs": 0, "hamiltonian": 1e-4})


def _tight_binding_model(folder):
    from moireio import tightbinding

    source = Path(tightbinding.__file__).parent / "models" / "moon-koshino.toml"
    shutil.copy(source, folder / "m.toml")
    (folder / "x.xyz").write_text(GRAPHENE)
    return ["m.toml"]


# All ---------------------------------------------------------------------------------------------

GRAPHENE = (
    '2\nLattice="2.46 0 0 1.23 2.130422 0 0 0 20" Properties=species:S:1:pos:R:3 pbc="T T F"\n'
    "C 0 0 5\nC 1.23 0.710141 5\n"
)


def _with_bands(*names):
    def make(folder):
        _small_block_file(folder / "s.h5")
        return _copy(*names)(folder)

    return make


READERS = (
    Reader(
        "scfout",
        _scfout,
        lambda name: [["openmx2h5", "-q", name, "-o", "out.h5"]],
        of_out,
        _compare_scfout,
    ),
    Reader(
        "dat",
        _inputs,
        lambda name: [["tb-h", "-q", "-m", "any.toml", name, "-o", "out.h5"]],
    ),
    Reader(
        "dat as path",
        _with_bands("gr_ab.dat"),
        lambda name: [["band", "-q", "s.h5", "-p", name, "--bands", "2", "--json"]],
    ),
    Reader(
        "pao",
        _orbital_file,
        lambda name: [
            f"overlap -q x.xyz --basis C=C7.0-s2p2d1 --pao {name} -o out.h5".split(),
        ],
    ),
    Reader(
        "Band",
        _with_bands("gr_ab.Band"),
        lambda name: [
            ["band", "-q", "s.h5", "-p", name, "--overlay", name, "--plot", "out.png"],
        ],
    ),
    Reader(
        "out",
        _dataset,
        lambda name: [
            ["build-dataset", "status", name],
            ["build-dataset", "collect", "-q", name, "-o", "blocks"],
        ],
        missing=True,
    ),
    Reader(
        "structures",
        _structures,
        lambda name: [["tb-h", "-q", "-m", MODEL, name, "-o", "out.h5"]],
    ),
    Reader(
        "deeph",
        _deeph,
        lambda name: [["deeph2h5", "-q", name, "-o", "out.h5"]],
        of_out,
        _compare_deeph,
        missing=True,
    ),
    Reader(
        "cells",
        _cells,
        lambda name: [["convert-h", "-q", CELL_SOURCES.get(name, name), "-o", "out.h5"]],
        missing=True,
    ),
    Reader(
        "block file",
        _blocks,
        lambda name: [
            ["h5-info", name],
            ["band", "-q", name, "-p", "GM", "-n", "2", "--bands", "4", "--json"],
            ["convert-h", "-q", name, "-o", "out.h5"],
        ],
        of_out,
        exactly,
        missing=True,
    ),
    Reader(
        "validated",
        _blocks,
        lambda name: [["h5-validate", "-q", name], ["convert-h", "-q", name, "-o", "out.h5"]],
        of_out,
        exactly,
        missing=True,
    ),
    Reader(
        "edited block file",
        _one_block_file,
        lambda name: [
            ["h5-info", name],
            ["h5-validate", "-q", name],
            ["band", "-q", name, "-p", "GM", "-n", "2", "--bands", "4", "--json"],
            ["dos", "-q", name, "--mesh", "2", "2", "--json"],
            ["convert-h", "-q", name, "-o", "out.h5"],
        ],
        damage=edit_hdf5,
        may_refuse=("h5-info", "h5-validate", "band", "dos"),
    ),
    Reader(
        "edited deeph",
        _deeph,
        lambda name: [["deeph2h5", "-q", name, "-o", "out.h5"]],
        damage=edit_hdf5,
    ),
    Reader(
        "edited model",
        _model_file,
        lambda name: [["predict-h", "-q", "s.h5", "-m", name, "-o", "out.h5"]],
        damage=edit_hdf5,
    ),
    Reader(
        "model",
        _model_file,
        lambda name: [["predict-h", "-q", "s.h5", "-m", name, "-o", "out.h5"]],
        of_out,
        _same_hamiltonian,
    ),
    Reader(
        "deeph-e3",
        _checkpoint,
        lambda name: [["predict-h", "-q", "s.h5", "-m", name, "-o", "out.h5"]],
        of_out,
        _same_hamiltonian,
        missing=True,
    ),
    Reader(
        "toml",
        _tight_binding_model,
        lambda name: [["tb-h", "-q", "-m", name, "x.xyz", "-o", "out.h5"]],
    ),
)
