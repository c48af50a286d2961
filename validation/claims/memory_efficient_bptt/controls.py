"""N4, N6-N8: a loss summed too often, parameters that move, a cut in time, a wrong price: all must show.

Claims as in `wrong_copies`: each holds when the test fails as it should.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.checkpoint_executor import Executor, Hooks, IllegalOperation
from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.models.contract import State
from refsnn.models.recurrent import LongShortTermMemory, RecurrentSpikingLayer
from refsnn.models.sequences import StepTargets
from refsnn.models.working_core import WorkingCore
from refsnn.schedules.baselines import StoreAll, StoreHidden, StoreNothing
from refsnn.schedules.binomial import hidden_cost
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.operations import POP_H, PUSH_H, RESTORE, Operation, Schedule, operations
from validation.claims.memory_efficient_bptt.gradients import chaotic
from validation.claims.memory_efficient_bptt.problems import (
    CELLS,
    Problem,
    cell,
    recurrent,
)
from validation.claims.memory_efficient_bptt.running import (
    core_of,
    cut_in_the_middle,
    differing,
    execute,
    leaves_in,
    leaves_of,
    run,
    states,
    stored,
    unit_bytes,
    worst,
)
from validation.ledger import Measured, claim, require

# -- N4 ---------------------------------------------------------------------------------------------------


class LossAtFirstVisits(Hooks):
    """The loss as it should be summed."""

    def __init__(self, core: Any) -> None:
        self.core, self.total = core, 0.0

    def on_first_visit(self, step: int, state: State) -> None:
        self.total += float(self.core.step_loss(step))


def loss_in_the_step(problem: Problem, schedule: Schedule, advances_only: bool) -> tuple[float, Any]:
    """The loss summed in the step that `advance` and tapes share, or in `advance` alone; and the core."""
    core: Any = core_of(problem)
    forward, advance = core.forward, core.advance
    total, advancing = 0.0, False

    def counting(step: int) -> None:
        nonlocal total
        forward(step)
        if advancing or not advances_only:
            total += float(core.step_loss(step))

    def moving(first: int, last: int) -> None:
        nonlocal advancing
        advancing = True
        advance(first, last)
        advancing = False

    core.forward, core.advance = counting, moving
    execute(problem, schedule, core)
    return total, core


@claim(
    "memory_efficient_bptt/N4",
    r"A loss that is summed in the step which first and repeated runs share is counted $C/T$ times, $2.75$ at $T=12$ and $m=3$; in the steps without tape alone, "
    r"$(C-T)/T=1.75$ times.  The gradient is right all the same, so the loss is to be compared too.",
    source="specification, N4",
    metric="reported over true loss, all steps with the same loss, less $C/T$ and $(C-T)/T$: the larger",
    relation="<=",
    bound=1e-12,
    control="the loss summed at first visits",
)
def loss_counted_often(rng: np.random.Generator) -> Measured:
    schedule, problem = states(12, 3), recurrent(rng, "tanh", 12)
    require(schedule.cost == hidden_cost(12, 3) == 33, "not the schedule of the specification")
    equal = replace(problem, parameters=dict(problem.parameters), options={})
    equal.parameters["readout.weight"] = np.zeros_like(equal.parameters["readout.weight"])
    values = problem.targets.values[:1]
    equal = replace(equal, targets=StepTargets(np.repeat(values, 12, axis=0), np.ones((12, 2))))
    truth, true_loss = leaves_in(stored(problem)[0]), run(equal, schedule).loss
    ratios, details = [], {}
    for advances_only, times in ((False, 33 / 12), (True, 21 / 12)):
        ratio = loss_in_the_step(equal, schedule, advances_only)[0] / true_loss
        ratios.append(abs(ratio - times))
        reported, core = loss_in_the_step(problem, schedule, advances_only)
        require(differing(leaves_in(core), truth) == 0, "the gradient shows it, too")
        details["in advance alone" if advances_only else "in every step"] = ratio
        details[f"{'in advance alone' if advances_only else 'in every step'}, losses of their own"] = (
            reported / core.loss
        )
    core = core_of(equal)
    hooks = LossAtFirstVisits(core)
    execute(equal, schedule, core, hooks=hooks)
    return Measured(max(ratios), abs(hooks.total / true_loss - 33 / 12), details)


# -- N6, N7 -----------------------------------------------------------------------------------------------


class Descent(Hooks):
    """A step of gradient descent after every step that was pulled back."""

    def __init__(self, core: WorkingCore, rate: float) -> None:
        self.core, self.rate = core, rate

    def on_back(self, step: int, state: State) -> None:
        for name, value in self.core.parameters.items():
            value -= self.rate * self.core.gradients[name]


@claim(
    "memory_efficient_bptt/N6",
    r"Parameters that are updated during the reverse sweep spoil what is run again after it: plain gradient descent on the gradients so far, after every step pulled back.",
    source="specification, N6",
    metric=r"largest error over the largest entry of a leaf, tanh, $T=12$, $m=3$, rate $10^{-2}$",
    relation=">=",
    bound=1e-2,
    control="a rate of 0",
)
def updated_on_the_way(rng: np.random.Generator) -> Measured:
    problem = recurrent(rng, "tanh", 12)
    truth = leaves_in(stored(problem)[0])
    found = {}
    for rate in (1e-2, 1e-3, 0.0):
        own = {name: value.copy() for name, value in problem.parameters.items()}
        moving = replace(problem, parameters=own)
        core = core_of(moving)
        execute(moving, states(12, 3), core, hooks=Descent(core, rate))
        found[rate] = worst(leaves_in(core), truth)
    return Measured(found[1e-2], found[0.0], {"rate 1e-3": found[1e-3]})


def contracting(rng: np.random.Generator) -> Problem:
    """tanh whose gradient vanishes, with a loss at the last step only."""
    problem = recurrent(rng, "tanh", 200, gain=0.5, ends=False)
    return replace(problem, targets=StepTargets(problem.targets.values, (np.arange(200) == 199) * 1.0))


def orthogonal(rng: np.random.Generator) -> Problem:
    """tanh whose gradient survives: an orthogonal recurrent matrix, small inputs, a loss at the last step only."""
    problem = recurrent(rng, "tanh", 200, ends=False)
    parameters = dict(problem.parameters)
    for name in ("layer.1.input_weight", "layer.1.bias"):
        parameters[name] = 0.01 * parameters[name]
    parameters["layer.1.recurrent_weight"] = np.linalg.qr(parameters["layer.1.recurrent_weight"])[0]
    targets = StepTargets(problem.targets.values, (np.arange(200) == 199) * 1.0)
    return replace(problem, parameters=parameters, targets=targets)


@claim(
    "memory_efficient_bptt/N7",
    r"BPTT cut once, at $T/2$, is seen where the gradient survives: an orthogonal recurrent matrix with small inputs ($T=200$, loss at the end), a chaotic network, LSTM, LIF.",
    source="specification, N7",
    metric="largest error of parameters and input over the largest entry of the leaf, of the network where it is smallest",
    relation=">=",
    bound=1e-2,
    control="a contracting network with a loss at the last of 200 steps, where the same cut changes next to nothing",
)
def cut_once(rng: np.random.Generator) -> Measured:
    problems = {
        "orthogonal": orthogonal(rng),
        "chaotic": chaotic(rng),
        "LSTM": recurrent(rng, LongShortTermMemory((4, 10, 3)), 150, ends=False),
        "LIF": recurrent(rng, cell("LIF, attached", width=20), 100, ends=False),
    }
    require(isinstance(problems["LIF"].model, RecurrentSpikingLayer), "not spiking")
    found = {
        name: worst(cut_in_the_middle(problem), leaves_of(run(problem, strategy="all_tapes")))
        for name, problem in problems.items()
    }
    vacuous = contracting(rng)
    control = worst(cut_in_the_middle(vacuous), leaves_of(run(vacuous, strategy="all_tapes")))
    return Measured(min(found.values()), control, found)


# -- N8 ---------------------------------------------------------------------------------------------------


class Rows:
    """A schedule of given operations."""

    hidden_units = internal_units = 1
    shares_input = True
    disk_slots = 0

    def __init__(self, steps: int, stream: Iterable[Operation]) -> None:
        self.steps, self.rows = steps, np.array([*stream], dtype=np.int64)
        self.units = int(self.rows[:, 3].max()) + 1

    def chunks(self) -> Iterator[np.ndarray]:
        yield self.rows


def never_freed(schedule: Schedule) -> Rows:
    """The same without POPs: every push goes to a place of its own."""
    places: dict[int, int] = {}
    stream = []
    for operation in operations(schedule):
        if operation.kind == PUSH_H:
            places[operation.step] = len(set(places.values()))
        if operation.kind in (PUSH_H, RESTORE) and operation.step in places:
            operation = operation._replace(address=places[operation.step])
        if operation.kind != POP_H:
            stream.append(operation)
    return Rows(schedule.steps, stream)


@claim(
    "memory_efficient_bptt/N8",
    r"Schedules with the right gradient, bit for bit, and the wrong price are caught while they run: at $T=12$, $m=3$ ($C=33$, $e=2$) storing nothing, "
    r"all states, all tapes, and the optimal schedule that never frees.",
    source="specification, N8",
    metric="how many of the four have the gradient of BPTT in every bit and break the test of executed cost and peak",
    relation="==",
    bound=4,
    control="the optimal schedules with either tie",
)
def right_gradient_wrong_price(rng: np.random.Generator) -> Measured:
    problem = recurrent(rng, str(rng.choice(CELLS)), 12)
    truth = leaves_in(stored(problem)[0])

    def caught(schedule: Schedule) -> tuple[bool, tuple[int, int]]:
        core = core_of(problem)
        slots = MemorySlots(schedule.units, unit_bytes(core, schedule))
        executor = Executor(core, schedule, slots, None, None, problem.options["final_adjoint"])
        try:
            executor.run()
        except IllegalOperation as error:  # at the very end, when the gradient is there
            require("all copies to be freed" in str(error), str(error))
        counts = executor.counts.cost, executor.counts.peak_units
        right = differing(leaves_in(core), truth) == 0
        return right and counts != (33, 2), counts

    wrong = {
        "nothing": PolicySchedule(StoreNothing(), 12, 0),
        "all states": PolicySchedule(StoreHidden(), 12, 11),
        "all tapes": PolicySchedule(StoreAll(), 12, 11),
        "never freed": never_freed(states(12, 3)),
    }
    found = {name: caught(schedule) for name, schedule in wrong.items()}
    counts = {name: entry[1] for name, entry in found.items()}
    expected = {"nothing": (78, 0), "all states": (23, 11), "all tapes": (12, 11), "never freed": (33, 5)}
    require(counts == expected, f"counted: {counts}")
    optimal = [states(12, 3), states(12, 3, "max")]
    return Measured(sum(entry[0] for entry in found.values()), sum(caught(one)[0] for one in optimal))
