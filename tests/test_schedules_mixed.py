"""Tables of MSM: against the paper's recursion, the published values, the pure strategies, themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedule_cases import mixed_by_recursion

from refsnn.schedules.binomial import hidden_cost, internal_cost
from refsnn.schedules.mixed import WindowTooNarrow, least_mixed_units, mixed_tables

LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)


def costs(tables, steps=LENGTHS, units=None) -> list[int]:
    units = tables.units if units is None else units
    return [tables.cost(t, units) for t in steps]


def test_printed_values():
    shared = mixed_tables(30, 10, 1, 4)
    assert costs(shared, units=4) == [1, 2, 4, 7, 9, 11, 16, 22, 28, 37, 53, 91]
    assert costs(shared, units=10) == [1, 2, 3, 5, 7, 9, 13, 17, 22, 28, 39, 67]
    shared = mixed_tables(30, 10, 1, 1)
    assert costs(shared, units=4) == [1, 2, 3, 4, 5, 7, 12, 16, 21, 28, 43, 76]
    assert costs(shared, units=10) == [1, 2, 3, 4, 5, 6, 8, 10, 13, 20, 30, 51]
    plain = mixed_tables(30, 10, 1, 5, shares_input=False)
    assert costs(plain, units=4) == [1, 3, 5, 7, 9, 11, 17, 23, 29, 38, 53, 92]
    assert costs(plain, units=10) == [1, 2, 3, 5, 7, 9, 13, 18, 22, 28, 40, 70]


def test_printed_costs_at_equal_memory():
    """T up to 1000, 50 units of memory: HSM 50, ISM 10, MSM 49 beside the start."""
    lengths = (20, 50, 100, 200, 500, 1000)
    shared = mixed_tables(1000, 49, 1, 4)
    plain = mixed_tables(1000, 49, 1, 5, shares_input=False)

    def per_step(costs: list[int]) -> list[float]:
        return [cost / t for cost, t in zip(costs, lengths, strict=True)]

    near = {"abs": 5e-4 + 1e-12}  # printed with three decimals, some with two
    assert per_step(costs(shared, lengths)) == pytest.approx([1.35, 1.76, 1.89, 1.96, 2.32, 2.663], abs=5e-3)
    assert shared.cost(1000, 49) / 1000 == pytest.approx(2.663, **near)
    assert per_step(costs(plain, lengths)) == pytest.approx([1.5, 1.8, 1.9, 1.97, 2.446, 2.723], abs=5e-3)
    assert plain.cost(1000, 49) / 1000 == pytest.approx(2.723, **near)
    hidden = [hidden_cost(t, 50) for t in lengths]
    assert per_step(hidden) == pytest.approx([1.95, 1.98, 2.48, 2.74, 2.896, 2.948], abs=5e-3)
    internal = [internal_cost(t, 10) for t in lengths]
    assert per_step(internal) == pytest.approx([1.5, 1.8, 2.25, 2.625, 3.28, 3.64], abs=5e-3)
    overtaken = [t for t in range(1, 1001) if hidden_cost(t, 50) < internal_cost(t, 10)]
    assert overtaken[0] == 309


@pytest.mark.parametrize(("alpha", "least"), [(2, 44), (3, 62), (4, 75), (5, 87), (6, 97), (10, 129)])
def test_printed_least_units(alpha, least):
    assert least_mixed_units(1000, 2000, 1, alpha - 1) == least
    assert mixed_tables(1000, least - 1, 1, alpha - 1).cost(1000, least - 1) > 2000


def test_printed_costs_of_the_headline():
    """50 tapes' worth of memory: what MSM needs of it, and what it costs."""
    for alpha, cost in ((2, 1910), (3, 1931), (4, 1938), (5, 1941), (10, 1946)):
        assert mixed_tables(1000, 50 * alpha - 1, 1, alpha - 1).cost(1000, 50 * alpha - 1) == cost


