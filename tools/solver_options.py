"""Options of the commands that solve eigenproblems: which solver, and what it may use."""

import click

from moireio.tools.options import memory_bytes, options

_HELP = {
    "dense": "all levels of a dense matrix",
    "sparse": "some bands by shift-invert Lanczos (with MKL's Pardiso, if PyPI's mkl is installed)",
    "slepc": "some bands by SLEPc in many MPI processes, also on many machines (--launcher)",
    "kpm": "the kernel polynomial method",
}
_AUTO = {
    "sparse": "sparse for some bands of a large matrix, else dense",
    "kpm": "kpm above 6000 orbitals, else dense",
}


def _memory(ctx, param, text):
    return None if text is None else memory_bytes(text)


_OPTIONS = {
    "launcher": click.option(
        "--launcher",
        metavar="COMMAND",
        help="slepc: command that starts its processes, as 'mpirun -n 64' or 'srun'; they solve "
        "one k point after another, memory is theirs, --jobs and --memory do not apply.  [default: "
        "mpirun, one process per core]",
    ),
    "slepc_python": click.option(
        "--slepc-python",
        metavar="PYTHON",
        envvar="MOIREIO_SLEPC_PYTHON",
        show_envvar=True,
        help="slepc: the Python that has slepc4py, built for real numbers.  [default: this one, "
        "else /usr/bin/python3]",
    ),
    "verify_count": click.option(
        "--verify-count",
        is_flag=True,
        help="Sparse solver: verify at every k that no level was missed, by counting those below "
        "and above the bands (two more factorisations at every k; these alone where levels are "
        "from anchors).",
    ),
    "drop": click.option(
        "--drop",
        type=click.FloatRange(0),
        default=0.0,
        metavar="EV",
        help="Sparse solver: leave out elements of H below this (eV) where those of S are below it "
        "too; energies are corrected to first order, and a note gives the correction.",
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "float64"]),
        default="auto",
        show_default=True,
        help="Precision of the sparse solver's factors: float32 halves their memory; results keep "
        "double precision. auto takes it for the energies of large cells, where no states, "
        "--verify-count or --overlap-cutoff are wanted.",
    ),
    "overlap_cutoff": click.option(
        "--overlap-cutoff",
        type=click.FloatRange(0),
        default=0.0,
        metavar="EPS",
        help="Where orbitals nearly depend on each other: leave out their combinations with an "
        "eigenvalue of S below this (no unit; 1e-5, say).",
    ),
    "direct": click.option(
        "--direct",
        is_flag=True,
        help="Solve every k by itself. Without it, the levels of large cells at many k follow from "
        "the states at a few of them, the anchors.",
    ),
    "tolerance": click.option(
        "--tolerance",
        type=click.FloatRange(0, min_open=True),
        default=1e-5,
        show_default=True,
        metavar="EV",
        help="Largest bound on the error of an energy that follows from anchors (eV).",
    ),
    "memory": click.option(
        "--memory",
        metavar="BYTES",
        callback=_memory,
        help="Limit, as 4G or 500M: less memory means fewer processes.  [default: 90% of what is "
        "free]",
    ),
}
_OF_SOLVER = {
    "sparse": ("direct", "tolerance", "verify_count", "drop", "precision"),
    "slepc": ("launcher", "slepc_python"),
}


class SolverName(click.Choice):
    """Name of a solver: those that a command offers, and those of other distributions."""

    def convert(self, value, param, ctx):
        """Accept a name."""
        from moireio.solvers.registry import SOLVERS, solver_names

        if value in self.choices or value in SOLVERS or value not in solver_names():
            return super().convert(value, param, ctx)
        return value


