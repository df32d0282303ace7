"""Chern numbers, Z2 and all that goes with them, of groups of bands of a block file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from moireio.errors import MoireioError, naming
from moireio.results.chern import ChernGroup, ChernNumbers
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.topology.bandgroups import BandGroup
from moireio.topology.chern import (
    BandSpace,
    UnresolvedError,
    chern_number,
    finer,
    mesh_points,
    require_separated,
    unresolved,
)
from moireio.topology.curvature import curvature_of
from moireio.topology.links import Links
from moireio.topology.mesh_states import MeshStates
from moireio.topology.rotation import threefold_eigenvalues
from moireio.topology.rotation_report import chern_of_spin
from moireio.topology.spin import LEAST_SPIN, SpinSpace, spin_gap
from moireio.topology.threefold import chern_mod3
from moireio.topology.wilson import WilsonLoops

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

MESH = (12, 12)
Modulo = tuple[int | None, int | None, int | None]  # of all states, of ↑, of ↓
CHEAP = 300  # orbitals up to which the smallest gap is looked for between the k points
FEW_HALVINGS = 3  # of a step between Wilson loops, of more orbitals


def solve_chern(
    file: BlockFile,
    groups: Sequence[BandGroup],
    mesh: tuple[int, int] = MESH,
    *,
    position: bool = True,
    solver: SolverChoice | None = None,
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
) -> ChernNumbers:
    """Return the topology of groups of bands.

    Chern numbers are counted on `mesh` and on one 1.5 times finer, with plaquettes divided where
    links are poor, and from the winding of Wannier centres on the finer mesh. Where the crystal has
    a threefold axis, C3 eigenvalues must give the same number modulo 3.

    Parameters
    ----------
    file : BlockFile
        A layer with H, and S unless its basis is orthogonal.
    groups : sequence of BandGroup
        Each separated from the bands below and above at every k; they may overlap in energy.
    mesh : (int, int)
        Plaquettes along the two reciprocal vectors.
    position : bool
        Use ``/position`` in links where there is one.
    solver : SolverChoice, optional
        How to solve.
    progress : Progress, optional
        Steps are k points.
    note : callable, optional
        Called with each remark, a line of text.

    Returns
    -------
    ChernNumbers
        One group for each of those given; of collinear spin first all of spin up, then all of
        spin down, where a group is not of one spin alone.

    Raises
    ------
    MoireioError
        If the structure is no layer, a direct gap is closed, or a Chern number does not stand: the
        meshes or the winding disagree, or links stay poor.
    """
    if min(mesh) < 2:
        raise MoireioError(f"a `mesh` of {mesh[0]} × {mesh[1]} has no plaquettes")
    with naming(file.label):
        links = Links.from_file(file, position=position)
        states = MeshStates(file, groups, solver=solver, progress=progress, note=note)
        found = []
        for group in groups:  # before anything takes long
            for channel in _channels(states, group):
                space = BandSpace(states, group, channel)
                require_separated(space, links, mesh, _name(states, group, channel))
        for group in groups:
            modulo = _from_c3(states, group, solver, note)
            for channel in _channels(states, group):
                one = _solve_group(states, links, group, channel, mesh, note)
                found.append(_beside_c3(one, modulo[channel], states, note))
        found.sort(key=lambda one: one.channel or 0)
    return ChernNumbers(tuple(replace(one, solves=states.solves) for one in found))


def _from_c3(
    states: MeshStates,
    group: BandGroup,
    solver: SolverChoice | None,
    note: Callable[[str], object] | None,
) -> list[Modulo]:
    """Return C modulo 3 of each spin channel from eigenvalues of C3; None where C3 is broken."""
    unknown: list[Modulo] = [(None, None, None)] * states.channels
    try:
        found = threefold_eigenvalues(states.file, group, solver=solver)
    except MoireioError as error:
        if note:
            note(f"bands {group}: C modulo 3 is not compared with eigenvalues of C3: {error.what}")
        return unknown
    if (found.first_band, found.count) != (group.first, group.count):
        if note:
            last = found.first_band + found.count - 1
            note(
                f"bands {group}: C modulo 3 is not compared with eigenvalues of C3, which mix "
                f"bands {found.first_band}:{last}"
            )
        return unknown
    spins: tuple[int | None, int | None] = (None, None)
    if found.spinor:
        spins = chern_of_spin(found, 0, 1), chern_of_spin(found, 0, -1)
    return [(chern_mod3(n[0], found.spinor), *spins) for n in found.n]


def _beside_c3(
    one: ChernGroup,
    modulo: Modulo,
    states: MeshStates,
    note: Callable[[str], object] | None,
) -> ChernGroup:
    """Return a group with C modulo 3, which must agree."""
    name = f"bands {one.bands[0]}:{one.bands[1]}"
    if modulo[0] is not None and (one.chern - modulo[0]) % 3:
        why = f"C = {one.chern} by plaquettes, but {modulo[0]} modulo 3 by eigenvalues of C3"
        gap = states.smallest_gap(BandGroup(*one.bands), one.channel or 0)
        raise unresolved(name, gap, why)
    one = replace(one, c3_mod3=modulo[0], c3_mod3_up=modulo[1], c3_mod3_down=modulo[2])
    for number, other in ((one.chern_up, modulo[1]), (one.chern_down, modulo[2])):
        if number is not None and other is not None and (number - other) % 3:
            if note:
                note(
                    f"{name}: no Chern numbers of the spins, P·σz·P has {one.chern_up} and "
                    f"{one.chern_down}, eigenvalues of C3 {modulo[1]} and {modulo[2]} modulo 3"
                )
            return replace(one, chern_up=None, chern_down=None)
    return one


def _channels(states: MeshStates, group: BandGroup) -> Sequence[int]:
    """Return the spin channels in which a group is solved."""
    return range(states.channels) if group.channel is None else (group.channel,)


def _name(states: MeshStates, group: BandGroup, channel: int) -> str:
    """Return how messages call a group."""
    spin = f", spin {('up', 'down')[channel]}" if states.channels == 2 else ""
    return f"bands {group}{spin}"


def _solve_group(
    states: MeshStates,
    links: Links,
    group: BandGroup,
    channel: int,
    mesh: tuple[int, int],
    note: Callable[[str], object] | None,
) -> ChernGroup:
    name = _name(states, group, channel)
    space = BandSpace(states, group, channel)
    coarse, fine = chern_number(space, links, mesh, name)
    cheap = states.n_orbitals <= CHEAP
    halvings = {} if cheap else {"depth": FEW_HALVINGS}
    loops = WilsonLoops(space, links, fine.shape[0], **halvings)
    rows = fine.shape[1]
    winding = loops.winding(rows)
    if winding != coarse.chern and (cheap or winding is not None):
        # on too few rows the sum of the centres may pass half a cell
        winding = loops.winding(2 * rows)
    if winding is not None and winding != coarse.chern:
        why = f"the Wannier centres wind {winding} times, but C = {coarse.chern} by plaquettes"
        raise unresolved(name, space.smallest_gap(), why)
    if winding is None and note:
        note(f"{name}: the Wannier centres move too fast to be followed; take a finer `mesh`")
    parts: dict[str, Any] = {}
    if states.spin == "spinor":
        parts = _spins(states, links, group, mesh, name, note)
        if states.reverses and group.count % 2 == 0:
            parts["z2"] = loops.z2((rows + 1) // 2)[0]
            if parts["z2"] is None and note:
                note(f"{name}: no Z2, the Wannier centres move too fast; take a finer `mesh`")
    if cheap:
        plane = links.plane
        steps = plane.k(1 / fine.shape[0], 0)[0], plane.k(0, 1 / fine.shape[1])[0]
        states.approach_gap(group, steps, channel)
    gap = space.smallest_gap()
    has_gap = np.isfinite(gap.value)
    centres = loops.found()
    return ChernGroup(
        bands=(group.first, group.last),
        chern=coarse.chern,
        mesh=coarse.shape,
        refined_mesh=fine.shape,
        solves=states.solves,
        min_link=min(coarse.least_link, fine.least_link),
        max_flux=max(coarse.most_flux, fine.most_flux),
        link=links.kind,
        winding=winding,
        direct_gap=gap.value if has_gap else None,
        direct_gap_k=gap.k if has_gap else None,
        channel=channel if states.channels == 2 else None,
        curvature=curvature_of(coarse, links),
        centres=centres.centres,
        centres_k2=centres.k2,
        **parts,
    )


def _spins(
    states: MeshStates,
    links: Links,
    group: BandGroup,
    mesh: tuple[int, int],
    name: str,
    note: Callable[[str], object] | None,
) -> dict[str, Any]:
    """Return the Chern numbers of both spins where P·σz·P has a gap."""
    k = np.concatenate([mesh_points(links.plane, shape) for shape in (mesh, finer(mesh))])
    up, least = spin_gap(states, group, links, k)
    if up < 0 or least < LEAST_SPIN:
        if note:
            note(f"{name}: P·σz·P has no gap (|σz| ≥ {least:.2f}): no Chern numbers of the spins")
        return {}
    found = {}
    for key, which, count in (("up", True, up), ("down", False, group.count - up)):
        part = SpinSpace(states, group, links, which)
        try:
            number = chern_number(part, links, mesh, f"{name}, spin {key}")[0].chern if count else 0
        except UnresolvedError:
            if note:
                note(f"{name}: no Chern numbers of the spins, their links stay poor")
            return {}
        found[f"chern_{key}"] = number
    return found
