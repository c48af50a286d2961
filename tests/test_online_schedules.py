"""Unknown T: the rules against plain transcriptions, the totals against the best schedule for known T."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.schedules.binomial import hidden_cost
from refsnn.schedules.online import RULES, OnlineRule, OnlineSchedule
from refsnn.schedules.operations import BACK, POP_H, PUSH_H, TAPE, operations
from refsnn.schedules.simulation import simulate

SLOTS = (2, 3, 4, 5, 10, 20)


def last_optimal(slots: int) -> int:
    return (slots + 1) * (slots + 2) // 2 + 1


def kept_by_two_sweeps(slots: int, states: int) -> dict[int, int]:
    """Slot to state after all states below `states` were offered, as the phases are printed."""
    plan = {state: state for state in range(slots)}
    begin = slots
    for phase in range(1, slots):
        length = slots - phase + 1
        plan[begin + 1] = slots - phase
        plan |= {begin + 1 + place: place for place in range(1, length - 1)}
        begin += length
    return {slot: state for state, slot in plan.items() if state < states}


def kept_by_levels(slots: int, first: int, states: int, kept: list[int]) -> list[int]:
    """States that are kept after `first`..`states` - 1 were offered to `kept`; nothing but the definition."""
    level = dict.fromkeys(kept, 0) | {0: float("inf")}
    for state in range(first, states):
        if len(level) < slots:
            level[state] = 0
            continue
        dispensable = [k for k in level if any(level[j] > level[k] for j in level if j > k)]
        if dispensable:
            del level[max(dispensable)]
            level[state] = 0
        elif max(level) > 0:
            level[state] = level.pop(max(level)) + 1
    return sorted(level)


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 5, 8, 13])
def test_rules_as_printed(slots):
    rules = {name: OnlineRule(slots, name) for name in RULES}
    end = slots * (slots + 3) // 2 + 1
    for step in range(1, 3 * end + 20):
        for rule in rules.values():
            rule.next_step()
        offered = step - 1  # states below this one
        sweeps = kept_by_two_sweeps(slots, max(offered, 1))
        kept = {name: dict(rule.kept) for name, rule in rules.items()}
        assert {state: place + 1 for state, place in kept["two_sweep"].items()} == {
            state: slot for slot, state in sweeps.items()
        }
        assert list(kept["levels"]) == kept_by_levels(slots, 1, offered, [0])
        both = sorted(sweeps.values())
        if offered > end:
            both = kept_by_levels(slots, end, offered, sorted(kept_by_two_sweeps(slots, end).values()))
        assert list(kept["two_sweep_levels"]) == both
        for places in kept.values():
            assert len(set(places.values())) == len(places) <= slots
            assert places[0] == -1
            assert max(places.values()) <= slots - 2


@pytest.mark.parametrize("rule", ["two_sweep", "two_sweep_levels"])
def test_optimal_up_to_the_bound_and_no_further(rule):
    for slots in SLOTS:
        online = OnlineRule(slots, rule)
        for steps in range(1, last_optimal(slots) + 6):
            online.next_step()
            best = hidden_cost(steps, slots)
            assert (online.cost == best) == (steps <= last_optimal(slots)), (slots, steps)
            assert online.cost >= best


@pytest.mark.parametrize(
    ("rule", "worst"),
    [
        ("levels", {2: 1.11, 3: 1.15, 5: 1.19, 10: 1.24, 20: 1.28, 50: 1.31}),
        ("two_sweep_levels", {2: 1.11, 3: 1.15, 5: 1.20, 10: 1.24, 20: 1.25, 50: 1.30}),
    ],
)
def test_never_far_from_the_best(rule, worst):
    for slots, bound in worst.items():
        online, ratios = OnlineRule(slots, rule), []
        for steps in range(1, 3001):
            online.next_step()
            ratios.append(online.cost / hidden_cost(steps, slots))
        assert min(ratios) == 1
        assert round(max(ratios), 2) == bound, slots
    # far beyond, the levels go on and two sweeps alone do not
    assert cost_of_a_run(20000, 10, rule) < 1.5 * hidden_cost(20000, 10)
    assert cost_of_a_run(20000, 10, "two_sweep") > 100 * hidden_cost(20000, 10)


def cost_of_a_run(steps: int, slots: int, rule: str) -> int:
    online = OnlineRule(slots, rule)
    online.next_steps(steps, np.empty((3 * steps, 5), np.int64))
    assert online.steps_taken == steps
    return online.cost


def test_levels_alone_miss_the_optimum_inside_the_bound():
    for slots in SLOTS:
        online, missed = OnlineRule(slots, "levels"), 0
        for steps in range(1, last_optimal(slots) + 1):
            online.next_step()
            missed += online.cost > hidden_cost(steps, slots)
        assert missed == slots


@given(
    steps=st.one_of(st.integers(1, 80), st.integers(1, 3000)),
    slots=st.one_of(st.integers(1, 6), st.integers(1, 80)),
    rule=st.sampled_from(RULES),
)
def test_schedules_are_legal_and_count_what_the_rule_says(steps, slots, rule):
    if rule == "two_sweep" and slots < 20:
        steps = min(steps, 600)  # quadratic beyond the bound
    online = OnlineRule(slots, rule)
    rows = [online.next_step().copy() for _ in range(steps)]
    assert all(row[-1, :2].tolist() == [TAPE, step] for step, row in enumerate(rows, 1))
    cost = online.cost
    counts = simulate(OnlineSchedule(steps, slots, rule))
    assert (counts.cost, counts.backs) == (cost, steps)
    assert counts.peak_units <= slots - 1
    assert counts.executions.min() >= 1
    assert counts.executions[-1] == 1
    # row by row what the rule gives to someone who does not know T
    rows += [chunk.copy() for chunk in online.reverse_sweep()]
    assert np.array_equal(
        np.concatenate(rows),
        np.concatenate([chunk.copy() for chunk in OnlineSchedule(steps, slots, rule).chunks()]),
    )


def test_every_store_is_late_by_one_step_and_the_first_sweep_is_taped():
    sweep = []
    for operation in operations(OnlineSchedule(40, 4)):
        if operation.kind == BACK:
            break
        sweep.append(operation)
    assert {operation.kind for operation in sweep} == {TAPE, PUSH_H, POP_H}
    pushes = [place for place, operation in enumerate(sweep) if operation.kind == PUSH_H]
    assert len(pushes) > 10
    for place in pushes:
        assert (sweep[place + 1].kind, sweep[place + 1].step) == (TAPE, sweep[place].step + 2)


def test_memory_does_not_grow_and_a_million_steps_are_quick():
    sizes = {len(chunk) for chunk in OnlineSchedule(10**6, 30).chunks()}
    assert max(sizes) <= 8192


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: OnlineRule(0), "slots: expected an integer of at least 1, got 0"),
        (lambda: OnlineRule(2.0), "slots: expected an integer, got float"),
        (lambda: OnlineRule(2, "stride"), "rule: expected one of 'two_sweep', 'levels', 'two_sweep_levels'"),
        (lambda: OnlineSchedule(0, 2), "steps: expected an integer of at least 1, got 0"),
        (lambda: OnlineSchedule(3, 0), "slots: expected an integer of at least 1, got 0"),
        (lambda: OnlineSchedule(3, 2, "two"), "rule: expected one of"),
        (lambda: OnlineRule(2).reverse_sweep(), "rule: expected steps to pull back, got none"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        call()


def test_a_rule_is_spent_after_its_reverse_sweep():
    rule = OnlineRule(3)
    rule.next_step()
    rule.reverse_sweep()
    with pytest.raises(RuntimeError, match="the reverse sweep has begun"):
        rule.next_step()
    with pytest.raises(RuntimeError, match="got a second call"):
        rule.reverse_sweep()
