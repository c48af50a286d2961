"""From decisions to operations, with a stack of frames in place of recursion (Gruslys 2016, Algorithm 2).

A frame is a start a, held, and the units e that are free for what follows it; b is the step that is pulled
back next.  The frame on top of the stack answers for steps a + 1 .. b:

    b = a:     it is done: free its copy; if that is the tape of step a, pull step a back with it, b <- a - 1
    direct:    from h_a to step b with a tape, pull it back, b <- b - 1
    hidden y:  from h_a to h_(a+y), push that: a frame with s_h units fewer
    internal:  the same with the tape of step a + y, and s_I units fewer

As b falls a frame decides anew, with its own e: that is the left part of its last decision.  Copies are freed
in the reverse order of their pushes, so a copy is placed right above those below it.

`rows_in_words` says this in plain Python; `PolicySchedule` runs the same compiled, a chunk at a time, in
memory that does not depend on T.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.kernels.compilation import compiled
from refsnn.schedules.binomial import LARGEST_COMPILED, split_in_64_bits
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    CHUNK,
    COLUMNS,
    MEMORY,
    NOWHERE,
    POP_H,
    POP_I,
    PUSH_H,
    PUSH_I,
    RESTORE,
    TAPE,
    Operation,
)
from refsnn.schedules.policies import (
    ALL_STATES,
    ALL_TAPES,
    DIRECT,
    HALVES,
    HIDDEN,
    INTERNAL,
    PERIOD,
    SEGMENTS,
    STATES,
    TABLE,
    TAPES,
    Policy,
)

# The most rows that one turn of the loop adds: RESTORE, ADVANCE, TAPE, BACK or PUSH_I.
_ROWS_A_TURN = 4


@dataclass(frozen=True)
class PolicySchedule:
    """The operations of a policy for T steps and e free units; see `operations.Schedule`.

    Attributes
    ----------
    policy : Policy
        What decides.
    steps, units : int
        T and e.

    Raises
    ------
    ValueError
        If the policy needs more units, or its tables are for fewer steps or units.

    Examples
    --------
    >>> from refsnn.schedules.operations import operations
    >>> from refsnn.schedules.policies import InternalStates
    >>> schedule = PolicySchedule(InternalStates(), steps=3, units=1)
    >>> print(*operations(schedule), sep="\\n")
    TAPE 1
    PUSH_I 1 @0
    ADVANCE 2
    TAPE 3
    BACK 3
    RESTORE 1 @0
    TAPE 2
    BACK 2
    POP_I 1 @0
    BACK 1
    >>> schedule.cost
    4
    """

    policy: Policy
    steps: int
    units: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", checks.count("steps", self.steps))
        object.__setattr__(self, "units", checks.count("units", self.units, 0))
        least = self.policy.least_units(self.steps)
        if self.units < least:
            raise ValueError(
                f"units: expected at least {least}, which {self.policy.name!r} needs for {self.steps} steps, "
                f"got {self.units}; grant more, or take a policy that makes do with what there is"
            )
        if self.steps > LARGEST_COMPILED:
            raise ValueError(f"steps: expected at most {LARGEST_COMPILED}, got {self.steps}")
        _ = self.cost  # tables that are too small are refused here

    @property
    def cost(self) -> int:
        """Forward steps, the first sweep included, as the policy predicts them."""
        return self.policy.cost(self.steps, self.units)

    @property
    def hidden_units(self) -> int:
        """s_h."""
        return self.policy.hidden_units

    @property
    def internal_units(self) -> int:
        """s_I."""
        return self.policy.internal_units

    @property
    def shares_input(self) -> bool:
        """Whether a pushed tape leaves out its input state."""
        return self.policy.shares_input

    @property
    def disk_slots(self) -> int:
        """0: all in memory."""
        return 0

    def chunks(self) -> Iterator[np.ndarray]:
        """The rows in order, `CHUNK` at a time, in one buffer that is used again."""
        code, option, table = self.policy.compiled()
        sizes = self.hidden_units, self.internal_units
        rows = np.empty((CHUNK, COLUMNS), dtype=np.int64)
        frames = np.zeros((64, 4), dtype=np.int64)
        # more than T copies decide nothing, and units may be too many for 64 bits
        frames[0] = 0, min(self.units, self.steps * max(sizes)), 0, NOWHERE
        progress = np.array([1, self.steps, 0], dtype=np.int64)
        while progress[1] > 0:
            filled = _fill(rows, frames, progress, code, option, *sizes, table)
            if filled:
                yield rows[:filled]
            if progress[0] == len(frames):
                frames = np.concatenate([frames, np.zeros_like(frames)])


def rows_in_words(policy: Policy, steps: int, units: int) -> Iterator[Operation]:
    """The operations of a policy, in plain Python: what the compiled loop has to produce.

    Parameters
    ----------
    policy : Policy
        What decides.
    steps, units : int
        T and e.

    Yields
    ------
    Operation

    Examples
    --------
    >>> from refsnn.schedules.policies import HiddenStates
    >>> print(*rows_in_words(HiddenStates(), 2, 1), sep=", ")
    ADVANCE 1, PUSH_H 1 @0, TAPE 2, BACK 2, POP_H 1 @0, RESTORE 0, TAPE 1, BACK 1
    """
    size = {HIDDEN: policy.hidden_units, INTERNAL: policy.internal_units}
    frames = [(0, units, DIRECT, NOWHERE)]  # its start, free units, what holds its start, where
    top, working, b = 0, 0, steps  # the first free address, the k of the working state, the next step back
    while b > 0:
        a, e, held, address = frames[-1]
        if a == b:
            frames.pop()
            top = address
            if held == HIDDEN:
                yield Operation(POP_H, a, a, address)
            else:
                yield Operation(POP_I, a, a, address)
                yield Operation(BACK, a, a)
                working, b = a - 1, b - 1
            continue
        t = b - a
        kind, y = policy.decide(t, e) if t > 1 else (DIRECT, 1)
        if working != a:
            yield Operation(RESTORE, a, a, address)
        before_last = a + y if kind == HIDDEN else a + y - 1
        if before_last > a:
            yield Operation(ADVANCE, a + 1, before_last)
        working = a + y
        if kind != HIDDEN:
            yield Operation(TAPE, working, working)
        if kind == DIRECT:
            yield Operation(BACK, b, b)
            b -= 1
        else:
            yield Operation(PUSH_H if kind == HIDDEN else PUSH_I, working, working, top)
            frames.append((working, e - size[kind], kind, top))
            top += size[kind]


@compiled
def _decide(
    code: int, option: int, hidden_units: int, internal_units: int, table: np.ndarray, t: int, e: int
) -> tuple[int, int]:
    """Twin of `Policy.decide` for all policies of `policies`."""
    kind, y = DIRECT, t
    if code == STATES:
        if e >= hidden_units:
            kind, y = HIDDEN, split_in_64_bits(t, e // hidden_units + 1, option == 1)
    elif code == TAPES:  # the splits of ISM are those of HSM for one step more
        if e >= internal_units:
            y = split_in_64_bits(t + 1, e // internal_units + 1, option == 1)
            kind = DIRECT if y == t else INTERNAL
    elif code == TABLE:
        decision = table[e, t]
        if decision != 0:
            kind, y = HIDDEN if decision > 0 else INTERNAL, abs(decision)
    elif code == ALL_TAPES or (code in (PERIOD, SEGMENTS) and t <= option):
        kind, y = INTERNAL, 1
    elif code == ALL_STATES:
        kind, y = HIDDEN, 1
    elif code == SEGMENTS:
        kind, y = HIDDEN, (t - 1) % option + 1
    elif code == PERIOD:
        kind, y = HIDDEN, option
    elif code == HALVES:
        kind, y = HIDDEN, t // 2
    return kind, y


@compiled
def _fill(
    rows: np.ndarray,
    frames: np.ndarray,
    progress: np.ndarray,
    code: int,
    option: int,
    hidden_units: int,
    internal_units: int,
    table: np.ndarray,
) -> int:
    """Twin of `rows_in_words` that goes on where it stopped: until rows or frames are full, or to the end.

    `frames` has the columns of the frames there; `progress` holds how many there are, b, and the working
    state.
    """
    depth, b, working = progress[0], progress[1], progress[2]
    n = 0
    while b > 0 and n + _ROWS_A_TURN <= rows.shape[0] and depth < frames.shape[0]:
        a, e, held, address = frames[depth - 1]
        if a == b:
            depth -= 1
            n = _add(rows, n, POP_H if held == HIDDEN else POP_I, a, a, address)
            if held == INTERNAL:
                n = _add(rows, n, BACK, a, a, NOWHERE)
                working = a - 1
                b -= 1
            continue
        t = b - a
        kind, y = DIRECT, 1
        if t > 1:
            kind, y = _decide(code, option, hidden_units, internal_units, table, t, e)
        if working != a:
            n = _add(rows, n, RESTORE, a, a, address)
        before_last = a + y if kind == HIDDEN else a + y - 1
        if before_last > a:
            n = _add(rows, n, ADVANCE, a + 1, before_last, NOWHERE)
        working = a + y
        if kind != HIDDEN:
            n = _add(rows, n, TAPE, working, working, NOWHERE)
        if kind == DIRECT:
            n = _add(rows, n, BACK, b, b, NOWHERE)
            b -= 1
        else:
            size = hidden_units if kind == HIDDEN else internal_units
            top = 0
            if depth > 1:
                top = address + (hidden_units if held == HIDDEN else internal_units)
            n = _add(rows, n, PUSH_H if kind == HIDDEN else PUSH_I, working, working, top)
            frames[depth, 0], frames[depth, 1] = working, e - size
            frames[depth, 2], frames[depth, 3] = kind, top
            depth += 1
    progress[0], progress[1], progress[2] = depth, b, working
    return n


@compiled
def _add(rows: np.ndarray, n: int, kind: int, step: int, last: int, address: int) -> int:
    """One row more, in memory."""
    rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3], rows[n, 4] = kind, step, last, address, MEMORY
    return n + 1
