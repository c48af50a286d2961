"""O2, O7: all schedules give the same bits, and each does what was planned, counted while it runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.algorithms.checkpoint_executor import Hooks
from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.algorithms.memory_efficient_bptt import bptt_until, sizes_of
from refsnn.models.contract import State
from refsnn.models.sequences import StepTargets
from refsnn.models.working_core import Block, WorkingCore
from refsnn.schedules import binomial
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.policies import HiddenStates, InternalStates
from refsnn.schedules.simulation import simulate
from validation.claims.memory_efficient_bptt.counting import planned
from validation.claims.memory_efficient_bptt.gradients import chaotic
from validation.claims.memory_efficient_bptt.problems import CELLS, Problem, recurrent, with_dropout
from validation.claims.memory_efficient_bptt.running import (
    Leaves,
    core_of,
    differing,
    each_run,
    execute,
    leaves_in,
    leaves_of,
    on_two_levels,
    run,
    schedules,
)
from validation.ledger import Measured, claim, require


class FlippedBit(MemorySlots):
    """The first state that is read comes back with the last bit of each of its numbers flipped."""

    flipped = False

    def read(self, address: int, blocks: tuple[Block, ...]) -> None:
        super().read(address, blocks)
        if not self.flipped:
            blocks[0].memory.view(np.uint64)[...] ^= 1
            self.flipped = True


def all_of(result: object) -> Leaves:
    """Leaves, loss and the last outputs."""
    return leaves_of(result) | {
        "loss": np.float64(result.loss),
        "outputs": result.diagnostics.outputs,
    }


@claim(
    "memory_efficient_bptt/O2",
    r"All schedules agree with one another in every bit: HSM, Revolve, ISM and MSM with either tie at any budget, the baselines, the online rules, two levels "
    r"with a file on a disk, and runs whose length shows only at their end; for spikes and chaotic weights too.",
    source="specification, O2",
    metric="leaves (parameters, input, start, loss, last outputs) that differ from the first schedule's",
    relation="==",
    bound=0,
    control="one kept state comes back with the last bit of its numbers flipped, in the chaotic network",
)
def same_bits(rng: np.random.Generator) -> Measured:
    value = runs = 0
    problems = {name: recurrent(rng, name, int(rng.integers(25, 45))) for name in CELLS}
    problems["tanh, dropout"] = with_dropout(rng, 30)
    problems["tanh, chaotic"] = chaotic(rng)
    for problem in problems.values():
        core = core_of(problem)
        chosen = schedules(rng, core.steps, (core.before.nbytes, core.tape.nbytes))
        found = [all_of(r) for _, r in each_run(problem, chosen | on_two_levels(rng, core.steps))]
        value += sum(differing(one, found[0]) for one in found[1:])
        value += stopped_early(problem, int(rng.integers(2, core.steps)))
        runs += len(found) + 1
    core, _ = execute(problem, PolicySchedule(HiddenStates(), 60, 5), slots=FlippedBit)
    control = differing(leaves_in(core), {name: found[0][name] for name in leaves_in(core)})
    return Measured(value, control, {"runs": runs})


def stopped_early(problem: Problem, last: int) -> int:
    """Leaves in which a run that is stopped there differs from one of that many steps."""
    targets = StepTargets(problem.targets.values[:last], problem.targets.weights[:last])
    shorter = replace(problem, inputs=problem.inputs[:last], targets=targets)
    start = {name: value for name, value in problem.options.items() if name == "initial_state"}
    sizes = sizes_of(core_of(problem))
    budget = sizes.fixed + 4 * sizes.state
    ended = bptt_until(*problem.arguments, stop=lambda step, state: step == last, budget=budget, **start)
    expected = run(replace(shorter, options=start), strategy="nothing", input_gradients=False)
    require(ended.counts.backs == last, "not stopped where it should be")
    return differing(all_of(ended), all_of(expected))


# -- counted while it runs ------------------------------------------------------------------------------


class Watched:
    """Counts what a core is asked to do."""

    def __init__(self, core: WorkingCore) -> None:
        self.executions = np.zeros(core.steps, int)
        self.backs: list[int] = []
        self._forward, self._advance, self._backward = core.forward, core.advance, core.backward
        self._inside = False
        core.forward, core.advance, core.backward = self.forward, self.advance, self.backward  # type: ignore[method-assign]

    def forward(self, step: int) -> None:
        self.executions[step - 1] += not self._inside
        self._forward(step)

    def advance(self, first: int, last: int) -> None:
        self.executions[first - 1 : last] += 1
        self._inside = True
        self._advance(first, last)
        self._inside = False

    def backward(self, step: int) -> None:
        self.backs.append(step)
        self._backward(step)


class Calls(Hooks):
    """Writes down when it is called."""

    def __init__(self) -> None:
        self.visits: list[int] = []
        self.directs: list[int] = []
        self.backs: list[int] = []
        self.late = 0

    def on_first_visit(self, step: int, state: State) -> None:
        self.visits.append(step)
        self.late += bool(self.directs or self.backs)

    def direct(self, step: int, state: State) -> None:
        self.directs.append(step)

    def on_back(self, step: int, state: State) -> None:
        self.backs.append(step)


class Highest(MemorySlots):
    """Remembers up to which byte was written."""

    top = 0

    def write(self, address: int, blocks: tuple[Block, ...]) -> None:
        super().write(address, blocks)
        self.top = max(self.top, address * self.unit_bytes + sum(block.nbytes for block in blocks))


@claim(
    "memory_efficient_bptt/O7",
    r"What runs is what was planned: $C(t,m)$ calls of the cell, each step taped once, pulled back in the order $T,\dots,1$, no unit beyond $e$, no step run "
    r"more than $r+1$ (HSM) or $r$ (ISM) times, and every hook called once a step, all first visits before anything goes back.",
    source="specification, O7 and section 3.8",
    metric="violations over 28 random schedules of HSM, ISM and MSM, counted at the cell, in the slots and in the hooks",
    relation="==",
    bound=0,
    control="the cost planned for one unit more",
)
def executed_as_planned(rng: np.random.Generator) -> Measured:
    value = control = 0
    for name, (policy, t, e, cost, often) in zip(
        rng.permutation(CELLS * 5).tolist(), planned(rng), strict=False
    ):
        schedule, problem = PolicySchedule(policy, t, e), recurrent(rng, name, t)
        counts, ascending, descending = simulate(schedule), [*range(1, t + 1)], [*range(t, 0, -1)]
        for calls in (None, Calls()):
            core = core_of(problem)
            watched = Watched(core)
            _, executor = execute(problem, schedule, core, Highest, calls)
            done = executor.counts
            value += (done.cost, done.tapes, done.backs) != (cost, t, t)
            value += watched.executions.sum() != cost or watched.backs != descending
            value += not np.array_equal(watched.executions, counts.executions)
            value += bool(often) and watched.executions.max() > often
            value += done.peak_units != counts.peak_units or done.peak_units > e
            value += done.restores != counts.restores
            value += done.pushes != counts.hidden_pushes + counts.internal_pushes
            value += executor.memory.top > e * executor.memory.unit_bytes
            if calls is not None:
                value += (calls.visits, calls.directs, calls.backs) != (ascending, descending, descending)
                value += calls.late
            if isinstance(policy, (HiddenStates, InternalStates)):
                hidden = isinstance(policy, HiddenStates)
                more = binomial.hidden_cost if hidden else binomial.internal_cost
                control += watched.executions.sum() != more(t, e + 2)
    return Measured(value, control)
