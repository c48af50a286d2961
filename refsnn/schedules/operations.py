"""The operations of a checkpointed backward pass, and what a schedule of them is.

The machine has one working core, which holds a working state h_k, and the tape I_k of the step that was run
last; and slots, which hold copies.  Steps are numbered from 1, h_0 is the start, always held.

    ADVANCE j..k   run steps j to k from h_{j-1}: the working state becomes h_k
    TAPE k         run step k and leave its tape in the core
    PUSH_H k       copy the working state h_k to a slot          POP_H k    free that slot
    PUSH_I k       copy the tape I_k to a slot                   POP_I k    move it to the core, free the slot
    RESTORE k      make h_k the working state: from its slot, from inside the tape I_k in a slot, or the start
    BACK k         pull the adjoint through step k, with the tape I_k in the core

A tape comes with its input state: straight after TAPE k+1 the core holds h_k too, and PUSH_H k is allowed.
After TAPE k the working state is h_k; POP_I k makes it h_{k-1}, the input that comes with the tape or, where
pushed tapes leave it out, is held elsewhere until BACK k; BACK leaves it as it is.
Where T is not known before the end (`online`), every store comes so late, and every step is a TAPE.

A row of a schedule is (kind, step, last, address, level): `last` is the last step of an ADVANCE and equals
`step` elsewhere; `address` is where a pushed copy begins, in units, -1 where nothing is pushed, popped or
restored (and for the start); `level` is 0 for memory and 1 for the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

ADVANCE, TAPE, PUSH_H, POP_H, PUSH_I, POP_I, RESTORE, BACK = range(8)
NAMES = ("ADVANCE", "TAPE", "PUSH_H", "POP_H", "PUSH_I", "POP_I", "RESTORE", "BACK")
NOWHERE = -1
MEMORY, DISK = 0, 1
COLUMNS = 5
ADDRESS, LEVEL = 3, 4  # columns
# rows that a schedule holds of itself at a time
CHUNK = 256


class Operation(NamedTuple):
    """One operation, as in the table above.

    Examples
    --------
    >>> print(Operation(ADVANCE, 1, 3), Operation(PUSH_H, 3, 3, address=0), sep=", ")
    ADVANCE 1..3, PUSH_H 3 @0
    """

    kind: int
    step: int
    last: int
    address: int = NOWHERE
    level: int = MEMORY

    def __str__(self) -> str:
        steps = f"{self.step}..{self.last}" if self.last != self.step else f"{self.step}"
        place = "" if self.address == NOWHERE else f" {'disk' if self.level else ''}@{self.address}"
        return f"{NAMES[self.kind]} {steps}{place}"


class Schedule(Protocol):
    """What an executor and a simulator need of a schedule.

    Attributes
    ----------
    steps : int
        T.
    units : int
        e: free units of memory beyond the start and the working core.
    hidden_units, internal_units : int
        s_h and s_I: what a pushed state and a pushed tape take.
    shares_input : bool
        Whether a pushed tape leaves out its input state, because it is held elsewhere at that time.
    disk_slots : int
        Slots for states on the disk, addresses 0, 1, ...; 0 without a disk.
    """

    @property
    def steps(self) -> int:
        """T."""
        ...

    @property
    def units(self) -> int:
        """e."""
        ...

    @property
    def hidden_units(self) -> int:
        """s_h."""
        ...

    @property
    def internal_units(self) -> int:
        """s_I."""
        ...

    @property
    def shares_input(self) -> bool:
        """Whether a pushed tape leaves out its input state."""
        ...

    @property
    def disk_slots(self) -> int:
        """Slots for states on the disk."""
        ...

    def chunks(self) -> Iterator[np.ndarray]:
        """The rows in order, (n, 5) of int64 at a time; each array holds until the next one is asked for."""
        ...


def operations(schedule: Schedule) -> Iterator[Operation]:
    """One operation after the other: to print, count or compare; the executor takes whole chunks.

    Parameters
    ----------
    schedule : Schedule
        What to go through.

    Returns
    -------
    iterator of Operation
    """
    for chunk in schedule.chunks():
        for row in chunk.tolist():
            yield Operation(*row)
