"""The dynamic programs as printed: published values, closed forms, and the forms against one another."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.oracles.checkpoint_tables import (
    INFINITE,
    hidden_state_table,
    internal_state_table,
    mixed_table,
    unit_table,
)
from refsnn.schedules import binomial

LENGTHS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30]
# (alpha, beta, m): C at LENGTHS
PRINTED = {
    (5, 4, 5): [1, 2, 4, 7, 9, 11, 16, 22, 28, 37, 53, 91],
    (5, 4, 11): [1, 2, 3, 5, 7, 9, 13, 17, 22, 28, 39, 67],
    (2, 1, 5): [1, 2, 3, 4, 5, 7, 12, 16, 21, 28, 43, 76],
    (2, 1, 11): [1, 2, 3, 4, 5, 6, 8, 10, 13, 20, 30, 51],
    (5, 5, 5): [1, 3, 5, 7, 9, 11, 17, 23, 29, 38, 53, 92],
    (5, 5, 11): [1, 2, 3, 5, 7, 9, 13, 18, 22, 28, 40, 70],
}


def test_printed_values():
    hidden, internal = hidden_state_table(12, 4), internal_state_table(12, 4)
    assert hidden.cost[1:, 2].tolist() == [1, 3, 5, 8, 11, 14, 18, 22, 26, 30, 35, 40]
    assert hidden.cost[1:, 4].tolist() == [1, 3, 5, 7, 9, 12, 15, 18, 21, 24, 27, 30]
    assert internal.cost[1:, 2].tolist() == [1, 2, 4, 6, 8, 11, 14, 17, 20, 24, 28, 32]
    assert internal.cost[1:, 4].tolist() == [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    ends = [(hidden.hidden[t, 3][0], hidden.hidden[t, 3][-1]) for t in range(2, 13)]
    assert ends == [
        (1, 1), (1, 1), (1, 1), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4), (4, 4), (4, 5), (4, 6)
    ]  # fmt: skip
    for (alpha, beta, m), values in PRINTED.items():
        assert mixed_table(30, m, alpha, beta).cost[LENGTHS, m].tolist() == values, (alpha, beta, m)


def test_boundaries():
    hidden, internal = hidden_state_table(9, 12), internal_state_table(9, 12)
    for table in (hidden, internal, mixed_table(9, 12, 3, 2)):
        assert table.cost[0].tolist() == [0] * 13
        assert (table.cost[1:, 0] == INFINITE).all()
        assert table.cost[1:, 1].tolist() == [t * (t + 1) // 2 for t in range(1, 10)]
    for m in range(1, 13):
        for t in range(1, 10):
            if m >= t - 1:
                assert hidden.cost[t, m] == 2 * t - 1
            if m >= t:
                assert internal.cost[t, m] == t


@pytest.mark.parametrize("kind", ["hidden", "internal"])
def test_closed_forms_and_all_optimal_splits(kind):
    longest, most = 90, 30
    table = (hidden_state_table if kind == "hidden" else internal_state_table)(longest, most)
    cost, splits = getattr(binomial, f"{kind}_cost"), getattr(binomial, f"{kind}_splits")
    optimal = getattr(table, kind)
    for t in range(2, longest + 1):
        for m in range(1, most + 1):
            first, last = splits(t, m)
            assert (table.cost[t, m], optimal[t, m]) == (cost(t, m), tuple(range(first, last + 1))), (t, m)


def test_splits_of_the_mixed_table_are_optimal_and_no_others():
    table = mixed_table(25, 8, 3, 2)
    cost = table.cost
    kinds = set()
    for t in range(2, 26):
        for m in range(1, 9):
            left = {y: y + cost[y, m] + cost[t - y, m - 1] for y in range(1, t)}
            assert table.hidden[t, m] == tuple(y for y, q in left.items() if q == cost[t, m])
            for y in table.internal[t, m]:
                right = m - (2 if y == 1 else 3)
                after = 0 if y == t else cost[t - y, right]
                assert right > 0 or y == t
                assert y + cost[y - 1, m] + after == cost[t, m]
            kinds |= {(bool(table.hidden[t, m]), bool(table.internal[t, m]))}
    assert kinds == {(True, False), (False, True), (True, True)}


def test_units_instead_of_slots():
    for alpha in (2, 3, 5):
        by_slots = mixed_table(60, 25, alpha, alpha - 1).cost[:, 1:]
        assert np.array_equal(by_slots, unit_table(60, 24, 1, alpha - 1).cost)
        assert not np.array_equal(by_slots, mixed_table(60, 25, alpha, alpha).cost[:, 1:])
    assert np.array_equal(hidden_state_table(60, 25).cost[:, 1:], unit_table(60, 24, 1, None).cost)
    assert np.array_equal(internal_state_table(60, 25).cost, mixed_table(60, 25, 1, 1).cost)
    # sizes in a unit half as large
    assert np.array_equal(unit_table(40, 12, 1, 3).cost, unit_table(40, 24, 2, 6).cost[:, ::2])
    assert (unit_table(5, 3, None, None).cost[5] == 15).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hidden_state_table(0, 3), "steps: expected an integer of at least 1, got 0"),
        (lambda: hidden_state_table(3, 0), "slots: expected an integer of at least 1, got 0"),
        (lambda: internal_state_table(3.0, 3), "steps: expected an integer, got float"),
        (lambda: mixed_table(3, 3, 0, 1), "alpha: expected an integer of at least 1"),
        (lambda: mixed_table(3, 3, 2, 3), "beta: expected at most alpha = 2"),
        (lambda: unit_table(3, -1, 1, 1), "units: expected an integer of at least 0"),
        (lambda: unit_table(3, 1, 0, 1), "hidden_units: expected an integer of at least 1"),
        (lambda: unit_table(3, 1, 1, "2"), "internal_units: expected an integer, got str"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
