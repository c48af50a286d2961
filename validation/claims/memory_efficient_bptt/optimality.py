"""O6: no program of the machine does better than the dynamic programs."""

from __future__ import annotations

import numpy as np

from refsnn.oracles.checkpoint_tables import (
    PolicyTable,
    hidden_state_table,
    internal_state_table,
    mixed_table,
)
from refsnn.oracles.schedule_search import least_forward_steps
from validation.ledger import Measured, claim, require


def differing(table: PolicyTable, cases: list[tuple[int, int]], **sizes: int | None) -> int:
    """Cases (t, m) at which the search and a table do not agree."""
    return sum(least_forward_steps(t, m - 1, **sizes) != table.cost[t, m] for t, m in cases)


def grid(steps: int, slots: int) -> list[tuple[int, int]]:
    return [(t, m) for t in range(1, steps + 1) for m in range(1, slots + 1)]


@claim(
    "memory_efficient_bptt/O6",
    r"The dynamic programs are optimal among all programs of the machine, whatever they load, store and free: HSM for $t\le14$, ISM for $t\le12$, "
    r"MSM with shared input states for $\alpha=2..5$, $t\le8$ to $11$.",
    source="specification, O6",
    metric=r"$(t,m)$ at which an exhaustive search finds another cost: $t\le10$, $m\le5$ in full, and random ones up to the ends",
    relation="==",
    bound=0,
    control="the plain mixed form, which counts an input state twice",
)
def exhaustive(rng: np.random.Generator) -> Measured:
    def ends(steps: int, slots: int) -> list[tuple[int, int]]:
        return [(int(rng.integers(9, steps + 1)), int(rng.integers(2, slots + 1))) for _ in range(4)]

    hidden, internal = hidden_state_table(14, 6), internal_state_table(12, 6)
    cases = grid(10, 5) + ends(14, 5)
    value, count = differing(hidden, cases), len(cases)
    cases = grid(10, 5) + ends(12, 6)
    value += differing(internal, cases, hidden_units=None, internal_units=1)
    count += len(cases)
    for alpha, steps in ((2, 8), (3, 8), (4, 10), (5, 11)):
        table = mixed_table(steps, 8, alpha, alpha - 1)
        cases = grid(7, 7) + [(steps, int(rng.integers(2, 9)))]
        value += differing(table, cases, internal_units=alpha - 1, internal_units_alone=alpha)
        count += len(cases)
    control = differing(mixed_table(8, 4, 3, 3), grid(8, 4), internal_units=3)
    return Measured(value, control, {"cases": count})


@claim(
    "memory_efficient_bptt/O6.plain",
    r"The mixed form as printed, $\beta=\alpha$, is not optimal where a pushed state can give way to the tape of the next step: "
    r"with $\alpha=3$ and $m=4$ the search needs 13 steps forward for $t=7$ and 16 for $t=8$, the recursion 14 and 17.",
    source="specification, O6 and section 2.3",
    metric=r"steps saved by the search, over $t=7$ and $8$",
    relation="==",
    bound=2,
    control=r"the form that shares input states, $\beta=2$",
)
def plain_form(rng: np.random.Generator) -> Measured:
    def saved(beta: int, alone: int) -> list[tuple[int, int]]:
        table = mixed_table(8, 4, 3, beta)
        return [
            (
                int(table.cost[t, 4]),
                least_forward_steps(t, 3, internal_units=beta, internal_units_alone=alone),
            )
            for t in (7, 8)
        ]

    plain, shared = saved(3, 3), saved(2, 3)
    require(plain == [(14, 13), (17, 16)], f"recursion and search: {plain}")
    return Measured(sum(a - b for a, b in plain), sum(a - b for a, b in shared))
