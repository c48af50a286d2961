"""O3, O14 against another package, checkpoint_schedules, where it is installed; and a defect of it, with figures."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.schedules.binomial import hidden_cost
from refsnn.schedules.two_level import TransferCosts, two_level_tables
from validation.ledger import Measured, claim, require

INSTALLED = importlib.util.find_spec("checkpoint_schedules") is not None


def actions(schedule: Any) -> Iterator[Any]:
    """What a schedule of the package does, up to its end."""
    from checkpoint_schedules import EndReverse

    for action in schedule:
        if isinstance(action, EndReverse):
            return
        yield action


def forward_steps(schedule: Any) -> int:
    """Sum of the lengths of all Forward actions."""
    from checkpoint_schedules import Forward

    return sum(action.n1 - action.n0 for action in actions(schedule) if isinstance(action, Forward))


def extra_cost(steps: int, memory: int, disk: int, price: float, **backward: float) -> float:
    """What its H-Revolve pays beyond T steps forward, with a free memory and one price for disk transfers."""
    from checkpoint_schedules import Copy, Forward, HRevolve, Move, StorageType

    total = -float(steps)
    for action in actions(HRevolve(steps, memory, disk, wd=price, rd=price, **backward)):
        if isinstance(action, Forward):
            total += action.n1 - action.n0
            total += price * (action.write_ics and action.storage == StorageType.DISK)
        elif isinstance(action, (Copy, Move)):
            total += price * (action.from_storage == StorageType.DISK)
    return total


def binomial_actions(rng: np.random.Generator) -> Measured:
    """O3.package."""
    from checkpoint_schedules import MultistageCheckpointSchedule, Revolve

    value = control = cases = 0
    for _ in range(25):
        t, m = int(rng.integers(2, 250)), int(rng.integers(1, 20))
        schedules = [
            MultistageCheckpointSchedule(t, m, 0, trajectory=name) for name in ("maximum", "revolve")
        ]
        if t < 100:
            schedules.append(Revolve(t, m))
        for schedule in schedules:
            forward, cases = forward_steps(schedule), cases + 1
            value += forward != hidden_cost(t, m)
            control += forward != hidden_cost(t, m + 1)
    return Measured(value, control, {"schedules": cases})


def hierarchical_actions(rng: np.random.Generator) -> Measured:
    """O14.package."""
    value = control = disk_pays = 0
    for _ in range(20):
        t, c0, c1 = int(rng.integers(2, 50)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
        price = float(rng.integers(1, 24)) / 4
        tables = two_level_tables(t, c0, c1, TransferCosts(disk_write=price, disk_read=price))
        paid = extra_cost(t, c0, c1, price)
        value += paid != tables.extra_cost(t)
        control += paid != tables.memory_only(t)
        disk_pays += tables.extra_cost(t) < tables.memory_only(t)
    require(disk_pays > 0, "the disk was never worth its price")
    return Measured(value, control, {"cases that use the disk": disk_pays})


def swapped_prices(rng: np.random.Generator) -> Measured:
    """O14.package_defect."""
    paid = {ub: extra_cost(60, 3, 3, 5.0, ub=ub) for ub in (1, 2, 0.1)}
    optimum = two_level_tables(60, 3, 3, TransferCosts(disk_write=5, disk_read=5)).extra_cost(60)
    require(paid == {1: 190, 2: 194, 0.1: 497} and optimum == 190, f"paid {paid}, optimum {optimum}")
    return Measured(
        min(paid[2], paid[0.1]) - optimum, paid[1] - optimum, {f"ub = {ub}": paid[ub] for ub in paid}
    )


if INSTALLED:
    claim(
        "memory_efficient_bptt/O3.package",
        r"The schedules of checkpoint_schedules, Multistage in both trajectories and Revolve, run $C_{HSM}(t,m)$ steps forward.",
        source="specification, O3",
        metric=r"schedules whose Forward actions add up to something else, random $t<250$, $m<20$",
        relation="==",
        bound=0,
        control=r"$C_{HSM}(t,m+1)$",
    )(binomial_actions)
    claim(
        "memory_efficient_bptt/O14.package",
        r"The H-Revolve schedules of checkpoint_schedules cost $T+G_1(T,c_1)$ as long as a step back costs what a step forward does.",
        source="specification, O14 and section 3.9",
        metric=r"schedules that cost something else, random $T<50$, slots and prices",
        relation="==",
        bound=0,
        control=r"$T+G_0(T,c_0)$, memory alone",
    )(hierarchical_actions)
    claim(
        "memory_efficient_bptt/O14.package_defect",
        r"Where a step back costs something else, those schedules are not optimal, since the two prices are swapped on the way to its table: at "
        r"$T=60$, 3 slots each and transfers of 5, the extra cost is 194 with $u_B=2$ and 497 with $u_B=0.1$; the optimum is 190 whatever $u_B$.",
        source="specification, section 8",
        metric="cost above the optimum, the smaller of the two",
        relation="==",
        bound=4,
        control=r"$u_B=u_F$",
    )(swapped_prices)
