"""Checkpointing when the number of steps is not known before the last one: which states to keep.

A rule is asked before every step and says which state goes to which slot, in place of which.  Every store is
late by one step: the working core still holds the input state of the step that was run last, so that the
decision about h_i can wait until step i + 2 begins.  When the run ends after T steps, step T is pulled back
from the core, and each part between two kept states is solved with the best HSM schedule for the slots that
are free by then:

    total number of forward steps = T + sum over i of C_HSM(b_i - s_i, m - i),

for the kept states s_0 = 0 < s_1 < ... < s_j, b_j = T - 1 and b_i = s_{i+1} below.

Rules (slots 0..m-1, the start in slot 0):

two_sweep
    Stumm & Walther 2010, Algorithm I.  From state m (m + 3) / 2 - 1 on nothing is stored; the total is that
    of the best schedule for known T as long as T <= (m + 1) (m + 2) / 2 + 1, and far from it soon after.
levels
    Wang, Moin & Iaccarino 2009, without a limit.  A kept state is dispensable if a later one has a higher
    level; the latest dispensable one makes room for a state of level 0; if there is none, the latest state of
    all is replaced, and hands its level plus 1 on.
two_sweep_levels
    The first as far as it goes, then the second with level 0 for all but the start: optimal as long as the
    first is and never far away, so this is the default.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.compilation import compiled
from refsnn.schedules.binomial import hidden_cost, split_in_64_bits
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    CHUNK,
    COLUMNS,
    MEMORY,
    NOWHERE,
    POP_H,
    PUSH_H,
    RESTORE,
    TAPE,
)

RULES = ("two_sweep", "levels", "two_sweep_levels")
_TWO_SWEEP, _LEVELS, _BOTH = range(3)
_FOREVER = np.iinfo(np.int64).max  # level of the start
_ROWS_OF_A_STEP = 3

# whole numbers of the forward and of the reverse sweep
_DONE, _KEPT, _PHASE, _PHASE_START = range(4)
_NEXT, _DEPTH, _WORKING, _FREE = range(4)


class OnlineRule:
    """Decides step by step, without knowing T.

    Use: carry out the rows of `next_step` for as long as there is input, then those of `reverse_sweep`.

    Parameters
    ----------
    slots : int
        m, the start's slot included: m - 1 states can be kept beside it, at addresses 0 to m - 2.
    rule : {"two_sweep_levels", "two_sweep", "levels"}
        See the module.

    Attributes
    ----------
    steps_taken : int
        Steps that `next_step` gave out so far.

    Raises
    ------
    TypeError, ValueError
        For no positive number of slots, and for unknown rules.

    Examples
    --------
    >>> from refsnn.schedules.operations import NAMES
    >>> rule = OnlineRule(slots=2)
    >>> for _ in range(4):
    ...     print(*(NAMES[row[0]] + f" {row[1]}" for row in rule.next_step().tolist()), sep=", ")
    TAPE 1
    TAPE 2
    PUSH_H 1, TAPE 3
    TAPE 4
    >>> rule.kept, rule.cost
    (((0, -1), (1, 0)), 8)
    """

    def __init__(self, slots: Any, rule: str = "two_sweep_levels") -> None:
        self.slots = checks.count("slots", slots)
        self.rule = checks.choice("rule", rule, RULES)
        self._kind = RULES.index(self.rule)
        # (state, slot, level) of what is kept, by state; the start is kept for ever
        self._table = np.zeros((3, self.slots), np.int64)
        self._table[2, 0] = _FOREVER
        self._control = np.array([0, 1, 0, self.slots], np.int64)
        self._rows = np.empty((_ROWS_OF_A_STEP, COLUMNS), np.int64)
        self._finished = False

    @property
    def steps_taken(self) -> int:
        """How many steps were given out."""
        return int(self._control[_DONE])

    @property
    def kept(self) -> tuple[tuple[int, int], ...]:
        """(state, address) of what is kept, the start first, at address -1."""
        states, places = self._table[:2, : self._control[_KEPT]].tolist()
        return tuple((state, place - 1) for state, place in zip(states, places, strict=True))

    @property
    def cost(self) -> int:
        """Forward steps of the whole run if it ended here: T + sum C_HSM."""
        steps, total = self.steps_taken, self.steps_taken
        last = steps - 1
        for depth, (state, _) in reversed(tuple(enumerate(self.kept))):
            if last > state:
                total += hidden_cost(last - state, self.slots - depth)
                last = state
        return total

    def next_step(self) -> np.ndarray:
        """The operations of one more step: at most a POP_H and a PUSH_H, then its TAPE.

        Returns
        -------
        ndarray of int64, (1 to 3, 5)
            Valid until the next call.

        Raises
        ------
        RuntimeError
            After `reverse_sweep`, which uses the slots.
        """
        return self.next_steps(self.steps_taken + 1, self._rows)

    def next_steps(self, until: int, rows: np.ndarray) -> np.ndarray:
        """The operations of several more steps at once.

        Parameters
        ----------
        until : int
            The last step that is wanted.
        rows : ndarray of int64, (n, 5)
            Where to put them; at least three rows, and there may be fewer steps than wanted.

        Returns
        -------
        ndarray of int64
            A view of `rows`, empty when `until` steps were given out before.

        Raises
        ------
        RuntimeError
            After `reverse_sweep`.
        """
        if self._finished:
            raise RuntimeError(
                "rule: the reverse sweep has begun, and its slots with it; make a new OnlineRule"
            )
        return rows[: _forward_rows(rows, until, self._kind, self._control, *self._table)]

    def reverse_sweep(self) -> Iterator[np.ndarray]:
        """The operations that pull back all steps so far, T..1.

        Yields
        ------
        ndarray of int64, (n, 5)
            Each valid until the next one is asked for.

        Raises
        ------
        RuntimeError
            If no step was taken, or for a second call.
        """
        if self._finished or not self.steps_taken:
            raise RuntimeError(
                f"rule: expected steps to pull back, got {'none' if not self._finished else 'a second call'}"
            )
        self._finished = True
        return self._reverse_rows()

    def _reverse_rows(self) -> Iterator[np.ndarray]:
        rows = np.empty((CHUNK, COLUMNS), np.int64)
        steps, depth = self.steps_taken, int(self._control[_KEPT])
        rows[0] = BACK, steps, steps, NOWHERE, MEMORY
        yield rows[:1]
        free = np.setdiff1d(np.arange(1, self.slots), self._table[1, :depth])[::-1]
        starts, addresses = self._table[0].copy(), self._table[1] - 1
        unused = np.zeros(self.slots, np.int64)
        unused[: len(free)] = free - 1
        control = np.array([steps - 1, depth, steps, len(free)], np.int64)
        while control[_NEXT] > 0:
            yield rows[: _reverse_rows(rows, control, starts, addresses, unused)]


class OnlineSchedule:
    """What an `OnlineRule` would do for a T that happens to be known: to simulate, count and print.

    Every step of the first sweep is a TAPE, since any of them may turn out to be the last: `TAPE` counts more
    than T in all, and the total of ADVANCE and TAPE is the cost.

    Parameters
    ----------
    steps, slots : int
        T, and m with the start's slot included.
    rule : {"two_sweep_levels", "two_sweep", "levels"}
        See the module.

    Attributes
    ----------
    steps, units, hidden_units, internal_units, shares_input, disk_slots
        As of any `Schedule`: m - 1 units of one state each.

    Raises
    ------
    TypeError, ValueError
        For bad arguments.

    Examples
    --------
    >>> from refsnn.schedules.operations import operations
    >>> print(*operations(OnlineSchedule(3, 2)), sep=", ")
    TAPE 1, TAPE 2, PUSH_H 1 @0, TAPE 3, BACK 3, RESTORE 1 @0, TAPE 2, BACK 2, POP_H 1 @0,
    RESTORE 0, TAPE 1, BACK 1
    """

    hidden_units = 1
    internal_units = 1
    shares_input = True
    disk_slots = 0

    def __init__(self, steps: Any, slots: Any, rule: str = "two_sweep_levels") -> None:
        self.steps, self.slots = checks.count("steps", steps), checks.count("slots", slots)
        self.rule = checks.choice("rule", rule, RULES)
        self.units = self.slots - 1

    def chunks(self) -> Iterator[np.ndarray]:
        """The rows in order, in memory that does not grow with T.

        Yields
        ------
        ndarray of int64, (n, 5)
            Each valid until the next one is asked for.
        """
        rule, rows = OnlineRule(self.slots, self.rule), np.empty((CHUNK, COLUMNS), np.int64)
        while rule.steps_taken < self.steps:
            yield rule.next_steps(self.steps, rows)
        yield from rule.reverse_sweep()


@compiled
def _put(rows: np.ndarray, n: int, kind: int, first: int, last: int, address: int) -> int:
    """One row; the next one's number."""
    rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3], rows[n, 4] = kind, first, last, address, MEMORY
    return n + 1


