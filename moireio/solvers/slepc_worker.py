"""The part of the solver "slepc" that runs under MPI, with any Python that has slepc4py.

    LAUNCHER PYTHON slepc_worker.py FOLDER PID@HOST

It follows the files ``command-N.json`` in a folder, N = 0, 1, …, and answers each by
``reply-N.json``; either is written under another name and renamed, and every rank reads the
commands for itself. It ends with the command "end", or when the process that asks is gone. Real
PETSc is needed: only there LDLᵀ gives the inertia. This file imports nothing of moireio.
"""

import contextlib
import ctypes
import glob
import json
import os
import re
import shutil
import signal
import socket
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core
# the solvers beside this file are not meant by what follows
sys.path[:] = [p for p in sys.path if os.path.abspath(p) != os.path.dirname(__file__)]

import numpy as np  # noqa: E402

MARK = "moireio-worker: "
TOLERANCE = 1e-11  # of residuals, relative to 1/(E − σ)
SPARE = (30, 100, 400)  # % of memory that MUMPS takes beyond its estimate
NO_SPACE = (-8, -9, -14, -15, -17, -20)  # INFOG(1) of MUMPS where more of it helps
SINGULAR, NO_MEMORY = (-10,), (-13, -19)
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
LONGEST = 0.02  # s between two looks
PR_SET_PDEATHSIG = 1


def fail(text):
    """Print in one line why this process ends, and end it: MPI then ends the others."""
    sys.stderr.write(f"{MARK}{' '.join(str(text).split())}\n")
    sys.stderr.flush()
    os._exit(3)


def load_libraries():
    """Return the modules PETSc and SLEPc, built for real numbers."""
    if sys.prefix == "/usr":  # Debian's lie beside its Python, real and complex
        for name, package in (("PETSC_DIR", "petsc"), ("SLEPC_DIR", "slepc")):
            folders = sorted(glob.glob(f"/usr/lib/{package}dir/*/*-real"))
            if name not in os.environ and folders:
                os.environ[name] = folders[-1]
                sys.path.append(f"{folders[-1]}/lib/python3/dist-packages")
    try:
        import slepc4py

        slepc4py.init([MARK, "-no_signal_handler"])
        from petsc4py import PETSc
        from slepc4py import SLEPc
    except ImportError as error:
        fail(f"no slepc4py: {sys.executable}: {error}")
    if np.dtype(PETSc.ScalarType).kind != "f":
        fail(f"complex: slepc4py of {sys.executable} is built for complex numbers")
    size = PETSc.COMM_WORLD.size
    for name in LAUNCHED:
        if int(os.environ.get(name, size)) != size:
            fail(f"other MPI: the launcher started {os.environ[name]} processes, MPI sees {size}")
    return PETSc, SLEPc


class Owner:
    """The process that asks, and its folder.

    Parameters
    ----------
    folder : str
        The folder.
    process : str
        Its number and host, as ``123@name``.
    """

    def __init__(self, folder, process):
        number, _, host = process.partition("@")
        self.folder, self._process = folder, int(number) if host == socket.gethostname() else None
        self._looked = time.monotonic()

    def alive(self):
        """Return whether somebody still waits for replies."""
        if self._process is not None:
            try:
                os.kill(self._process, 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                pass
        return os.path.isdir(self.folder)

    def command(self, number):
        """Wait for a command, and return it."""
        pause = 1e-3
        while True:
            with contextlib.suppress(FileNotFoundError), open(self._path("command", number)) as f:
                return json.load(f)
            if time.monotonic() - self._looked > 0.5:
                self._looked = time.monotonic()
                if not self.alive():
                    return {"do": "end"}
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)

    def reply(self, number, content):
        """Answer a command."""
        path = self._path("reply", number)
        with open(path + ".new", "w") as f:
            json.dump(content, f)
        os.replace(path + ".new", path)

    def tidy(self):
        """Remove the folder, if nobody else will."""
        if not self.alive():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, kind, number):
        return os.path.join(self.folder, f"{kind}-{number}.json")


