"""One trial: a command is killed, what it left is looked at, and it runs again."""

import contextlib
import importlib
import os
import pickle
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

LATE = 0.4  # part of a run to which half of the kills are restricted, where files get their names


class Tally:
    """What the trials showed."""

    def __init__(self, verbose=False):
        self.counts, self.faults, self.verbose = Counter(), [], verbose
        self.seconds, self.references = {}, {}

    def count(self, *names):
        """Count something that was seen."""
        self.counts.update(names)

    def fault(self, where, text):
        """Record something that must not be."""
        self.faults.append(f"{where}: {text}")
        print(f"FAULT {where}: {text}", flush=True)

    def report(self):
        """Print the counts."""
        for name, count in sorted(self.counts.items()):
            print(f"{count:5d}  {name}")
        print(f"{len(self.faults):5d}  faults")


def start(words, folder, patch=lambda: None):
    """Start a command in a process group of its own, forked from this process."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(log, number)
        patch()
        name, *arguments = words.split()
        sys.argv = [name, *arguments]
        module = importlib.import_module(f"moireio.tools.{name.replace('-', '_')}")
        try:
            module.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code or 0)


def finish(words, folder, patch=lambda: None):
    """Run a command to its end; return what it printed."""
    code = os.waitstatus_to_exitcode(os.waitpid(start(words, folder, patch), 0)[1])
    text = Path(f"{folder}.log").read_text()
    if code:
        raise RuntimeError(f"{words}: exit code {code}: {text}")
    return text


def in_child(function, *arguments):
    """Call a function in a forked process, so that no library begins threads in this one."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = function(*arguments), None
        except BaseException:
            result = None, traceback.format_exc()
        with os.fdopen(write, "wb") as stream:
            pickle.dump(result, stream)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        value, error = pickle.load(stream)
    os.waitpid(child, 0)
    if error:
        raise RuntimeError(error)
    return value


def contents(path):
    """Return what an output holds, without the times in its history; it must be whole."""
    path = str(path)
    if path.endswith((".h5", ".zarr", ".zip")):
        return in_child(_block_file, path)
    if os.path.isdir(path):
        return {str(p.relative_to(path)): p.read_bytes() for p in _files(path)}
    return Path(path).read_bytes()


def _files(folder):
    return sorted(p for p in Path(folder).rglob("*") if p.is_file())


def _block_file(path):
    import moireio
    from moireio.store.containers import open_container

    container = open_container(path)
    try:
        model = container.attributes()["format"] == "moireio-model"
        tree = _tree(container)
    finally:
        container.close()
    if model:
        from moireio.network import modelfile

        modelfile.read(path)
        tree.pop("model/training", None)  # has times
        return tree
    with moireio.open(path) as file:
        found = [f for f in moireio.validate(file) if f.level != "note"]
        commands = [entry.command for entry in file.history]
    if found:
        raise RuntimeError(f"{path}: {found}")
    return {"commands": commands, **tree}


def _tree(container, name=""):
    prefix = f"{name}/" if name else ""
    out = {f"{name}@": container.attributes(name)}
    for array in container.arrays(name):
        values = np.asarray(container.read(prefix + array))
        text = values.dtype.kind == "O"
        out[prefix + array] = (
            str(values.dtype),
            values.shape,
            values.tolist() if text else values.tobytes(),
        )
    for group in container.groups(name):
        if prefix + group != "history":
            out |= _tree(container, prefix + group)
    return out


def prepare(scenario, inputs, folder):
    """Make a folder with copies of a scenario's inputs."""
    folder.mkdir()
    for name in scenario.inputs:
        source = inputs / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    if scenario.old:
        source = inputs / scenario.inputs[0]
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / scenario.outputs[0])
    return {name: contents_of_input(folder / name) for name in scenario.inputs}


def contents_of_input(path):
    """Return the bytes of an input."""
    if path.is_dir():
        return {str(p.relative_to(path)): p.read_bytes() for p in _files(path)}
    return path.read_bytes()


def reference(scenario, inputs, place, tally):
    """Return the results of a run that nobody disturbs, the old ones, and its seconds."""
    if scenario.name not in tally.references:
        folder = place / f"reference-{len(tally.references)}"
        prepare(scenario, inputs, folder)
        old = {n: contents(folder / n) for n in scenario.outputs if (folder / n).exists()}
        begin = time.monotonic()
        finish(scenario.words, folder, scenario.patch)
        seconds = time.monotonic() - begin
        new = {n: contents(folder / n) for n in scenario.outputs}
        left = sorted(os.listdir(folder))
        tally.references[scenario.name] = new, old, seconds, left
    return tally.references[scenario.name]


