"""The exhaustive search: against a machine with every move, and the dynamic programs against the search."""

from __future__ import annotations

import heapq
import itertools

import pytest

from refsnn.oracles.checkpoint_tables import hidden_state_table, internal_state_table, mixed_table
from refsnn.oracles.schedule_search import least_forward_steps

TAPES_ONLY = {"hidden_units": None, "internal_units": 1}


def sizes(alpha: int, beta: int) -> dict[str, int]:
    return {"internal_units": beta, "internal_units_alone": alpha}


def every_move(steps: int, units: int, s_h: float, s_i: float, s_alone: float) -> int:
    """Dijkstra over every move in any order, useless ones included."""

    def used(hidden, internal):
        held = hidden | internal | {0}
        return s_h * len(hidden) + sum(s_i if k - 1 in held else s_alone for k in internal)

    def following(back, working, tape, hidden, internal):
        yield 1, (back, working + 1, None, hidden, internal)  # ADVANCE
        yield 1, (back, working + 1, working + 1, hidden, internal)  # TAPE
        for k in hidden | internal | {0}:
            yield 0, (back, k, None, hidden, internal)
        if s_h <= units:
            yield 0, (back, working, tape, hidden | {working}, internal)
        if tape is not None and s_i <= units:
            yield 0, (back, working, tape, hidden, internal | {tape})
        for k in hidden:
            yield 0, (back, working, tape, hidden - {k}, internal)
        for k in internal:
            yield 0, (back, working, tape, hidden, internal - {k})
        if tape == back or back in internal:
            yield 0, (back - 1, working, tape, hidden, internal)

    order = itertools.count()
    waiting, done = [(0, 0, (steps, 0, None, frozenset(), frozenset()))], set()
    while True:
        cost, _, state = heapq.heappop(waiting)
        if state in done:
            continue
        done.add(state)
        if state[0] == 0:
            return cost
        for price, other in following(*state):
            if other[1] <= steps and used(other[3] - {0}, other[4]) <= units and other not in done:
                heapq.heappush(waiting, (cost + price, next(order), other))


@pytest.mark.parametrize("units", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("s_h", "s_i", "s_alone"), [(1, None, None), (None, 1, 1), (1, 1, 2), (1, 2, 3), (1, 2, 2), (2, 1, 3)]
)
def test_the_moves_left_out_do_not_help(units, s_h, s_i, s_alone):
    never = 99
    for steps in range(1, 5):
        expected = every_move(steps, units, s_h or never, s_i or never, s_alone or never)
        options = {"hidden_units": s_h, "internal_units": s_i, "internal_units_alone": s_alone}
        assert least_forward_steps(steps, units, **options) == expected, steps
        assert least_forward_steps(steps, units, bound=False, **options) == expected, steps


def compare(table, steps: int, slots: int, **options) -> None:
    for t in range(1, steps + 1):
        for m in range(1, slots + 1):
            assert least_forward_steps(t, m - 1, **options) == table.cost[t, m], (t, m)


def test_dynamic_programs_are_optimal():
    compare(hidden_state_table(12, 5), 12, 5)
    compare(internal_state_table(12, 6), 12, 6, **TAPES_ONLY)
    for alpha in (2, 3, 4, 5):
        compare(mixed_table(8, 8, alpha, alpha - 1), 8, 8, **sizes(alpha, alpha - 1))


@pytest.mark.long
def test_dynamic_programs_are_optimal_in_the_whole_range(request):
    if request.config.getoption("-m") != "long":
        pytest.skip("12 seconds; ask for it with -m long")
    compare(hidden_state_table(14, 6), 14, 6)
    for alpha, steps in ((4, 10), (5, 11)):
        compare(mixed_table(steps, 9, alpha, alpha - 1), steps, 9, **sizes(alpha, alpha - 1))


def test_the_plain_mixed_form_is_not_optimal():
    table = mixed_table(8, 4, 3, 3)
    assert (table.cost[7, 4], least_forward_steps(7, 3, **sizes(3, 3))) == (14, 13)
    assert (table.cost[8, 4], least_forward_steps(8, 3, **sizes(3, 3))) == (17, 16)


def test_slots_count_the_start():
    table = hidden_state_table(10, 3)
    assert least_forward_steps(10, 1) == table.cost[10, 2] == 30
    assert least_forward_steps(10, 2) == table.cost[10, 3] == 25  # read as "besides h_0"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 1), {}, "steps: expected an integer of at least 1, got 0"),
        ((2, -1), {}, "units: expected an integer of at least 0, got -1"),
        ((2, 1), {"hidden_units": 0}, "hidden_units: expected an integer of at least 1"),
        ((2, 1), {"internal_units": 1.0}, "internal_units: expected an integer, got float"),
        ((2, 1), {"internal_units_alone": 2}, "internal_units_alone: expected None without internal_units"),
        ((2, 1), sizes(1, 2), "internal_units_alone: expected an integer of at least 2, got 1"),
    ],
)
def test_bad_input(arguments, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        least_forward_steps(*arguments, **options)
