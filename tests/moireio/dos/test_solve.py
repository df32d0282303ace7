"""Densities of states against analytic ones, against each other, and on DFT files."""

import numpy as np
import pytest
from helpers import write_file
from scipy.special import ellipk

import moireio
from moireio.dos import by_moments, kpm
from moireio.dos.solve import Chebyshev, EnergyGrid, density_of_states
from moireio.errors import MoireioError
from moireio.kspace.mesh import make_mesh
from moireio.operators.blocks import OperatorMeta
from moireio.operators.views import ArraySource
from moireio.solvers.base import EigenProblem
from moireio.spectrum.choice import SolverChoice
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

CELL = np.array([[2.46, 0, 0], [1.23, 2.46 * np.sqrt(0.75), 0], [0, 0, 20.0]])
EVERYTHING = EnergyGrid(energy_window=(-400, 2000), points=24001, zero="none")


def honeycomb(path, hopping=1.0, overlap=0.0, valence=1):
    """Graphene's p_z orbitals with hopping between next neighbours."""
    structure = Structure(
        CELL, np.array([[1, 1, 0], [2, 2, 0]]) / 3 @ CELL, [6, 6], [0, 0], ["C"], [1, 1, 0]
    )
    basis = Basis({"C": SpeciesBasis(l=(1,), m=(0,), valence=valence)}, orthogonal=not overlap)

    def operator(name, onsite, value):
        blocks = {(n, n, (0, 0, 0)): np.array([[onsite]]) for n in (0, 1)}
        for R in ((0, 0, 0), (-1, 0, 0), (0, -1, 0)):
            blocks[0, 1, R] = blocks[1, 0, tuple(-r for r in R)] = np.array([[value]])
        unit = "eV" if name == "hamiltonian" else "1"
        meta = OperatorMeta(
            name=name, unit=unit, spin="none", parity=1, components=1, dtype="float64", source="x"
        )
        return ArraySource.from_blocks(meta, np.array([1, 1]), blocks)

    sources = [operator("hamiltonian", 0.0, -hopping)]
    sources += [operator("overlap", 1.0, overlap)] if overlap else []
    return write_file(path, structure, basis, *sources)


def exact_honeycomb(x):
    """States per eV, cell and spin at E = x t (Castro Neto et al., RMP 81, 109, eq. 14)."""
    x = np.abs(x)
    small, large = (1 + x) ** 2 - (x**2 - 1) ** 2 / 4, 4 * x
    z0, z1 = np.where(x <= 1, small, large), np.where(x <= 1, large, small)
    return np.where(x < 3, 4 * x / np.pi**2 / np.sqrt(z0) * ellipk(z1 / z0) / 2, 0)


def integral(dos, curve=None):
    return (dos.total if curve is None else curve).sum() * (dos.energies[1] - dos.energies[0])


def test_honeycomb_against_the_elliptic_integral(tmp_path):
    with moireio.open(honeycomb(tmp_path / "x.h5", 2.7)) as file:
        mesh = make_mesh(file.structure, [150, 150])
        dos = density_of_states(file, mesh, grid=EnergyGrid((-9, 9), 1801))
        assert dos.method == "tetrahedron"
        assert dos.fermi == pytest.approx(0, abs=1e-6)
        assert integral(dos) == pytest.approx(4)
        x = dos.energies / 2.7
        expected = 2 * exact_honeycomb(x) / 2.7
        clear = (np.abs(np.abs(x) - 1) > 0.03) & (np.abs(np.abs(x) - 3) > 0.02)
        error = np.abs(dos.total[0] - expected)
        assert error[clear].max() < 0.03
        assert error[clear].mean() < 0.003
        # van Hove singularities at ± t
        peaks = [dos.energies[side][np.argmax(dos.total[0, side])] for side in (x < 0, x > 0)]
        assert peaks == pytest.approx([-2.7, 2.7], abs=0.011)
        # proportional to |E| next to the Dirac point: 2 A |E| / (π v²), v = √3 a t / 2
        near = (np.abs(x) < 0.15) & (np.abs(x) > 0.04)
        area = np.abs(np.linalg.det(CELL[:2, :2]))
        slope = 2 * area / np.pi / (np.sqrt(3) / 2 * 2.46 * 2.7) ** 2
        ratio = dos.total[0, near] / (slope * np.abs(dos.energies[near]))
        assert ratio.mean() == pytest.approx(1, abs=0.03)


