"""HSM over memory and a disk: what is touched least is spilled; for sequences of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.operations import ADDRESS, DISK, LEVEL, MEMORY, NOWHERE
from refsnn.schedules.policies import HiddenStates


class SpilledStates:
    """HSM with the states that are touched least on the disk; from the closed form, for any length.

    The schedule is the best for c0 + c1 states; how much is copied to and from the disk is what comes of it
    (Stumm and Walther 2009).  `TwoLevelSchedule` weighs copies against steps, by tables that grow with T.
    Pushes that were made first stay longest and are read least, so they go to the disk.

    Parameters
    ----------
    steps, memory_slots, disk_slots : int
        T, c0, c1: states beside the start, which is held anyway.

    Attributes
    ----------
    steps, units, hidden_units, internal_units, shares_input, disk_slots
        As of any `Schedule`; units are the c0 slots in memory, one state each.
    cost : int
        C(T, c0 + c1 + 1), forward steps.

    Raises
    ------
    TypeError, ValueError
        For anything but whole numbers: T of at least 1, slots of at least 0.

    Examples
    --------
    >>> from refsnn.schedules.operations import operations
    >>> print(*operations(SpilledStates(3, memory_slots=1, disk_slots=1)), sep=", ")
    ADVANCE 1, PUSH_H 1 disk@0, ADVANCE 2, PUSH_H 2 @0, TAPE 3, BACK 3, POP_H 2 @0, RESTORE 1 disk@0, TAPE 2,
    BACK 2, POP_H 1 disk@0, RESTORE 0, TAPE 1, BACK 1
    """

    hidden_units = 1
    internal_units = 1
    shares_input = True

    def __init__(self, steps: Any, memory_slots: Any, disk_slots: Any) -> None:
        self.steps, self.units = checks.count("steps", steps), checks.count("memory_slots", memory_slots, 0)
        self.disk_slots = checks.count("disk_slots", disk_slots, 0)
        self._states = PolicySchedule(HiddenStates(), self.steps, self.units + self.disk_slots)
        self.cost = self._states.cost

    def chunks(self) -> Iterator[np.ndarray]:
        """The rows in order.

        Yields
        ------
        ndarray of int64, (n, 5)
            Each valid until the next one is asked for.
        """
        for rows in self._states.chunks():
            address, level = rows[:, ADDRESS], rows[:, LEVEL]
            placed = address != NOWHERE
            level[:] = np.where(placed & (address < self.disk_slots), DISK, MEMORY)
            address[placed & (level == MEMORY)] -= self.disk_slots
            yield rows
