"""O15: which states to keep when nobody knows how long the sequence will be."""

from __future__ import annotations

import numpy as np

from refsnn.schedules.binomial import hidden_cost
from refsnn.schedules.online import RULES, OnlineRule, OnlineSchedule
from refsnn.schedules.simulation import simulate
from validation.ledger import Measured, claim, require

SLOTS = (2, 3, 4, 5, 10, 20)
LONGEST = 3000


def total_cost(steps: int, slots: int, kept: list[int]) -> int:
    """T + sum of C_HSM(b - s, m - i), from the states that are kept when the run ends."""
    total, b = steps, steps - 1
    for i in reversed(range(len(kept))):
        if b > kept[i]:
            total += hidden_cost(b - kept[i], slots - i)
            b = kept[i]
    return total


def doubled_strides(steps: int, slots: int) -> list[int]:
    """Every 2^k-th state, with the least k for which they fit."""
    stride = 1
    while max(steps - 2, 0) // stride >= slots:
        stride *= 2
    return list(range(0, max(steps - 1, 1), stride))


@claim(
    "memory_efficient_bptt/O15",
    r"Two sweeps over the slots, every store late by one step, cost what the best schedule for a known length costs, $C_{HSM}(T,m)$, for every "
    r"$T\le\frac12(m+1)(m+2)+1$ without knowing $T$.",
    source="Stumm & Walther 2010; specification, O15 and section 3.10",
    metric=r"lengths at which the total differs, $m=2,3,4,5,10,20$; schedules at random lengths followed by the simulator",
    relation="==",
    bound=0,
    control=r"the next five $T$ for each $m$, all of them beyond the optimum",
)
def two_sweeps(rng: np.random.Generator) -> Measured:
    value = control = 0
    for slots in SLOTS:
        rule, last = OnlineRule(slots), (slots + 1) * (slots + 2) // 2 + 1
        followed = {int(length) for length in rng.integers(1, last + 6, 5)}
        for steps in range(1, last + 6):
            rule.next_step()
            total = total_cost(steps, slots, [state for state, _ in rule.kept])
            if steps <= last:
                value += total != hidden_cost(steps, slots)
            else:
                control += total > hidden_cost(steps, slots)
            if steps in followed:
                counts = simulate(OnlineSchedule(steps, slots))
                value += counts.cost != total or counts.peak_units > slots - 1
    require(control == 5 * len(SLOTS), "some of the next five lengths are optimal too")
    return Measured(value, control)


@claim(
    "memory_efficient_bptt/O15.levels",
    r"Without a limit on $T$: two sweeps, then levels, never cost more than 1.30 times the best schedule for a known length, for all $T\le3000$.",
    source="Wang, Moin & Iaccarino 2009; specification, section 3.10",
    metric=r"largest ratio for $m=2,3,5,10,20,50$, all $T\le3000$",
    relation="<=",
    bound=1.30,
    control=r"every $2^k$-th state, $m=10$",
)
def levels(rng: np.random.Generator) -> Measured:
    details, worst = {}, {rule: 0.0 for rule in RULES[1:]}
    for slots in (2, 3, 5, 10, 20, 50):
        best = [hidden_cost(steps, slots) for steps in range(1, LONGEST + 1)]
        for name in worst:
            rule, ratios = OnlineRule(slots, name), []
            for steps in range(1, LONGEST + 1):
                rule.next_step()
                ratios.append(total_cost(steps, slots, [state for state, _ in rule.kept]) / best[steps - 1])
            worst[name] = max(worst[name], max(ratios))
            if name == "two_sweep_levels":
                details[f"worst, m = {slots}"] = max(ratios)
    require(min(worst.values()) > 1.1, "always optimal: nothing was measured")
    control = max(
        total_cost(steps, 10, doubled_strides(steps, 10)) / hidden_cost(steps, 10)
        for steps in range(1, LONGEST + 1)
    )
    return Measured(worst["two_sweep_levels"], control, details | {"worst, levels alone": worst["levels"]})
