"""Runs under many schedules, what they find, and how it is compared: leaf by leaf, in bits or relative."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.algorithms.checkpoint_executor import Executor, Hooks
from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.algorithms.memory_efficient_bptt import (
    MemoryEfficientResult,
    memory_efficient_bptt,
    sizes_of,
    working_core,
)
from refsnn.models.contract import State
from refsnn.models.working_core import WorkingCore
from refsnn.schedules.baselines import Bisection, Periodic, StoreAll, StoreHidden, StoreNothing, chen
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.online import OnlineSchedule
from refsnn.schedules.operations import Schedule
from refsnn.schedules.planning import Plan
from refsnn.schedules.policies import HiddenStates, InternalStates, Mixed
from refsnn.schedules.two_level import TransferCosts, TwoLevelSchedule
from validation.claims.memory_efficient_bptt.problems import Problem

Leaves = dict[str, np.ndarray]


# -- schedules ------------------------------------------------------------------------------------------


def schedules(
    rng: np.random.Generator, steps: int, sizes: tuple[int, int] = (1, 2), few: bool = False
) -> dict[str, Schedule]:
    """Schedules of every strategy, at budgets from nothing to more than enough, with either tie.

    `sizes` are those of a state and a tape; `few` leaves out most budgets.
    """
    unit = math.gcd(*sizes)
    s_h, s_i = (size // unit for size in sizes)
    slots = [0, 1, *rng.integers(2, max(steps, 4), 1 if few else 3).tolist(), steps + 1]
    found: dict[str, Schedule] = {}
    for e in slots:
        for tie in ("min",) if few else ("min", "max"):
            found[f"HSM {e} {tie}"] = PolicySchedule(HiddenStates(tie=tie), steps, e)
            found[f"ISM {e} {tie}"] = PolicySchedule(InternalStates(tie=tie), steps, e)
        units = e * s_i
        for shares in (True, False):
            tables = mixed_tables(steps, units, s_h, s_i + s_h * (not shares), shares_input=shares, rng=rng)
            found[f"MSM {units} {'shared' if shares else 'plain'}"] = PolicySchedule(
                Mixed(tables), steps, units
            )
    for policy in (
        StoreAll(s_h, s_i), StoreHidden(), StoreNothing(), Bisection(), chen(steps, s_h, s_i),
        Periodic(s_h, s_i, every=int(rng.integers(1, steps + 2))),
    ):  # fmt: skip
        found[policy.name] = PolicySchedule(policy, steps, policy.least_units(steps))
    for rule in ("two_sweep_levels",) if few else ("two_sweep_levels", "levels"):
        found[f"online {rule}"] = OnlineSchedule(steps, int(rng.integers(2, 7)), rule)
    return found


def on_two_levels(rng: np.random.Generator, steps: int) -> dict[str, Schedule]:
    """Schedules that use a disk."""
    found: dict[str, Schedule] = {}
    for _ in range(2):
        c0, c1 = int(rng.integers(1, 3)), int(rng.integers(2, 5))
        costs = TransferCosts(1, 0, 0, 1, 1)
        found[f"disk {c0} {c1}"] = TwoLevelSchedule(steps, c0, c1, costs)
    return found


def states(steps: int, slots: int, tie: str = "min") -> PolicySchedule:
    """HSM with m = `slots`, the start's included."""
    return PolicySchedule(HiddenStates(tie=tie), steps, slots - 1)


# -- runs -----------------------------------------------------------------------------------------------


def run(problem: Problem, schedule: Schedule | None = None, **options: Any) -> MemoryEfficientResult:
    """Through the front door; dL/dx where it can be had."""
    given = {"input_gradients": problem.gives_inputs, "schedule": schedule} | problem.options | options
    return memory_efficient_bptt(*problem.arguments, **given)


def core_of(problem: Problem) -> WorkingCore:
    """A working core of the problem, at its start."""
    core = working_core(*problem.arguments, input_gradients=problem.gives_inputs)
    core.start(problem.options.get("initial_state"))
    return core


def execute(
    problem: Problem,
    schedule: Schedule | Plan,
    core: WorkingCore | None = None,
    slots: type[MemorySlots] = MemorySlots,
    hooks: Hooks | None = None,
) -> tuple[WorkingCore, Executor]:
    """A run with parts of one's own: a core, slots, which may be those of a plan."""
    core = core_of(problem) if core is None else core
    if isinstance(schedule, Plan):
        each, schedule = schedule.unit_bytes, schedule.schedule
    else:
        each = unit_bytes(core, schedule)
    memory = slots(schedule.units, each)
    executor = Executor(core, schedule, memory, None, hooks, problem.options.get("final_adjoint"))
    executor.run()
    return core, executor


