"""Wannier functions nearest to trial orbitals."""

import numpy as np
import pytest
from foreign_levels import blocks_of, matrices_at
from scipy.linalg import eigh

from moireio.blockfile.calculation import Calculation
from moireio.downfold.lowdin import orthogonalise
from moireio.downfold.nearest import nearest_model
from moireio.downfold.trial import parse_projections
from moireio.errors import MoireioError
from moireio.formats.calculations import open_calculation
from moireio.operators.bloch import BlochSum
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

WIDE = (-1e4, 1e4)


def dimers(gap=1.0):
    """A chain of dimers A B with s orbitals that overlap, positions known: gapped, no symmetry."""
    structure = Structure(
        np.diag([3.0, 9, 9]), [[0.3, 0, 0], [1.6, 0, 0]], [1, 2], [0, 1], ["A", "B"],
        [True, False, False],
    )  # fmt: skip
    elements = {  # (i, j, R): H, S
        (0, 0, 0): (gap, 1.0),
        (1, 1, 0): (-gap, 1.0),
        (0, 1, 0): (-1.2, 0.15),
        (1, 0, 1): (-0.7, 0.08),
    }
    blocks = {"hamiltonian": {}, "overlap": {}, "position": {}}
    rng = np.random.default_rng(3)
    for (i, j, n), (h, s) in elements.items():
        apart = structure.positions[j] - structure.positions[i] + [3.0 * n, 0, 0]
        middle = rng.normal(size=3) * 0.1 if i != j else np.zeros(3)
        for a, b, cell, sign in ((i, j, n, 1), (j, i, -n, -1)):
            key = (a, b, (cell, 0, 0))
            blocks["hamiltonian"][key], blocks["overlap"][key] = [[h]], [[s]]
            blocks["position"][key] = (middle + sign * apart * s / 2).reshape(3, 1, 1)
    operators = {
        name: ArraySource.from_blocks(operator_type(name).meta(), np.array([1, 1]), of)
        for name, of in blocks.items()
    }
    basis = Basis({"A": SpeciesBasis((0,)), "B": SpeciesBasis((0,))})
    return Calculation("dimers", structure, basis, operators)


def spinful(overlap, spin):
    return np.kron(np.eye(2), overlap) if spin == "spinor" else overlap


def exact_levels(calculation, k):
    """Levels by naive sums; one list for each channel."""
    (s,) = matrices_at(calculation.overlap, k)
    if calculation.hamiltonian.meta.spin == "spinor":
        sizes = calculation.basis.sizes(calculation.structure)
        atoms = np.repeat(np.arange(len(sizes)), sizes)
        order = np.lexsort((np.arange(2 * len(s)), np.tile(atoms, 2)))
        s = np.kron(np.eye(2), s)[np.ix_(order, order)]
    return [eigh(h, s, eigvals_only=True) for h in matrices_at(calculation.hamiltonian, k)]


def test_all_orbitals_of_all_states_are_lowdins():
    """Without a window and with every orbital the nearest functions are Löwdin's."""
    calculation = dimers()
    found = nearest_model(
        calculation, (8, 1, 1), parse_projections("A:s,B:s"), energy_window=WIDE, smearing=1
    )
    expected = orthogonalise(calculation, (8, 1, 1))
    blocks = {
        (i, j, tuple(R)): block[0] for i, j, R, block in blocks_of(found.calculation.hamiltonian)
    }
    for R, matrix in zip(expected.cells.tolist(), expected.components[0], strict=True):
        for i in range(2):
            for j in range(2):
                assert blocks.get((i, j, tuple(R)), 0) == pytest.approx(matrix[i, j], abs=1e-10)
    assert found.window.largest == pytest.approx(expected.error, rel=1e-3)


