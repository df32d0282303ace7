"""A few damaged inputs for every reader; `fuzz.py` beside this file makes any number."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from readers import READERS
from trials import run

N_MUTATIONS = 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damage_is_refused_or_harmless(reader, tmp_path):
    """One line that names the file, or the same result as without damage."""
    tally = run(reader, tmp_path, range(N_MUTATIONS))
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.outcomes.total() == N_MUTATIONS
