"""Tables of edge states."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.results.edges import EdgeCount, EdgeStates, signed
from moireio.topology.correspondence import Agreement

_YES = {None: "?", True: "yes", False: "no"}


def edges_table(edges: EdgeStates, states: bool = False, agreement: Agreement | None = None) -> str:
    """Return edge states as a text table.

    Parameters
    ----------
    edges : EdgeStates
        The states.
    states : bool
        A line for every state too.
    agreement : Agreement, optional
        Other ways to the Chern number, the last line.

    Returns
    -------
    str
        Two lines for each energy, one an edge: right minus left movers, of either spin, their
        number, and where they pass.
    """
    along, across = edges.periodic + 1, edges.open + 1
    what = "half-infinite layers" if edges.semi_infinite else "a ribbon"
    if edges.width is not None:
        what = f"a ribbon of {edges.width} cells"
    lines = [
        f"# {what}, open along a{across}, periodic along a{along}; energies in eV",
        f"# net: right minus left movers along a{along}; k in its reciprocal vector; C: Chern "
        "number of all bands below",
        f"# {'energy':>10} {'edge':>5} {'net':>4} {'up':>4} {'down':>4} {'states':>6} {'C':>4} "
        f"{'agree':>5}  k",
    ]
    for gap in edges.gaps:
        agree = _YES[gap.agree]
        for name, count in (("low", gap.low), ("high", gap.high)):
            up, down = ("-" if n is None else signed(n) for n in (count.up, count.down))
            k = " ".join(f"{v:.5f}" for v in count.k)
            lines.append(
                f"{gap.energy:z12.6f} {name:>5} {signed(count.net):>4} {up:>4} {down:>4} "
                f"{count.crossings:6d} {signed(gap.chern):>4} {agree:>5}  {k}".rstrip()
            )
    if states and edges.energies.shape[1]:
        names = "# k energy low high" + ("" if edges.spin is None else " sx sy sz")
        if edges.layers is not None:
            names += "".join(f" layer{n + 1}" for n in range(len(edges.layers)))
        lines += ["", "", names]
        for n, k in enumerate(edges.k):
            columns = [edges.energies[n], edges.low[n], edges.high[n]]
            columns += [] if edges.spin is None else list(edges.spin[:, n])
            columns += [] if edges.layers is None else list(edges.layers[:, n])
            for row in np.transpose(columns)[np.isfinite(edges.energies[n])]:
                weights = " ".join(f"{v:.5f}" for v in row[1:])
                lines.append(f"{k:.8f} {row[0]:z.9f} {weights}")
    if agreement is not None:
        parts = [f"{name} {signed(n)}" for name, n in _four(agreement).items()]
        if agreement.z2 is not None:
            of_edges = "?" if agreement.z2_edges is None else agreement.z2_edges
            parts += [f"Z2 {agreement.z2}", f"Z2 of edges {of_edges}"]
        lines.append(f"agreement: {', '.join(parts)}: {_YES[agreement.holds]}")
    return "\n".join(lines) + "\n"


def edges_json(edges: EdgeStates, agreement: Agreement | None = None) -> str:
    """Return edge states as JSON.

    Parameters
    ----------
    edges : EdgeStates
        The states.
    agreement : Agreement, optional
        Other ways to the Chern number.

    Returns
    -------
    str
        An object with open (1, 2 or 3), periodic, width (cells, or null), first_band (from 1, or
        null), k, energies (eV, k by k; null where a window has fewer states), weights (low,
        high and middle, which add up to 1, and layers), sz and spin (three components; null
        without spin), map (energies, low, high; null of a ribbon) and gaps: energy, low and high
        (net, up, down, crossings, k), chern, agree. Where it is given, agreement (c3, which is
        modulo 3, fukui, wilson, edges) and z2 (wilson, edges).
    """
    spin = edges.spin
    weights: dict[str, Any] = {"low": _numbers(edges.low), "high": _numbers(edges.high)}
    weights["middle"] = _numbers(1 - edges.low - edges.high)
    weights["layers"] = None if edges.layers is None else _numbers(edges.layers)
    values: dict[str, Any] = {
        "open": edges.open + 1,
        "periodic": edges.periodic + 1,
        "width": edges.width,
        "semi_infinite": edges.semi_infinite,
        "first_band": None if edges.first_band is None else edges.first_band + 1,
        "k": edges.k.tolist(),
        "energies": _numbers(edges.energies),
        "weights": weights,
        "sz": None if spin is None else _numbers(spin[2]),
        "spin": None if spin is None else _numbers(spin),
        "map": None,
        "gaps": [
            {
                "energy": gap.energy,
                "low": _count(gap.low),
                "high": _count(gap.high),
                "chern": gap.chern,
                "agree": gap.agree,
            }
            for gap in edges.gaps
        ],
    }
    if edges.map is not None:
        values["map"] = {name: array.tolist() for name, array in vars(edges.map).items()}
    if agreement is not None:
        values["agreement"] = _four(agreement)
        values["z2"] = {"wilson": agreement.z2, "edges": agreement.z2_edges}
    return json.dumps(values)


def _numbers(array: npt.NDArray[np.float64]) -> list[Any]:
    """Return an array as lists, with None where there is no state."""
    listed = array.astype(object)
    listed[~np.isfinite(array)] = None
    return list(listed.tolist())


def _four(agreement: Agreement) -> dict[str, int | None]:
    return {name: getattr(agreement, name) for name in ("c3", "fukui", "wilson", "edges")}


def _count(count: EdgeCount) -> dict[str, object]:
    return vars(count) | {"k": list(count.k)}