@compiled
def _two_sweep_slot(state: int, slots: int, control: np.ndarray) -> int:
    """The slot for this state, 0 for none.

    Phase q = 1..m-1 covers the states P_q .. P_{q+1} - 1, P_1 = m, P_{q+1} = P_q + m - q + 1.
    """
    if state < slots:
        return state
    if control[_PHASE] == 0:
        control[_PHASE] = 1
    while control[_PHASE] < slots and state >= control[_PHASE_START] + slots - control[_PHASE] + 1:
        control[_PHASE_START] += slots - control[_PHASE] + 1
        control[_PHASE] += 1
    phase, offset = control[_PHASE], state - control[_PHASE_START]
    if phase >= slots or offset == 0:
        return 0
    return slots - phase if offset == 1 else offset - 1


@compiled
def _levels_slot(kept: int, places: np.ndarray, levels: np.ndarray) -> tuple[int, int]:
    """The slot for the state at hand, and its level."""
    if kept < len(places):
        return kept, 0
    if kept == 1:
        return 0, 0
    highest = levels[kept - 1]
    for position in range(kept - 2, 0, -1):
        if levels[position] < highest:
            return places[position], 0
        highest = max(highest, levels[position])
    return places[kept - 1], levels[kept - 1] + 1


@compiled
def _forward_rows(
    rows: np.ndarray,
    until: int,
    kind: int,
    control: np.ndarray,
    states: np.ndarray,
    places: np.ndarray,
    levels: np.ndarray,
) -> int:
    """Steps until `until`, as far as there is room; the number of rows."""
    slots, n = len(states), 0
    end_of_two_sweep = slots * (slots + 3) // 2  # P_m + 1
    while control[_DONE] < until and n + _ROWS_OF_A_STEP <= len(rows):
        step = control[_DONE] + 1
        state, kept = step - 2, control[_KEPT]
        slot, level = 0, 0
        if state >= 1:
            if kind == _LEVELS or (kind == _BOTH and state > end_of_two_sweep):
                slot, level = _levels_slot(kept, places, levels)
            else:
                slot = _two_sweep_slot(state, slots, control)
        if slot > 0:
            found = 1
            while found < kept and places[found] != slot:
                found += 1
            if found < kept:
                n = _put(rows, n, POP_H, states[found], states[found], slot - 1)
                for later in range(found, kept - 1):
                    states[later], places[later] = states[later + 1], places[later + 1]
                    levels[later] = levels[later + 1]
                kept -= 1
            states[kept], places[kept], levels[kept] = state, slot, level
            control[_KEPT] = kept + 1
            n = _put(rows, n, PUSH_H, state, state, slot - 1)
        n = _put(rows, n, TAPE, step, step, NOWHERE)
        control[_DONE] = step
    return n