def test_one_band_of_two_with_its_position_matrices():
    """The lower band by B's orbital: ⟨w,0|r|w,R⟩ summed in real space, orbital by orbital."""
    calculation = dimers()
    found = nearest_model(
        calculation, (40, 1, 1), parse_projections("B:s"), energy_window=(-9, 0), smearing=0.05
    )
    model, structure = found.calculation, calculation.structure
    assert (found.window.largest, found.window.missing) == (pytest.approx(0, abs=1e-9), 0)
    assert model.structure.species_names == ("B",)
    S = {(i, j, R[0]): b[0, 0, 0] for i, j, R, b in blocks_of(calculation.overlap)}
    P = {(i, j, R[0]): b[:, 0, 0] for i, j, R, b in blocks_of(calculation.operator("position"))}
    # the function of cell 0 has c(−R) on the orbitals of cell R
    function = {
        (a, -int(R[0])): c[a, 0]
        for R, c in zip(found.cells, found.coefficients[0], strict=True)
        for a in (0, 1)
    }

    def element(n, positions):
        total = 0
        for (i, m), left in function.items():
            for (j, o), right in function.items():
                key = (i, j, o + n - m)
                if key in S:
                    value = S[key]
                    if positions:
                        value = P[key] + (structure.positions[i] + [3.0 * m, 0, 0]) * S[key]
                    total = total + left * right * value
        return total

    position = {R[0]: b[:, 0, 0] for _, _, R, b in blocks_of(model.operator("position"))}
    for n in range(-3, 4):
        unit = float(n == 0)
        assert element(n, False) == pytest.approx(unit, abs=1e-9)
        expected = element(n, True) - unit * structure.positions[1]
        np.testing.assert_allclose(position[n], expected, atol=1e-8)
    assert np.abs(position[0]).max() > 0.05  # the centre is not at the atom


