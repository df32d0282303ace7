"""One damaged input after another, each in a process of its own, with bounds."""

import os
import re
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

CPU_SECONDS = 15
SECONDS = 120  # of wall time: nothing waits, but other processes take their share
MEMORY = 1 << 30  # bytes beyond the process's own at the start
LISTS = ("h5-validate", "build-dataset")  # report several errors, on standard output
FAULTS = ("traceback", "catch-all", "crash", "hang", "memory", "half file", "unclear", "silent")


@dataclass
class Tally:
    """What came of all trials of one reader.

    Parameters
    ----------
    name : str
        The reader.
    outcomes : Counter
        Numbers by outcome: "refused", "accepted", or a fault.
    faults : list of str
        One text for each fault: seed, damage, outcome, message.
    """

    name: str
    outcomes: Counter = field(default_factory=Counter)
    faults: list = field(default_factory=list)


def run(reader, folder, seeds, show=None):
    """Damage the sample of a reader once for each seed, and run its commands.

    Parameters
    ----------
    reader : readers.Reader
        The reader.
    folder : pathlib.Path
        An empty folder to work in.
    seeds : iterable of int
        Seeds of the damage.
    show : callable, optional
        Called with a line for each trial.

    Returns
    -------
    Tally
        All outcomes.
    """
    good = folder / "good"
    good.mkdir(parents=True)
    samples = reader.make(good)
    references = {}
    for name in samples:
        _import_all(reader, folder / "warm" / name, good, name)
        work = folder / "reference" / name
        shutil.copytree(good, work)
        outcome, message = attempt(reader, work, name, None)
        assert outcome == "accepted", f"{reader.name}: the good {name} fails: {message}"
        references[name] = reader.result(work)
    tally = Tally(reader.name)
    for seed in seeds:
        name = samples[seed % len(samples)]
        work = folder / f"{seed}"
        shutil.copytree(good, work, symlinks=True)
        damage = reader.damage(str(work / name), seed, reader.missing)
        outcome, message = attempt(reader, work, name, references[name])
        tally.outcomes[outcome] += 1
        line = f"{reader.name} {seed}: {damage}: {outcome}: {message}"
        if outcome in FAULTS:
            tally.faults.append(line)
        if show is not None:
            show(line)
        shutil.rmtree(work)
    return tally


def _import_all(reader, work, good, name):
    """Run the commands here once, so that the children need not import anything."""
    from click.testing import CliRunner

    from moireio.tools.main import main

    shutil.copytree(good, work)
    home = os.getcwd()
    os.chdir(work)
    try:
        for words in reader.commands(name):
            CliRunner().invoke(main.get_command(None, words[0]), words[1:])
    finally:
        os.chdir(home)


def attempt(reader, work, name, reference):
    """Run all commands of a reader on one input.

    Parameters
    ----------
    reader : readers.Reader
        The reader.
    work : pathlib.Path
        The folder of the input.
    name : str
        The input's name there.
    reference : object or None
        The result of the undamaged input; None does not compare.

    Returns
    -------
    outcome : str
        "accepted", "refused" or a fault.
    message : str
        The error that was printed, or what is wrong.
    """
    accepted = "accepted", ""
    for words in reader.commands(name):
        code, memory, text = in_a_process(work, words)
        outcome, message = judge(code, memory, text, name, words[0] in LISTS)
        if outcome == "refused" and reader.outputs(work) and words[0] in reader.writers:
            return "half file", f"{words[0]}: {message}"
        if outcome == "refused" and words[0] in reader.may_refuse:
            continue
        if outcome != "accepted":
            return outcome, f"{words[0]}: {message}"
    if reference is not None:
        difference = reader.compare(reference, work)
        if difference:
            return "silent", difference
    return accepted


def in_a_process(work, words):
    """Run one command as a program, in a child with bounds on time and memory.

    Parameters
    ----------
    work : pathlib.Path
        Its current folder.
    words : sequence of str
        The command and its arguments.

    Returns
    -------
    code : int
        Exit status; negative for a signal; 124 after the time limit.
    memory : int
        Largest resident size beyond that at the start, bytes.
    text : str
        Standard error, for some commands standard output too.
    """
    start = time.monotonic()
    errors = work / "stderr.txt"
    before = _resident()
    child = os.fork()
    if child == 0:
        _become(work, words, errors)
    status = usage = None
    while status is None:
        pid, state, used = os.wait4(child, os.WNOHANG)
        if pid:
            status, usage = state, used
        elif time.monotonic() - start > SECONDS:
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            status = 124 << 8
        else:
            time.sleep(0.003)
    code = os.waitstatus_to_exitcode(status)
    text = errors.read_text(errors="replace") if errors.exists() else ""
    errors.unlink(missing_ok=True)
    return code, usage.ru_maxrss * 1024 - before, text


def _resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _become(work, words, errors):
    """Turn this child into the command; never return."""
    code = 70
    try:
        os.chdir(work)
        with open("/proc/self/statm") as stream:
            size = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MEMORY, size + 2 * MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        out = os.open(os.devnull, os.O_RDWR)
        err = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 0)
        os.dup2(err if words[0] in LISTS else out, 1)
        os.dup2(err, 2)
        # pytest's own streams lead elsewhere
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        from moireio.tools.main import main

        sys.argv = list(words)
        try:
            main.get_command(None, words[0]).main()
            code = 0
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:  # the child must end here, whatever happens
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                code = code or 71
        os._exit(code)


def judge(code, memory, text, name, several=False):
    """Say what an ended command amounts to.

    Parameters
    ----------
    code : int
        Exit status.
    memory : int
        Bytes beyond the start.
    text : str
        What it printed.
    name : str
        The input's name, which an error must contain.
    several : bool
        More than one error may be reported.

    Returns
    -------
    outcome, message : str
        As for `attempt`.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error: ", "Error: "))]
    message = errors[0] if errors else (lines[-1] if lines else "")
    if "Traceback" in text:
        return "traceback", lines[-1]
    if code in (124, -signal.SIGXCPU):
        return "hang", f"more than {CPU_SECONDS} s of CPU time, or {SECONDS} s"
    if code < 0:
        return "crash", signal.Signals(-code).name
    if re.search(r"unexpected [A-Z]\w*", text):
        return "catch-all", message
    if memory > MEMORY or "does not fit into memory" in text:
        return "memory", f"{memory / 2**20:.0f} MiB beyond the start: {message}"
    if code == 0:
        return "accepted", ""
    if several and code == 1 and any(name in line for line in errors):
        return "refused", message
    others = [n for n in lines if not n.startswith(("note: ", "warning: ", "error: "))]
    if code == 1 and len(errors) == 1 and not others and name in message:
        return "refused", message
    return "unclear", f"exit {code}: {' | '.join(lines)[:300]}"
