"""O13: the memory of a run is what the plan says, in units and in bytes, and does not grow with its steps."""

from __future__ import annotations

import collections
import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.memory_efficient_bptt import MemoryEfficientResult, memory_plan, sizes_of
from refsnn.models.contract import StaticInput
from refsnn.models.recurrent import (
    GatedRecurrentUnit,
    LongShortTermMemory,
    RecurrentSpikingLayer,
    TanhNetwork,
)
from refsnn.schedules.baselines import StoreAll
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.operations import Schedule
from refsnn.schedules.planning import Plan, plan
from refsnn.schedules.policies import HiddenStates, InternalStates, Policy
from validation.claims.memory_efficient_bptt.problems import CELLS, Problem, recurrent
from validation.claims.memory_efficient_bptt.running import core_of, execute, run
from validation.ledger import Measured, claim, require

STRATEGIES = (
    "auto",
    "hsm",
    "revolve",
    "ism",
    "msm",
    "chen",
    "bisection",
    "all_states",
    "all_tapes",
    "nothing",
)
SLOTS_OVER_CORE = 20  # at least
STEPS = 150
KINDS = (TanhNetwork, LongShortTermMemory, GatedRecurrentUnit, RecurrentSpikingLayer)


@claim(
    "memory_efficient_bptt/O13.units",
    r"In every run the units in use, counted while it runs, never exceed $e$, their peak is the planned one, and start, working core, adjoint and slots together "
    r"are the planned bytes, within the budget.",
    source="specification, O13",
    metric="violations over all strategies and random budgets, six cells",
    relation="==",
    bound=0,
    control="a run that stores every tape, its units counted against the same budgets",
)
def planned_units(rng: np.random.Generator) -> Measured:
    value = control = 0
    for name in CELLS:
        problem = recurrent(rng, name, int(rng.integers(40, 90)), batch=6)
        sizes = sizes_of(core_of(problem))
        whole = memory_plan(*problem.arguments, strategy="all_tapes")
        stored, everything = bytes_in_use(whole, run(problem, whole)), whole.peak_bytes
        least = sizes.fixed + 2 * sizes.tape
        for strategy in STRATEGIES:
            budgeted = strategy in STRATEGIES[:5]
            lowest = everything // 2 if strategy == "msm" else least  # its table takes room
            budget = int(rng.integers(lowest, everything)) if budgeted else None
            made = memory_plan(*problem.arguments, budget=budget, strategy=strategy)
            done = run(problem, made)
            peak = done.counts.peak_units
            value += peak > made.schedule.units or peak != made.counts.peak_units
            value += done.diagnostics.bytes_kept != made.peak_bytes
            if budget is not None:
                value += max(made.peak_bytes, bytes_in_use(made, done)) + made.table_bytes > budget
                control += stored > budget
    return Measured(value, control)


def bytes_in_use(made: Plan, done: MemoryEfficientResult) -> int:
    """At the peak: what every run needs, and the units that were counted."""
    return made.sizes.fixed + done.counts.peak_units * made.unit_bytes


# -- in bytes, by tracemalloc ---------------------------------------------------------------------------


def traced_peak(problem: Problem, schedule: Schedule | Plan) -> int:
    """Peak of a run in bytes, with the making of its core, less the gradients and dL/dx."""
    gc.collect()
    tracemalloc.start()
    try:
        core = core_of(problem)
        execute(problem, schedule, core)
        results = [*core.gradients.values(), core.input_gradients]
        return tracemalloc.get_traced_memory()[1] - sum(
            array.nbytes for array in results if array is not None
        )
    finally:
        tracemalloc.stop()