@pytest.mark.parametrize(
    ("name", "mesh", "projections", "window", "frozen"),
    [
        ("gr_ab", (6, 6, 1), "C:pz", (-9, 4), (-2, 2)),
        ("hbn_soc", (5, 5, 1), "N:p,B:pz", (-12, 6), (-8, 1)),
        ("o2_col", (1, 1, 1), "O:s+p", (-40, 10), (-35, 1)),
    ],
)
def test_frozen_states_on_the_mesh_are_exact(data, name, mesh, projections, window, frozen):
    calculation = open_calculation(str(data / f"{name}.scfout"))
    found = nearest_model(
        calculation,
        mesh,
        parse_projections(projections),
        energy_window=window,
        frozen=frozen,
        smearing=2,
    )
    model, fermi = found.calculation, calculation.electrons.fermi
    assert model.hamiltonian.meta.spin == calculation.hamiltonian.meta.spin
    assert model.hamiltonian.meta.dtype == calculation.hamiltonian.meta.dtype
    assert model.basis.orthogonal
    points = list(np.ndindex(*mesh))
    chosen = [points[0], points[len(points) // 2], points[-1]]
    chosen += [(2 * mesh[0] // 3, mesh[1] // 3, 0)]  # K, where it is on the mesh
    counted = 0
    for k in np.array(chosen) / mesh:
        ours = [np.linalg.eigvalsh(h) for h in matrices_at(model.hamiltonian, k)]
        for exact, levels in zip(exact_levels(calculation, k), ours, strict=True):
            kept = exact[(exact > fermi + frozen[0]) & (exact < fermi + frozen[1])]
            gaps = np.abs(levels[:, None] - kept).min(axis=0, initial=np.inf)
            assert (gaps < 1e-7).all()
            counted += len(kept)
    assert counted > 2


def test_errors_are_those_between_the_points(data):
    """Bands of p_z of two layers of graphene at k that are on no mesh."""
    calculation = open_calculation(str(data / "gr_ab.scfout"))
    found = nearest_model(
        calculation, (9, 9, 1), parse_projections("C:pz"), energy_window=(-9, 4), frozen=(-2, 2)
    )
    assert found.window.mean_square < 5e-3
    assert found.window.largest < 0.02
    assert found.smallest > 0.3
    fermi = calculation.electrons.fermi
    for k in ([2 / 3, 1 / 3 + 0.01, 0], [0.61, 0.36, 0], [0.5, 0.02, 0]):
        (levels,) = (np.linalg.eigvalsh(h) for h in matrices_at(found.calculation.hamiltonian, k))
        (exact,) = exact_levels(calculation, k)
        inside = levels[(levels > fermi - 4) & (levels < fermi + 3)]
        assert len(inside) > 1
        assert np.abs(inside[:, None] - exact).min(axis=1).max() < 0.02
    note = " ".join(found.calculation.notes)
    assert "4 Wannier functions nearest to C pz, on a mesh of 9 x 9 x 1 points" in note
    assert f"{found.window.mean_square:.1e} eV (root mean square" in note
    assert found.calculation.electrons.count == 4


def test_what_cannot_be_done_is_refused(data):
    calculation = open_calculation(str(data / "gr_ab.scfout"))
    pz, mesh = parse_projections("C:pz"), (2, 2, 1)
    for options, text in (
        ({"energy_window": (-9, -5), "smearing": 0.2}, "only .* of a trial orbital at k = 0.000"),
        ({"energy_window": (-9, 4), "frozen": (-20, 5)}, "states are in the frozen window"),
        ({"energy_window": (4, -9)}, "no interval"),
        ({"energy_window": (-9, 4), "smearing": 0}, "smearing of 0 eV"),
    ):
        with pytest.raises(MoireioError, match=text):
            nearest_model(calculation, mesh, pz, **options)
    with pytest.raises(MoireioError, match="has no species N"):
        nearest_model(calculation, mesh, parse_projections("N:s"), energy_window=WIDE)
    with pytest.raises(MoireioError, match="no orbital with l = 3"):
        nearest_model(calculation, mesh, parse_projections("C:f"), energy_window=WIDE)
    with pytest.raises(MoireioError, match="not periodic along c"):
        nearest_model(calculation, (2, 2, 2), pz, energy_window=WIDE)


def test_trial_orbitals_as_text():
    assert parse_projections("C:pz") == {"C": [(1, 0)]}
    assert parse_projections("Mo:dx2-y2+s, Te:p") == {
        "Mo": [(0, 0), (2, 2)],
        "Te": [(1, -1), (1, 0), (1, 1)],
    }
    for text in ("", "C", "C:", "C:q", ":p", "C:p+pz", "C:s,C:p"):
        with pytest.raises(MoireioError, match=r"no trial orbital|twice"):
            parse_projections(text)


def of_one_spin(calculation):
    """The up-up blocks of a spinor calculation, real."""
    source, sizes = calculation.hamiltonian, calculation.overlap.sizes
    blocks = {
        (int(i), int(j), tuple(R.tolist())): block[0, : sizes[i], : sizes[j]].real
        for i, j, R, block in blocks_of(source)
    }
    h = ArraySource.from_blocks(operator_type("hamiltonian").meta(), sizes, blocks)
    operators = {name: calculation.operator(name) for name in ("overlap", "position")}
    return Calculation(
        "one spin",
        calculation.structure,
        calculation.basis,
        {"hamiltonian": h, **operators},
        electrons=calculation.electrons,
    )


def curvature(calculation, k, with_positions=True):
    """Berry curvature of the highest filled band: the phase around a small square of k points.

    ⟨χ_q|e^{−i d·r}|χ_q′⟩ is S − i d·X at the middle, X the Hermitian part of P + τ S.
    """
    structure, step = calculation.structure, 1e-3
    atoms = np.repeat(np.arange(len(structure)), calculation.hamiltonian.sizes)
    tau = structure.positions[atoms]
    reciprocal = 2 * np.pi * np.linalg.inv(structure.cell).T
    overlap = calculation.overlap
    sums = [BlochSum.from_source(calculation.operator("position"), component=a) for a in range(3)]
    h = BlochSum.from_source(calculation.hamiltonian)

    def s(q):
        return np.eye(len(tau)) if overlap is None else BlochSum.from_source(overlap).dense(q)

    corners = [np.add(k, step * np.array(c)) for c in ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0))]
    states = []
    for q in corners:
        levels, vectors = eigh(h.dense(q), s(q))
        states.append(vectors[:, (levels < calculation.electrons.fermi).sum() - 1])
    product = 1
    for n in range(4):
        middle = (corners[n] + corners[n - 3]) / 2
        d = (corners[n - 3] - corners[n]) @ reciprocal
        link = s(middle).astype(complex)
        if with_positions:
            x = sum(
                d[a] * (one.dense(middle) + tau[:, a, None] * link) for a, one in enumerate(sums)
            )
            link = link - 0.5j * (x + x.conj().T)
        product *= states[n].conj() @ link @ states[n - 3]
    return -np.angle(product) / (step**2 * np.linalg.norm(np.cross(*reciprocal[:2])))


def test_berry_curvature_is_that_of_all_orbitals(data):
    """The highest valence band of BN, 4 functions for 26 orbitals."""
    calculation = of_one_spin(open_calculation(str(data / "hbn_soc.scfout")))
    model = nearest_model(
        calculation,
        (9, 9, 1),
        parse_projections("N:p,B:pz"),
        energy_window=(-12, 7),
        frozen=(-8, 2),
    ).calculation
    for k in ([2 / 3, 1 / 3, 0], [0.6, 0.3, 0], [0.5, 0.1, 0]):
        expected = curvature(calculation, k)
        assert curvature(model, k) == pytest.approx(expected, rel=0.02)
        assert abs(curvature(model, k, with_positions=False) / expected - 1) > 0.2
