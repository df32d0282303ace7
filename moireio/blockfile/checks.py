"""Checks of a block file: the schema, the parts, results and operators."""

from collections.abc import Collection

from moireio.blockfile.operator import Operator
from moireio.blockfile.reader import FORMAT_VERSION, BlockFile
from moireio.blockfile.schema import is_foreign, violations
from moireio.errors import MoireioError, first_line
from moireio.operators.checks import check_operators
from moireio.results.registry import result_kind
from moireio.runtime.progress import Progress
from moireio.store.finding import Finding
from moireio.system.structure import Structure


def validate(
    file: BlockFile,
    samples: int = 4,
    progress: Progress | None = None,
    checked: Collection[str] = (),
) -> list[Finding]:
    """Check everything that a block file promises.

    Parameters
    ----------
    file : BlockFile
        The open file.
    samples : int
        k points at which the overlap must be positive definite: Γ, and pseudo-random ones.
    progress : Progress, optional
        Called with bytes of blocks that were checked, and those of all operators.
    checked : collection of str
        Operators whose blocks were compared one by one as they were written, and are not read
        for that again.

    Returns
    -------
    list of Finding
        Empty if all is well.
    """
    newer = file.minor > int(FORMAT_VERSION.split(".")[1])
    findings = [Finding(where, what) for where, what in violations(file.container, newer)]
    for part in ("structure", "basis"):
        findings += _check_part(file, part)
    structure = None if findings else file.structure
    wrong = {f.where.split("/")[1] for f in findings}
    for group in file.groups:
        found = _check_result(file, group, structure)
        # What the schema names already needs no second line.
        findings += [f for f in found if group not in wrong or "be understood" not in f.what]
    if structure is not None and not file.basis.covers(structure):
        findings.append(Finding("/basis", "some species have none yet", "note"))
    operators = {}
    for name in file.operators:
        try:
            operators[name] = _readable(file, name)
        except MoireioError as error:
            findings.append(Finding(f"/{name}", error.what.removeprefix(f"/{name}: ")))
    if operators:
        findings += check_operators(operators, file.structure, samples, progress, checked)
    computed = "overlap" in operators or "hamiltonian" not in operators
    if not computed and "basis" in file and not file.basis.orthogonal:
        findings.append(Finding("/overlap", "not computed yet", "note"))
    return findings


def _check_part(file: BlockFile, part: str) -> list[Finding]:
    try:
        getattr(file, part)
    except MoireioError as error:
        return [Finding(f"/{part}", error.what)]
    except Exception as error:
        return [Finding(f"/{part}", f"cannot be understood: {first_line(error)}")]
    return []


def _check_result(file: BlockFile, group: str, structure: Structure | None) -> list[Finding]:
    """Check a group that holds a result; note a group of another program."""
    where = f"/{group}"
    try:
        kind = result_kind(group)
    except MoireioError as error:
        return [Finding(where, f"not checked: {error.what}", "note")]
    if kind is None:
        foreign = is_foreign(group)
        return [Finding(where, "of another program, not checked", "note")] if foreign else []
    try:
        value = kind.read(file.container, group)
        return kind.check(file.container, group, value, structure)
    except MoireioError as error:
        return [Finding(where, error.what)]
    except Exception as error:
        return [Finding(where, f"cannot be understood: {first_line(error)}")]


def _readable(file: BlockFile, name: str) -> Operator:
    """Return an operator whose pairs are in order."""
    operator = file.operator(name)
    _ = operator.pairs
    return operator
