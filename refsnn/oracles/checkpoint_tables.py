"""The dynamic programs of checkpointing, written down as they are printed: loops over every split.

Gruslys 2016, Eqs. (1)-(12) and the two forms without duplicated states, with all optimal splits of every
entry.  O(T^2 M) steps: for small T and M, as the truth behind closed forms, compiled tables and windows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn import checks

# more than any cost, and the sum of a few of them fits into int64
INFINITE = 2**60

Splits = dict[tuple[int, int], tuple[int, ...]]


@dataclass(frozen=True)
class PolicyTable:
    """Least costs, and every first split that reaches them.

    Attributes
    ----------
    cost : ndarray of int64, (T + 1, M + 1)
        C(t, m): least number of forward steps; `INFINITE` where nothing is possible.
    hidden, internal : dict of (t, m) to tuple of int
        All y for which pushing h_y, or keeping the tape of step y, is an optimal first move; y = t for a tape
        that is used at once.
    """

    cost: np.ndarray
    hidden: Splits = field(default_factory=dict)
    internal: Splits = field(default_factory=dict)


def hidden_state_table(steps: Any, slots: Any) -> PolicyTable:
    """Hidden states only (HSM), Eqs. (1)-(3): Q(t,m,y) = y + C(t-y,m-1) + C(y,m), 1 <= y < t.

    Parameters
    ----------
    steps, slots : int
        T and M, the largest m; m counts the slot of the start.

    Returns
    -------
    PolicyTable
        Column 0 is infinite but for t = 0.

    Raises
    ------
    TypeError, ValueError
        For no positive integers.

    Examples
    --------
    >>> table = hidden_state_table(7, 3)
    >>> table.cost[1:, 3].tolist(), table.hidden[6, 3]
    ([1, 3, 5, 7, 10, 13, 16], (1, 2, 3))
    """
    steps, slots = checks.count("steps", steps), checks.count("slots", slots)
    table = PolicyTable(_empty(steps, slots))
    cost = table.cost
    length = np.arange(1, steps + 1)
    cost[1:, 1] = length * (length + 1) // 2
    for m in range(2, slots + 1):
        cost[1, m] = 1
        for t in range(2, steps + 1):
            y = np.arange(1, t)
            q = y + cost[t - y, m - 1] + cost[y, m]
            cost[t, m] = q.min()
            table.hidden[t, m] = tuple(y[q == q.min()].tolist())
    table.hidden.update({(t, 1): (t - 1,) for t in range(2, steps + 1)})
    return table


def internal_state_table(steps: Any, slots: Any) -> PolicyTable:
    """Internal states only (ISM), Eqs. (4)-(6): Q(t,m,y) = y + C(y-1,m) + C(t-y,m-1), 1 <= y <= t.

    Parameters
    ----------
    steps, slots : int
        T and M; m counts the working core.

    Returns
    -------
    PolicyTable

    Raises
    ------
    TypeError, ValueError
        For no positive integers.

    Examples
    --------
    >>> internal_state_table(7, 3).cost[1:, 3].tolist()
    [1, 2, 3, 5, 7, 9, 11]
    """
    steps, slots = checks.count("steps", steps), checks.count("slots", slots)
    table = PolicyTable(_empty(steps, slots))
    cost = table.cost
    for m in range(1, slots + 1):
        for t in range(1, steps + 1):
            y = np.arange(1, t + 1)
            q = y + cost[y - 1, m] + cost[t - y, m - 1]
            cost[t, m] = q.min()
            table.internal[t, m] = tuple(y[q == q.min()].tolist())
    return table


def mixed_table(steps: Any, slots: Any, alpha: Any, beta: Any) -> PolicyTable:
    """Hidden and internal states (MSM), Eqs. (7)-(12); with beta < alpha the form without duplicates, (13).

    Q1(t,m,y) = y + C(y,m) + C(t-y,m-1) and Q2(t,m,y) = y + C(y-1,m) + C(t-y, m - s), where s is beta for
    y = 1, since the input state of that tape is the start, and alpha for all others.

    Parameters
    ----------
    steps, slots : int
        T and M; m counts the start.
    alpha, beta : int
        Size of an internal state in hidden states, its input state included and not included.

    Returns
    -------
    PolicyTable

    Raises
    ------
    TypeError, ValueError
        For no positive integers, and for beta > alpha.

    Examples
    --------
    >>> mixed_table(8, 5, alpha=5, beta=4).cost[1:, 5].tolist()
    [1, 2, 4, 7, 9, 11, 13, 16]
    """
    steps, slots = checks.count("steps", steps), checks.count("slots", slots)
    alpha, beta = checks.count("alpha", alpha), checks.count("beta", beta)
    if beta > alpha:
        raise ValueError(
            f"beta: expected at most alpha = {alpha}, which counts the input state too, got {beta}"
        )
    table = PolicyTable(_empty(steps, slots))
    cost, nothing_left = table.cost, _empty(steps, 0)[:, 0]
    for m in range(1, slots + 1):
        after_hidden = cost[:, m - 1]
        after_tape = cost[:, m - alpha] if m > alpha else nothing_left
        after_first_tape = cost[:, m - beta] if m > beta else nothing_left
        for t in range(1, steps + 1):
            y = np.arange(1, t)
            q1 = y + cost[y, m] + after_hidden[t - y]
            y = np.arange(1, t + 1)
            q2 = y + cost[y - 1, m] + np.where(y == 1, after_first_tape[t - y], after_tape[t - y])
            _enter(table, t, m, q1, q2)
    return table


def unit_table(steps: Any, units: Any, hidden_units: Any, internal_units: Any) -> PolicyTable:
    """Form (E): free units e beyond the start; tapes are kept at the first step of a part only.

    E(t,e) = min(t + E(t-1,e), min_y y + E(y,e) + E(t-y,e-s_h), 1 + E(t-1,e-s_I)).

    Parameters
    ----------
    steps, units : int
        T and the largest e.
    hidden_units, internal_units : int or None
        s_h, and s_I of a tape without its input state; None: that kind is never kept.

    Returns
    -------
    PolicyTable
        Columns are e; in `internal`, t is the last step from the working core, 1 a tape that is kept.

    Raises
    ------
    TypeError, ValueError
        For bad sizes.

    Examples
    --------
    >>> unit_table(8, 4, hidden_units=1, internal_units=4).cost[1:, 4].tolist()
    [1, 2, 4, 7, 9, 11, 13, 16]
    """
    steps, units = checks.count("steps", steps), checks.count("units", units, 0)
    s_h = None if hidden_units is None else checks.count("hidden_units", hidden_units)
    s_i = None if internal_units is None else checks.count("internal_units", internal_units)
    table = PolicyTable(_empty(steps, units))
    cost = table.cost
    for e in range(units + 1):
        for t in range(1, steps + 1):
            q1, q2 = np.full(t - 1, INFINITE), np.full(t, INFINITE)
            if s_h is not None and e >= s_h:
                y = np.arange(1, t)
                q1 = y + cost[y, e] + cost[t - y, e - s_h]
            if s_i is not None and e >= s_i:
                q2[0] = 1 + cost[t - 1, e - s_i]
            q2[t - 1] = min(q2[t - 1], t + cost[t - 1, e])
            _enter(table, t, e, q1, q2)
    return table


def _enter(table: PolicyTable, t: int, m: int, q1: np.ndarray, q2: np.ndarray) -> None:
    """C = min over both kinds, and every y that reaches it; q1 begins at y = 1 as q2 does."""
    least = min(q1.min(initial=INFINITE), q2.min())
    table.cost[t, m] = least
    table.hidden[t, m] = tuple((1 + np.flatnonzero(q1 == least)).tolist())
    table.internal[t, m] = tuple((1 + np.flatnonzero(q2 == least)).tolist())


def _empty(steps: int, slots: int) -> np.ndarray:
    """C(0, m) = 0 and nothing else known."""
    cost = np.full((steps + 1, slots + 1), INFINITE, np.int64)
    cost[0] = 0
    return cost
