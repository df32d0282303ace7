"""Tables of Chern numbers, of one file or of a series over strain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from moireio.results.chern import ChernGroup, ChernNumbers

WITHOUT = "without intra-atomic dipoles"
SAME_STRAIN = 1e-6


@dataclass(frozen=True)
class Transition:
    """A change of a Chern number between two strains of a series.

    Parameters
    ----------
    bands : (int, int)
        First and last band, from 1.
    channel : int or None
        Spin, where it is collinear.
    chern : (int, int)
        Before and after.
    between : (float, float)
        The two strains.
    strain : float or None
        Where the direct gap vanishes if it goes from one to minus the other in a straight line.
    files : (str, str) or None
        Names of the two files, where their strains are the same.
    """

    bands: tuple[int, int]
    channel: int | None
    chern: tuple[int, int]
    between: tuple[float, float]
    strain: float | None
    files: tuple[str, str] | None = None


def group_object(one: ChernGroup, file: str) -> dict[str, Any]:
    """Return the topology of one group as JSON has it.

    Parameters
    ----------
    one : ChernGroup
        The group.
    file : str
        Name of the file.

    Returns
    -------
    dict
        Numbers, lists and None.
    """
    return {
        "file": file,
        "bands": list(one.bands),
        "spin": None if one.channel is None else ("up", "down")[one.channel],
        "chern": one.chern,
        "z2": one.z2,
        "spin_chern": one.spin_chern,
        "chern_up": one.chern_up,
        "chern_down": one.chern_down,
        "winding": one.winding,
        "c3_mod3": one.c3_mod3,
        "c3_mod3_up": one.c3_mod3_up,
        "c3_mod3_down": one.c3_mod3_down,
        "agreement": agreement_object(one),
        "mesh": list(one.mesh),
        "refined_mesh": list(one.refined_mesh),
        "solves": one.solves,
        "min_link": one.min_link,
        "max_flux": one.max_flux,
        "direct_gap": one.direct_gap,
        "direct_gap_k": None if one.direct_gap_k is None else list(one.direct_gap_k),
        "link": one.link,
        "strain": one.strain,
    }


def agreement_object(one: ChernGroup) -> dict[str, int | None]:
    """Return the ways to the Chern number of one group beside each other, for JSON.

    Parameters
    ----------
    one : ChernGroup
        The group.

    Returns
    -------
    dict
        `c3` (modulo 3), `fukui`, `wilson` and `edges`, which is None; for spinors that have spins
        also those of ↑ and ↓.
    """
    ways: dict[str, int | None] = {
        "c3": one.c3_mod3,
        "fukui": one.chern,
        "wilson": one.winding,
        "edges": None,
    }
    if one.chern_up is not None:
        ways |= {"c3_up": one.c3_mod3_up, "fukui_up": one.chern_up}
        ways |= {"c3_down": one.c3_mod3_down, "fukui_down": one.chern_down}
    return ways


def chern_json(rows: Sequence[tuple[str, ChernNumbers]]) -> str:
    """Return Chern numbers as JSON.

    Parameters
    ----------
    rows : sequence of (str, ChernNumbers)
        Name of each file, and its groups.

    Returns
    -------
    str
        An object, or a list of several groups or files.
    """
    objects = [group_object(one, name) for name, numbers in rows for one in numbers.groups]
    return json.dumps(objects if len(objects) > 1 else objects[0], indent=1)


def chern_table(rows: Sequence[tuple[str, ChernNumbers]]) -> str:
    """Return Chern numbers as a text table.

    Parameters
    ----------
    rows : sequence of (str, ChernNumbers)
        Name of each file, and its groups; a series over strain is in its order.

    Returns
    -------
    str
        A line for each group of each file, then the transitions.
    """
    links = {one.link for _, numbers in rows for one in numbers.groups}
    lines = [
        "# C counter-clockwise in the right-handed reciprocal cell; direct gap in meV at k",
        "# links with position matrices"
        if links == {"position"}
        else f"# curvature and centres {WITHOUT}",
        "# strain_% bands C winding C3_mod3 Z2 spin_C gap k1 k2 k3 min_link max_flux mesh file",
    ]
    for name, numbers in rows:
        for one in numbers.groups:
            lines.append(_line(one, name))
            if one.chern_up is not None:
                lines.append(_spin_line(one))
    for change in transitions(rows):
        lines.append(f"# {transition_text(change)}")
    return "\n".join(lines) + "\n"


def _spin_line(one: ChernGroup) -> str:
    """Return the Chern numbers of both spins, and those modulo 3 by C3."""
    text = "# bands {}:{}: C↑ = {}, C↓ = {}".format(*one.bands, one.chern_up, one.chern_down)
    modulo = one.c3_mod3_up, one.c3_mod3_down
    if None not in modulo:
        text += ", by C3 {} and {} modulo 3".format(*modulo)
    return text


def _line(one: ChernGroup, name: str) -> str:
    def shown(value: Any, form: str = "") -> str:
        return "-" if value is None else format(value, form)

    spin = "" if one.channel is None else ("↑", "↓")[one.channel]
    gap = None if one.direct_gap is None else 1e3 * one.direct_gap
    k = one.direct_gap_k or (None, None, None)
    cells = [
        shown(None if one.strain is None else 100 * one.strain, ".4f"),
        "{}:{}{}".format(*one.bands, spin),
        *(shown(v) for v in (one.chern, one.winding, one.c3_mod3, one.z2)),
        shown(one.spin_chern, "g"),
        shown(gap, ".4g"),
        *(shown(v, ".5f") for v in k),
        f"{one.min_link:.3f}",
        f"{one.max_flux:.3f}",
        "{}x{},{}x{}".format(*one.mesh, *one.refined_mesh),
        name,
    ]
    return " ".join(cells)


def transitions(rows: Sequence[tuple[str, ChernNumbers]]) -> list[Transition]:
    """Return where Chern numbers change along a series over strain.

    Parameters
    ----------
    rows : sequence of (str, ChernNumbers)
        In the order of strain.

    Returns
    -------
    list of Transition
        By group, then by strain; of groups whose strain is unknown there are none.
    """
    series: dict[tuple[tuple[int, int], int | None], list[tuple[str, ChernGroup]]] = {}
    for name, numbers in rows:
        for one in numbers.groups:
            if one.strain is not None:
                series.setdefault((one.bands, one.channel), []).append((name, one))
    found = []
    for (bands, channel), members in series.items():
        for (name, one), (name2, two) in pairwise(members):
            if one.chern == two.chern or one.strain is None or two.strain is None:
                continue
            gaps = one.direct_gap, two.direct_gap
            place = None
            same = abs(two.strain - one.strain) < SAME_STRAIN
            if not same and gaps[0] is not None and gaps[1] is not None:
                share = gaps[0] / (gaps[0] + gaps[1])
                place = one.strain + share * (two.strain - one.strain)
            between, numbers_ = (one.strain, two.strain), (one.chern, two.chern)
            files = (name, name2) if same else None
            found.append(Transition(bands, channel, numbers_, between, place, files))
    return found


def transition_text(change: Transition) -> str:
    """Return a transition in words.

    Parameters
    ----------
    change : Transition
        The transition.

    Returns
    -------
    str
        One line.
    """
    low, high = (100 * v for v in change.between)
    spin = "" if change.channel is None else f" {('↑', '↓')[change.channel]}"
    text = "bands {}:{}{}: C changes from {} to {}".format(*change.bands, spin, *change.chern)
    if change.files is not None:
        return text + " between {} and {}".format(*change.files)
    text += f" between {low:.4f} and {high:.4f} % strain"
    if change.strain is not None:
        text += f", where the direct gap points to {100 * change.strain:.4f} %"
    return text


def trace_text(curvature: Any, metric: Any, area: float) -> str:
    """Return how far a group of bands is from the trace condition, in words.

    Parameters
    ----------
    curvature : (N1, N2) array
        Å².
    metric : (N1, N2, 2, 2) array
        Å².
    area : float
        Area of the zone, Å⁻².

    Returns
    -------
    str
        Both integrals and their difference, which is 0 for an ideal band.
    """
    trace = np.trace(metric, axis1=2, axis2=3)
    whole, part = (float(v.mean()) * area / (2 * np.pi) for v in (trace, np.abs(curvature)))
    return (
        f"trace condition: ∫tr g/2π = {whole:.4f}, ∫|Ω|/2π = {part:.4f}, {whole - part:.4f} apart"
    )
