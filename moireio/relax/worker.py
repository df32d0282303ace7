"""A calculator in a process of another virtual environment."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import zipfile
from types import TracebackType
from typing import IO, Any, NoReturn, Self, cast

import numpy as np

from moireio.errors import MoireioError
from moireio.relax import serve
from moireio.runtime.workdirs import end_with_this


class Worker:
    """A process with a calculator, which is asked for energies and forces through pipes.

    Parameters
    ----------
    python : str
        The Python of an environment with numpy, ase and the force field.
    name : str
        The calculator, as `serve.make_calculator` takes it.

    Attributes
    ----------
    version : str
        Version of the calculator's package.
    elements : list of str or None
        Elements that it knows.

    Raises
    ------
    MoireioError
        If the process does not start, or cannot make the calculator.
    """

    def __init__(self, python: str, name: str) -> None:
        self._python, self._name = python, name
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._stack = contextlib.ExitStack()
        self._shape: Any = None
        try:
            self._process = subprocess.Popen(
                [python, serve.__file__, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            self._errors.close()
            raise MoireioError(
                f"cannot be started: {error.strerror}",
                path=python,
                remedy="`python` is the python of an environment with the force field",
            ) from error
        self._requests = cast(IO[bytes], self._process.stdin)
        self._replies = cast(IO[bytes], self._process.stdout)
        self._stack.enter_context(end_with_this(self._process))
        try:
            hello = self._receive(started=False)
        except BaseException:
            self.close()
            raise
        self.version = str(hello["version"])
        self.elements = [str(e) for e in hello["elements"]] if "elements" in hello else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def evaluate(self, atoms: Any, with_stress: bool) -> dict[str, Any]:
        """Return energy, forces and stress, as `serve.evaluate`.

        Parameters
        ----------
        atoms : ase.Atoms
            Any.
        with_stress : bool
            Compute the stress too.

        Returns
        -------
        dict of str to array
            eV, eV/Å, eV/Å³.
        """
        request = {"positions": atoms.positions, "cell": atoms.cell.array}
        request["with_stress"] = np.array(with_stress)
        shape = (atoms.numbers.tobytes(), atoms.pbc.tobytes())
        if shape != self._shape:
            request |= {"numbers": atoms.numbers, "pbc": atoms.pbc}
            self._shape = shape
        try:
            serve.send(self._requests, **request)
        except OSError:
            self._fail()
        return self._receive()

    def _receive(self, started: bool = True) -> dict[str, Any]:
        try:
            answer = serve.receive(self._replies)
        except (ValueError, OSError, zipfile.BadZipFile):  # no message of ours
            answer = None
        if answer is None:
            self._fail(started)
        if "error" in answer:
            raise MoireioError(str(answer["error"]), path=self._python)
        return answer

    def _fail(self, started: bool = True) -> NoReturn:
        """Raise the error of a process that has ended."""
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        last = f": {lines[-1].strip()}" if lines else ""
        if code < 0:
            raise MoireioError(
                f"the worker process of {self._name} was ended by signal {-code}{last}",
                path=self._python,
                remedy="out of memory? go on with `resume`",
            )
        if not started:
            raise MoireioError(
                f"is no Python with numpy and ase{last}",
                path=self._python,
                remedy="`python` is the python of an environment with the force field",
            )
        raise MoireioError(
            f"the worker process of {self._name} ended with code {code}{last}", path=self._python
        )

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._replies.close()
        self._errors.close()
        self._stack.close()