@pytest.mark.parametrize(("alpha", "least"), [(5, 92), (2, 44), (10, 145)])
def test_printed_units_at_the_cost_of_chen(alpha, least):
    assert least_mixed_units(1000, 1992, 1, alpha - 1) == least


@pytest.mark.parametrize("alpha", [2, 3, 5])
def test_shared_and_plain_form_are_the_recursion_of_the_paper(alpha):
    longest, slots = 40, 14
    for beta, forms in ((alpha - 1, ("shared", "general")), (alpha, ("plain",)), (alpha + 1, ("general",))):
        expected = mixed_by_recursion(longest, slots, alpha, beta)
        for form in forms:
            options = {
                "shared": {"internal_units": beta},
                "plain": {"internal_units": alpha, "shares_input": False},
                "general": {"internal_units": alpha, "first_units": beta},
            }[form]
            for method in ("full", "windowed"):
                tables = mixed_tables(longest, slots - 1, 1, method=method, **options)
                for m in range(1, slots + 1):
                    found = [tables.followed_cost(t, m - 1) for t in range(1, longest + 1)]
                    assert found == expected[1:, m].tolist(), (form, method, m)
                    assert tables.cost(longest, m - 1) == expected[longest, m]


@given(
    t=st.integers(1, 300),
    e=st.integers(0, 60),
    hidden=st.integers(1, 7),
    internal=st.integers(1, 12),
    shares=st.booleans(),
)
def test_properties(t, e, hidden, internal, shares):
    tables = mixed_tables(t, e, hidden, internal, shares_input=shares, method="full")
    assert (np.diff(tables.final_costs) <= 0).all()
    assert tables.cost(t, e) == tables.followed_cost(t, e)
    if t > 1:
        assert tables.cost(t - 1, e) < tables.cost(t, e)
    # either pure strategy is one of the choices; a tape with its input takes s_I + s_h where that is shared
    assert tables.cost(t, e) <= hidden_cost(t, e // hidden + 1)
    whole = internal + hidden * shares
    assert tables.cost(t, e) <= internal_cost(t, e // whole + 1)
    windowed = mixed_tables(t, e, hidden, internal, shares_input=shares)
    assert np.array_equal(windowed.final_costs, tables.final_costs)
    assert np.array_equal(windowed.decisions, tables.decisions)


def test_pure_strategies_are_corners():
    plain = mixed_tables(200, 40, 1, 1, shares_input=False)
    states = mixed_tables(200, 40, 1, 41)
    for t in (1, 2, 3, 10, 77, 200):
        for e in (0, 1, 2, 17, 40):
            assert plain.cost(t, e) == internal_cost(t, e + 1)
            assert states.cost(t, e) == hidden_cost(t, e + 1)
    beyond = mixed_tables(200, 40, 1, 40)
    assert beyond.cost(200, 40) < hidden_cost(200, 41)


def test_decisions_and_ties():
    tables = mixed_tables(30, 10, 1, 4)
    assert tables.decision(1, 10) == 0
    assert tables.decision(5, 9) == -1
    # two steps: direct and hidden cost 3, and direct is taken; the tape costs 2
    assert [mixed_tables(2, e, 1, 2).decision(2, e) for e in (0, 1, 2)] == [0, 0, -1]
    # three steps and one state: at y = 1 or at y = 2 it costs 5, direct 6
    assert mixed_tables(3, 1, 1, 9).decision(3, 1) == 1
    # two steps and a tape with its input, shared or not: the first step is pushed, not the second
    assert mixed_tables(2, 2, 1, 2, shares_input=False).decision(2, 2) == -1


@pytest.mark.parametrize(("alpha", "beta"), [(2, 1), (4, 3), (3, 3), (2, 2)])
def test_each_decision_follows_the_ties(alpha, beta):
    longest, slots = 24, 12
    costs = mixed_by_recursion(longest, slots, alpha, beta)
    costs = np.concatenate(
        [np.where(np.arange(longest + 1) > 0, 10**9, 0)[None], costs.T[1:]]
    )  # by m = e + 1
    shares = beta < alpha
    tables = mixed_tables(longest, slots - 1, 1, beta, shares_input=shares, method="full")
    for m in range(1, slots + 1):
        for t in range(2, longest + 1):
            internal = [
                (y + costs[m, y - 1] + costs[max(m - beta, 0), t - y], -y)
                for y in range(1, 2 if shares else t)
            ]
            direct = [(t + costs[m, t - 1], 0)]
            hidden = [(y + costs[m, y] + costs[m - 1, t - y], y) for y in range(1, t)]
            wanted = min(internal + direct + hidden, key=lambda entry: entry[0])  # the first of the least
            assert tables.decision(t, m - 1) == wanted[1], (t, m)


def costs_by_decisions(tables) -> np.ndarray:
    """C(t, e) at [e, t], by the recursion with one term instead of a minimum; sharing tables only."""
    costs = np.zeros((tables.units + 1, tables.steps + 1), dtype=np.int64)
    for e, decisions in enumerate(tables.decisions.tolist()):
        for t in range(1, tables.steps + 1):
            y = decisions[t]
            if y == 0:
                costs[e, t] = t + costs[e, t - 1]
            elif y < 0:
                costs[e, t] = 1 + costs[e - tables.first_units, t - 1]
            else:
                costs[e, t] = y + costs[e, y] + costs[e - tables.hidden_units, t - y]
    return costs


@pytest.mark.parametrize(("hidden", "internal", "units"), [(1, 4, 90), (2, 5, 90), (3, 20, 90)])
def test_windows(hidden, internal, units):
    """All entries, not a sample; which of two equally good decisions is taken may differ."""
    full = mixed_tables(3000, units, hidden, internal, method="full")
    windowed = mixed_tables(3000, units, hidden, internal)
    costs = costs_by_decisions(full)
    assert np.array_equal(costs, costs_by_decisions(windowed))
    assert np.array_equal(costs[:, -1], windowed.final_costs)
    assert costs[units, 1234] == windowed.cost(1234, units)


def test_a_window_that_is_too_narrow_is_seen():
    # control: with these sizes a window of 1 misses minimisers
    with pytest.raises(WindowTooNarrow, match=r"window: 1 is too narrow: at t = [0-9]+, e = [0-9]+"):
        mixed_tables(4000, 100, 5, 7, window=1, rng=np.random.default_rng(0))


def test_what_is_kept():
    tables = mixed_tables(100, 20, 2, 3)
    assert tables.nbytes == 21 * 101 * 2 + 21 * 8
    assert tables.shares_input
    assert not mixed_tables(10, 5, 1, 3, shares_input=False).shares_input


def test_bad_input():
    with pytest.raises(ValueError, match="steps: expected at most 1048575 for a table, got 1048576"):
        mixed_tables(2**20, 1, 1, 1)
    with pytest.raises(ValueError, match="hidden_units: expected an integer of at least 1, got 0"):
        mixed_tables(10, 1, 0, 1)
    with pytest.raises(ValueError, match="units: expected an integer of at least 0, got -1"):
        mixed_tables(10, -1, 1, 1)
    with pytest.raises(ValueError, match="method: expected one of 'windowed', 'full', got 'quick'"):
        mixed_tables(10, 1, 1, 1, method="quick")
    with pytest.raises(ValueError, match="steps, units: expected at most 10 and 1"):
        mixed_tables(10, 1, 1, 1).cost(11, 1)
    with pytest.raises(ValueError, match="cost: expected at least 10 forward steps"):
        least_mixed_units(10, 9, 1, 1)
    with pytest.raises(TypeError, match="internal_units: expected an integer"):
        mixed_tables(10, 1, 1, 2.5)
