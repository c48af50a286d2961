"""Memory and disk: tables against a recursion in words, schedules against tables, operation by operation."""

from __future__ import annotations

import functools
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.schedules.binomial import hidden_cost
from refsnn.schedules.operations import ADVANCE, DISK, PUSH_H, RESTORE, TAPE, operations
from refsnn.schedules.simulation import simulate
from refsnn.schedules.two_level import TransferCosts, TwoLevelSchedule, two_level_tables

# step, memory write and read, disk write and read; sums are exact in float64
SETTINGS = (
    (1, 0, 0, 5, 5),
    (1, 0, 0, 0, 0),
    (1, 0, 0, 1e6, 1e6),
    (1, 0.5, 0.25, 2, 3),
    (2, 1, 1, 4, 2),
    (1, 3, 2, 1, 1),
)
DEAR, FIVE = SETTINGS[2], TransferCosts(disk_write=5, disk_read=5)
prices = st.integers(0, 40).map(lambda quarters: quarters / 4)
costs_drawn = st.builds(TransferCosts, prices.map(lambda u: u + 0.25), prices, prices, prices, prices)


def least_extra_cost(steps: int, c0: int, c1: int, costs: TransferCosts) -> float:
    """G1(T, c1) by recursion, as printed."""
    u, w0, r0, w1, r1 = astuple(costs)

    @functools.cache
    def p0(t, m):
        if t == 1:
            return 0.0
        splits = [u * y + g0(t - y, m - 1) + r0 + p0(y, m) for y in range(1, t)] if m > 1 else []
        return min([u * t * (t - 1) / 2 + (t - 1) * r0, *splits])

    def g0(t, m):
        return 0.0 if t == 1 else w0 + p0(t, m)

    @functools.cache
    def p1(t, d):
        if t == 1:
            return 0.0
        return min([g0(t, c0), *(u * y + g1(t - y, d - 1) + r1 + p1(y, d) for y in range(1, t))])

    def g1(t, d):
        if t == 1:
            return 0.0
        return g0(t, c0) if d == 0 else min(g0(t, c0), w1 + p1(t, d))

    return g1(steps, c1)


def paid(schedule: TwoLevelSchedule) -> float:
    """The cost of a schedule, operation by operation."""
    u, *copies = astuple(schedule.tables.costs)
    total = 0.0
    for operation in operations(schedule):
        if operation.kind in (ADVANCE, TAPE):
            total += u * (operation.last - operation.step + 1)
        elif operation.kind in (PUSH_H, RESTORE):
            total += copies[2 * operation.level + (operation.kind == RESTORE)]
    return total


@pytest.mark.parametrize("setting", SETTINGS)
def test_paid_as_planned(setting):
    costs, to_disk = TransferCosts(*setting), 0
    for c0, c1 in ((3, 3), (1, 1), (2, 0), (4, 2)):
        for steps in (*range(1, 13), 20, 37, 60):
            schedule = TwoLevelSchedule(steps, c0, c1, costs)
            assert schedule.cost == steps * costs.step + least_extra_cost(steps, c0, c1, costs)
            counts = simulate(schedule)
            assert paid(schedule) == schedule.cost
            assert counts.tapes == counts.backs == steps
            assert counts.peak_units <= c0 == schedule.units
            assert counts.peak_disk_slots <= c1 == schedule.disk_slots
            to_disk += counts.disk_pushes
    # alive: the disk is used, but where it is too dear
    assert (to_disk > 0) == (setting != DEAR)


@given(steps=st.integers(1, 40), c0=st.integers(1, 5), c1=st.integers(0, 5), costs=costs_drawn)
def test_drawn_prices(steps, c0, c1, costs):
    schedule = TwoLevelSchedule(steps, c0, c1, costs)
    assert schedule.cost == steps * costs.step + least_extra_cost(steps, c0, c1, costs) == paid(schedule)
    counts = simulate(schedule)
    assert (counts.tapes, counts.peak_units <= c0, counts.peak_disk_slots <= c1) == (steps, True, True)


def test_printed_values_and_limits():
    tables = two_level_tables(60, 3, 3, FIVE)
    assert (tables.extra_cost(60), tables.memory_only(60)) == (190, 234)
    assert tables.extra_cost(60, 0) == 234 > tables.extra_cost(60, 1) > tables.extra_cost(60, 2) > 190
    free, dear = two_level_tables(60, 3, 3), two_level_tables(60, 3, 3, TransferCosts(*DEAR))
    for steps in range(1, 61):
        assert free.extra_cost(steps) == hidden_cost(steps, 6) - steps
        assert dear.extra_cost(steps) == dear.memory_only(steps) == hidden_cost(steps, 3) - steps


def test_slots_on_the_disk_never_cost():
    for steps in (10, 30, 60):
        tables = two_level_tables(steps, 3, 8, FIVE)
        extra = [tables.extra_cost(steps, d) for d in range(9)]
        assert extra == sorted(extra, reverse=True)
        assert hidden_cost(steps, 11) - steps <= extra[-1] <= extra[0] == hidden_cost(steps, 3) - steps


def test_long_ones():
    schedule = TwoLevelSchedule(3000, 10, 20, FIVE)
    counts = simulate(schedule)
    assert paid(schedule) == schedule.cost < 3000 + schedule.tables.memory_only(3000)
    assert counts.disk_pushes > 20
    assert schedule.tables.nbytes == (11 + 21) * 3001 * 12
    assert {op.address for op in operations(schedule) if op.kind == PUSH_H and op.level == DISK} <= set(
        range(20)
    )


def test_more_slots_than_steps_cost_no_tables():
    schedule = TwoLevelSchedule(5, 10**6, 10**6, FIVE)
    assert schedule.tables.nbytes == 2 * 6 * 6 * 12
    assert (schedule.units, schedule.disk_slots) == (10**6, 10**6)
    assert simulate(schedule).cost == 9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TwoLevelSchedule(0, 1, 1), "steps: expected an integer of at least 1, got 0"),
        (lambda: TwoLevelSchedule(3, 0, 1), "memory_slots: expected an integer of at least 1, got 0"),
        (lambda: TwoLevelSchedule(3, 1, -1), "disk_slots: expected an integer of at least 0, got -1"),
        (lambda: TwoLevelSchedule(3, 1, 1, (1, 0, 0, 5, 5)), r"costs: expected a TransferCosts such as"),
        (lambda: TransferCosts(step=0), r"step: expected a finite number in \(0, inf\), got 0.0"),
        (lambda: TransferCosts(disk_read=-1), r"disk_read: expected a finite number in \[0, inf\), got -1.0"),
        (lambda: TransferCosts(memory_write=float("nan")), "memory_write: expected a finite number"),
        (lambda: TransferCosts(disk_write="5"), "disk_write: expected a real number, got str"),
        (lambda: TwoLevelSchedule(10**6, 50, 50), r"1000000 steps with 50 \+ 50 slots take 1167 MiB"),
        (lambda: TwoLevelSchedule(10**5, 10, 10), "to try, but 100000 steps .* take 25 MiB and 1e.11"),
        (lambda: two_level_tables(5, 2, 2).extra_cost(6), "steps: expected at most 5, the T of the tables"),
        (lambda: two_level_tables(5, 2, 2).memory_only(0), "steps: expected an integer of at least 1"),
        (
            lambda: two_level_tables(5, 2, 2).extra_cost(5, -1),
            "disk_slots: expected an integer of at least 0",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