def trial(scenario, inputs, place, seed, tally):
    """Kill a command at a random moment, look, and run it again."""
    new, old, seconds, left = reference(scenario, inputs, place, tally)
    rng = random.Random(seed)
    share = rng.random() if seed % 2 else 1 - LATE * rng.random()
    folder, where = place / f"trial-{seed}", f"{scenario.name}, seed {seed}, at {share:.2f}"
    sources = prepare(scenario, inputs, folder)
    child = start(scenario.words, folder, scenario.patch)
    time.sleep(share * seconds)
    ended = os.waitpid(child, os.WNOHANG)[0] != 0
    if ended:
        tally.count("ended before the kill")
    else:
        os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # killed before it had a group
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        tally.count("killed")
        if scenario.old or set(scenario.outputs) & set(scenario.inputs):
            tally.count("killed, with something to lose")
    try:
        _look(scenario, folder, sources, new, old, tally)
        again = _again(scenario, folder, tally)
        before = set(os.listdir(folder)) - set(left)
        text = finish(again, folder, scenario.patch)
        tally.count(*(["work folder left by the kill"] if before else []))
        hidden = [n for n in before if ".part-" in n]
        if hidden and "-q" not in again.split() and not all(n in text for n in hidden):
            raise RuntimeError(f"{hidden} not named in {text!r}")
        for name, wanted in new.items():
            found = contents(folder / name)
            if not _same(found, wanted):
                raise RuntimeError(f"{name} is not that of an undisturbed run")
        if sorted(os.listdir(folder)) != left:
            raise RuntimeError(f"left: {set(os.listdir(folder)) ^ set(left)}")
    except RuntimeError as error:
        tally.fault(where, error)
    else:
        shutil.rmtree(folder)
        os.unlink(f"{folder}.log")
    if tally.verbose:
        print(where, "ended" if ended else "killed", flush=True)


def _look(scenario, folder, sources, new, old, tally):
    """See that nothing is half there, and that the inputs are whole."""
    for name in scenario.inputs:
        if name not in scenario.outputs and contents_of_input(folder / name) != sources[name]:
            raise RuntimeError(f"{name} was changed")
    for name in scenario.outputs:
        path = folder / name
        if not path.exists():
            if name in old:
                raise RuntimeError(f"{name} is lost")
            continue
        found = contents(path)
        states = [s for s in (new[name], old.get(name)) if s is not None]
        if any(_same(found, state) for state in states):
            tally.count("output whole after the kill" if _same(found, states[0]) else "old output")
        elif not (path.suffix == ".zarr" and name in scenario.inputs and _mixed(found, *states)):
            raise RuntimeError(f"{name} is neither the new nor the old one")
        else:
            tally.count("zarr folder with some of its new groups")


def _same(found, wanted):
    """Return whether two outputs are equal; a command may stand once more in the history."""
    if not isinstance(found, dict) or "commands" not in found:
        return found == wanted
    one, two = (
        {**state, "commands": dict.fromkeys(state["commands"])} for state in (found, wanted)
    )
    return one == two


def _mixed(found, new, old):
    """Return whether every group is whole, the new or the old one."""
    groups = {name.split("/")[0].rstrip("@") for name in {*found, *new, *old}} - {"commands"}

    def group(state, name):
        return {k: v for k, v in state.items() if k.split("/")[0].rstrip("@") == name}

    return all(group(found, g) in (group(new, g), group(old, g)) for g in groups)


def _again(scenario, folder, tally):
    """Return the command line of the second run."""
    words = scenario.words.replace(" -q", "")
    kept = bool(scenario.parts) and (folder / scenario.parts).exists()
    if kept:
        tally.count("went on from parts", f"went on from parts: {scenario.name}")
    if scenario.resume:
        words += " --resume"
    in_place = set(scenario.outputs) & set(scenario.inputs)
    exists = any((folder / name).exists() for name in scenario.outputs)
    if exists and not in_place and " --force" not in words and "/ " not in words:
        if scenario.outputs == ("set",):
            return "build-dataset status set"
        words += " --force"
    return words


def two_writers(source, place, number, tally):
    """Let two commands write into the same file at once; both results must be there."""
    folder = place / f"writers-{number}-{source.name}"
    folder.mkdir()
    copy = shutil.copytree if source.is_dir() else shutil.copy
    copy(source, folder / source.name)
    before = contents(folder / source.name)
    words = [
        f"band {source.name} -q -n 4 -p GK --points 3 --in-place --name a -j 1",
        f"dos {source.name} -q --mesh 2 2 --in-place --name b -j 1",
    ]
    try:
        children = [start(line, folder) for line in words]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if codes != [0, 0]:
            raise RuntimeError(f"exit codes {codes}: {Path(f'{folder}.log').read_text()}")
        after = contents(folder / source.name)
        commands = after.pop("commands")
        lost = [k for k, v in before.items() if k != "commands" and after.get(k) != v]
        lost += [g for g in ("bands-a@", "dos-b@") if g not in after]
        if sorted(commands) != sorted([*before["commands"], "band", "dos"]) or lost:
            raise RuntimeError(f"lost: {lost}, commands: {commands}")
        if os.listdir(folder) != [source.name]:
            raise RuntimeError(f"left: {os.listdir(folder)}")
    except RuntimeError as error:
        tally.fault(folder.name, error)
    else:
        tally.count(f"two writers, {source.name}: both results")
        shutil.rmtree(folder)
