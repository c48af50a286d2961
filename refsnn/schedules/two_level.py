"""Slots in memory and slots on a disk, with a price on every copy: the schedule of H-Revolve.

Herrmann & Pallez 2020, over single steps.  With c0 slots in memory and c1 on the disk, w0, r0, w1, r1 for
writing and reading a state, and u for a step, the costs beyond the T steps that are run with their tapes are

    P0(t,1) = u t(t-1)/2 + (t-1) r0,                                              P0(1,m) = G0(1,m) = 0
    P0(t,m) = min(P0(t,1), min_y u y + G0(t-y,m-1) + r0 + P0(y,m)),               G0(t,m) = w0 + P0(t,m)
    P1(t,d) = min(G0(t,c0), min_y u y + G1(t-y,d-1) + r1 + P1(y,d)),              P1(1,d) = G1(1,d) = 0
    G1(t,d) = min(G0(t,c0), w1 + P1(t,d)),                                        G1(t,0) = G0(t,c0)

and the whole run takes T u + G1(T, c1).  P: the part's start is in a slot of that level already; G: it is in
the working core only.  c0 and c1 count that slot, and writing h_0 is paid for like any other write.  First
minimum wins, in the order in which the terms stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.compilation import compiled
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    CHUNK,
    COLUMNS,
    DISK,
    MEMORY,
    NOWHERE,
    POP_H,
    PUSH_H,
    RESTORE,
    TAPE,
)

# What the tables may take, and the splits that may be tried while they are built: about a minute.
MOST_BYTES = 2**30
MOST_SPLITS = 5 * 10**10
_BYTES_OF_AN_ENTRY = 8 + 4  # a cost and a split
_NONE = 0  # no split: the quadratic routine in memory, memory alone on the disk's side

# whole numbers of the machine, and columns of its stack
_NEXT, _DEPTH, _WORKING = range(3)
_KIND, _START, _LEFT, _ADDRESS = range(4)
_ON_DISK, _IN_MEMORY, _QUADRATIC = range(3)


@dataclass(frozen=True)
class TransferCosts:
    """What a step and a copy cost, in any unit of time.

    Attributes
    ----------
    step : float
        u, of one forward step.
    memory_write, memory_read : float
        w0 and r0.
    disk_write, disk_read : float
        w1 and r1.

    Raises
    ------
    TypeError, ValueError
        For negative costs, and for steps without one.

    Examples
    --------
    >>> TransferCosts(disk_write=5, disk_read=5).disk_read
    5.0
    """

    step: float = 1.0
    memory_write: float = 0.0
    memory_read: float = 0.0
    disk_write: float = 0.0
    disk_read: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", checks.number("step", self.step, 0, low_open=True))
        for name in ("memory_write", "memory_read", "disk_write", "disk_read"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), 0))


@dataclass(frozen=True, eq=False)
class TwoLevelTables:
    """The tables of the recursion; row 0 of the memory's is not used.

    Attributes
    ----------
    memory_costs, disk_costs : ndarray of float64, (c0 + 1, T + 1) and (c1 + 1, T + 1)
        P0(t, m) at [m, t] and P1(t, d) at [d, t].
    memory_splits, disk_splits : ndarray of int32
        The first best y; 0 where the term without a split is best.
    costs : TransferCosts
        They were built for.
    """

    memory_costs: np.ndarray
    disk_costs: np.ndarray
    memory_splits: np.ndarray
    disk_splits: np.ndarray
    costs: TransferCosts

    def memory_only(self, steps: int) -> float:
        """G0(t, c0): the extra cost when nothing goes to the disk.

        Examples
        --------
        >>> costs = TransferCosts(disk_write=5, disk_read=5)
        >>> two_level_tables(60, memory_slots=3, disk_slots=3, costs=costs).memory_only(60)
        234.0
        """
        return float(self._memory_only()[self._checked(steps)])

    def extra_cost(self, steps: int, disk_slots: int | None = None) -> float:
        """G1(t, d): the extra cost with d slots on the disk, all of them if not said.

        Examples
        --------
        >>> costs = TransferCosts(disk_write=5, disk_read=5)
        >>> two_level_tables(60, memory_slots=3, disk_slots=3, costs=costs).extra_cost(60)
        190.0
        """
        last = len(self.disk_costs) - 1
        slots = last if disk_slots is None else min(checks.count("disk_slots", disk_slots, 0), last)
        steps = self._checked(steps)
        written = self.costs.disk_write + self.disk_costs[slots, steps]
        return float(min(self._memory_only()[steps], written)) if slots else self.memory_only(steps)

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        tables = (self.memory_costs, self.disk_costs, self.memory_splits, self.disk_splits)
        return sum(table.nbytes for table in tables)

    def _checked(self, steps: int) -> int:
        steps = checks.count("steps", steps)
        if steps >= self.memory_costs.shape[1]:
            raise ValueError(
                f"steps: expected at most {self.memory_costs.shape[1] - 1}, the T of the tables, got {steps}"
            )
        return steps

    def _memory_only(self) -> np.ndarray:
        """G0(., c0)."""
        alone = self.costs.memory_write + self.memory_costs[-1]
        alone[1] = 0.0
        return alone


def two_level_tables(
    steps: Any, memory_slots: Any, disk_slots: Any, costs: TransferCosts | None = None
) -> TwoLevelTables:
    """Build the tables: T^2 (c0 + c1) / 2 sums.

    Parameters
    ----------
    steps, memory_slots, disk_slots : int
        T, c0 of at least 1, c1 of at least 0; more than T of either are of no use, and not built.
    costs : TransferCosts, optional
        A step costs 1 and copies nothing, if not given.

    Returns
    -------
    TwoLevelTables

    Raises
    ------
    TypeError, ValueError
        For bad arguments; sizes whose tables would pass `MOST_BYTES`, or whose building would try more than
        `MOST_SPLITS` splits, are refused with the figures.

    Examples
    --------
    >>> two_level_tables(60, 3, 3).extra_cost(60)  # copies for nothing: as with six slots in memory
    144.0
    """
    steps = checks.count("steps", steps)
    memory_slots = min(checks.count("memory_slots", memory_slots), steps)
    disk_slots = min(checks.count("disk_slots", disk_slots, 0), steps)
    costs = TransferCosts() if costs is None else costs
    checks.instance("costs", costs, TransferCosts, "TransferCosts(disk_write=5, disk_read=5)")
    size = (memory_slots + disk_slots + 2) * (steps + 1) * _BYTES_OF_AN_ENTRY
    splits = (memory_slots + disk_slots) * steps**2 // 2
    if size > MOST_BYTES or splits > MOST_SPLITS:
        raise ValueError(
            f"steps: expected tables of at most {MOST_BYTES / 2**20:.0f} MiB, with {MOST_SPLITS:.0e} splits "
            f"to try, but {steps} steps with {memory_slots} + {disk_slots} slots take {size / 2**20:.0f} MiB "
            f"and {splits:.0e}; take fewer slots, or put several steps together and treat them as one"
        )
    memory_costs, disk_costs = np.zeros((memory_slots + 1, steps + 1)), np.zeros((disk_slots + 1, steps + 1))
    memory_splits, disk_splits = np.zeros_like(memory_costs, np.int32), np.zeros_like(disk_costs, np.int32)
    u, w0, r0 = costs.step, costs.memory_write, costs.memory_read
    _build_memory(memory_costs, memory_splits, u, w0, r0)
    tables = TwoLevelTables(memory_costs, disk_costs, memory_splits, disk_splits, costs)
    _build_disk(disk_costs, disk_splits, tables._memory_only(), u, costs.disk_write, costs.disk_read)
    return tables


class TwoLevelSchedule:
    """The schedule of least total cost, states in memory and on a disk.

    h_0 is pushed like any other start of a part, so that its slot and its write are counted; its rows of
    RESTORE carry that slot's address.  Addresses: 0 to c0 - 1 in memory, 0 to c1 - 1 on the disk.

    Parameters
    ----------
    steps, memory_slots, disk_slots : int
        T, c0, c1.
    costs : TransferCosts, optional
        A step costs 1 and copies nothing, if not given.

    Attributes
    ----------
    steps, units, hidden_units, internal_units, shares_input, disk_slots
        As of any `Schedule`; units are the c0 slots in memory, one state each.
    tables : TwoLevelTables
        What it follows.
    cost : float
        T u + G1(T, c1).

    Raises
    ------
    TypeError, ValueError
        As in `two_level_tables`.

    Examples
    --------
    >>> from refsnn.schedules.operations import operations
    >>> schedule = TwoLevelSchedule(5, 1, 1, TransferCosts(disk_write=0.5, disk_read=0.5))
    >>> print(*operations(schedule), sep=", ")
    PUSH_H 0 disk@0, ADVANCE 1..2, PUSH_H 2 @0, ADVANCE 3..4, TAPE 5, BACK 5, RESTORE 2 @0, ADVANCE 3, TAPE 4,
    BACK 4, RESTORE 2 @0, TAPE 3, BACK 3, POP_H 2 @0, RESTORE 0 disk@0, PUSH_H 0 @0, ADVANCE 1, TAPE 2,
    BACK 2, RESTORE 0 @0, TAPE 1, BACK 1, POP_H 0 @0, POP_H 0 disk@0
    """

    hidden_units = 1
    internal_units = 1
    shares_input = True

    def __init__(
        self, steps: Any, memory_slots: Any, disk_slots: Any, costs: TransferCosts | None = None
    ) -> None:
        self.tables = two_level_tables(steps, memory_slots, disk_slots, costs)
        self.steps = int(steps)
        self.units, self.disk_slots = int(memory_slots), int(disk_slots)
        self.cost = self.steps * self.tables.costs.step + self.tables.extra_cost(self.steps)

    def chunks(self) -> Iterator[np.ndarray]:
        """The rows in order, in memory that does not grow with T beyond the tables.

        Yields
        ------
        ndarray of int64, (n, 5)
            Each valid until the next one is asked for.
        """
        tables, rows = self.tables, np.empty((CHUNK, COLUMNS), np.int64)
        alone, written = tables._memory_only(), tables.costs.disk_write + tables.disk_costs
        to_disk = written < alone  # G1 takes its second term
        control = np.array([self.steps, 0, 0], np.int64)
        stack = np.empty((len(tables.memory_costs) + len(tables.disk_costs), 4), np.int64)
        while control[_NEXT] > 0 or control[_DEPTH] > 0:
            yield rows[: _rows(rows, control, stack, tables.memory_splits, tables.disk_splits, to_disk)]


@compiled
def _build_memory(costs: np.ndarray, splits: np.ndarray, u: float, w0: float, r0: float) -> None:
    """P0(t, m) at costs[m, t]."""
    slots, steps = costs.shape[0] - 1, costs.shape[1] - 1
    given = np.zeros(steps + 1)  # G0(., m - 1)
    for m in range(1, slots + 1):
        for t in range(2, steps + 1):
            best, split = u * (t * (t - 1) // 2) + (t - 1) * r0, _NONE
            if m > 1:
                for y in range(1, t):
                    cost = u * y + given[t - y] + r0 + costs[m, y]
                    if cost < best:
                        best, split = cost, y
            costs[m, t], splits[m, t] = best, split
        given[2:] = w0 + costs[m, 2:]


@compiled
def _build_disk(
    costs: np.ndarray, splits: np.ndarray, alone: np.ndarray, u: float, w1: float, r1: float
) -> None:
    """P1(t, d) at costs[d, t]; `alone` is G0(., c0)."""
    slots, steps = costs.shape[0] - 1, costs.shape[1] - 1
    costs[0] = alone
    given = alone.copy()  # G1(., d - 1)
    for d in range(1, slots + 1):
        for t in range(2, steps + 1):
            best, split = alone[t], _NONE
            for y in range(1, t):
                cost = u * y + given[t - y] + r1 + costs[d, y]
                if cost < best:
                    best, split = cost, y
            costs[d, t], splits[d, t] = best, split
        given[2:] = np.minimum(alone[2:], w1 + costs[d, 2:])


@compiled
def _put(rows: np.ndarray, n: int, kind: int, first: int, last: int, address: int, level: int) -> int:
    """One row; the next one's number."""
    rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3], rows[n, 4] = kind, first, last, address, level
    return n + 1


