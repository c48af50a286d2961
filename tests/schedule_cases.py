"""What the tests of schedules share: the recursions by brute force, with no closed form and no window."""

from __future__ import annotations

import numpy as np


def hidden_by_recursion(longest: int, slots: int) -> tuple[np.ndarray, dict]:
    """C(t, m) of Eqs. (1)-(3), and the first and last minimiser; m counts the start state."""
    cost = np.zeros((longest + 1, slots + 1), dtype=np.int64)
    splits = {}
    for m in range(1, slots + 1):
        cost[1, m] = 1
        for t in range(2, longest + 1):
            if m == 1:
                cost[t, 1] = t * (t + 1) // 2
                continue
            y = np.arange(1, t)
            totals = y + cost[t - y, m - 1] + cost[y, m]
            cost[t, m] = totals.min()
            splits[t, m] = y[totals == cost[t, m]]
    return cost, splits


def internal_by_recursion(longest: int, slots: int) -> tuple[np.ndarray, dict]:
    """C(t, m) of Eqs. (4)-(6), and the minimisers; m counts the working core."""
    infinite = 10**9
    cost = np.zeros((longest + 1, slots + 1), dtype=np.int64)
    cost[1:, 0] = infinite
    splits = {}
    for m in range(1, slots + 1):
        for t in range(1, longest + 1):
            y = np.arange(1, t + 1)
            totals = y + cost[y - 1, m] + cost[t - y, m - 1]
            cost[t, m] = totals.min()
            splits[t, m] = y[totals == cost[t, m]]
    return cost, splits


def mixed_by_recursion(longest: int, slots: int, alpha: int, beta: int) -> np.ndarray:
    """C(t, m) of Eq. (13), of Eqs. (7)-(12) where beta = alpha; m counts the start state."""
    infinite = 10**9
    cost = np.full((longest + 1, slots + 1), infinite, dtype=np.int64)
    cost[0] = 0

    def at(t: int, m: int) -> int:
        return 0 if t == 0 else infinite if m <= 0 else int(cost[t, m])

    for m in range(1, slots + 1):
        for t in range(1, longest + 1):
            internal = [
                y + at(y - 1, m) + at(t - y, m - (beta if y == 1 else alpha)) for y in range(1, t + 1)
            ]
            hidden = [y + at(y, m) + at(t - y, m - 1) for y in range(1, t)]
            cost[t, m] = min(internal + hidden)
    return cost