@compiled
def _reverse_rows(
    rows: np.ndarray, control: np.ndarray, starts: np.ndarray, addresses: np.ndarray, free: np.ndarray
) -> int:
    """Pull back from h_b with the frames on the stack, as far as there is room; the number of rows.

    The frame at depth i begins at state starts[i] and has m - i slots, its own included.
    """
    n, slots = 0, len(starts)
    while control[_NEXT] > 0 and n + 4 <= len(rows):
        b, depth = control[_NEXT], control[_DEPTH]
        a, address = starts[depth - 1], addresses[depth - 1]
        if a == b:
            n = _put(rows, n, POP_H, a, a, address)
            free[control[_FREE]] = address
            control[_FREE] += 1
            control[_DEPTH] -= 1
            continue
        if control[_WORKING] != a:
            n = _put(rows, n, RESTORE, a, a, address)
        here = slots - depth + 1
        if here == 1 or b - a == 1:
            if b - a > 1:
                n = _put(rows, n, ADVANCE, a + 1, b - 1, NOWHERE)
            n = _put(rows, n, TAPE, b, b, NOWHERE)
            n = _put(rows, n, BACK, b, b, NOWHERE)
            control[_WORKING], control[_NEXT] = b, b - 1
        else:
            middle = a + split_in_64_bits(b - a, here, False)
            n = _put(rows, n, ADVANCE, a + 1, middle, NOWHERE)
            control[_FREE] -= 1
            n = _put(rows, n, PUSH_H, middle, middle, free[control[_FREE]])
            starts[depth], addresses[depth] = middle, free[control[_FREE]]
            control[_DEPTH], control[_WORKING] = depth + 1, middle
    return n
