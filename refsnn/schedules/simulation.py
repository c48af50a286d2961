"""Whether a schedule is legal, and what it counts: the machine of `operations` without a model.

The machine is followed operation by operation.  It is in a state (working state, tape in the core, copies in
slots, next step back), and each operation has a condition:

    ADVANCE j..k   h_(j-1) is the working state; no step beyond T
    TAPE k         h_(k-1) is the working state
    PUSH_H k       h_k is the working state, or the core holds I_(k+1) straight from TAPE k+1; the units are
                   there and free
    PUSH_I k       I_k is in the core; the units are there and free; in memory
    POP_H k        a copy of h_k, and no tape, begins at the address
    POP_I k        a copy of I_k begins at the address; its input is held, if tapes leave it out
    RESTORE k      a copy of h_k or I_k begins at the address, the input of I_k is held if tapes leave it out;
                   or k = 0 and there is no address
    BACK k         T, T-1, ..., 1 in this order; I_k is in the core; if it comes from a slot and tapes leave
                   out their input, that is still held

h_k is held where k = 0, where it is in a slot, and where it is inside I_k in a slot.  POP_I k makes h_(k-1)
the working state.  ADVANCE, BACK and the RESTORE of another state leave no tape in the core.  At the end all
steps are pulled back and all slots are free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.kernels.compilation import compiled
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    COLUMNS,
    DISK,
    MEMORY,
    NAMES,
    NOWHERE,
    POP_H,
    POP_I,
    PUSH_H,
    PUSH_I,
    RESTORE,
    TAPE,
    Operation,
    Schedule,
)

_REASONS = (
    "legal",
    "there is no such operation",
    "its step is not one of 1..T, or `last` is not where it should be",
    "it starts from another state than the working one, which is h_{working}",
    "this state is not in the core, where h_{working} is the working one",
    "this tape is not in the core, {tape}",
    "there is no such place: memory has {units} units, the disk {disk} slots",
    "the place is taken by another copy",
    "nothing, or something else, begins at this address",
    "tapes are pushed to memory only",
    "the tape leaves out h_{input}, which is held nowhere",
    "the next step to be pulled back is {next}",
    "it has no place, but an address or level is given",
)
(
    _LEGAL,
    _UNKNOWN,
    _STEP,
    _START,
    _STATE,
    _NO_TAPE,
    _NO_PLACE,
    _TAKEN,
    _NOT_THERE,
    _TAPE_ON_DISK,
    _NO_INPUT,
    _ORDER,
    _PLACED,
) = range(len(_REASONS))


class IllegalSchedule(ValueError):
    """A schedule with an operation that cannot be executed, or that ends too early or with copies left."""


@dataclass(frozen=True, eq=False)
class Counts:
    """What a legal schedule does.

    Attributes
    ----------
    advances : int
        Steps run without keeping their tape.
    tapes : int
        Steps run with their tape.
    backs : int
        Steps pulled back: T.
    peak_units, peak_disk_slots : int
        Most units of memory and slots of the disk in use at one time.
    restores, disk_restores : int
        RESTOREs from memory (or of the start), and from the disk.
    hidden_pushes, internal_pushes, disk_pushes : int
        PUSH_H to memory, PUSH_I, and PUSH_H to the disk.
    executions : ndarray of int64, (T,)
        How often each step is run, with or without its tape.
    """

    advances: int
    tapes: int
    backs: int
    peak_units: int
    peak_disk_slots: int
    restores: int
    disk_restores: int
    hidden_pushes: int
    internal_pushes: int
    disk_pushes: int
    executions: np.ndarray

    @property
    def cost(self) -> int:
        """Forward steps, with or without tape."""
        return self.advances + self.tapes

    @property
    def max_repetitions(self) -> int:
        """How often the step that is run most often is run."""
        return int(self.executions.max())


# The columns of the machine's state and tallies.
(
    _WORKING,
    _TAPE,
    _FROM_SLOT,
    _NEXT,
    _USED,
    _PEAK,
    _DISK_USED,
    _DISK_PEAK,
    _ADVANCES,
    _TAPES,
    _BACKS,
    _RESTORES,
    _DISK_RESTORES,
    _HIDDEN_PUSHES,
    _INTERNAL_PUSHES,
    _DISK_PUSHES,
) = range(16)
_NONE = -1


def simulate(schedule: Schedule) -> Counts:
    """Follow a schedule operation by operation, refuse it where it is illegal, and count.

    It takes memory for T steps and for the units in use, and no model.

    Parameters
    ----------
    schedule : Schedule
        Any: of a policy, online, on two levels.

    Returns
    -------
    Counts

    Raises
    ------
    IllegalSchedule
        Naming the operation, its number from 0, and what is wrong with it.

    Examples
    --------
    >>> from refsnn.schedules.frames import PolicySchedule
    >>> from refsnn.schedules.policies import HiddenStates
    >>> counts = simulate(PolicySchedule(HiddenStates(), steps=12, units=2))
    >>> counts.cost, counts.tapes, counts.peak_units, counts.max_repetitions
    (33, 12, 2, 4)
    """
    steps = checks.count("schedule.steps", schedule.steps)
    sizes = schedule.hidden_units, schedule.internal_units
    limits = min(schedule.units, 2**62), schedule.disk_slots  # 64 bits in the compiled loop
    state = np.zeros(16, dtype=np.int64)
    state[_TAPE], state[_NEXT] = _NONE, steps
    held, visits = np.zeros(steps + 1, dtype=np.int64), np.zeros(steps + 2, dtype=np.int64)
    held[0] = 1
    memory, disk = _Slots(limits[0], max(sizes)), _Slots(limits[1], 1)
    number = 0
    for chunk in schedule.chunks():
        if chunk.ndim != 2 or chunk.shape[1] != COLUMNS or chunk.dtype != np.int64:
            raise IllegalSchedule(
                f"chunk: expected int64 rows of {COLUMNS}, got {chunk.dtype} of shape {chunk.shape}"
            )
        memory.grow(chunk[chunk[:, 4] == MEMORY, 3])
        disk.grow(chunk[chunk[:, 4] == DISK, 3])
        legal, reason = _follow(
            chunk, state, held, visits, memory.content, memory.taken, disk.content, disk.taken,
            steps, *limits, *sizes, schedule.shares_input,
        )  # fmt: skip
        if reason != _LEGAL:
            raise IllegalSchedule(_complaint(chunk[legal], number + legal, reason, state, schedule))
        number += len(chunk)
    _check_end(state, number)
    return _counts(state, visits)


class _Slots:
    """What begins at each address: 0 nothing, k + 1 a state h_k, -k a tape I_k; and which units are taken.

    Grows with the addresses that are met.
    """

    def __init__(self, units: int, largest: int) -> None:
        self.units, self.largest = units, largest
        self.content, self.taken = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8)

    def grow(self, addresses: np.ndarray) -> None:
        highest = int(addresses.max(initial=NOWHERE)) + self.largest
        needed = min(self.units, highest)
        if needed > self.content.size:
            size = min(self.units, max(needed, 2 * self.content.size))
            self.content = np.concatenate([self.content, np.zeros(size - self.content.size, dtype=np.int64)])
            self.taken = np.concatenate([self.taken, np.zeros(size - self.taken.size, dtype=np.uint8)])


def _complaint(row: np.ndarray, number: int, reason: int, state: np.ndarray, schedule: Schedule) -> str:
    kind, step, last, address, level = row.tolist()
    known = 0 <= kind < len(NAMES)
    name = str(Operation(kind, step, last, address, level)) if known else f"operation {kind}"
    why = _REASONS[reason].format(
        working=state[_WORKING],
        tape="which holds none" if state[_TAPE] == _NONE else f"which holds that of step {state[_TAPE]}",
        units=schedule.units,
        disk=schedule.disk_slots,
        input=step - 1,
        next=state[_NEXT],
    )
    return f"operation {number}, {name}: {why}"


def _check_end(state: np.ndarray, number: int) -> None:
    if state[_NEXT] != 0:
        raise IllegalSchedule(
            f"the end, after {number} operations: steps {state[_NEXT]}..1 are not pulled back"
        )
    if state[_USED] or state[_DISK_USED]:
        raise IllegalSchedule(
            f"the end, after {number} operations: {state[_USED]} units of memory and {state[_DISK_USED]} "
            "slots of the disk are not freed"
        )


def _counts(state: np.ndarray, visits: np.ndarray) -> Counts:
    return Counts(
        advances=int(state[_ADVANCES]),
        tapes=int(state[_TAPES]),
        backs=int(state[_BACKS]),
        peak_units=int(state[_PEAK]),
        peak_disk_slots=int(state[_DISK_PEAK]),
        restores=int(state[_RESTORES]),
        disk_restores=int(state[_DISK_RESTORES]),
        hidden_pushes=int(state[_HIDDEN_PUSHES]),
        internal_pushes=int(state[_INTERNAL_PUSHES]),
        disk_pushes=int(state[_DISK_PUSHES]),
        executions=np.cumsum(visits)[1:-1],
    )


@compiled
def _follow(
    rows: np.ndarray,
    state: np.ndarray,
    held: np.ndarray,
    visits: np.ndarray,
    memory: np.ndarray,
    taken: np.ndarray,
    disk: np.ndarray,
    disk_taken: np.ndarray,
    steps: int,
    units: int,
    disk_slots: int,
    hidden_units: int,
    internal_units: int,
    shares_input: bool,
) -> tuple[int, int]:
    """Execute rows; how many were legal, and the reason why the next one is not.

    `visits` holds differences: its running sum is how often each step was run.
    """
    for i in range(rows.shape[0]):
        kind, k, last, address, level = rows[i]
        if kind < ADVANCE or kind > BACK:
            return i, _UNKNOWN
        if k < (0 if kind in (PUSH_H, POP_H, RESTORE) else 1) or last < k or last > steps:
            return i, _STEP
        if kind != ADVANCE and last != k:
            return i, _STEP
        if kind in (ADVANCE, TAPE, BACK):
            if address != NOWHERE or level != MEMORY:
                return i, _PLACED
            reason = _run(kind, k, last, state, held, visits, shares_input)
        elif level == MEMORY:
            reason = _move(
                kind,
                k,
                address,
                level,
                state,
                held,
                memory,
                taken,
                units,
                hidden_units,
                internal_units,
                shares_input,
            )
        elif level == DISK:
            reason = _move(
                kind, k, address, level, state, held, disk, disk_taken, disk_slots, 1, 1, shares_input
            )
        else:
            reason = _NO_PLACE
        if reason != _LEGAL:
            return i, reason
    return rows.shape[0], _LEGAL


@compiled
def _run(
    kind: int, k: int, last: int, state: np.ndarray, held: np.ndarray, visits: np.ndarray, shares_input: bool
) -> int:
    """ADVANCE, TAPE and BACK."""
    if kind == BACK:
        if k != state[_NEXT]:
            return _ORDER
        if k != state[_TAPE]:
            return _NO_TAPE
        if shares_input and state[_FROM_SLOT] and held[k - 1] == 0:
            return _NO_INPUT
        state[_NEXT] -= 1
        state[_BACKS] += 1
        state[_TAPE] = _NONE
        return _LEGAL
    if state[_WORKING] != k - 1:
        return _START
    state[_WORKING] = last
    state[_TAPE], state[_FROM_SLOT] = k if kind == TAPE else _NONE, 0
    state[_TAPES if kind == TAPE else _ADVANCES] += last - k + 1
    visits[k] += 1
    visits[last + 1] -= 1
    return _LEGAL


@compiled
def _move(
    kind: int,
    k: int,
    address: int,
    level: int,
    state: np.ndarray,
    held: np.ndarray,
    content: np.ndarray,
    taken: np.ndarray,
    units: int,
    hidden_units: int,
    internal_units: int,
    shares_input: bool,
) -> int:
    """PUSH, POP and RESTORE on one level."""
    of_tape = kind in (PUSH_I, POP_I)
    if kind == RESTORE:
        if address == NOWHERE and level == MEMORY:
            if k != 0:
                return _NOT_THERE
        elif (
            address < 0
            or address >= content.size
            or content[address] not in (k + 1, -k)
            or content[address] == 0
        ):
            return _NOT_THERE
        elif content[address] < 0 and shares_input and held[k - 1] == 0:
            return _NO_INPUT
        if state[_WORKING] != k:
            state[_TAPE] = _NONE
        state[_WORKING] = k
        state[_RESTORES if level == MEMORY else _DISK_RESTORES] += 1
        return _LEGAL
    size = internal_units if of_tape else hidden_units
    if address < 0 or address + size > units:
        return _NO_PLACE
    if of_tape and level == DISK:
        return _TAPE_ON_DISK
    used, peak = (_USED, _PEAK) if level == MEMORY else (_DISK_USED, _DISK_PEAK)
    if kind in (PUSH_H, PUSH_I):
        if of_tape and state[_TAPE] != k:
            return _NO_TAPE
        input_in_core = state[_TAPE] == k + 1 and state[_FROM_SLOT] == 0
        if not of_tape and state[_WORKING] != k and not input_in_core:
            return _STATE
        if taken[address : address + size].any():
            return _TAKEN
        taken[address : address + size] = 1
        content[address] = -k if of_tape else k + 1
        held[k] += 1
        state[used] += size
        state[peak] = max(state[peak], state[used])
        state[_INTERNAL_PUSHES if of_tape else _HIDDEN_PUSHES if level == MEMORY else _DISK_PUSHES] += 1
        return _LEGAL
    if content[address] != (-k if of_tape else k + 1):
        return _NOT_THERE
    taken[address : address + size] = 0
    content[address] = 0
    held[k] -= 1
    state[used] -= size
    if of_tape:
        if shares_input and held[k - 1] == 0:
            return _NO_INPUT
        state[_WORKING], state[_TAPE], state[_FROM_SLOT] = k - 1, k, 1
    return _LEGAL