def test_symmetry_changes_nothing_where_it_is_exact(tmp_path):
    with moireio.open(honeycomb(tmp_path / "x.h5", overlap=0.13)) as file:
        mesh = make_mesh(file.structure, [24, 24])
        for options in ({"method": "tetrahedron"}, {"method": "gaussian", "width": 0.1}):
            made = [
                density_of_states(
                    file,
                    mesh,
                    project=["atom", "shell"],
                    grid=EVERYTHING,
                    use_symmetry=s,
                    **options,
                )
                for s in (True, False)
            ]
            assert np.abs(made[0].total - made[1].total).max() < 1e-10
            assert np.abs(made[0].projected - made[1].projected).max() < 1e-10
            assert made[0].labels == ("C0", "C1", "p")
            assert made[0].projected.sum(axis=1) == pytest.approx(2 * made[0].total, abs=1e-10)
            assert integral(made[0]) == pytest.approx(4)
        made = [
            density_of_states(file, mesh, grid=EVERYTHING, use_symmetry=s) for s in (True, False)
        ]
        assert np.abs(made[0].total - made[1].total).max() < 1e-10
        one = make_mesh(file.structure, [1, 1])
        with pytest.raises(MoireioError, match="more than one k point"):
            density_of_states(file, one, method="tetrahedron")


def test_symmetry_that_h_breaks_is_not_used(tmp_path):
    """Atoms say 6-fold, but one hopping differs: noticed, and the whole mesh is used."""
    path = honeycomb(tmp_path / "x.h5")
    with moireio.open(path) as file:
        structure, basis = file.structure, file.basis
    blocks = {(n, n, (0, 0, 0)): np.zeros((1, 1)) for n in (0, 1)}
    for R, t in (((0, 0, 0), -1.0), ((-1, 0, 0), -1.0), ((0, -1, 0), -0.7)):
        blocks[0, 1, R] = blocks[1, 0, tuple(-r for r in R)] = np.array([[t]])
    meta = OperatorMeta(
        name="hamiltonian", unit="eV", spin="none", parity=1, components=1, dtype="float64",
        source="x",
    )  # fmt: skip
    source = ArraySource.from_blocks(meta, np.array([1, 1]), blocks)
    with moireio.open(write_file(tmp_path / "y.h5", structure, basis, source)) as file:
        mesh = make_mesh(file.structure, [12, 12])
        dos = density_of_states(file, mesh, grid=EVERYTHING)
        assert "symmetry is not used" in dos.notes[0]
        whole = density_of_states(file, mesh, grid=EVERYTHING, use_symmetry=False)
        assert np.abs(dos.total - whole.total).max() < 1e-12


def test_haldane_breaks_time_reversal(tmp_path):
    """Complex blocks without spin: the data distinguish k and −k."""
    with moireio.open(honeycomb(tmp_path / "x.h5")) as file:
        structure, basis = file.structure, file.basis
    blocks = {(n, n, (0, 0, 0)): np.full((1, 1), 0.1 * (-1) ** n + 0j) for n in (0, 1)}
    for R in ((0, 0, 0), (-1, 0, 0), (0, -1, 0)):
        blocks[0, 1, R] = blocks[1, 0, tuple(-r for r in R)] = np.array([[-1.0 + 0j]])
    for n, sign in ((0, 1), (1, -1)):
        for R in ((1, 0, 0), (-1, 1, 0), (0, -1, 0)):
            blocks[n, n, R] = np.array([[0.2 * np.exp(0.7j * sign)]])
            blocks[n, n, tuple(-r for r in R)] = blocks[n, n, R].conj()
    meta = OperatorMeta(
        name="hamiltonian", unit="eV", spin="none", parity=1, components=1, dtype="complex128",
        source="x",
    )  # fmt: skip
    source = ArraySource.from_blocks(meta, np.array([1, 1]), blocks)
    with moireio.open(write_file(tmp_path / "y.h5", structure, basis, source)) as file:
        mesh = make_mesh(file.structure, [12, 12])
        dos = density_of_states(file, mesh, grid=EVERYTHING)
        whole = density_of_states(file, mesh, grid=EVERYTHING, use_symmetry=False)
        assert any("time reversal" in n for n in dos.notes)
        assert np.abs(dos.total - whole.total).max() < 1e-9


