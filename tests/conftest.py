"""Where the data are, and block files made once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# Shells start background jobs with Ctrl-C ignored, nohup starts them with SIGHUP ignored, which
# every child would inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("default", deadline=None, max_examples=40)
settings.load_profile("default")

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
SHARED = HERE.parent.parent / "shared" / "data"


def scfout_cases():
    """Every .scfout with its .Band: those of the clone, and those beside it where present."""
    found = {p.stem: p for p in sorted(DATA.glob("*.scfout"))}
    for path in sorted(SHARED.glob("openmx/*/*.scfout")):
        found.setdefault(path.stem, path)
    return [pytest.param(path, id=name) for name, path in found.items()]


def pytest_generate_tests(metafunc):
    if "scfout_case" in metafunc.fixturenames:
        metafunc.parametrize("scfout_case", scfout_cases())


@pytest.fixture(scope="session")
def data():
    return DATA


@pytest.fixture(scope="session")
def shared():
    if not SHARED.is_dir():
        pytest.skip("the real data are not beside this clone (../shared/data)")
    return SHARED


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Block files of the small cases, with every operator; a dict by name."""
    from helpers import convert

    folder = tmp_path_factory.mktemp("made")
    out = {}
    for path in sorted(DATA.glob("*.scfout")):
        operators = ["hamiltonian", "overlap", "position"]
        operators += [] if path.stem.endswith("v38") else ["momentum", "density"]
        out[path.stem] = folder / f"{path.stem}.h5"
        convert(str(path), str(out[path.stem]), operators=operators)
    return out


@pytest.fixture(scope="session")
def twisted(tmp_path_factory):
    """A block file of twisted bilayer graphene, one orbital on each of 244 atoms."""
    from moireio.tools import build_twist, tb_h

    folder = tmp_path_factory.mktemp("twisted")
    cell, out = folder / "cell.h5", folder / "h.h5"
    words = ["graphene", "--index", "5", "4", "-q", "-o", str(cell)]
    build_twist.main(words, standalone_mode=False)
    words = [str(cell), "-m", "moon-koshino", "-q", "-o", str(out)]
    tb_h.main(words, standalone_mode=False)
    return out


class Finished:
    """What a command left behind."""

    def __init__(self, done):
        self.code = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr.decode("utf-8", "replace")

    @property
    def text(self):
        return self.stdout.decode("utf-8")

    def assert_one_line_error(self):
        """Exit code 1, one line that begins with ``error: ``, no traceback."""
        lines = [n for n in self.stderr.splitlines() if n.strip()]
        assert self.code == 1, (self.code, self.stderr)
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("error: "), self.stderr


@pytest.fixture(scope="session")
def run():
    """Run a command line of the suite as a user does: in a process of its own."""

    def run_command(*words, stdin=None, cwd=None, check=True):
        name, *arguments = [str(w) for w in words]
        done = subprocess.run(
            [sys.executable, "-m", "moireio", name, *arguments],
            input=stdin if isinstance(stdin, bytes) else None,
            stdin=stdin if stdin is not None and not isinstance(stdin, bytes) else None,
            capture_output=True,
            cwd=cwd or HERE.parent,
            timeout=600,
        )
        finished = Finished(done)
        if check:
            assert finished.code == 0, finished.stderr
        return finished

    return run_command


@pytest.fixture
def invoke():
    """Run a command in this process, which is quicker; errors are as in a shell."""
    from importlib import import_module

    from click.testing import CliRunner

    def invoke_command(name, *arguments, stdin=None):
        command = import_module(f"moireio.tools.{name.replace('-', '_')}").main
        result = CliRunner().invoke(command, [str(a) for a in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke_command
