"""Calculators by name: refusals, dispersion, and processes of other environments."""

import sys

import numpy as np
import pytest
from relaxing import bilayer

from moireio.errors import MoireioError
from moireio.relax.calculators import check_memory, open_calculator
from moireio.relax.worker import Worker

STRUCTURE = bilayer("graphene", "graphene", 3.4)
EMT = "ase.calculators.emt:EMT"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "no calculator 'nonsense'"),
        ("", "no calculator ''"),
        ("mace", r"`calculator` mace needs a model \(mace:FILE\)"),
        ("deepmd:", "needs a model"),
        ("chgnet", "chgnet holds no dispersion"),
        ("sevenn:7net-0", "sevenn:7net-0 holds no dispersion"),
        ("no_such_module:make", "there is no module no_such_module"),
        ("os:nothing", "os has no function nothing"),
        ("os:getcwd", "makes no calculator of ASE"),
        ("lammps:", "names no file"),
    ],
)
def test_names_that_are_refused(name, message):
    with pytest.raises(MoireioError, match=message), open_calculator(name, STRUCTURE):
        pass


def test_memory_is_estimated_before_anything_is_imported():
    with pytest.raises(MoireioError, match=r"chgnet: 10000 atoms need about 40.0 GB, 8.0 GB may"):
        check_memory("chgnet", 10000, 8e9)
    check_memory("lammps", 10000, 1e9)
    with (
        pytest.raises(MoireioError, match=r"4 atoms need about 16\.0 MB"),
        open_calculator("chgnet", STRUCTURE, d3="pbe", memory=1e6),
    ):
        pass


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("/no/such/python", "cannot be started: No such file"),
        ("/bin/true", "is no Python with numpy and ase"),
        ("/bin/echo", "is no Python with numpy and ase"),
    ],
)
def test_what_is_no_python(python, message):
    with (
        pytest.raises(MoireioError, match=message) as caught,
        open_calculator(EMT, STRUCTURE, python=python),
    ):
        pass
    assert str(caught.value).startswith(python)


FACTORY = """
import os, signal, sys
import numpy as np
from ase.calculators.emt import EMT
from ase.calculators.calculator import Calculator

class Ends(EMT):
    count = 0
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.count += 1
        print("words on standard output are no message")
        if self.count == 3 and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.count == 3 and self.how == "fail":
            raise RuntimeError("three is too many")
        if self.count == 3 and self.how == "exit":
            sys.stderr.write("out of patience\\n")
            os._exit(3)

def kill():
    made = Ends(); made.how = "kill"; return made
def fail():
    made = Ends(); made.how = "fail"; return made
def exit():
    made = Ends(); made.how = "exit"; return made
def lacking():
    import no_such_package
"""


def evaluations(field, count):
    atoms = STRUCTURE.to_ase()
    out = []
    for step in range(count):
        atoms.rattle(0.01, seed=step)
        out.append(field.evaluate(atoms, True))
    return out


def test_another_process_gives_the_same_bits():
    with open_calculator(EMT, STRUCTURE) as here:
        expected = evaluations(here, 4)
    with open_calculator(EMT, STRUCTURE, python=sys.executable) as there:
        found = evaluations(there, 4)
    for a, b in zip(expected, found, strict=True):
        for name in ("energy", "forces", "stress"):
            assert np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("kill", "the worker process of factory_x:kill was ended by signal 9"),
        ("fail", "the calculator failed: RuntimeError: three is too many"),
        ("exit", "ended with code 3: out of patience"),
    ],
)
def test_processes_that_end(tmp_path, monkeypatch, how, message):
    (tmp_path / "factory_x.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(MoireioError, match=message),
        open_calculator(f"factory_x:{how}", STRUCTURE, python=sys.executable) as field,
    ):
        evaluations(field, 5)


def test_what_calculators_print_is_not_on_standard_output(tmp_path, monkeypatch, capsys):
    (tmp_path / "factory_x.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    with open_calculator("factory_x:fail", STRUCTURE) as field:
        evaluations(field, 2)
    sys.modules.pop("factory_x")
    captured = capsys.readouterr()
    assert (captured.out, "no message" in captured.err) == ("", True)


def test_packages_that_lack(tmp_path, monkeypatch):
    (tmp_path / "factory_x.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    for name, message in (
        ("factory_x:lacking", "no_such_package"),
        ("no_such_module:make", "there is no module no_such_module"),
    ):
        with pytest.raises(MoireioError, match=message):
            Worker(sys.executable, name)


PRETENDED = """
import numpy as np
from ase.calculators.emt import EMT

class SevenNetCalculator:
    def __init__(self, model, device):
        raise ConnectionError("no route to host" + 300 * ".")

class Mapper:
    lookup_table = np.array([-1] * 5 + [1, 0])  # boron and carbon

class NequIPCalculator(EMT):
    transforms = (Mapper(),)

    @classmethod
    def from_compiled_model(cls, path, device):
        return cls()
"""


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Packages that stand for sevenn and nequip where these are not installed."""
    for module in ("sevenn/calculator.py", "nequip/integrations/ase.py"):
        path = tmp_path / "packages" / module
        path.parent.mkdir(parents=True)
        path.write_text(PRETENDED)
        for folder in path.relative_to(tmp_path / "packages").parents[:-1]:
            (tmp_path / "packages" / folder / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))


def test_weights_that_cannot_be_downloaded(pretended):
    message = r"weights of 7net-omni .* downloaded \(ConnectionError\); .*sevenn:FILE"
    with pytest.raises(MoireioError, match=message):
        Worker(sys.executable, "sevenn:7net-omni")


def test_elements_of_a_nequip_model(pretended, tmp_path):
    (tmp_path / "x.nequip.pth").touch()
    name = f"nequip:{tmp_path / 'x.nequip.pth'}"
    with Worker(sys.executable, name) as worker:
        assert worker.elements == ["B", "C"]
    lacking = bilayer("MoS2", "MoS2", 6.2)
    with (
        pytest.raises(MoireioError, match=r"holds no potential for Mo, S .*knows B, C"),
        open_calculator(name, lacking, python=sys.executable),
    ):
        pass
