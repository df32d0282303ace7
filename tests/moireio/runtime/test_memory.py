"""Memory: how much is free, how much may be used."""

import os
import subprocess
import sys

import pytest

from moireio.runtime.memory import free_memory, size_text, usable_memory


def test_free_memory_is_part_of_the_whole():
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 1e6 < free_memory() <= whole


def test_a_limit_is_taken_as_it_is():
    assert usable_memory(3.5e9) == 3.5e9
    assert 0.7 * free_memory() < usable_memory() < free_memory()


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999.0, "999 bytes"), (1000, "1.0 kB"), (2.5e6, "2.5 MB"), (1e13, "10.0 TB")],
)
def test_sizes_in_messages(size, text):
    assert size_text(size) == text


def test_cycles_of_objects_are_still_freed():
    code = """
import weakref
from moireio.runtime.memory import COLLECTED, collect_seldom
collect_seldom()
class Node:
    pass
nodes = []
for _ in range(4 * COLLECTED):
    node = Node()
    node.itself = node
    nodes.append(weakref.ref(node))
del node
print(sum(node() is not None for node in nodes) <= 2 * COLLECTED)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