@pytest.mark.parametrize("name", ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"])
def test_dft_files(made, name):
    """Number of states, sums of projections, Fermi level, and what symmetry changes."""
    with moireio.open(made[name]) as file:
        mesh = make_mesh(file.structure, spacing=0.3)
        states = file.orbitals.sum() * 2
        both = [
            density_of_states(
                file, mesh, project=["element,shell", "atom"], grid=EVERYTHING, width=0.2,
                use_symmetry=s,
            )
            for s in (True, False)
        ]  # fmt: skip
        dos = both[0]
        assert dos.total.shape[0] == (2 if name == "o2_col" else 1)
        assert integral(dos) == pytest.approx(states)
        sets = np.array(dos.projection)
        for way in ("element,shell", "atom"):
            total = dos.projected[:, sets == way].sum(axis=1)
            assert total == pytest.approx(dos.total, abs=1e-9)
        low = dos.energies < dos.fermi + 5
        scale = dos.total[:, low].max()
        assert np.abs(dos.total - both[1].total)[:, low].max() < 0.01 * scale
        assert np.abs(dos.projected - both[1].projected)[..., low].max() < 0.01 * scale
        electrons = dos.total[:, dos.energies < dos.fermi].sum() * 0.1
        assert electrons == pytest.approx(file.electrons.count, abs=0.1)


def test_fermi_levels_of_openmx(made):
    with moireio.open(made["gr_ab"]) as file:
        mesh = make_mesh(file.structure, [18, 18])
        dos = density_of_states(file, mesh)
        assert dos.fermi == pytest.approx(file.electrons.fermi, abs=0.02)
        assert dos.gap is None
    with moireio.open(made["o2_col"]) as file:
        dos = density_of_states(file, make_mesh(file.structure, [1, 1, 1]), width=0.1)
        # anywhere in the gap would do; OpenMX puts it near the middle as well
        assert dos.fermi == pytest.approx(file.electrons.fermi, abs=0.05)
        assert dos.gap == pytest.approx(2.45, abs=0.01)
        step = dos.energies[1] - dos.energies[0]
        filled = dos.total[:, dos.energies < dos.fermi].sum(axis=1) * step
        assert filled == pytest.approx([7, 5], abs=1e-6)  # a triplet


def test_spin_of_spinors(made):
    with moireio.open(made["hbn_soc"]) as file:
        mesh = make_mesh(file.structure, [6, 6])
        dos = density_of_states(file, mesh, project=["spin", "element,spin"], grid=EVERYTHING)
        assert dos.labels == ("up", "down", "B up", "B down", "N up", "N down")
        # time reversal: as much up as down
        assert dos.projected[0, 0] == pytest.approx(dos.projected[0, 1], abs=1e-3)
        assert dos.projected[0, :2].sum(axis=0) == pytest.approx(dos.total[0], abs=1e-9)
        whole = density_of_states(file, mesh, project=["spin"], grid=EVERYTHING, use_symmetry=False)
        assert np.abs(whole.projected - dos.projected[:, :2]).max() < 1e-9


def supercell(path, size):
    """Sheared honeycomb cells, with overlap, one layer per sublattice."""
    n = size * size
    places = np.array([(a, b) for a in range(size) for b in range(size)])
    cell = CELL * np.array([[size], [size], [1]])
    flat = np.concatenate([places + 1 / 3, places + 2 / 3]) @ CELL[:2]
    structure = Structure(
        cell, flat, [6] * 2 * n, [0] * 2 * n, ["C"], [1, 1, 0], layer=[0] * n + [1] * n
    )
    basis = Basis({"C": SpeciesBasis(l=(1,), m=(0,), valence=1)})
    sources = []
    for name, onsite, value in (("hamiltonian", (-0.4, 0.4), -2.7), ("overlap", (1, 1), 0.13)):
        blocks = {(a, a, (0, 0, 0)): np.array([[float(onsite[a >= n])]]) for a in range(2 * n)}
        for a, place in enumerate(places):
            for step in ((0, 0), (-1, 0), (0, -1)):
                R, rest = np.divmod(place + step, size)
                b, R = n + int(rest[0] * size + rest[1]), (int(R[0]), int(R[1]), 0)
                blocks[a, b, R] = np.array([[value]])
                blocks[b, a, (-R[0], -R[1], 0)] = np.array([[value]])
        meta = OperatorMeta(
            name=name, unit="eV" if name[0] == "h" else "1", spin="none", parity=1, components=1,
            dtype="float64", source="x",
        )  # fmt: skip
        sources.append(ArraySource.from_blocks(meta, np.ones(2 * n, int), blocks))
    return write_file(path, structure, basis, *sources)


def test_kernel_polynomials_against_all_levels(tmp_path):
    """A few hundred orbitals with overlap: within the error bars of the random vectors."""
    with moireio.open(supercell(tmp_path / "x.h5", 13)) as file:
        mesh = make_mesh(file.structure, [1, 1])
        grid = EnergyGrid((-12, 16), 561, "none")
        options = {"project": ["layer", "atom"], "grid": grid}
        many = Chebyshev(vectors=24)
        found = density_of_states(file, mesh, solver="kpm", width=0.3, chebyshev=many, **options)
        assert found.method == "kpm"
        assert found.width == pytest.approx(0.3, rel=0.02)
        exact = density_of_states(file, mesh, method="gaussian", width=0.25, **options)
        assert integral(found) == pytest.approx(2 * 338, rel=1e-3)
        # the same levels through the same kernel, without random vectors
        problem = EigenProblem(file.hamiltonian.assembler(), file.overlap.assembler(), [0, 0, 0])
        one = kpm.moments(problem, width=0.3, vectors=1, seed=[0, 0])
        from moireio.solvers.registry import make_solver

        levels = make_solver("dense").eigenvalues(problem)
        angles = np.arccos((levels - one.centre) / one.half)
        values = np.cos(np.arange(one.values.shape[1])[:, None] * angles).sum(axis=1)
        step = grid.energies(found, 0, 0)
        step = step[1] - step[0]
        bounds = np.append(found.energies - step / 2, found.energies[-1] + step / 2)
        kernel = 2 * np.diff(kpm.Moments(one.centre, one.half, values[None]).below(bounds)[0])
        scale = np.maximum(found.error[0], 0.02 * exact.total.max())
        gap = np.abs(found.total[0] - kernel / step) / scale
        assert np.sqrt((gap**2).mean()) < 1.5
        assert gap.max() < 5
        # shares: lower sublattice below, and together everything
        layers, atoms = found.projected[0, :2], found.projected[0, 2:]
        assert layers.sum(axis=0) == pytest.approx(found.total[0], abs=1e-9)
        assert atoms.sum(axis=0) == pytest.approx(found.total[0], abs=1e-9)
        filled = (found.energies < found.fermi) & (found.total[0] > 0.05 * found.total.max())
        share = [d.projected[0, 0, filled] / d.total[0, filled] for d in (found, exact)]
        assert np.abs(share[0] - share[1]).mean() < 0.03
        assert found.fermi == pytest.approx(exact.fermi, abs=1e-6)
        assert found.gap == pytest.approx(exact.gap, abs=1e-6)
        again = density_of_states(file, mesh, solver="kpm", width=0.3, chebyshev=many, **options)
        assert (again.total == found.total).all()
        for how in ("moments", "counts"):
            other = density_of_states(
                file, mesh, solver="kpm", width=0.3, chebyshev=many, fermi=how, grid=grid
            )
            if how == "counts":  # in a gap, whose ends are levels
                assert other.fermi_from == "levels"
                assert other.gap == pytest.approx(exact.gap, abs=1e-6)
            else:
                assert other.fermi_from == "moments"
                error = np.hypot(other.fermi_error or 0, other.fermi_resolution)
                assert abs(other.fermi - exact.fermi) < 2 * error
        with pytest.raises(MoireioError, match="tetrahedron"):
            density_of_states(file, mesh, solver="kpm", method="tetrahedron")
        with pytest.raises(MoireioError, match="larger `width`"):
            density_of_states(file, mesh, solver="kpm", width=1e-6)


def test_kernel_polynomials_without_overlap(tmp_path):
    """A model of two orbitals: no factors, and levels too few to look for the gap first."""
    with moireio.open(honeycomb(tmp_path / "x.h5")) as file:
        mesh = make_mesh(file.structure, [6, 6])
        found = density_of_states(
            file, mesh, solver="kpm", width=0.2, project=["atom"], grid=EnergyGrid((-6, 6), 601)
        )
        assert integral(found) == pytest.approx(4)
        assert found.fermi == pytest.approx(0, abs=0.3)
        assert found.projected.sum(axis=1) == pytest.approx(found.total, abs=1e-9)


def test_kernel_polynomials_of_spins(made):
    """The Fermi level from moments, and from levels."""
    with moireio.open(made["o2_col"]) as file:
        mesh = make_mesh(file.structure, [1, 1, 1])
        found = density_of_states(
            file, mesh, solver="kpm", width=0.5, chebyshev=Chebyshev(vectors=32), fermi="moments",
            grid=EnergyGrid((-60, 300), 3601, "none"), project=["atom"],
        )  # fmt: skip
        assert found.total.shape[0] == 2
        assert integral(found) == pytest.approx(52, rel=1e-6)
        assert found.projected.sum(axis=1) == pytest.approx(found.total, abs=1e-9)
        assert found.fermi == pytest.approx(-6.44, abs=1.5)
        assert found.fermi_error > 0
        assert found.fermi_resolution < 0.5
        assert found.fermi_from == "moments"
        exact = density_of_states(file, mesh)
        assert exact.fermi_from == "levels"
        counted = density_of_states(file, mesh, solver="kpm", width=0.5)
        assert counted.fermi == pytest.approx(exact.fermi, abs=1e-6)
        assert counted.fermi_from == "levels"


def test_where_the_fermi_level_comes_from(tmp_path):
    with moireio.open(honeycomb(tmp_path / "x.h5")) as file:
        mesh = make_mesh(file.structure, [4, 4])
        options = {"solver": "kpm", "width": 0.2, "grid": EnergyGrid((-2, 2), 41, "none")}
        nowhere = density_of_states(file, mesh, fermi="none", **options)
        assert (nowhere.fermi, nowhere.fermi_from, nowhere.electrons) == (None, None, None)
        levels = density_of_states(file, mesh, fermi="levels", **options)
        assert levels.fermi == pytest.approx(0, abs=1e-6)
        assert levels.fermi_from == "levels"
        moments = density_of_states(file, mesh, fermi="moments", project=["atom"], **options)
        assert moments.fermi_from == "moments"
        assert (moments.total == nowhere.total).all()
        assert density_of_states(file, mesh, fermi="none").fermi is None
        for words, text in (
            ({"fermi": "moments"}, "all levels are found"),
            ({"fermi": "above"}, "auto, moments, counts, levels, none"),
        ):
            with pytest.raises(MoireioError, match=text):
                density_of_states(file, mesh, **words)
        window = EnergyGrid((-2, 2), 41, "fermi")
        with pytest.raises(MoireioError, match="Fermi level"):
            density_of_states(file, mesh, solver="kpm", fermi="none", grid=window)


def test_counts_that_fail_leave_the_moments(tmp_path, monkeypatch):
    """Large cells with S count levels by default; if that fails, a note says so."""
    monkeypatch.setattr(by_moments, "DENSE_SIZE", 1)
    with moireio.open(honeycomb(tmp_path / "x.h5", overlap=0.1)) as file:
        mesh = make_mesh(file.structure, [3, 3])
        options = {"solver": "kpm", "width": 0.2, "grid": EnergyGrid((-2, 2), 41, "none")}
        assert density_of_states(file, mesh, **options).fermi_from in ("counts", "levels")

        def fail(self, channel, point, energy):
            raise MoireioError("no room")

        monkeypatch.setattr(by_moments.EigenproblemSet, "count_below", fail)
        found = density_of_states(file, mesh, **options)
        assert found.fermi_from == "moments"
        assert found.notes[-1].endswith("from moments alone: no room")
        with pytest.raises(MoireioError, match="no room"):
            density_of_states(file, mesh, fermi="counts", **options)


def test_a_file_that_does_not_count_its_electrons(tmp_path):
    """Its own Fermi level is the zero, if it has one."""
    with moireio.open(honeycomb(tmp_path / "x.h5", valence=None)) as file:
        mesh = make_mesh(file.structure, [4, 4])
        found = density_of_states(file, mesh, solver="kpm", width=0.2)
        assert (found.fermi, found.fermi_from) == (None, None)


def test_results_in_files(tmp_path, made):
    from moireio.blockfile.stream import write_target

    with moireio.open(made["o2_col"]) as file:
        mesh = make_mesh(file.structure, [1, 1, 1])
        dos = density_of_states(file, mesh, project=["atom"], width=0.1)
        for suffix in (".h5", ".zarr", ".zarr.zip"):
            target = str(tmp_path / f"x{suffix}")
            with write_target(target, base=file) as writer:
                writer.dos(dos)
                writer.dos(dos, "dos-other")
            with moireio.open(target) as other:
                back = other.dos()
                assert (back.total == dos.total).all()
                assert back.labels == dos.labels == ("O0", "O1")
                assert back.mesh == (1, 1, 1)
                assert back.fermi == dos.fermi
                assert (other.dos("dos-other").projected == dos.projected).all()
                assert moireio.validate(other) == []
        with pytest.raises(MoireioError, match="has no /dos"):
            file.dos()


def test_an_interrupted_run_goes_on(made, tmp_path):
    """Finished k points are kept with their populations, and lead to the same densities."""
    record = tmp_path / "r.part.jsonl"
    calls = []

    def stop(steps, total):
        calls.append(steps)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with moireio.open(made["gr_ab"]) as file:
        mesh = make_mesh(file.structure, [4, 4])
        how = {"project": ["shell"], "use_symmetry": False, "jobs": 1}
        whole = density_of_states(file, mesh, **how)
        how["checkpoint"] = str(record)
        with pytest.raises(KeyboardInterrupt):
            density_of_states(file, mesh, progress=stop, **how)
        assert record.exists()
        ticks = []
        again = density_of_states(
            file, mesh, resume=True, progress=lambda steps, total: ticks.append(steps), **how
        )
        assert ticks[0] == 5
        assert (again.total == whole.total).all()
        assert (again.projected == whole.projected).all()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(MoireioError, match="cannot be resumed"):
            density_of_states(file, mesh, solver="kpm", resume=True, **how)


def test_solvers_that_do_not_fit(made):
    with moireio.open(made["gr_ab"]) as file:
        mesh = make_mesh(file.structure, [2, 2])
        for choice, text in (
            (SolverChoice("kpm", device="cuda"), "runs on the CPU"),
            (SolverChoice("kpm", options={"overlap_cutoff": 1e-5}), "leaves no combinations"),
            (SolverChoice("dense", memory=2e4), "may be used"),
            (SolverChoice("kpm", memory=2e4), "may be used"),
        ):
            with pytest.raises(MoireioError, match=text) as error:
                density_of_states(file, mesh, solver=choice)
            assert error.value.path == file.label
