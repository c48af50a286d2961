"""O14: memory and disk with a price on every copy."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np

from refsnn.schedules.binomial import hidden_cost
from refsnn.schedules.operations import ADVANCE, DISK, PUSH_H, RESTORE, TAPE, operations
from refsnn.schedules.simulation import simulate
from refsnn.schedules.two_level import TransferCosts, TwoLevelSchedule, two_level_tables
from validation.ledger import Measured, claim, require

# u, w0, r0, w1, r1
SETTINGS = (
    (1, 0, 0, 5, 5),
    (1, 0, 0, 0, 0),
    (1, 0, 0, 1e6, 1e6),
    (1, 0.5, 0.25, 2, 3),
    (2, 1, 1, 4, 2),
    (1, 3, 2, 1, 1),
)


def paid(schedule: TwoLevelSchedule, disk_reads: bool = True) -> float:
    """The cost of a schedule, operation by operation."""
    u, *copies = astuple(schedule.tables.costs)
    total = 0.0
    for operation in operations(schedule):
        if operation.kind in (ADVANCE, TAPE):
            total += u * (operation.last - operation.step + 1)
        elif operation.kind in (PUSH_H, RESTORE):
            read = operation.kind == RESTORE
            if disk_reads or not (read and operation.level == DISK):
                total += copies[2 * operation.level + read]
    return total


@claim(
    "memory_efficient_bptt/O14",
    r"With slots in memory and on a disk, the schedule that follows the first minima of the H-Revolve recursion costs $T\,u+G_1(T,c_1)$, operation by "
    r"operation, within $c_0$ and $c_1$ slots.",
    source="Herrmann & Pallez 2020; specification, O14 and section 3.9",
    metric=r"largest difference from the planned cost, or slots too many: six price lists and six random ones, random $T\le60$ and slots",
    relation="==",
    bound=0,
    control="reading from the disk counted as free",
)
def two_levels(rng: np.random.Generator) -> Measured:
    prices = [TransferCosts(*setting) for setting in SETTINGS]
    prices += [TransferCosts(*(rng.integers(1, 33, 5) / 4).tolist()) for _ in range(6)]
    worst = control = 0.0
    to_disk = 0
    for costs in prices:
        for _ in range(4):
            t, c0, c1 = int(rng.integers(1, 61)), int(rng.integers(1, 6)), int(rng.integers(0, 5))
            schedule = TwoLevelSchedule(t, c0, c1, costs)
            counts = simulate(schedule)
            over = max(counts.peak_units - c0, counts.peak_disk_slots - c1, 0)
            worst = max(worst, abs(paid(schedule) - schedule.cost), over)
            control = max(control, abs(paid(schedule, disk_reads=False) - schedule.cost))
            to_disk += counts.disk_restores > 0
    tables = two_level_tables(60, 3, 3, prices[0])
    require((tables.extra_cost(60), tables.memory_only(60)) == (190, 234), "not the printed values")
    require(to_disk > 3, f"only {to_disk} schedules read from the disk")
    return Measured(worst, control, {"schedules": 4 * len(prices), "that read from the disk": to_disk})


@claim(
    "memory_efficient_bptt/O14.limits",
    r"With free copies the two levels are one, $G_1(t,c_1)=C_{HSM}(t,c_0+c_1)-t$; with a disk too dear to use, $G_1(t,c_1)=C_{HSM}(t,c_0)-t$.",
    source="specification, O14",
    metric=r"$t\le200$ at which one of them fails, random slots",
    relation="==",
    bound=0,
    control="one slot more on the disk",
)
def limits(rng: np.random.Generator) -> Measured:
    c0, c1 = int(rng.integers(1, 8)), int(rng.integers(1, 8))
    free, dear = (
        two_level_tables(200, c0, c1),
        two_level_tables(200, c0, c1, TransferCosts(disk_write=1e6, disk_read=1e6)),
    )
    value = control = 0
    for t in range(1, 201):
        value += free.extra_cost(t) != hidden_cost(t, c0 + c1) - t
        value += dear.extra_cost(t) != hidden_cost(t, c0) - t
        control += free.extra_cost(t) != hidden_cost(t, c0 + c1 + 1) - t
    return Measured(value, control, {"c0": c0, "c1": c1})
