"""MSM, states and tapes mixed: the dynamic program of Gruslys 2016, (7)-(13), with sizes in any whole units.

With e free units beyond the start and the working core (the paper's m is e + 1), a state taking s_h units:

    C(0, e) = 0
    C(t, e) = min of  t + C(t-1, e)                                               (direct: last step first)
                      min over 1 <= y < t of  y + C(y, e) + C(t-y, e - s_h)       (hidden push)
                      min over 1 <= y < t of  y + C(y-1, e) + C(t-y, e - s_I(y))  (internal push)

Where the input state of a tape is *shared*, s_I is its size without that state, and only y = 1 is needed: the
input of the first step is the start of the sub-sequence, which is held anyway, and a tape from further inside
is a hidden push at y - 1 followed by one at y = 1.  *Unshared*, each tape takes s_I units with its input, and
any y is tried.  (13) has a size for y = 1 and another for y > 1; nobody can run it, but it is what the paper
states, and `MixedTables` knows its costs.

C is neither convex in t nor are its minimisers monotone, so the search over y cannot be cut short safely.
`method="full"` tries each y; `"windowed"` those from W before the first y found best for t - 1 to W after the
last one, and tries a random sample of entries in full as it goes.  Often hundreds of y in a row are equally
good, and from t - 1 to t the first of them jumps by more than W while the rows overlap; W around one of them
is not enough: up to T = 28000, e = 300 with s_h = 1, s_I = 4, W = 256, 22556 entries are then too large by 1.

Ties: internal before direct before hidden, then the smallest y (of those tried).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.kernels.compilation import compiled

# The search is over costs * 2^bits + y with bits = T.bit_length(): 3 bits + 2 must stay below 64.
LONGEST = 2**20 - 1
WINDOW = 256
# Entries a column that a windowed table is checked at.
SAMPLES = 16
_METHODS = ("windowed", "full")
_NEVER = 0
_NONE = 2**62  # the cost of what cannot be done


class WindowTooNarrow(RuntimeError):
    """A windowed table has an entry that the search over all y improves on."""


@dataclass(frozen=True, eq=False)
class MixedTables:
    """Decisions for every length up to `steps` and every number of free units up to `units`.

    Attributes
    ----------
    steps, units : int
        The largest t and e.
    hidden_units : int
        s_h.
    first_units : int
        s_I of a tape of the first step of a sub-sequence; without its input where that is shared.
    other_units : int
        s_I of any other tape; 0 where such tapes are never pushed, because the input is shared.
    final_costs : ndarray of int64, (units + 1,)
        C(steps, e).
    decisions : ndarray of int16 or int32, (units + 1, steps + 1)
        At [e, t]: 0 for direct, y for a hidden push, -y for an internal one.

    Examples
    --------
    >>> tables = mixed_tables(30, units=10, hidden_units=1, internal_units=4)
    >>> tables.cost(30, 4), tables.cost(30, 10), tables.cost(8, 4)
    (91, 67, 16)
    """

    steps: int
    units: int
    hidden_units: int
    first_units: int
    other_units: int
    final_costs: np.ndarray
    decisions: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return self.decisions.nbytes + self.final_costs.nbytes

    @property
    def shares_input(self) -> bool:
        """Whether pushed tapes leave out their input state."""
        return self.other_units == _NEVER

    def decision(self, steps: int, units: int) -> int:
        """0 for direct, y for a hidden push at y, -y for an internal one.

        Examples
        --------
        >>> mixed_tables(30, units=10, hidden_units=1, internal_units=4).decision(30, 10)
        3
        """
        return int(self.decisions[self._checked(steps, units)])

    def cost(self, steps: int, units: int) -> int:
        """C(t, e): forward steps, the first sweep included.

        Costs are kept for the full length only; a shorter one is counted by following the decisions.
        """
        units, steps = self._checked(steps, units)
        if steps == self.steps:
            return int(self.final_costs[units])
        return int(_follow(self.decisions, steps, units, *self._sizes))

    def followed_cost(self, steps: int, units: int) -> int:
        """C(t, e) by following the decisions, whatever the length: a check of the table against itself."""
        units, steps = self._checked(steps, units)
        return int(_follow(self.decisions, steps, units, *self._sizes))

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.hidden_units, self.first_units, self.other_units

    def _checked(self, steps: int, units: int) -> tuple[int, int]:
        steps, units = checks.count("steps", steps), checks.count("units", units, 0)
        if steps > self.steps or units > self.units:
            raise ValueError(
                f"steps, units: expected at most {self.steps} and {self.units}, which is what the tables "
                f"were made for, got {steps} and {units}; make larger ones with mixed_tables"
            )
        return units, steps


def mixed_tables(
    steps: int,
    units: int,
    hidden_units: int,
    internal_units: int,
    *,
    shares_input: bool = True,
    first_units: int | None = None,
    method: str = "windowed",
    window: int = WINDOW,
    rng: np.random.Generator | None = None,
) -> MixedTables:
    """Run the dynamic program for all lengths up to `steps` and all budgets up to `units`.

    Parameters
    ----------
    steps : int
        The largest t, at most 2^20 - 1.
    units : int
        The largest e.
    hidden_units : int
        s_h, of a state.
    internal_units : int
        s_I, of a tape: without its input state if `shares_input`, else with it.
    shares_input : bool
        Whether a tape is pushed without its input state, (E); else the plain form (7)-(12).
    first_units : int, optional
        For (13): the size of a tape at y = 1, where `internal_units` holds for y > 1.  Costs only.
    method : {"windowed", "full"}
        Whether y is searched near the best ones for t - 1, or everywhere.
    window : int
        On each side, for "windowed".
    rng : numpy.random.Generator, optional
        Draws the entries of a windowed table that are searched in full; seeded by 0 if left out.

    Returns
    -------
    MixedTables

    Raises
    ------
    ValueError
        For sequences that are too long for a table.
    WindowTooNarrow
        If the full search finds a cheaper entry in the sample.

    Examples
    --------
    >>> plain = mixed_tables(7, units=3, hidden_units=1, internal_units=3, shares_input=False)
    >>> shared = mixed_tables(7, units=3, hidden_units=1, internal_units=2)
    >>> plain.cost(7, 3), shared.cost(7, 3)
    (14, 13)
    """
    sizes = _sizes(hidden_units, internal_units, shares_input, first_units)
    units = checks.count("units", units, 0)
    columns = _columns(steps, sizes, method, window, rng)
    decisions = np.zeros((units + 1, steps + 1), decision_dtype(steps))
    final = np.zeros(units + 1, dtype=np.int64)
    for e in range(units + 1):
        final[e], decisions[e] = next(columns)
    return MixedTables(steps, units, *sizes, final, decisions)


def decision_dtype(steps: int) -> np.dtype:
    """The narrowest whole numbers that hold every y and its negative: a table may cost more than it saves.

    Examples
    --------
    >>> decision_dtype(1000), decision_dtype(100_000)
    (dtype('int16'), dtype('int32'))
    """
    return np.dtype(np.int16 if steps <= np.iinfo(np.int16).max else np.int32)


def least_mixed_units(
    steps: int,
    cost: int,
    hidden_units: int,
    internal_units: int,
    *,
    shares_input: bool = True,
    method: str = "windowed",
    window: int = WINDOW,
) -> int:
    """The least e with C(t, e) <= cost; columns are made one after the other and not kept.

    Parameters
    ----------
    steps : int
        t.
    cost : int
        Forward steps that one is ready to pay; no e does with fewer than t.
    hidden_units, internal_units : int
        s_h and s_I.
    shares_input : bool
        Whether a tape is pushed without its input state.
    method : {"windowed", "full"}
        How y is searched.
    window : int
        On each side, for "windowed".

    Returns
    -------
    int
        e.

    Raises
    ------
    ValueError
        If no number of units is enough.

    Examples
    --------
    >>> least_mixed_units(1000, 2000, hidden_units=1, internal_units=4)
    87
    """
    sizes = _sizes(hidden_units, internal_units, shares_input, None)
    if checks.count("cost", cost) < checks.count("steps", steps):
        raise ValueError(f"cost: expected at least {steps} forward steps, one for each step, got {cost}")
    for e, (reached, _) in enumerate(_columns(steps, sizes, method, window, None)):
        if reached <= cost:
            return e
    raise AssertionError("no budget keeps all tapes")  # e = (t - 1) s_I does


def _sizes(hidden: int, internal: int, shares_input: bool, first: int | None) -> tuple[int, int, int]:
    """s_h, and s_I at y = 1 and elsewhere."""
    hidden, internal = checks.count("hidden_units", hidden), checks.count("internal_units", internal)
    if first is not None:
        return hidden, checks.count("first_units", first), internal
    return hidden, internal, _NEVER if shares_input else internal


def _columns(
    steps: int, sizes: tuple[int, int, int], method: str, window: int, rng: np.random.Generator | None
) -> Iterator[tuple[int, np.ndarray]]:
    """C(steps, e) and the decisions of all lengths, for e = 0, 1, ...

    Costs of as many columns are kept as the recursion reaches back.
    """
    steps = checks.count("steps", steps)
    if steps > LONGEST:
        raise ValueError(
            f"steps: expected at most {LONGEST} for a table, got {steps}; use states or tapes alone, whose "
            "decisions have a closed form, or take several steps as one"
        )
    windowed = checks.choice("method", method, _METHODS) == "windowed"
    reach = checks.count("window", window) if windowed else steps
    rng = np.random.default_rng(0) if rng is None else rng
    bits, nothing = steps.bit_length(), np.zeros(0, dtype=np.int64)
    kept: dict[int, np.ndarray] = {}
    e = 0
    while True:
        kept[e] = np.zeros(steps + 1, dtype=np.int64)
        earlier = [kept.get(e - size, nothing) if size else nothing for size in sizes]
        decisions = np.zeros(steps + 1, decision_dtype(steps))
        sample = rng.integers(1, steps + 1, SAMPLES) if windowed else nothing
        wrong = _column(kept[e], decisions, *earlier, bits, reach, sample)
        if wrong:
            raise WindowTooNarrow(
                f"window: {window} is too narrow: at t = {wrong}, e = {e} the search over all y finds a "
                'cheaper decision; use a wider window or method="full"'
            )
        yield int(kept[e][0] >> bits), decisions
        kept.pop(e - max(sizes), None)
        e += 1


@compiled
def _column(
    costs: np.ndarray,
    decisions: np.ndarray,
    after_hidden: np.ndarray,
    after_first: np.ndarray,
    after_other: np.ndarray,
    bits: int,
    reach: int,
    sample: np.ndarray,
) -> int:
    """One column; returns an entry of the sample that a search over all y improves on, or 0.

    Columns are stored backwards, C(t, .) * 2^bits at [T - t], so that both terms of a sum over y are read
    forwards.
    """
    T = costs.size - 1
    hidden, other = np.zeros(T + 1, dtype=np.int64), np.zeros(T + 1, dtype=np.int64)
    hidden_first, hidden_last, other_first, other_last = 1, 1, 2, 2
    for t in range(1, T + 1):
        hidden_cost, other_cost = _NONE, _NONE
        if after_hidden.size and t > 1:
            low, high = max(1, hidden_first - reach), min(t - 1, hidden_last + reach)
            hidden_cost, hidden_first, hidden_last = _least(hidden, after_hidden, low, high, t, bits)
        if after_other.size and t > 2:
            low, high = max(2, other_first - reach), min(t - 1, other_last + reach)
            other_cost, other_first, other_last = _least(other, after_other, low, high, t, bits)
        cost, decisions[t] = _choose(
            costs, after_first, bits, t, hidden_cost, hidden_first, other_cost, other_first
        )
        costs[T - t] = cost << bits
        hidden[t] = (t + cost) << bits
        if t < T:
            other[t + 1] = (t + 1 + cost) << bits
    for t in sample:
        hidden_cost, other_cost = _NONE, _NONE
        if after_hidden.size and t > 1:
            hidden_cost, _, _ = _least(hidden, after_hidden, 1, t - 1, t, bits)
        if after_other.size and t > 2:
            other_cost, _, _ = _least(other, after_other, 2, t - 1, t, bits)
        cost, _ = _choose(costs, after_first, bits, t, hidden_cost, 1, other_cost, 2)
        if cost < costs[T - t] >> bits:
            return t
    return 0


@compiled
def _least(
    left: np.ndarray, right: np.ndarray, low: int, high: int, t: int, bits: int
) -> tuple[int, int, int]:
    """The least of left(y) + right(t - y) over y from low to high, and the first and last y that attain it.

    The sums are multiples of 2^bits: plus y - low, the least is at the first y; minus y - low, at the last.
    """
    shift = right.size - 1 - t + low
    left, right = left[low : high + 1], right[shift : shift + high - low + 1]
    first = last = _NONE
    for i in range(left.size):
        total = left[i] + right[i]
        ahead, behind = total + i, total - i
        first = ahead if ahead < first else first
        last = behind if behind < last else last
    mask = (1 << bits) - 1
    return first >> bits, low + (first & mask), low + ((-last) & mask)


@compiled
def _choose(
    costs: np.ndarray,
    after_first: np.ndarray,
    bits: int,
    t: int,
    hidden_cost: int,
    hidden_y: int,
    other_cost: int,
    other_y: int,
) -> tuple[int, int]:
    """Cost and decision at length t, given the best push of either kind; ties as the module says."""
    T = costs.size - 1
    cost, decision = t + (costs[T - t + 1] >> bits), 0
    if other_cost <= cost:
        cost, decision = other_cost, -other_y
    if after_first.size and t > 1 and 1 + (after_first[T - t + 1] >> bits) <= cost:
        cost, decision = 1 + (after_first[T - t + 1] >> bits), -1
    if hidden_cost < cost:
        cost, decision = hidden_cost, hidden_y
    return cost, decision


@compiled
def _follow(
    decisions: np.ndarray, t: int, e: int, hidden_units: int, first_units: int, other_units: int
) -> int:
    """Forward steps that the decisions lead to."""
    smallest = min(hidden_units, first_units)
    if other_units:
        smallest = min(smallest, other_units)
    waiting = np.zeros((e // smallest + 2, 2), dtype=np.int64)  # left parts; each is one push deep
    depth, total = 0, 0
    while True:
        decision = decisions[e, t]
        if e < smallest:
            total += t * (t + 1) // 2
            t = 0
        elif decision == 0:
            total += t
            t -= 1
        else:
            y = abs(decision)
            total += y
            waiting[depth, 0], waiting[depth, 1] = y if decision > 0 else y - 1, e
            depth += 1
            t -= y
            e -= hidden_units if decision > 0 else first_units if y == 1 else other_units
        while t == 0:
            if depth == 0:
                return total
            depth -= 1
            t, e = waiting[depth, 0], waiting[depth, 1]
