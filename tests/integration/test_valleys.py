"""K, K' and M from every source of a structure: the same letters, points and spectra."""

import json

import numpy as np


def bands(invoke, path, *options):
    """Return the JSON of band, and its notes."""
    done = invoke("band", path, "--json", *options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_strained_twisted_layer(tmp_path, invoke):
    """Letters of a moiré cell without a threefold axis: the corners continued, and a note."""
    for strain, noted in (("0.005", True), ("0.005,0,0.005", False)):
        cell, made = tmp_path / f"{noted}.h5", tmp_path / f"h{noted}.h5"
        arguments = ["graphene", "graphene", "--index", 2, 1, "--strain", "all", strain, "-o", cell]
        assert invoke("build-twist", *arguments).exit_code == 0
        assert invoke("tb-h", cell, "-m", "graphene-nn", "-o", made).exit_code == 0
        found, notes = bands(invoke, made, "--path", "GMKK'G", "-n", 9)
        k = np.array(found["k"])[found["label_index"]]
        third = 1 / 3
        expected = [[0, 0], [0.5, 0], [2 * third, third], [-2 * third, -third], [0, 0]]
        np.testing.assert_allclose(k[:, :2], expected, atol=1e-12)
        assert ("no threefold axis" in notes) == noted
        for command in (["flat-band", made, "-n", 5], ["compare-h", made, made, "--bands", 1]):
            done = invoke(*command)
            assert done.exit_code == 0, done.stderr
            assert done.stderr.count("no threefold axis") == noted