def traced_call(call: Callable[[], Any]) -> int:
    """Peak of a whole call."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def wide(rng: np.random.Generator, kind: type, steps: int, width: int = 64, batch: int = 64) -> Problem:
    """Arrays that outweigh the objects around them."""
    return recurrent(rng, kind((4, width, 3)), steps, batch=batch, ends=False)


def large_plan(problem: Problem, strategy: str) -> Plan:
    """Slots twenty-two times the states and the tape of the working core, rounded down."""
    sizes = sizes_of(core_of(problem))
    core = 2 * sizes.state + sizes.tape
    budget = sizes.fixed + 22 * core
    if strategy == "msm":  # its table is paid from the same budget, and made before the start
        budget += 4 * len(problem.inputs) * 200
    made = plan(len(problem.inputs), sizes, budget, strategy)
    share = made.slot_bytes / core
    require(share >= SLOTS_OVER_CORE, f"{strategy}: the slots are {share:.1f} working cores")
    return made


@claim(
    "memory_efficient_bptt/O13",
    r"All that a run allocates, traced while it runs, is what was planned: start, working core, adjoint, and slots at least twenty times the states and tape of the core.",
    source="specification, O13 and section 5.1",
    metric="largest traced peak over the planned bytes: HSM, ISM, MSM; tanh, LSTM, GRU, LIF",
    relation="<=",
    bound=1.10,
    control="storing every tape (N8)",
)
def planned_bytes(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for kind in KINDS:
        problem = wide(rng, kind, STEPS)
        run(problem, schedule=PolicySchedule(HiddenStates(), STEPS, 100))  # compiled, and caches filled
        for strategy in ("hsm", "ism", "msm"):
            made = large_plan(problem, strategy)
            collections.deque(made.schedule.chunks(), maxlen=0)  # compiled for its table
            ratio = traced_peak(problem, made) / made.peak_bytes
            details[f"{kind.__name__}, {strategy}"] = ratio
            values.append(ratio)
        called = traced_call(lambda: run(problem, made))  # noqa: B023
        beside = 2 * sum(value.nbytes for value in problem.parameters.values()) + problem.inputs.nbytes
        details[f"{kind.__name__}: whole call less gradients and dL/dx"] = (called - beside) / made.peak_bytes
        whole = plan(STEPS, made.sizes, strategy="all_tapes")
        controls.append(traced_peak(problem, whole) / made.peak_bytes)
    require(min(values) > 0.9, f"less than planned: {min(values):.3f}")
    return Measured(max(values), min(controls), details)


SHORT, LONG = 60, 600


def growth(problem: Problem, policy: Policy) -> float:
    """Of the traced peak from a short to a long run of one input, each step in bytes of one state."""
    peaks = []
    for steps in (SHORT, LONG):
        drive = StaticInput(problem.inputs[0], steps)
        longer = replace(problem, inputs=drive, targets=problem.targets.values[0])
        units = steps - 1 if isinstance(policy, StoreAll) else 20
        core = core_of(longer)
        peaks.append(traced_peak(longer, PolicySchedule(policy, steps, units)))
    dx = core.input_gradients
    require(dx is not None and len(dx) == LONG, "no gradient of the input")
    return (peaks[1] - peaks[0]) / (LONG - SHORT) / core.before.nbytes


@claim(
    "memory_efficient_bptt/O13.steps",
    r"Nothing that a step allocates stays: with the same slots the traced peak of a run of 600 steps is that of one of 60.",
    source="specification, section 5.1",
    metric=r"growth of the traced peak from $T=60$ to $T=600$ for each further step, over the bytes of one state (what a step gives back at once is not "
    r"seen): tanh, LSTM, GRU, LIF under HSM and ISM",
    relation="<=",
    bound=0.01,
    control="storing every tape",
)
def no_growth(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for kind in KINDS:
        problem = wide(rng, kind, 2, width=32, batch=32)
        for policy in (HiddenStates(), InternalStates()):
            details[f"{kind.__name__}, {policy.name}"] = growth(problem, policy)
            values.append(details[f"{kind.__name__}, {policy.name}"])
        controls.append(growth(problem, StoreAll()))
    return Measured(max(values), min(controls), details)
