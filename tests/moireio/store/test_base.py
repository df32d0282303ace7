"""Seals: a checksum of what no chunk's checksum covers."""

import numpy as np
import pytest

import moireio
from moireio.errors import DamagedError
from moireio.store.transaction import write_container

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", ["attribute", "text"])
def test_seals_cover_what_chunks_do_not(tmp_path, made, suffix, what):
    """Attributes and texts carry no checksum of the container's own."""
    path = tmp_path / f"x{suffix}"
    with moireio.open(made["gr_ab"]) as file, write_container(path) as out:
        from moireio.store.transaction import copy_tree

        copy_tree(file.container, out, drop=("history",))
        if what == "attribute":
            out.set_attributes("electrons", {"fermi": -1.0})
        else:
            out.write("structure/species_names", np.array(["Si"], dtype=object))
    with moireio.open(path) as file, pytest.raises(DamagedError, match="do not fit their checksum"):
        print(file.structure, file.electrons)
