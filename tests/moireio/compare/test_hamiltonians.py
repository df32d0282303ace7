"""Comparisons of Hamiltonians."""

import numpy as np
import pytest
from test_loop import data

from moireio.compare.hamiltonians import compare
from moireio.errors import MoireioError
from moireio.operators.views import ArraySource


def changed(original, values):
    H = original.hamiltonian
    source = ArraySource(H.meta, H.sizes, H.pairs, values)
    return type(original)("changed", original.structure, original.basis, source, original.overlap)


@pytest.mark.parametrize("spin", [False, True])
def test_shift_is_found_and_removed(spin):
    original = data(0, spin)
    found = compare(original, original)
    assert found.mu == 0
    assert found.mean == 0
    shifted = data(0, spin, mu=0.37)
    found = compare(shifted, original)
    assert found.mu == pytest.approx(0.37)
    assert found.mean < 1e-12


def test_figures_against_a_plain_loop():
    original = data(1)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=original.hamiltonian.data.shape)
    other = changed(original, original.hamiltonian.data + noise)
    found = compare(other, original)
    pairs, sizes = original.hamiltonian.pairs, original.hamiltonian.sizes
    names = original.structure.species_of_atoms
    gap = np.abs(noise - found.mu * original.overlap.data)
    blocks, at, i = {}, 0, pairs.i
    for p in range(len(pairs)):
        shape = sizes[i[p]], sizes[pairs.j[p]]
        block = gap[at : at + shape[0] * shape[1]].reshape(shape)
        at += block.size
        blocks.setdefault((names[i[p]], names[pairs.j[p]]), []).append(block)
    assert {(p.one, p.two) for p in found.pairs} == set(blocks)
    for p in found.pairs:
        own = np.array(blocks[p.one, p.two])
        assert p.blocks == len(own)
        assert p.mean == pytest.approx(own.mean())
        np.testing.assert_allclose(p.by_orbitals, own.mean(axis=0))
        assert p.worst_orbitals == pytest.approx(own.mean(axis=0).max())
        assert p.largest == pytest.approx(own.max())
    assert found.mean == pytest.approx(gap.mean())


def test_what_cannot_be_compared():
    with pytest.raises(MoireioError, match="positions differ"):
        compare(data(0), data(1))
    with pytest.raises(MoireioError, match="has spin"):
        compare(data(0, True), data(0))


def test_command(run, made, shared, tmp_path):
    """OpenMX's AB graphene against DeepH's folder of the same calculation."""
    folder = shared / "deephe3" / "graphene" / "structures" / "gr_ab"
    words = ["--bands", 2, "--path", "GMKG", "--points", 5]
    files = ["--plot", tmp_path / "a.png", "--csv", tmp_path / "a.csv"]
    done = run("compare-h", folder, made["gr_ab"], *words, *files)
    assert "C-C" in done.text
    assert "bands below the gap, mean |ΔE|, meV: 0.00, 0.00" in done.text
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 13 * 13


def test_command_on_the_clone(run, made, tmp_path):
    done = run("compare-h", made["gr_ab"], made["gr_ab_v38"], "--json", check=False)
    assert done.code == 0, done.stderr
    import json

    found = json.loads(done.text)
    assert found["pairs"][0]["pair"] == ["C", "C"]
    assert 0 <= found["mean"] < 1.0
    words = ["--plot", tmp_path / "b.png"]
    run("compare-h", made["hbn_soc"], made["hbn_soc"], *words)
    done = run("compare-h", made["gr_ab"], made["hbn_soc"], check=False)
    done.assert_one_line_error()
