"""O7, N8: what a schedule does, counted operation by operation, is what was planned; and what the counts see."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from refsnn.schedules import binomial
from refsnn.schedules.baselines import StoreAll, StoreHidden, StoreNothing
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    POP_H,
    POP_I,
    PUSH_H,
    PUSH_I,
    TAPE,
    Operation,
    operations,
)
from refsnn.schedules.policies import HiddenStates, InternalStates, Mixed, Policy
from refsnn.schedules.simulation import simulate
from validation.ledger import Measured, claim, require


def counted(stream: Iterable[Operation], s_h: int = 1, s_i: int = 1) -> tuple[int, int, list[int]]:
    """Steps forward, most units in use at once, and the steps in the order in which they are pulled back."""
    forward = units = peak = 0
    backs = []
    for operation in stream:
        if operation.kind in (ADVANCE, TAPE):
            forward += operation.last - operation.step + 1
        units += s_h * ((operation.kind == PUSH_H) - (operation.kind == POP_H))
        units += s_i * ((operation.kind == PUSH_I) - (operation.kind == POP_I))
        peak = max(peak, units)
        if operation.kind == BACK:
            backs.append(operation.step)
    return forward, peak, backs


def planned(rng: np.random.Generator) -> list[tuple[Policy, int, int, int, int]]:
    """Random cases: policy, T, e, planned cost, and how often a step may be run (0: not said)."""
    cases: list[tuple[Policy, int, int, int, int]] = []
    for _ in range(12):
        t, e = int(10 ** rng.uniform(0, 3)), int(rng.integers(1, 40))
        tie = str(rng.choice(["min", "max"]))
        hidden, tapes = binomial.hidden_cost(t, e + 1), binomial.internal_cost(t, e + 1)
        cases.append((HiddenStates(tie=tie), t, e, hidden, binomial.hidden_repetitions(t, e + 1) + 1))
        cases.append((InternalStates(tie=tie), t, e, tapes, binomial.internal_repetitions(t, e + 1)))
    for _ in range(4):
        t, e = int(rng.integers(20, 200)), int(rng.integers(4, 30))
        s_h, s_i = int(rng.integers(1, 4)), int(rng.integers(1, 9))
        tables = mixed_tables(t, e, s_h, s_i, shares_input=bool(rng.integers(2)), rng=rng)
        cases.append((Mixed(tables), t, e, int(tables.final_costs[e]), 0))
    return cases


@claim(
    "memory_efficient_bptt/O7.simulated",
    r"Every schedule does what was planned: $C(t,m)$ steps forward, each step taped once, steps pulled back in the order $T,\dots,1$, "
    r"never more than $e$ units, no step run more than $r+1$ (HSM) or $r$ (ISM) times.",
    source="specification, O7",
    metric="violations over 28 random schedules of HSM, ISM and MSM, followed by the simulator and by a second count",
    relation="==",
    bound=0,
    control="the cost planned for one unit more",
)
def as_planned(rng: np.random.Generator) -> Measured:
    value = control = 0
    for policy, t, e, cost, often in planned(rng):
        schedule = PolicySchedule(policy, t, e)
        counts = simulate(schedule)
        forward, peak, backs = counted(operations(schedule), policy.hidden_units, policy.internal_units)
        value += (counts.cost, counts.tapes, counts.peak_units) != (cost, t, peak)
        value += (forward, backs) != (cost, list(range(t, 0, -1)))
        value += peak > e
        value += bool(often) and counts.max_repetitions > often
        if often:
            more = binomial.hidden_cost if isinstance(policy, HiddenStates) else binomial.internal_cost
            control += counts.cost != more(t, e + 2)
    return Measured(value, control)


@claim(
    "memory_efficient_bptt/N8.counts",
    r"Schedules with the right gradient and the wrong price are caught by the counts: at $T=12$, $m=3$ ($C=33$, $e=2$) storing nothing takes 78 steps "
    r"forward, storing all states 23 and all tapes 12, both with 11 units, and the optimal schedule that never frees takes 33 and 5 units.",
    source="specification, N8",
    metric="how many of the four break the test of cost and peak",
    relation="==",
    bound=4,
    control="the test of the cost alone",
)
def wrong_price(rng: np.random.Generator) -> Measured:
    optimal = [*operations(PolicySchedule(HiddenStates(), 12, 2))]
    streams = {
        "nothing": [*operations(PolicySchedule(StoreNothing(), 12, 0))],
        "all states": [*operations(PolicySchedule(StoreHidden(), 12, 11))],
        "all tapes": [*operations(PolicySchedule(StoreAll(), 12, 11))],
        "never freed": [entry for entry in optimal if entry.kind != POP_H],
    }
    counts = {name: counted(stream) for name, stream in streams.items()}
    require(counted(optimal)[:2] == (33, 2), "the optimal schedule breaks the test")
    require(all(backs == [*range(12, 0, -1)] for _, _, backs in counts.values()), "not the right gradient")
    found = {name: entry[:2] for name, entry in counts.items()}
    expected = {"nothing": (78, 0), "all states": (23, 11), "all tapes": (12, 11), "never freed": (33, 5)}
    require(found == expected, f"counted: {found}")
    value = sum(cost != 33 or peak > 2 for cost, peak in found.values())
    return Measured(value, sum(cost != 33 for cost, _ in found.values()))
