"""Closed forms of HSM and ISM: against their recursions, the published values, and one another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedule_cases import hidden_by_recursion, internal_by_recursion

from refsnn.schedules import binomial

HIDDEN = {
    1: (1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 66, 78),
    2: (1, 3, 5, 8, 11, 14, 18, 22, 26, 30, 35, 40),
    3: (1, 3, 5, 7, 10, 13, 16, 19, 22, 25, 29, 33),
    4: (1, 3, 5, 7, 9, 12, 15, 18, 21, 24, 27, 30),
}
INTERNAL = {
    1: HIDDEN[1],
    2: (1, 2, 4, 6, 8, 11, 14, 17, 20, 24, 28, 32),
    3: (1, 2, 3, 5, 7, 9, 11, 13, 15, 18, 21, 24),
    4: (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20),
}
SLOTS = (1, 2, 3, 5, 10, 20, 50, 100, 500, 1000)
lengths = st.one_of(st.integers(1, 400), st.integers(1, 10**6), st.integers(1, 10**15))
memories = st.one_of(st.integers(1, 12), st.integers(1, 3000))


def test_printed_values():
    for m in (1, 2, 3, 4):
        assert tuple(binomial.hidden_cost(t, m) for t in range(1, 13)) == HIDDEN[m]
        assert tuple(binomial.internal_cost(t, m) for t in range(1, 13)) == INTERNAL[m]
    assert [binomial.hidden_splits(t, 3) for t in range(2, 13)] == [
        (1, 1), (1, 1), (1, 1), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4), (4, 4), (4, 5), (4, 6)
    ]  # fmt: skip


def test_printed_table_of_a_thousand_steps():
    assert [binomial.hidden_cost(1000, m) for m in SLOTS] == [
        500500, 29820, 13155, 7284, 4636, 3747, 2948, 2898, 2498, 1999
    ]  # fmt: skip
    assert [binomial.internal_cost(1000, m) for m in SLOTS] == [
        500500, 28864, 12172, 6292, 3640, 2750, 1950, 1900, 1500, 1000
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "hidden", "internal"),
    [
        (1000, (998, 43, 16, 9), (43, 16, 10, 7)),
        (10**4, (9998, 139, 37, 19), (139, 37, 19, 13)),
        (10**6, (999998, 1412, 179, 67), (1412, 179, 67, 38)),
    ],
)
def test_printed_least_slots(steps, hidden, internal):
    for factor, m_hidden, m_internal in zip((2, 3, 4, 5), hidden, internal, strict=True):
        assert binomial.least_hidden_slots(steps, factor * steps) == m_hidden
        assert binomial.least_internal_slots(steps, factor * steps) == m_internal
        assert binomial.hidden_cost(steps, m_hidden - 1) > factor * steps
        assert binomial.internal_cost(steps, m_internal - 1) > factor * steps


def test_recursions_and_all_their_minimisers():
    cost, splits = hidden_by_recursion(150, 25)
    for t, m in ((t, m) for t in range(1, 151) for m in range(1, 26)):
        assert binomial.hidden_cost(t, m) == cost[t, m], (t, m)
        if (t, m) in splits:
            first, last = binomial.hidden_splits(t, m)
            assert list(splits[t, m]) == list(range(first, last + 1)), (t, m)
    cost, splits = internal_by_recursion(150, 25)
    for t, m in splits:
        assert binomial.internal_cost(t, m) == cost[t, m], (t, m)
        first, last = binomial.internal_splits(t, m)
        assert list(splits[t, m]) == list(range(first, last + 1)), (t, m)


@given(t=lengths, m=memories)
def test_the_strategies_are_one_shifted(t, m):
    assert binomial.internal_cost(t, m) == binomial.hidden_cost(t + 1, m) - (t + 1)
    assert binomial.internal_splits(t, m) == binomial.hidden_splits(t + 1, m)


@given(t=lengths, m=memories)
def test_increments(t, m):
    assert binomial.hidden_cost(t + 1, m) - binomial.hidden_cost(t, m) == (
        binomial.hidden_repetitions(t + 1, m) + 1
    )
    assert binomial.internal_cost(t + 1, m) - binomial.internal_cost(t, m) == (
        binomial.internal_repetitions(t + 1, m)
    )
    assert binomial.hidden_cost(t, m + 1) <= binomial.hidden_cost(t, m)


@given(
    t=st.one_of(st.integers(2, 500), st.integers(2, 2**40)), m=st.integers(1, 4000), big=st.integers(1, 2**40)
)
def test_compiled_twin_and_ends_of_the_interval_are_optimal(t, m, big):
    for slots in (m, big) if t < 10**9 or m > 2 else (max(m, 3), big):  # m = 2 is slow uncompiled
        first, last = binomial.hidden_splits(t, slots)
        assert binomial.split_in_64_bits(t, slots, False) == first
        assert binomial.split_in_64_bits(t, slots, True) == last
        for y, optimal in ((first, True), (last, True), (first - 1, False), (last + 1, False)):
            if 1 <= y < t and slots > 1:
                total = y + binomial.hidden_cost(t - y, slots - 1) + binomial.hidden_cost(y, slots)
                assert (total == binomial.hidden_cost(t, slots)) == optimal, (t, slots, y)


def test_enough_memory_and_hardly_any():
    for t in (1, 2, 7, 10**9):
        assert binomial.hidden_cost(t, t) == binomial.hidden_cost(t, t + 5) == 2 * t - 1
        assert binomial.internal_cost(t, t) == binomial.internal_cost(t, t + 5) == t
        assert binomial.hidden_cost(t, 1) == binomial.internal_cost(t, 1) == t * (t + 1) // 2
    assert binomial.hidden_splits(10**9, 1) == (10**9 - 1,) * 2
    assert binomial.internal_splits(10**9, 1) == (10**9,) * 2
    assert binomial.least_hidden_slots(10**9, 10**18) == 1


def test_bounds():
    for t in (1, 2, 10, 100, 1000, 99999):
        for m in (1, 2, 3, 10, 56, 999):
            power = t ** (1 + 1 / m)
            assert binomial.hidden_cost(t, m) <= m * power * (1 + 1e-12)
            assert binomial.hidden_cost(t, m) < 4 * power


@pytest.mark.parametrize("name", ["hidden_cost", "internal_cost", "hidden_splits", "internal_splits"])
def test_bad_input(name):
    function = getattr(binomial, name)
    with pytest.raises(ValueError, match="steps: expected an integer of at least"):
        function(0, 2)
    with pytest.raises(ValueError, match="slots: expected an integer of at least 1, got 0"):
        function(5, 0)
    with pytest.raises(TypeError, match=r"steps: expected an integer, got float 5\.0"):
        function(5.0, 2)


def test_too_little_cost_is_refused():
    with pytest.raises(ValueError, match="cost: expected at least 1999 forward steps"):
        binomial.least_hidden_slots(1000, 1998)
    with pytest.raises(ValueError, match="cost: expected at least 1000 forward steps"):
        binomial.least_internal_slots(1000, 999)
