"""Parts of a longer piece of work add up to the whole."""

from hypothesis import given
from hypothesis import strategies as st

from moireio.runtime.progress import share

STEPS = st.lists(st.integers(0, 10**6), min_size=1, max_size=30)


def test_nobody_follows():
    assert share(None, 10) is None


@given(STEPS, STEPS)
def test_parts_that_count_in_the_steps_of_the_whole(first, second):
    calls, total = [], sum(first) + sum(second)
    for part in (first, second):
        step = share(lambda *call: calls.append(call), total)
        for steps in part:
            step(steps, sum(part))
    assert [steps for steps, _ in calls] == first + second
    assert {whole for _, whole in calls} == {total}


@given(STEPS, st.integers(0, 10**6))
def test_a_part_that_counts_in_steps_of_its_own(steps, length):
    calls, part = [], sum(steps)
    step = share(lambda *call: calls.append(call), 2 * length, length)
    for count in steps:
        step(count, part)
    assert sum(count for count, _ in calls) == (length if part else 0)
    assert all(count >= 0 and whole == 2 * length for count, whole in calls)
