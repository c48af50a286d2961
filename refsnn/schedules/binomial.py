"""Closed forms of the two pure strategies: states alone (HSM, Revolve) and tapes alone (ISM); no table.

With b(n, k) the binomial coefficient, t steps and m slots in the paper's counting (Gruslys 2016 for the
problem, Griewank and Walther 2000 for the solution of the first):

    hidden (HSM):    r least with t <= b(m+r, r),        C(t, m) = (r+1) t - b(m+r, r-1)
    internal (ISM):  r least with t <= b(m+r, r) - 1,    C(t, m) = r (t+1) - b(m+r, m+1)

m counts the start state in HSM, and the working core in ISM: m - 1 copies can be pushed in both.  C counts
forward steps, the first sweep included.  Python's integers do not overflow: t may be as large as one likes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

from numba.extending import register_jitable

from refsnn import checks

# Where the compiled twin is exact in 64 bits: see `split_in_64_bits`.
LARGEST_COMPILED = 2**40
_ROOM = 2**62


def hidden_repetitions(steps: int, slots: int) -> int:
    """r of HSM: no step is run more than r + 1 times.

    Examples
    --------
    >>> hidden_repetitions(12, 3), hidden_repetitions(10**9, 1)
    (3, 999999999)
    """
    steps, slots = _checked(steps, slots)
    return steps - 1 if slots == 1 else _least(lambda r: steps <= comb(slots + r, min(slots, r)))


def internal_repetitions(steps: int, slots: int) -> int:
    """r of ISM: no step is run more than r times.

    Examples
    --------
    >>> internal_repetitions(12, 3), internal_repetitions(10**9, 1)
    (3, 1000000000)
    """
    steps, slots = _checked(steps, slots)
    return steps if slots == 1 else _least(lambda r: steps <= comb(slots + r, min(slots, r)) - 1)


def hidden_cost(steps: int, slots: int) -> int:
    """C(t, m) of HSM: forward steps, the first sweep included, with m states, the start among them.

    Examples
    --------
    >>> [hidden_cost(t, 3) for t in (1, 2, 3, 4, 5, 12)], hidden_cost(10**9, 1)
    ([1, 3, 5, 7, 10, 33], 500000000500000000)
    """
    r = hidden_repetitions(steps, slots)
    if slots == 1:
        return steps * (steps + 1) // 2
    return (r + 1) * steps - _binomial(slots + r, r - 1)


def internal_cost(steps: int, slots: int) -> int:
    """C(t, m) of ISM: forward steps, the first sweep included, with m tapes, the working core among them.

    Examples
    --------
    >>> [internal_cost(t, 3) for t in (1, 2, 3, 4, 5, 12)], internal_cost(10**6, 1412)
    ([1, 2, 3, 5, 7, 24], 1999598)
    """
    r = internal_repetitions(steps, slots)
    if slots == 1:
        return steps * (steps + 1) // 2
    return r * (steps + 1) - _binomial(slots + r, slots + 1)


def hidden_splits(steps: int, slots: int) -> tuple[int, int]:
    """First and last y at which pushing h_y first is optimal in HSM; each y between them is, and no other.

    Parameters
    ----------
    steps, slots : int
        t of at least 2, and m.

    Returns
    -------
    tuple of int
        D_min and D_max.

    Examples
    --------
    >>> [hidden_splits(t, 3) for t in (4, 5, 6, 12)]
    [(1, 1), (1, 2), (1, 3), (4, 6)]
    """
    steps, slots = checks.count("steps", steps, 2), checks.count("slots", slots)
    if slots == 1:
        return steps - 1, steps - 1
    r = hidden_repetitions(steps, slots)

    def reach(s: int, r: int) -> int:
        return _binomial(s + r, s)

    first = max(1, reach(slots, r - 2), steps - reach(slots - 1, r))
    last = min(steps - 1, reach(slots, r - 1), steps - reach(slots - 1, r - 1))
    return first, last


def internal_splits(steps: int, slots: int) -> tuple[int, int]:
    """First and last y at which pushing I_y first is optimal in ISM; each y between them is, and no other.

    Parameters
    ----------
    steps, slots : int
        t and m; y = t pulls the last step back at once and pushes nothing.

    Returns
    -------
    tuple of int
        D_min and D_max.

    Examples
    --------
    >>> [internal_splits(t, 3) for t in (1, 4, 5, 12)]
    [(1, 1), (1, 2), (1, 3), (4, 7)]
    """
    steps, slots = _checked(steps, slots)
    if slots == 1:
        return steps, steps
    r = internal_repetitions(steps, slots)

    def reach(s: int, r: int) -> int:
        return _binomial(s + r, s) - 1

    first = max(1, reach(slots, r - 2) + 1, steps - reach(slots - 1, r))
    last = min(steps, reach(slots, r - 1) + 1, steps - reach(slots - 1, r - 1))
    return first, last


def least_hidden_slots(steps: int, cost: int) -> int:
    """The least m with C(t, m) <= cost in HSM; C never grows with m, so bisection finds it.

    Parameters
    ----------
    steps : int
        t.
    cost : int
        Forward steps that one is ready to pay; no m does with fewer than 2 t - 1.

    Returns
    -------
    int
        m.

    Raises
    ------
    ValueError
        If no number of slots is enough.

    Examples
    --------
    >>> least_hidden_slots(1000, 3000), least_hidden_slots(10**6, 2 * 10**6)
    (43, 999998)
    """
    return _least_slots(hidden_cost, steps, cost)


def least_internal_slots(steps: int, cost: int) -> int:
    """The least m with C(t, m) <= cost in ISM; C never grows with m, so bisection finds it.

    Parameters
    ----------
    steps : int
        t.
    cost : int
        Forward steps that one is ready to pay; no m does with fewer than t.

    Returns
    -------
    int
        m.

    Raises
    ------
    ValueError
        If no number of slots is enough.

    Examples
    --------
    >>> least_internal_slots(1000, 2000), least_internal_slots(10**6, 2 * 10**6)
    (43, 1412)
    """
    return _least_slots(internal_cost, steps, cost)


def split_in_64_bits(steps: int, slots: int, largest: bool) -> int:
    """`hidden_splits` in 64-bit integers, for compiled loops: D_max if `largest`, else D_min.

    b = b(m+r, r) grows until it reaches t.  Where b (m+r) would not fit, the next b is above 2^62 / r and so
    above 2 t, because r < sqrt(2 t) + 1 for m >= 2 and t <= 2^40; any number that large gives the same split.

    Parameters
    ----------
    steps, slots : int
        t from 2 to 2^40, and m.
    largest : bool
        Which end of the interval.

    Returns
    -------
    int
        y.

    Examples
    --------
    >>> split_in_64_bits(12, 3, False), split_in_64_bits(12, 3, True)
    (4, 6)
    """
    if slots == 1:
        return steps - 1
    r, before, last, reach = 0, 0, 0, 1  # b(m+r, m) at r - 2, r - 1 and r
    while reach < steps:
        r += 1
        before, last = last, reach
        reach = _ROOM if reach > _ROOM // (slots + r) else reach * (slots + r) // r
    # b(m-1+r, m-1) = b(m+r, m) - b(m+r-1, m)
    if largest:
        return min(steps - 1, last, steps - (last - before))
    return max(1, before, steps - (reach - last))


split_in_64_bits = register_jitable(split_in_64_bits)


def _least_slots(cost_of: Callable[[int, int], int], steps: int, cost: int) -> int:
    steps, cost = checks.count("steps", steps), checks.count("cost", cost)
    if cost_of(steps, steps) > cost:
        raise ValueError(
            f"cost: expected at least {cost_of(steps, steps)} forward steps, which is what {steps} steps "
            f"take with all the memory they can use, got {cost}"
        )
    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cost_of(steps, middle) <= cost else (middle, high)
    return high


def _least(enough: Callable[[int], bool]) -> int:
    """The least r >= 0 that is enough: doubling, then bisection."""
    low, high = -1, 1
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _binomial(n: int, k: int) -> int:
    return comb(n, k) if 0 <= k <= n else 0


def _checked(steps: int, slots: int) -> tuple[int, int]:
    return checks.count("steps", steps), checks.count("slots", slots)
