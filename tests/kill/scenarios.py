"""Commands that write, with small inputs."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.io.vasp
import h5py
import matplotlib.backends.backend_agg
import scipy.sparse.linalg
import zarr

import moireio.bands.solve
import moireio.blockfile.checks
import moireio.dos.solve
import moireio.integrals.sources
import moireio.moire.build
import moireio.moire.cells
import moireio.moire.search
import moireio.plots.bands
import moireio.results.bands
import moireio.results.dos
import moireio.spectrum.states
import moireio.store.hdf5
import moireio.store.zarr
import moireio.tightbinding.model
import moireio.tools.band
import moireio.tools.build_dataset
import moireio.tools.build_twist
import moireio.tools.compare_h
import moireio.tools.convert_h
import moireio.tools.deeph2h5
import moireio.tools.dos
import moireio.tools.flat_band
import moireio.tools.openmx2h5
import moireio.tools.overlap
import moireio.tools.predict_h
import moireio.tools.tb_h
import moireio.tools.train_h
from moireio.network.inference import passes
from moireio.network.training import run as training
from moireio.solvers import registry
from moireio.spectrum import checkpoint
from moireio.spectrum.anchors import settings

#: What is imported here, no run has to import.
IMPORTED = (ase, h5py, matplotlib, scipy, zarr, moireio)
DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True)
class Scenario:
    """A command.

    Parameters
    ----------
    name : str
        For the table.
    words : str
        Command line, run in a folder with copies of `inputs`.
    inputs : sequence of str
        Files that it reads.
    outputs : sequence of str
        Files or folders that it makes; with an input among them it writes in place.
    resume : bool
        Whether it goes on with --resume.
    kept : sequence of str
        What a run leaves on purpose beside its outputs, to go on from.
    parts : str
        What a run that was interrupted leaves for the next one.
    old : bool
        Whether its output exists before, and is replaced.
    patch : callable
        Called in the run's process: makes it save at once.
    """

    name: str
    words: str
    inputs: Sequence[str] = ("tb.h5",)
    outputs: Sequence[str] = ("out.h5",)
    resume: bool = False
    kept: Sequence[str] = ()
    parts: str = ""
    old: bool = False
    patch: Callable[[], object] = lambda: None


def save_points():
    """Keep every k point at once."""
    checkpoint.SHORT = 0.0


def save_anchors():
    """Take a small cell for a large one, and keep every anchor at once."""
    save_points()
    registry.SPARSE_SIZE = 100
    settings.LEAST_POINTS = 20


def save_passes():
    """Keep every few edges of every pass."""
    passes.EDGES_AT_ONCE, passes.SAVE_SECONDS = 200, 0.0


def save_epochs():
    """Keep every epoch."""
    training.SAVE_SECONDS = 0.0


def _points(name, words, output):
    """Return a command that goes on from the k points that were finished."""
    parts = f"{output}.part.jsonl"
    return Scenario(name, words, outputs=(output,), resume=True, parts=parts, patch=save_points)


BAND = "band tb.h5 -q -p GMKG --points 12 -n 6 -j 1"
TRAIN = "train-h a.h5 b.h5 -q --validate a.h5 --hidden 8x0e+4x1o+2x2e --blocks 1 --lmax 2"
SCENARIOS = (
    Scenario("build-twist", "build-twist graphene --index 2 1 -q -o out.h5", ()),
    Scenario(
        "build-twist zip",
        "build-twist graphene --index 2 1 -q -o out.zarr.zip",
        (),
        ("out.zarr.zip",),
    ),
    Scenario(
        "build-twist POSCAR",
        "build-twist graphene --index 2 1 -q -o out.vasp --plot p.png",
        (),
        ("out.vasp", "p.png"),
    ),
    Scenario("overlap zarr", "overlap twist.h5 -q -o out.zarr", ("twist.h5",), ("out.zarr",)),
    Scenario(
        "overlap in place", "overlap twist.zarr -q --in-place", ("twist.zarr",), ("twist.zarr",)
    ),
    Scenario(
        "predict-h",
        "predict-h s.h5 -q -o out.h5 --memory 1K",
        ("s.h5",),
        parts="out.h5.work",
        patch=save_passes,
    ),
    Scenario("predict-h in place", "predict-h s.zarr -q --in-place", ("s.zarr",), ("s.zarr",)),
    Scenario("tb-h", "tb-h twist.h5 -m moon-koshino -q -o out.h5", ("twist.h5",)),
    Scenario(
        "tb-h zip",
        "tb-h twist.h5 -m moon-koshino -q -o out.zarr.zip",
        ("twist.h5",),
        ("out.zarr.zip",),
    ),
    Scenario(
        "convert-h zarr", "convert-h tb.h5 -q -o out.zarr --storage full", outputs=("out.zarr",)
    ),
    Scenario("convert-h over an old one", "convert-h tb.h5 -q -o out.h5 --force", old=True),
    Scenario(
        "convert-h over an old folder",
        "convert-h tb.zarr -q -o out.zarr --force",
        ("tb.zarr",),
        ("out.zarr",),
        old=True,
    ),
    Scenario("openmx2h5", "openmx2h5 o2_col.scfout -q -o out.h5", ("o2_col.scfout",)),
    Scenario(
        "openmx2h5 folder",
        "openmx2h5 o2_col.scfout gr_ab.scfout -q -o made/ -j 2",
        ("o2_col.scfout", "gr_ab.scfout"),
        ("made/o2_col.h5", "made/gr_ab.h5"),
        kept=("made",),
    ),
    Scenario("deeph2h5", "deeph2h5 deeph -q -o out.zarr", ("deeph",), ("out.zarr",)),
    Scenario("band", f"{BAND} -o out.h5"),
    Scenario("band in place", f"{BAND} --in-place", outputs=("tb.h5",)),
    Scenario(
        "band in place zarr", f"{BAND} --in-place".replace("h5", "zarr"), ("tb.zarr",), ("tb.zarr",)
    ),
    Scenario(
        "band in place zip",
        f"{BAND} --in-place".replace("h5", "zarr.zip"),
        ("tb.zarr.zip",),
        ("tb.zarr.zip",),
    ),
    Scenario("band drawn", f"{BAND} --plot p.png --text t.txt", outputs=("p.png", "t.txt")),
    _points("band --resume", f"{BAND} --text t.txt", "t.txt"),
    Scenario(
        "band from anchors --resume",
        "band large.h5 -q -p GM --points 20 --bands 2 -j 1 --text t.txt",
        ("large.h5",),
        ("t.txt",),
        resume=True,
        parts="t.txt.part.anchors",
        patch=save_anchors,
    ),
    _points("band --states --resume", f"{BAND} --states -o out.h5", "out.h5"),
    Scenario(
        "dos in place",
        "dos tb.zarr -q --mesh 4 4 --in-place --name a -j 1",
        ("tb.zarr",),
        ("tb.zarr",),
    ),
    _points("dos --resume", "dos tb.h5 -q --mesh 6 6 -o out.h5 -j 1", "out.h5"),
    _points("flat-band --resume", "flat-band tb.h5 -q -n 8 --plot f.png -j 1", "f.png"),
    _points(
        "compare-h --resume",
        "compare-h tb.h5 tb.h5 -q --bands 2 --points 12 --csv c.csv -j 1",
        "c.csv",
    ),
    Scenario(
        "train-h",
        f"{TRAIN} --epochs 6 --lr 0.01 -o out.h5",
        ("a.h5", "b.h5"),
        kept=("out.h5.train",),
        parts="out.h5.train/state.pt",
        patch=save_epochs,
    ),
    Scenario(
        "build-dataset",
        "build-dataset make graphene --interlayer 3.35 --slide 2 2 --supercell 1 1 -q -o set",
        (),
        ("set",),
    ),
)
NEEDS = {
    "twist.zarr": "convert-h twist.h5 -q -o twist.zarr",
    "s.h5": "overlap twist.h5 -q -o s.h5",
    "s.zarr": "overlap twist.h5 -q -o s.zarr",
    "cell.h5": "build-twist graphene --index 5 4 -q -o cell.h5",
    "large.h5": "tb-h cell.h5 -m moon-koshino -q -o large.h5",
    "tb.h5": "tb-h twist.h5 -m moon-koshino -q -o tb.h5",
    "tb.zarr": "convert-h tb.h5 -q -o tb.zarr",
    "tb.zarr.zip": "convert-h tb.h5 -q -o tb.zarr.zip",
}


def make_inputs(folder, scenarios, rounds):
    """Make the inputs of scenarios and, if there are any, of rounds of two writers."""
    from deeph_folders import write_folder
    from trials import finish, in_child

    folder.mkdir()
    for path in DATA.glob("*.scfout"):
        shutil.copy(path, folder)
    finish("build-twist graphene --index 2 1 -q -o twist.h5", folder)
    wanted = {name for s in scenarios for name in s.inputs}
    if rounds:
        wanted |= {"tb.h5", "tb.zarr", "tb.zarr.zip"}
    if any(name.startswith("tb.") for name in wanted):
        wanted.add("tb.h5")
    if "large.h5" in wanted:
        wanted.add("cell.h5")
    for name, words in NEEDS.items():
        if name in wanted:
            finish(words, folder)
    if "deeph" in wanted:
        write_folder(folder / "deeph")
    if "a.h5" in wanted:
        in_child(_write_training, folder)


def _write_training(folder):
    from helpers import write_file
    from training_data import data

    for seed, name in enumerate("ab"):
        one = data(seed)
        write_file(folder / f"{name}.h5", one.structure, one.basis, one.hamiltonian, one.overlap)