def solver_options(*solvers, without=()):
    """Add the options of the solvers that a command offers.

    Parameters
    ----------
    *solvers : str
        Some of "dense", "sparse", "slepc" and "kpm"; "auto" comes first by itself.
    without : sequence of str
        Options that the command does not have: resume, or those of anchors, direct and tolerance.

    Returns
    -------
    callable
        A decorator.
    """
    auto = next(_AUTO[name] for name in solvers if name in _AUTO)
    meanings = [f"{name}: {_HELP[name]}" for name in solvers] + [f"auto: {auto}"]
    solver = click.option(
        "--solver",
        type=SolverName(["auto", *solvers]),
        default="auto",
        show_default=True,
        help=f"How levels are found. {'; '.join(meanings)}. A solver that another "
        "package adds is taken by its name.",
    )
    names = [name for s in solvers for name in _OF_SOLVER.get(s, ()) if name not in without]
    shared = [name for name in ("device", "jobs", "resume") if name not in without]

    def decorate(function):
        function = options(*shared)(function)
        for name in reversed([*names, "overlap_cutoff", "memory"]):
            function = _OPTIONS[name](function)
        return solver(function)

    return decorate


def anchors_option(function):
    """Add ``--anchors``."""
    return click.option(
        "--anchors",
        type=click.Path(exists=True),
        metavar="FILE",
        help="Block file with anchors of the same H and S (from band --keep-anchors). They are "
        "used again, at other k points, more of them, or for other bands among theirs; only what "
        "they lack is solved.",
    )(function)


def check_anchors(opts, solver="auto"):
    """Refuse ``--anchors`` and ``--keep-anchors`` where every k is solved by itself.

    Parameters
    ----------
    opts : dict
        Values of the options.
    solver : str
        The solver that uses anchors.
    """
    name = "--anchors" if opts["anchors"] else "--keep-anchors"
    if not (opts["anchors"] or opts.get("keep_anchors")):
        return
    if opts["solver"] != solver:
        raise click.UsageError(f"{name} needs --solver {solver}.")
    for other in ("direct", "drop", "overlap_cutoff"):
        if opts.get(other):
            raise click.UsageError(f"{name} excludes --{other.replace('_', '-')}.")


def with_anchors(choice, path, file):
    """Return a solver that knows the anchors of ``--anchors``.

    Parameters
    ----------
    choice : SolverChoice
        The solver.
    path : str or None
        The file with anchors, if one is given.
    file : BlockFile
        The file with H and S.

    Returns
    -------
    SolverChoice
        For this H and S only.
    """
    if path is None:
        return choice
    from dataclasses import replace

    from moireio.spectrum.anchors.kept import read_anchors

    anchoring = replace(choice.anchoring, anchors=read_anchors(path, file))
    return replace(choice, anchoring=anchoring)


def solver_choice(opts):
    """Return the solver that the options choose.

    Parameters
    ----------
    opts : dict
        Values of `solver_options` by name.

    Returns
    -------
    SolverChoice
        For the library.
    """
    from moireio.spectrum.anchors.settings import Anchoring
    from moireio.spectrum.choice import SolverChoice

    if opts.get("launcher") is not None and opts["solver"] != "slepc":
        raise click.UsageError("--launcher needs --solver slepc.")
    names = ("precision", "verify_count", "drop", "overlap_cutoff", "launcher")
    settings = {name: opts[name] for name in names if name in opts}
    if opts["solver"] == "slepc":  # the environment may give it to every solver
        settings["python"] = opts["slepc_python"]
    anchoring = Anchoring()
    if "direct" in opts:
        anchoring = Anchoring(opts["direct"], opts["tolerance"])
    return SolverChoice(
        opts["solver"], opts["jobs"], opts["memory"], opts["device"], settings, anchoring
    )


def checkpoint_path(opts, names, allowed=True):
    """Return the file that keeps finished k points, beside the output.

    Parameters
    ----------
    opts : dict
        Values of the options, resume among them.
    names : sequence of str or None
        Outputs, the first that is a file counts.
    allowed : bool
        Whether this run can be resumed.

    Returns
    -------
    str or None
        None if no output has a name, or the run cannot be resumed.
    """
    from moireio.runtime.files import is_stream

    name = next((n for n in names if n and not is_stream(n)), None)
    if opts["resume"] and not allowed:
        raise click.UsageError("--resume is for one file, or one pair of files.")
    if opts["resume"] and name is None:
        raise click.UsageError("--resume needs an output file (-o, --text or --plot).")
    return f"{name.rstrip('/')}.part.jsonl" if name and allowed else None