@compiled
def _enter(
    rows: np.ndarray,
    n: int,
    a: int,
    t: int,
    disk_left: int,
    control: np.ndarray,
    stack: np.ndarray,
    to_disk: np.ndarray,
    memory_left: int,
) -> int:
    """g1(a, t, d), or g0(a, t, m) if d < 0: push h_a to the level that is best, unless t is a single step."""
    if t == 1:
        return n
    depth, on_disk = control[_DEPTH], disk_left > 0 and to_disk[disk_left, t]
    address = 0
    for other in range(depth):
        if (stack[other, _KIND] == _ON_DISK) == on_disk:
            address += 1
    stack[depth, _KIND] = _ON_DISK if on_disk else _IN_MEMORY
    stack[depth, _START], stack[depth, _ADDRESS] = a, address
    stack[depth, _LEFT] = disk_left if on_disk else memory_left
    control[_DEPTH] = depth + 1
    return _put(rows, n, PUSH_H, a, a, address, DISK if on_disk else MEMORY)


@compiled
def _rows(
    rows: np.ndarray,
    control: np.ndarray,
    stack: np.ndarray,
    memory_splits: np.ndarray,
    disk_splits: np.ndarray,
    to_disk: np.ndarray,
) -> int:
    """p0 and p1 as frames on a stack, as far as there is room; the number of rows."""
    n, memory_slots, disk_slots = 0, memory_splits.shape[0] - 1, disk_splits.shape[0] - 1
    while n + 5 <= len(rows) and (control[_NEXT] > 0 or control[_DEPTH] > 0):
        b, depth = control[_NEXT], control[_DEPTH]
        if depth == 0:  # the whole run
            n = _enter(rows, n, 0, b, disk_slots, control, stack, to_disk, memory_slots)
            if b == 1:
                n = _put(rows, n, TAPE, 1, 1, NOWHERE, MEMORY)
                n = _put(rows, n, BACK, 1, 1, NOWHERE, MEMORY)
                control[_NEXT] = 0
            continue
        frame = stack[depth - 1]
        a, t, left = frame[_START], b - frame[_START], frame[_LEFT]
        level = DISK if frame[_KIND] == _ON_DISK else MEMORY
        if t == 0:
            n = _put(rows, n, POP_H, a, a, frame[_ADDRESS], level)
            control[_DEPTH] = depth - 1
            continue
        if control[_WORKING] != a:
            n = _put(rows, n, RESTORE, a, a, frame[_ADDRESS], level)
            control[_WORKING] = a
        split = disk_splits[left, t] if level == DISK else memory_splits[left, t]
        if t > 1 and level == DISK and split == _NONE:
            n = _enter(rows, n, a, t, -1, control, stack, to_disk, memory_slots)
            continue
        if t > 1 and level == MEMORY and split == _NONE:
            frame[_KIND] = _QUADRATIC  # to its end
        middle = b - 1 if t == 1 or frame[_KIND] == _QUADRATIC else a + split
        if middle > a:
            n = _put(rows, n, ADVANCE, a + 1, middle, NOWHERE, MEMORY)
            control[_WORKING] = middle
        if b - middle == 1:
            n = _put(rows, n, TAPE, b, b, NOWHERE, MEMORY)
            n = _put(rows, n, BACK, b, b, NOWHERE, MEMORY)
            control[_WORKING], control[_NEXT] = b, b - 1
        elif level == DISK:
            n = _enter(rows, n, middle, b - middle, left - 1, control, stack, to_disk, memory_slots)
        else:
            n = _enter(rows, n, middle, b - middle, -1, control, stack, to_disk, left - 1)
    return n
