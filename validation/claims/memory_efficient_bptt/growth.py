"""O10: how the cost of HSM grows with the length, and how far a remembered constant reaches."""

from __future__ import annotations

from math import factorial

import numpy as np

from refsnn.schedules.binomial import hidden_cost
from validation.ledger import Measured, claim, require

LENGTHS, SLOTS = 10**5, 1000  # t and m below these


def costs(slots: int, lengths: np.ndarray) -> np.ndarray:
    """C(t, m) at many t: slope r + 1 from one binomial coefficient to the next."""
    if slots == 1:
        return lengths * (lengths + 1) // 2
    total, reached, r, reach = np.zeros_like(lengths), 0, 0, 1
    while reached < lengths.max():
        total += (r + 1) * np.clip(lengths - reached, 0, reach - reached)
        reached, r = reach, r + 1
        reach = reach * (slots + r) // r
    return total


def drawn(rng: np.random.Generator, lowest: int = 1) -> list[int]:
    """Forty random m, small ones among them."""
    few, many = rng.integers(lowest, 60, 20), rng.integers(lowest, SLOTS, 20)
    return sorted({int(m) for m in (*few, *many)})


@claim(
    "memory_efficient_bptt/O10",
    r"$C_{HSM}(t,m)\le m\,t^{1+1/m}$ for all $t$ and $m$, with equality at $t=m=1$ only.",
    source="Gruslys 2016, bound on the cost; specification, O10",
    metric=r"largest $C/(m\,t^{1+1/m})$ for $2\le t<10^5$, random $m<1000$ and $m=1$",
    relation="<=",
    bound=1 - 1e-4,
    control=r"one slot fewer than the bound's $m$",
)
def bound_with_slots(rng: np.random.Generator) -> Measured:
    lengths = np.arange(2, LENGTHS)
    check = rng.integers(0, len(lengths), 20)
    worst, control = 0.0, 0.0
    for m in sorted({1, 2, *drawn(rng)}):
        total = costs(m, lengths)
        require(all(total[i] == hidden_cost(int(lengths[i]), m) for i in check), "not the closed form")
        bound = m * lengths ** (1 + 1 / m)
        worst = max(worst, float((total / bound).max()))
        if m > 1:
            control = max(control, float((costs(m - 1, lengths) / bound).max()))
    require(hidden_cost(1, 1) == 1, "no equality at t = m = 1")
    return Measured(worst, control)


@claim(
    "memory_efficient_bptt/O10.four",
    r"$C_{HSM}(t,m)<4\,t^{1+1/m}$ for $t<10^5$ and $m<1000$, and the 4 holds in that range only.",
    source="specification, O10",
    metric=r"largest $C/t^{1+1/m}$ over all $t<10^5$, random $m$, $m=56$ and its neighbours",
    relation="in",
    bound=(3.79, 3.80),
    control=r"$t=10^9$, $m=76$",
)
def constant_four(rng: np.random.Generator) -> Measured:
    lengths = np.arange(1, LENGTHS)
    ratios = {m: float((costs(m, lengths) / lengths ** (1 + 1 / m)).max()) for m in {*drawn(rng), 55, 56, 57}}
    worst = max(ratios, key=lambda m: ratios[m])
    beyond = hidden_cost(10**9, 76) / 10 ** (9 * (1 + 1 / 76))
    require(beyond > 4, "4 holds beyond the range too")
    return Measured(ratios[worst], beyond, {"worst m": worst})


@claim(
    "memory_efficient_bptt/O10.integer",
    r"For an integer $a$ and $t<m^a/a!$: $C_{HSM}(t,m)\le(a+1)\,t$.",
    source="specification, O10",
    metric=r"violations at 2000 random $(t,m,a)$, $m\le5000$, $a\le6$, and at the largest $t$ of each",
    relation="==",
    bound=0,
    control=r"$a\,t$ at the same $(t,m,a)$",
)
def integer_bound(rng: np.random.Generator) -> Measured:
    value = control = cases = 0
    while cases < 2000:
        a, m = int(rng.integers(1, 7)), int(10 ** rng.uniform(0, 3.7))
        longest = (m**a - 1) // factorial(a)
        if longest < 1:
            continue
        for t in (longest, 1 + int(rng.random() * longest)):
            t = min(t, longest)
            cost = hidden_cost(t, m)
            value, control, cases = value + (cost > (a + 1) * t), control + (cost > a * t), cases + 1
    return Measured(value, control)


@claim(
    "memory_efficient_bptt/O10.companion",
    r"Not true as remembered: without the first sweep the constant is not 3. $(C_{HSM}-t)/t^{1+1/m}$ reaches $3.0499$ at $(t,m)=(99999,29)$.",
    source="specification, O10",
    metric=r"$(C-t)/t^{1+1/m}$ at $(99999,29)$",
    relation="in",
    bound=(3.0498, 3.0500),
    control=r"a tenth of that length",
)
def companion(rng: np.random.Generator) -> Measured:
    def ratio(t: int) -> float:
        return (hidden_cost(t, 29) - t) / t ** (1 + 1 / 29)

    return Measured(ratio(99999), ratio(9999))
