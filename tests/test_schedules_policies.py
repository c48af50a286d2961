"""Policies: predicted costs and units are those of the operations, in words and compiled, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.schedules.baselines import Bisection, Periodic, StoreAll, StoreHidden, StoreNothing, chen
from refsnn.schedules.binomial import hidden_repetitions, internal_repetitions
from refsnn.schedules.frames import PolicySchedule, rows_in_words
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.operations import ADVANCE, POP_I, RESTORE, TAPE, operations
from refsnn.schedules.policies import HiddenStates, InternalStates, Mixed, revolve
from refsnn.schedules.simulation import simulate

SHARED = mixed_tables(80, 40, 2, 5)
PLAIN = mixed_tables(80, 40, 2, 5, shares_input=False)
BUDGETED = (
    HiddenStates(),
    HiddenStates(hidden_units=3),
    revolve(2),
    InternalStates(),
    InternalStates(internal_units=4, tie="max"),
    Mixed(SHARED),
    Mixed(PLAIN),
    StoreNothing(),
)
DEMANDING = (
    StoreAll(internal_units=3),
    StoreAll(internal_units=3, shares_input=False),
    StoreHidden(hidden_units=2),
    Periodic(2, 3, every=7),
    Periodic(9, 1, every=7),
    Bisection(),
)


def schedules(steps: int, units: int) -> list[PolicySchedule]:
    made = [PolicySchedule(policy, steps, units) for policy in BUDGETED]
    demanding = (*DEMANDING, chen(steps, 1, 4))
    return made + [PolicySchedule(policy, steps, policy.least_units(steps)) for policy in demanding]


def rows(schedule: PolicySchedule) -> np.ndarray:
    return np.concatenate([chunk.copy() for chunk in schedule.chunks()])


@given(steps=st.integers(1, 80), units=st.integers(0, 40))
def test_planned_and_simulated(steps, units):
    for schedule in schedules(steps, units):
        counts = simulate(schedule)
        assert counts.cost == schedule.cost, schedule
        assert counts.tapes == counts.backs == steps
        assert counts.executions.sum() == counts.cost
        assert counts.peak_units <= schedule.units
        if schedule.policy.least_units(steps):
            assert counts.peak_units == schedule.units, schedule


@given(steps=st.integers(1, 80), units=st.integers(0, 40))
def test_compiled_rows_are_those_in_words(steps, units):
    for schedule in schedules(steps, units):
        words = np.array(list(rows_in_words(schedule.policy, steps, schedule.units)))
        assert np.array_equal(rows(schedule), words), schedule


@given(steps=st.integers(1, 80), units=st.integers(0, 40))
def test_no_operation_is_idle(steps, units):
    """RESTORE only where the working state is another, never first; neighbouring ADVANCEs are one."""
    for schedule in schedules(steps, units):
        working, before = 0, None
        for operation in operations(schedule):
            if operation.kind == RESTORE:
                assert working != operation.step, schedule
            assert not (operation.kind == before == ADVANCE)
            if operation.kind in (ADVANCE, TAPE, RESTORE):
                working = operation.last
            elif operation.kind == POP_I:
                working = operation.step - 1
            before = operation.kind


@given(steps=st.integers(1, 400), units=st.integers(0, 30))
def test_steps_are_repeated_no_more_than_the_closed_form_says(steps, units):
    for tie in ("min", "max"):
        hidden = simulate(PolicySchedule(HiddenStates(tie=tie), steps, units))
        internal = simulate(PolicySchedule(InternalStates(tie=tie), steps, units))
        assert hidden.max_repetitions <= hidden_repetitions(steps, units + 1) + 1
        assert internal.max_repetitions <= internal_repetitions(steps, units + 1)


def test_ties_differ_in_pushes_and_not_in_cost():
    """The last split means more pushes, not fewer, in both strategies; and with tapes fewer restores."""
    for steps, units in ((12, 2), (100, 5), (1000, 20), (5000, 50)):
        first, last = (
            simulate(PolicySchedule(HiddenStates(tie=tie), steps, units)) for tie in ("min", "max")
        )
        assert first.cost == last.cost
        assert first.hidden_pushes < last.hidden_pushes
        assert first.restores == last.restores == steps - 1
        first, last = (
            simulate(PolicySchedule(InternalStates(tie=tie), steps, units)) for tie in ("min", "max")
        )
        assert first.cost == last.cost
        assert first.internal_pushes < last.internal_pushes
        assert first.restores > last.restores
    assert revolve().decide(12, 2) == HiddenStates(tie="max").decide(12, 2) != HiddenStates().decide(12, 2)


def test_baselines_at_the_printed_sizes():
    twelve = {
        StoreNothing(): (78, 0),
        StoreHidden(): (23, 11),
        StoreAll(): (12, 11),
    }
    for policy, (cost, peak) in twelve.items():
        counts = simulate(PolicySchedule(policy, 12, peak))
        assert (counts.cost, counts.peak_units) == (cost, peak)
    assert simulate(PolicySchedule(HiddenStates(), 12, 2)).cost == 33
    assert Bisection().cost(100, 7) == 416
    assert Bisection().cost(1000, 10) == 5932
    square_root = chen(1000, 1, 4)
    assert (square_root.every, square_root.cost(1000, 155)) == (32, 1992)
    # one less than (segments - 1) s_h + (32 - 1) s_I: the start of the last segment is free again by then
    assert square_root.least_units(1000) == 154
    assert chen(1024, 1, 4).least_units(1024) == 155


def test_square_roots_are_rounded():
    assert [chen(t).every for t in (1, 2, 3, 6, 7, 12, 13, 10**12 + 10**6, 10**12 + 10**6 + 1)] == [
        1, 1, 2, 2, 3, 3, 4, 10**6, 10**6 + 1
    ]  # fmt: skip


@pytest.mark.parametrize("policy", DEMANDING, ids=lambda policy: policy.name)
def test_too_few_units_are_refused(policy):
    least = policy.least_units(30)
    with pytest.raises(ValueError, match=f"units: expected at least {least}, which {policy.name!r} needs"):
        PolicySchedule(policy, 30, least - 1)


def test_bad_input():
    with pytest.raises(ValueError, match="tie: expected one of 'min', 'max', got 'middle'"):
        HiddenStates(tie="middle")
    with pytest.raises(ValueError, match="internal_units: expected an integer of at least 1, got 0"):
        InternalStates(internal_units=0)
    with pytest.raises(ValueError, match="every: expected an integer of at least 1, got 0"):
        Periodic(every=0)
    with pytest.raises(
        ValueError, match="tables: expected one size for all pushed tapes, got 2 units at y = 1"
    ):
        Mixed(mixed_tables(10, 5, 1, 3, first_units=2))
    with pytest.raises(TypeError, match="tables: expected a MixedTables"):
        Mixed("MSM")
    with pytest.raises(ValueError, match="steps: expected an integer of at least 1, got 0"):
        PolicySchedule(HiddenStates(), 0, 1)
    with pytest.raises(ValueError, match="units: expected an integer of at least 0, got -1"):
        PolicySchedule(HiddenStates(), 5, -1)
    with pytest.raises(ValueError, match="steps, units: expected at most 80 and 40"):
        PolicySchedule(Mixed(SHARED), 81, 40)
    with pytest.raises(ValueError, match="steps: expected at most"):
        PolicySchedule(HiddenStates(), 2**40 + 1, 3)