class Problem:
    """H x = E S x in real symmetric matrices, which are spread over the processes.

    Parameters
    ----------
    libraries : tuple
        PETSc and SLEPc.
    """

    def __init__(self, libraries):
        self._petsc, self._slepc = libraries
        self._comm = self._petsc.COMM_WORLD
        self._h = self._s = self._eps = self._ksp = None
        self._copies, self._spare = 1, 0

    def load(self, command):
        """Read matrices; rows i and i + 1 stay together where there are two copies."""
        self._drop()
        self._copies = command["copies"]
        self._h, self._s = (
            name and self._matrix(name, command["n"]) for name in (command["h"], command["s"])
        )
        return {}

    def _matrix(self, path, n):
        pairs, (size, rank) = n // self._copies, (self._comm.size, self._comm.rank)
        rows = self._copies * (pairs // size + (rank < pairs % size))
        matrix = self._petsc.Mat().create(self._comm)
        matrix.setType("aij")
        matrix.setSizes(((rows, n), (rows, n)))
        viewer = self._petsc.Viewer().createBinary(path, "r", comm=self._comm)
        matrix.load(viewer)
        viewer.destroy()
        matrix.setOption(self._petsc.Mat.Option.SYMMETRIC, True)
        if self._comm.rank == 0:
            os.unlink(path)  # large; whatever ends this process, it leaves little
        return matrix

    def overlap(self, command):
        """Return the number of negative eigenvalues of S."""
        return self._ldl(None)

    def factorise(self, command):
        """Factorise H − σS; return the number of its negative eigenvalues."""
        return self._ldl(command["sigma"])

    def _ldl(self, sigma):
        """Factorise, if need be with more memory for MUMPS; INFOG(12) is the inertia."""
        while True:
            options = self._petsc.Options()
            for prefix in ("", "st_"):  # of S, and of H − σS
                options[f"{prefix}mat_mumps_icntl_13"] = 1  # count in the last block too
                options[f"{prefix}mat_mumps_icntl_14"] = SPARE[self._spare]
            try:
                pc = self._overlap_factors() if sigma is None else self._shifted(sigma)
                factor = pc.getFactorMatrix()
                state, detail = factor.getMumpsInfog(1), factor.getMumpsInfog(2)
            except self._petsc.Error as error:
                said = re.search(r"INFOG\(1\)=(-?\d+), INFO\(2\)=(-?\d+)", str(error))
                if said is None:
                    raise
                state, detail = int(said[1]), int(said[2])
            if state >= 0:
                break
            self._forget()
            if state in SINGULAR:
                return {"singular": True}
            if state in NO_SPACE and self._spare + 1 < len(SPARE):
                self._spare += 1
                continue
            what = "not enough memory, " if state in NO_SPACE + NO_MEMORY else ""
            return {"error": f"MUMPS: {what}INFOG(1) = {state}, INFO(2) = {detail}"}
        if factor.getMumpsIcntl(13) != 1:
            raise RuntimeError("MUMPS does not count the negative pivots of the last block")
        negative = factor.getMumpsInfog(12)
        if sigma is None:
            self._forget()
        return {"negative": negative}

    def _overlap_factors(self):
        self._ksp = self._petsc.KSP().create(self._comm)
        self._ksp.setOperators(self._s)
        pc = self._direct(self._ksp)
        pc.setUp()
        return pc

    def _direct(self, ksp):
        """Let a linear solver be LDLᵀ by MUMPS."""
        ksp.setType("preonly")
        ksp.setErrorIfNotConverged(False)
        pc = ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        return pc

    def _shifted(self, sigma):
        if self._eps is None:
            self._eps = eps = self._slepc.EPS().create(self._comm)
            kinds = self._slepc.EPS.ProblemType
            eps.setOperators(self._h, self._s)
            eps.setProblemType(kinds.HEP if self._s is None else kinds.GHEP)
            eps.setType("krylovschur")
            eps.setWhichEigenpairs(self._slepc.EPS.Which.TARGET_MAGNITUDE)
            st = eps.getST()
            st.setType("sinvert")
            st.setMatStructure(self._petsc.Mat.Structure.SAME_NONZERO_PATTERN)
            st.setMatMode(self._slepc.ST.MatMode.COPY)
            self._direct(st.getKSP())
        st = self._eps.getST()
        self._eps.setTarget(sigma)
        st.setShift(sigma)
        self._eps.setUp()
        # neither of them calls the next when the shift is another one
        st.setUp()
        st.getKSP().setUp()
        return st.getKSP().getPC()

    def levels(self, command):
        """Find eigenvectors next to σ, other than those that are left out."""
        deflated = self._deflated(command["deflated"])
        eps = self._eps
        n = self._h.getSize()[0]
        left = n - len(deflated)
        count = max(min(command["count"], left - 1), 1)
        eps.setDimensions(count, max(min(max(3 * count, count + 30), left), 2))
        eps.setTolerances(TOLERANCE, 500)
        eps.setDeflationSpace(deflated)
        eps.solve()
        converged = eps.getConverged()
        out = None
        if self._comm.rank == 0:
            out = np.lib.format.open_memmap(command["out"], "w+", float, (converged, n))
        vector = self._h.createVecRight()
        scatter, whole = self._petsc.Scatter.toZero(vector)
        values = []
        for i in range(converged):
            values.append(eps.getEigenpair(i, vector).real)
            scatter.scatter(vector, whole, mode=self._petsc.ScatterMode.FORWARD)
            if out is not None:
                out[i] = whole.getArray(readonly=True)
        if out is not None:
            out.flush()
        for owned in (scatter, whole, vector, *deflated):
            owned.destroy()
        return {"energies": values, "iterations": eps.getIterationNumber()}

    def _deflated(self, path):
        """Return this process's part of the vectors to leave out, with their copies."""
        if path is None:
            return []
        begin, end = self._h.getOwnershipRange()
        out = []
        for row in np.load(path, mmap_mode="r"):
            part = np.array(row[begin:end])
            copies = [part]
            if self._copies == 2:  # i (u + iv)
                copies.append(np.stack([-part[1::2], part[0::2]], axis=1).ravel())
            for values in copies:
                vector = self._h.createVecRight()
                vector.setArray(values)
                out.append(vector)
        return out

    def _forget(self):
        for solver in (self._eps, self._ksp):
            if solver is not None:
                solver.destroy()
        self._eps = self._ksp = None

    def _drop(self):
        self._forget()
        for matrix in (self._h, self._s):
            if matrix is not None:
                matrix.destroy()
        self._h = self._s = None


def serve(owner, libraries):
    """Follow commands until the last one."""
    comm = libraries[0].COMM_WORLD
    problem = Problem(libraries)
    number = 0
    if comm.rank == 0:
        index = np.dtype(libraries[0].IntType).itemsize
        owner.reply("ready", {"processes": comm.size, "index": index})
    while True:
        command = owner.command(number)
        if command["do"] == "end":
            break
        try:
            answer = getattr(problem, command["do"])(command)
        except Exception as error:  # not on every rank, perhaps
            fail(f"failed: {command['do']}: {error}")
        comm.barrier()  # with the reply the command goes: by then every rank has read it
        if comm.rank == 0:
            owner.reply(number, answer)
        number += 1
    if comm.rank == 0:
        owner.tidy()


def main():
    """Serve the folder that is named; with ``--probe`` only report whether that is possible."""
    with contextlib.suppress(OSError, AttributeError):  # Linux: end with the launcher
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libraries = load_libraries()
    if sys.argv[1] == "--probe":
        if libraries[0].COMM_WORLD.rank == 0:
            print(f"{MARK}ready, {libraries[0].COMM_WORLD.size} processes")
        return
    owner = Owner(*sys.argv[1:3])
    if not os.path.isdir(owner.folder):
        fail(f"no folder: {socket.gethostname()} does not see {owner.folder}")

    def ended(number, frame):
        owner.tidy()
        os._exit(1)

    signal.signal(signal.SIGTERM, ended)
    serve(owner, libraries)


if __name__ == "__main__":
    main()