def unit_bytes(core: WorkingCore, schedule: Schedule) -> int:
    """Bytes of a unit in which states and tapes of a schedule fit."""
    sizes = sizes_of(core)
    tape = sizes.tape + (0 if schedule.shares_input else sizes.state)
    return max(-(-sizes.state // schedule.hidden_units), -(-tape // schedule.internal_units))


class Cut(Hooks):
    """Forgets what comes back from behind step `at`: truncated BPTT, of a core of a recurrent network."""

    def __init__(self, core: WorkingCore, at: int) -> None:
        self.core, self.at = core, at

    def on_back(self, step: int, state: State) -> None:
        if step == self.at + 1:
            self.core.adjoint.memory.fill(0)


def cut_in_the_middle(problem: Problem) -> Leaves:
    """Gradients of parameters and input under BPTT cut once, at T/2."""
    core = core_of(problem)
    execute(problem, PolicySchedule(StoreNothing(), core.steps, 0), core, hooks=Cut(core, core.steps // 2))
    return gradients_only(leaves_in(core))


# -- what they find -------------------------------------------------------------------------------------


def leaves_of(result: MemoryEfficientResult) -> Leaves:
    """Gradients of parameters, of the start and of the input."""
    found = result.gradients | {f"start.{name}": a for name, a in result.initial_gradients.items()}
    return found if result.input_gradients is None else found | {"inputs": result.input_gradients}


def leaves_in(core: WorkingCore) -> Leaves:
    """The same of a core after its run."""
    found = core.gradients | {f"start.{name}": a for name, a in core.initial_gradients().items()}
    return found if core.input_gradients is None else found | {"inputs": core.input_gradients}


def gradients_only(leaves: Leaves) -> Leaves:
    """Those of parameters and input: what a cut in time does not make a matter of definition."""
    return {name: leaf for name, leaf in leaves.items() if not name.startswith("start.")}


def stored(problem: Problem, core: WorkingCore | None = None) -> tuple[WorkingCore, list[Leaves]]:
    """BPTT that keeps the blocks of every step, and the shares of steps T, ..., 1 each alone."""
    core = core_of(problem) if core is None else core
    kept = []
    for step in range(1, core.steps + 1):
        core.forward(step)
        kept.append([block.memory.copy() for block in (core.before, core.after, core.tape)])
        np.copyto(core.before.memory, core.after.memory)
    core.seed(problem.options.get("final_adjoint"))
    direct = {name: gradient.copy() for name, gradient in core.gradients.items()}
    shares: list[Leaves] = []
    for step in range(core.steps, 0, -1):
        for block, memory in zip((core.before, core.after, core.tape), kept.pop(), strict=True):
            np.copyto(block.memory, memory)
        for gradient in core.gradients.values():
            gradient.fill(0)
        core.backward(step)
        shares.append({name: gradient.copy() for name, gradient in core.gradients.items()})
    for name, gradient in core.gradients.items():
        np.copyto(gradient, summed([direct, *shares])[name])
    return core, [direct, *shares]


def summed(shares: list[Leaves]) -> Leaves:
    """Added up in the order in which they stand."""
    total = {name: value.copy() for name, value in shares[0].items()}
    for share in shares[1:]:
        for name, value in share.items():
            total[name] += value
    return total


# -- comparisons ----------------------------------------------------------------------------------------


def differing(found: Leaves, expected: Leaves) -> int:
    """Leaves that are not the same in every bit."""
    if found.keys() != expected.keys():
        raise AssertionError(f"leaves {sorted(found)} and {sorted(expected)}")
    return sum(not np.array_equal(found[name], expected[name]) for name in expected)


def errors(found: Leaves, expected: Leaves) -> dict[str, float]:
    """Largest difference over the largest entry, of each leaf; absolute where all of it is zero."""
    if expected.keys() != found.keys():
        raise AssertionError(f"leaves {sorted(found)} and {sorted(expected)}")
    return {
        name: float(np.abs(found[name] - truth).max() / (np.abs(truth).max() or 1))
        for name, truth in expected.items()
    }


def worst(found: Leaves, expected: Leaves) -> float:
    """The largest of `errors`; `found` may have fewer leaves."""
    return max(errors(found, {name: expected[name] for name in found}).values())


def each_run(
    problem: Problem, chosen: dict[str, Schedule], **options: Any
) -> Iterator[tuple[str, MemoryEfficientResult]]:
    """One run after the other."""
    for name, schedule in chosen.items():
        yield name, run(problem, schedule, **options)
