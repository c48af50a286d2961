"""O3, O4, O5, O8, O9, N5: closed forms and tables, against the dynamic programs as they are printed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refsnn.oracles.checkpoint_tables import hidden_state_table, internal_state_table, mixed_table
from refsnn.schedules import binomial
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.policies import HiddenStates
from refsnn.schedules.simulation import simulate
from validation.ledger import Measured, claim, require

Cost = Callable[[int, int], int]


def drawn_sizes(rng: np.random.Generator) -> tuple[int, int]:
    """T and M of a table, different in every run."""
    return int(rng.integers(90, 140)), int(rng.integers(20, 35))


def mismatches(cost: np.ndarray, closed_form: Cost) -> int:
    """Entries of a table, t and m from 1, that are not those of a closed form."""
    steps, slots = cost.shape[0] - 1, cost.shape[1] - 1
    return sum(cost[t, m] != closed_form(t, m) for t in range(1, steps + 1) for m in range(1, slots + 1))


@claim(
    "memory_efficient_bptt/O3",
    r"The table of the HSM recursion is the closed form of binomial checkpointing, $C(t,m)=(r+1)\,t-\binom{m+r}{r-1}$ with the least "
    r"$r$ for which $t\le\binom{m+r}{r}$, and that of ISM is $C(t,m)=r\,(t+1)-\binom{m+r}{m+1}$ with the least $r$ for which $t\le\binom{m+r}{r}-1$.",
    source="Eqs. (1)-(6); Griewank & Walther 2000; specification, O3",
    metric="entries of both tables that differ",
    relation="==",
    bound=0,
    control=r"$m$ read as the states besides the start",
)
def closed_forms(rng: np.random.Generator) -> Measured:
    steps, slots = drawn_sizes(rng)
    hidden, internal = hidden_state_table(steps, slots).cost, internal_state_table(steps, slots).cost
    value = mismatches(hidden, binomial.hidden_cost) + mismatches(internal, binomial.internal_cost)
    control = mismatches(hidden, lambda t, m: binomial.hidden_cost(t, m + 1))
    return Measured(value, control, {"T": steps, "M": slots, "entries": 2 * steps * slots})


@claim(
    "memory_efficient_bptt/O4",
    r"Storing tapes is storing states for one step more: $C_{ISM}(t,m)=C_{HSM}(t+1,m)-(t+1)$, and the same splits are optimal.",
    source="specification, O4 and section 2.4",
    metric=r"entries that differ: of the recursions, and of the closed forms at 200 random $t\le10^{12}$, $m\le10^4$",
    relation="==",
    bound=0,
    control=r"without the step more: $C_{HSM}(t,m)-t$",
)
def shifted(rng: np.random.Generator) -> Measured:
    steps, slots = drawn_sizes(rng)
    hidden, internal = hidden_state_table(steps + 1, slots), internal_state_table(steps, slots)
    length = np.arange(1, steps + 1)[:, None]
    value = int((internal.cost[1:, 1:] != hidden.cost[2:, 1:] - (length + 1)).sum())
    value += sum(internal.internal[t, m] != hidden.hidden[t + 1, m] for t, m in internal.internal if m > 1)
    control = int((internal.cost[1:, 1:] != hidden.cost[1:-1, 1:] - length).sum())
    for _ in range(200):
        t, m = int(10 ** rng.uniform(1, 12)), int(10 ** rng.uniform(0.4, 4))
        value += binomial.internal_cost(t, m) != binomial.hidden_cost(t + 1, m) - (t + 1)
        value += binomial.internal_splits(t, m) != binomial.hidden_splits(t + 1, m)
    return Measured(value, control, {"T": steps, "M": slots})


@claim(
    "memory_efficient_bptt/O5",
    r"Mixed storing holds both others: with $\alpha=\beta=1$ it is ISM, with $\beta\ge m$ it is HSM, and it never costs more than the "
    r"better of $C_{HSM}(t,m)$ and $C_{ISM}(t,1+\lfloor(m-1)/\alpha\rfloor)$, with and without duplicated states.",
    source="Eqs. (7)-(13); specification, O5",
    metric="entries where one of the four fails, the package's tables against closed forms",
    relation="==",
    bound=0,
    control=r"the second at $\beta=m-1$",
)
def mixed_holds_both(rng: np.random.Generator) -> Measured:
    steps, slots = drawn_sizes(rng)
    alpha = int(rng.integers(2, 8))
    units = slots - 1
    hidden = np.array(
        [[binomial.hidden_cost(t, m) for m in range(1, slots + 1)] for t in range(1, steps + 1)]
    )
    tapes = np.array(
        [[binomial.internal_cost(t, m) for m in range(1, slots + 1)] for t in range(1, steps + 1)]
    )

    def costs(internal_units: int, shares_input: bool) -> np.ndarray:
        tables = mixed_tables(steps, units, 1, internal_units, shares_input=shares_input, rng=rng)
        return np.array([[tables.cost(t, e) for e in range(units + 1)] for t in range(1, steps + 1)])

    shared, duplicated = costs(alpha - 1, True), costs(alpha, False)
    value = int((costs(1, False) != tapes).sum())
    # a tape of m units fits nowhere at m slots or fewer
    value += int((costs(slots, True) != hidden).sum()) + int((costs(slots, False) != hidden).sum())
    fitting = tapes[:, np.arange(units + 1) // alpha]
    best = np.minimum(hidden, fitting)
    value += int((shared > best).sum() + (duplicated > best).sum() + (shared > duplicated).sum())
    require(bool((shared < best).any() and (shared < duplicated).any()), "mixing brought nothing")
    control = int((costs(slots - 1, True) != hidden).sum())
    return Measured(value, control, {"T": steps, "M": slots, "alpha": alpha})


@claim(
    "memory_efficient_bptt/O5.table",
    r"The package's tables for mixed storing, with a window and in full, are the recursion as printed: (13) with $\beta=\alpha-1$ "
    r"for states that are shared, (7)-(12) for duplicated ones.",
    source="Eqs. (7)-(13), specification, section 2.3",
    metric="entries that differ",
    relation="==",
    bound=0,
    control=r"the table of $\beta=\alpha-1$ against that of $\beta=\alpha$",
)
def mixed_as_printed(rng: np.random.Generator) -> Measured:
    steps, slots, alpha = int(rng.integers(60, 90)), int(rng.integers(15, 25)), int(rng.integers(2, 8))
    value, printed = 0, {}
    for shares_input in (True, False):
        beta = alpha - shares_input
        printed[shares_input] = mixed_table(steps, slots, alpha, beta).cost[1:, 1:]
        for method in ("windowed", "full"):
            tables = mixed_tables(
                steps, slots - 1, 1, beta, shares_input=shares_input, method=method, window=16, rng=rng
            )
            found = [[tables.cost(t, e) for e in range(slots)] for t in range(1, steps + 1)]
            value += int((np.array(found) != printed[shares_input]).sum())
    control = int((printed[True] != printed[False]).sum())
    return Measured(value, control, {"T": steps, "M": slots, "alpha": alpha})


@claim(
    "memory_efficient_bptt/O8",
    r"The optimal first splits are all $y$ from $D_{min}$ to $D_{max}$, closed forms in binomials, and no others, for HSM and for ISM.",
    source="specification, O8 and section 2.4",
    metric=r"$(t,m)$ whose interval is not the set of all minimisers",
    relation="==",
    bound=0,
    control=r"the interval without its last $y$",
)
def optimal_splits(rng: np.random.Generator) -> Measured:
    steps, slots = drawn_sizes(rng)
    cases = [(sets, binomial.hidden_splits) for sets in hidden_state_table(steps, slots).hidden.items()]
    cases += [
        (sets, binomial.internal_splits) for sets in internal_state_table(steps, slots).internal.items()
    ]
    value = control = wide = 0
    for ((t, m), best), closed_form in cases:
        first, last = closed_form(t, m)
        value += best != tuple(range(first, last + 1))
        control += best != tuple(range(first, last))
        wide += last > first
    require(wide > 100, "almost all intervals are single points")
    return Measured(value, control, {"T": steps, "M": slots, "intervals of several y": wide})


@claim(
    "memory_efficient_bptt/O9",
    r"$C$ falls with $m$ and rises with $t$, for HSM, ISM and MSM, and what one step more costs is the number of times that a step is run: "
    r"$C_{HSM}(t+1,m)-C_{HSM}(t,m)=r(t+1)+1$, $C_{ISM}(t+1,m)-C_{ISM}(t,m)=r(t+1)$.",
    source="specification, O9",
    metric="violations in all three tables",
    relation="==",
    bound=0,
    control=r"the increments with $r(t)$",
)
def monotone(rng: np.random.Generator) -> Measured:
    steps, slots = drawn_sizes(rng)
    alpha = int(rng.integers(2, 8))
    hidden, internal = hidden_state_table(steps, slots).cost, internal_state_table(steps, slots).cost
    value = control = 0
    for table in (hidden, internal, mixed_table(steps, slots, alpha, alpha - 1).cost):
        value += int((np.diff(table[1:, 1:], axis=1) > 0).sum() + (np.diff(table[1:, 1:], axis=0) <= 0).sum())
    for t in range(1, steps):
        for m in range(1, slots + 1):
            for table, r, more in (
                (hidden, binomial.hidden_repetitions, 1),
                (internal, binomial.internal_repetitions, 0),
            ):
                step = table[t + 1, m] - table[t, m]
                value += step != r(t + 1, m) + more
                control += step != r(t, m) + more
    return Measured(value, control, {"T": steps, "M": slots, "alpha": alpha})


@claim(
    "memory_efficient_bptt/N5",
    r"A budget that is read as the states besides $h_0$ is seen in the count: $(t,m)=(10,2)$ takes 30 steps forward, the misreading 25, "
    r"and the two differ whenever $t>m+1$.",
    source="specification, N5 and section 2.2",
    metric=r"$C(t,m)$ less the count of the schedule with $m$ instead of $m-1$ free units, least of $(10,2)$ and 30 random $(t,m)$",
    relation=">=",
    bound=1,
    control=r"the schedule with $m-1$ free units",
)
def off_by_one(rng: np.random.Generator) -> Measured:
    cases = [(10, 2)]
    for _ in range(30):
        m = int(rng.integers(2, 30))
        cases.append((int(rng.integers(m + 2, 500)), m))

    def gap(t: int, m: int, units: int) -> int:
        return binomial.hidden_cost(t, m) - simulate(PolicySchedule(HiddenStates(), t, units)).cost

    counts = {units: simulate(PolicySchedule(HiddenStates(), 10, units)).cost for units in (1, 2)}
    require(counts == {1: 30, 2: 25}, f"(10, 2) takes {counts}")
    return Measured(min(gap(t, m, m) for t, m in cases), max(gap(t, m, m - 1) for t, m in cases))
