"""Memory-efficient backpropagation through time (Gruslys et al. 2016).  Gives up time, for storage.

Plain BPTT keeps an internal state I_k of each of its T steps.  Here only what a budget holds is kept, states
h_k and internal states, and the others are computed again when their turn comes.  Which to keep is a
dynamic program: with m slots, the least number of forward steps for t steps is

    C(t, m) = min over y of  y + C(t-y, m-1) + C(y, m)          a state is kept at y      (1)
    C(t, m) = min over y of  y + C(t-y, m-1) + C(y-1, m)        a tape is kept at y       (4)

(`refsnn.schedules`).  The gradient is that of BPTT, bit for bit the same under every schedule: each step is
run by the same code on the same memory, and the shares of the steps are added in the order T, ..., 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.checkpoint_executor import Counts, Executor, Hooks
from refsnn.algorithms.checkpoint_slots import DiskSlots, MemorySlots
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.algorithms.stepwise import Activity
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Model, Parameters, State
from refsnn.models.spiking_core import SpikingGraphCore
from refsnn.models.working_core import ContractCore, WorkingCore
from refsnn.schedules.online import OnlineRule
from refsnn.schedules.operations import PUSH_I, Schedule
from refsnn.schedules.planning import Plan, Sizes, least_plan, plan

_CONTRACT = tuple(name for name in vars(Model) if not name.startswith("_"))


@dataclass(frozen=True)
class MemoryEfficientResult(GradientResult):
    """A gradient, and how it was come by.

    Attributes
    ----------
    loss, gradients, diagnostics
        As of any algorithm; `diagnostics.steps_executed` is C, `bytes_kept` the start, the working core, the
        adjoint and all slots.
    initial_gradients : dict of str to ndarray
        dL/dh_0.
    input_gradients : ndarray, (T, B, ...), or None
        dL/dx, where it was asked for.
    final_state : dict of str to ndarray
        h_T, without what only adds up over a sequence (`model.accumulators`): the `initial_state` of the next
        part of a sequence that is cut into parts.
    counts : Counts
        What was carried out.
    """

    initial_gradients: State
    input_gradients: np.ndarray | None
    final_state: State
    counts: Counts


def memory_efficient_bptt(
    model: Model,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    budget: int | str | None = None,
    strategy: str = "auto",
    every: int | None = None,
    schedule: Plan | Schedule | None = None,
    initial_state: State | None = None,
    final_adjoint: State | None = None,
    input_gradients: bool = False,
    hooks: Hooks | None = None,
    backend: str = "cpu",
    spill_folder: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MemoryEfficientResult:
    """The gradient of BPTT within the bytes that are granted.

    Parameters
    ----------
    model : Model
        Any network of this package, or of yours: the contract is enough.
    parameters : dict of str to ndarray
        As `model.parameter_shapes()` says.
    inputs : ndarray, (T, B, ...), or StaticInput
        What each step sees; not counted.
    targets
        As the model's loss needs them.
    budget : int or str, optional
        Bytes, or text such as "50 MB": see `refsnn.schedules.planning.plan`.
    strategy : str
        "auto" takes the fewest forward steps; others by name, see `refsnn.schedules.planning.plan`.
    every : int, optional
        The period of "periodic".
    schedule : Plan or Schedule, optional
        A plan made before (`memory_plan`), or any schedule; in the place of budget and strategy.
    initial_state : dict of str to ndarray, optional
        h_0; the model's own by default.  What only adds up over a sequence (`model.accumulators`) may be left
        out, and then starts at 0.
    final_adjoint : dict of str to ndarray, optional
        A further dL/dh_T, for a loss on the last state beside the model's own.
    input_gradients : bool
        Whether dL/dx is wanted; for models with a working core of their own.
    hooks : Hooks, optional
        Called once a step, however often it is run.
    backend : {"plain", "cpu", "cuda"}
        For models with a working core of their own.
    spill_folder : path, optional
        Where a schedule with disk slots puts its file; the system's temporary folder by default.
    progress : callable, optional
        Called with the number of steps pulled back and T, now and then.

    Returns
    -------
    MemoryEfficientResult

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range, a budget that is too small, a model that changes the
        shape of its state, writes to it, or gives something else when a step is run again, a schedule of
        another length, and one that is not legal.
    FloatingPointError
        If a state, the loss or a gradient is not finite.
    SpillError
        If the disk is full, read-only, or gives back what was not written.

    Examples
    --------
    >>> from refsnn.models.recurrent.lstm import LongShortTermMemory
    >>> from refsnn.algorithms.bptt import bptt
    >>> network, rng = LongShortTermMemory((2, 8, 3)), np.random.default_rng(0)
    >>> arguments = network.initialise(rng), rng.random((100, 4, 2)), [0, 1, 2, 0]
    >>> frugal, whole = memory_efficient_bptt(network, *arguments, budget="20 kB"), bptt(network, *arguments)
    >>> all(np.array_equal(frugal.gradients[name], whole.gradients[name]) for name in whole.gradients)
    True
    >>> frugal.diagnostics.steps_executed, frugal.diagnostics.bytes_kept <= 20_000
    (241, True)
    """
    core = working_core(model, parameters, inputs, targets, backend=backend, input_gradients=input_gradients)
    if schedule is None:
        schedule = plan(core.steps, sizes_of(core), budget, strategy, every=every)
    elif budget is not None or strategy != "auto" or every is not None:
        raise ValueError(
            "schedule: expected it alone, got a budget or a strategy too; they are in it already"
        )
    unit_bytes = _unit_bytes(core, schedule)
    if isinstance(schedule, Plan):
        schedule = schedule.schedule
    if schedule.steps != core.steps:
        raise ValueError(
            f"schedule: expected one of {core.steps} steps, as the inputs have, got {schedule.steps}; "
            "make a new plan with memory_plan"
        )
    core.start(initial_state)
    return _carried_out(model, core, schedule, unit_bytes, hooks, final_adjoint, spill_folder, progress)


def memory_plan(
    model: Model,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    budget: int | str | None = None,
    strategy: str = "auto",
    every: int | None = None,
    overhead: float | None = None,
    ratio: float = 2.0,
) -> Plan:
    """What `memory_efficient_bptt` would do, before it does it.

    Parameters
    ----------
    model, parameters, inputs, targets, budget, strategy
        As there.
    every : int, optional
        The period of "periodic".
    overhead : float, optional
        In the place of a budget: few bytes for so much more time than plain BPTT takes, as a share.
    ratio : float
        Time of a step backward over that of one forward, for `overhead`.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        As there, and for an overhead beside a budget or a strategy.

    Examples
    --------
    >>> from refsnn.models.recurrent.lstm import LongShortTermMemory
    >>> network, rng = LongShortTermMemory((2, 8, 3)), np.random.default_rng(0)
    >>> arguments = network.initialise(rng), rng.random((100, 4, 2)), [0, 1, 2, 0]
    >>> chosen = memory_plan(network, *arguments, budget="20 kB")
    >>> chosen.policy.name, chosen.cost, chosen.peak_bytes
    ('MSM', 241, 16192)
    """
    core = working_core(model, parameters, inputs, targets)
    if overhead is not None:
        if budget is not None or strategy != "auto" or every is not None:
            raise ValueError(
                "overhead: expected it alone, got a budget, a strategy or a period too; leave one of them out"
            )
        return least_plan(core.steps, sizes_of(core), overhead, ratio=ratio)
    return plan(core.steps, sizes_of(core), budget, strategy, every=every)


def bptt_until(
    model: Model,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    stop: Callable[[int, State], bool],
    budget: int | str,
    initial_state: State | None = None,
    hooks: Hooks | None = None,
    backend: str = "cpu",
) -> MemoryEfficientResult:
    """The gradient of a run whose length shows only while it runs.

    States are kept by a rule that does not know T (Stumm and Walther 2010; Wang, Moin and Iaccarino 2009),
    which costs no more than the best schedule for T up to (m+1)(m+2)/2 + 1, and little more beyond.

    Parameters
    ----------
    model, parameters, inputs, targets
        As in `memory_efficient_bptt`; `inputs` has as many steps as the run may take at most.
    stop : callable
        Asked with k and h_k after each step k; the first True ends the run there.
    budget : int or str
        Bytes for the start, the working core, the adjoint and states.
    initial_state, hooks, backend
        As in `memory_efficient_bptt`.

    Returns
    -------
    MemoryEfficientResult

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As in `memory_efficient_bptt`.

    Examples
    --------
    >>> from refsnn.models.recurrent.tanh_network import TanhNetwork
    >>> network, rng = TanhNetwork((2, 8, 3)), np.random.default_rng(0)
    >>> arguments = network.initialise(rng), rng.random((100, 4, 2)), [0, 1, 2, 0]
    >>> ended = bptt_until(network, *arguments, stop=lambda step, state: step == 30, budget="4 kB")
    >>> ended.counts.backs, ended.diagnostics.steps_executed
    (30, 98)
    """
    if not callable(stop):
        raise TypeError(f"stop: expected a function of the step and its state, got {stop!r}")
    core = working_core(model, parameters, inputs, targets, backend=backend)
    sizes = sizes_of(core)
    slots = plan(core.steps, sizes, budget, "hsm").schedule.units + 1
    core.start(initial_state)
    schedule = _UntilStopped(OnlineRule(slots), stop, core)
    return _carried_out(model, core, schedule, sizes.state, hooks, None, None, None)


class _UntilStopped:
    """The schedule of `bptt_until`: its length is known when the run has stopped."""

    hidden_units = internal_units = 1
    shares_input = True
    disk_slots = 0

    def __init__(self, rule: OnlineRule, stop: Callable[[int, State], bool], core: WorkingCore) -> None:
        self.rule, self.stop, self.core, self.units = rule, stop, core, rule.slots - 1
        self.longest = core.steps

    @property
    def steps(self) -> int:
        return self.rule.steps_taken

    def chunks(self) -> Iterator[np.ndarray]:
        while self.rule.steps_taken < self.longest:
            yield self.rule.next_step()
            if self.stop(self.rule.steps_taken, self.core.state_after(self.rule.steps_taken)):
                break
        self.core.steps = self.rule.steps_taken
        yield from self.rule.reverse_sweep()


class _Observed(Hooks):
    """Firing rates, margin and statistics of a spiking graph, beside what the user's hooks do."""

    def __init__(self, core: SpikingGraphCore, hooks: Hooks | None) -> None:
        self.core, self.hooks, self.activity = core, hooks or Hooks(), Activity(core.graph)

    def on_first_visit(self, step: int, state: State) -> None:
        self.hooks.on_first_visit(step, state)

    def direct(self, step: int, state: State) -> State | None:
        return self.hooks.direct(step, state)

    def on_back(self, step: int, state: State) -> None:
        if self.core.pulled_back is not None:
            self.activity.add(self.core.pulled_back)
        self.hooks.on_back(step, state)

    def seen(self) -> dict[str, Any]:
        """For the diagnostics; statistics in the order of the steps."""
        for records in self.activity.seen.values():
            records.reverse()
        activity = self.activity
        return {
            "spike_rates": activity.rates(), "margin": activity.margin, "statistics": activity.statistics()
        }  # fmt: skip


def sizes_of(core: WorkingCore) -> Sizes:
    """Bytes of a core's state, tape and adjoint.

    Parameters
    ----------
    core : WorkingCore
        Of any model.

    Returns
    -------
    Sizes
    """
    return Sizes(core.before.nbytes, core.tape.nbytes, core.adjoint.nbytes, core.scratch_bytes)


def working_core(
    model: Model,
    parameters: Any,
    inputs: Any,
    targets: Any,
    *,
    backend: str = "cpu",
    input_gradients: bool = False,
) -> WorkingCore:
    """The model's own core, or one made of its contract.

    Parameters
    ----------
    model, parameters, inputs, targets, backend, input_gradients
        As in `memory_efficient_bptt`.

    Returns
    -------
    WorkingCore

    Raises
    ------
    TypeError, ValueError
        As in `memory_efficient_bptt`.
    """
    if isinstance(model, type) or not isinstance(model, Model):
        missing = sorted(name for name in _CONTRACT if not hasattr(model, name))
        raise TypeError(
            f"model: expected a model such as LongShortTermMemory((2, 32, 10)), got {model!r}, "
            + (f"which lacks {', '.join(missing)}" if missing else "a class; give an object of it")
        )
    checks.choice("backend", backend, BACKENDS)
    checked = model.check(parameters, inputs, targets)
    if hasattr(model, "working_core"):
        return model.working_core(*checked, backend=backend, input_gradients=input_gradients)
    if input_gradients:
        raise ValueError(
            f"input_gradients: {type(model).__name__} has no working core of its own, and the contract's "
            "adjoint of a step does not go to the inputs; leave input_gradients out"
        )
    return ContractCore(model, *checked)


def _unit_bytes(core: WorkingCore, schedule: Plan | Schedule) -> int:
    """Bytes of one unit, such that states and tapes take no more than the schedule says."""
    if not isinstance(schedule, Plan) and not hasattr(schedule, "chunks"):
        raise TypeError(
            "schedule: expected a Plan from memory_plan or a Schedule such as "
            f"PolicySchedule(HiddenStates(), 100, 9), got {schedule!r}; a strategy by name goes to strategy"
        )
    if isinstance(schedule, Plan):
        if schedule.sizes != sizes_of(core):
            raise ValueError(
                f"schedule: made for {schedule.sizes}, but this model and batch have {sizes_of(core)}; "
                "make a new plan with memory_plan"
            )
        return schedule.unit_bytes
    unit = -(-core.before.nbytes // schedule.hidden_units)
    if any((rows[:, 0] == PUSH_I).any() for rows in schedule.chunks()):
        tape = core.tape.nbytes + (0 if schedule.shares_input else core.before.nbytes)
        unit = max(unit, -(-tape // schedule.internal_units))
    return unit


def _carried_out(
    model: Model,
    core: WorkingCore,
    schedule: Schedule,
    unit_bytes: int,
    hooks: Hooks | None,
    final_adjoint: State | None,
    spill_folder: str | os.PathLike[str] | None,
    progress: Callable[[int, int], None] | None,
) -> MemoryEfficientResult:
    """Slots, the run, and what comes of it."""
    last: dict[str, Any] = {}

    def at_end(core: WorkingCore) -> None:
        last["outputs"] = model.outputs(core.parameters, core.after.arrays, core.steps).copy()
        state = core.state_after(core.steps)
        last["state"] = {name: state[name].copy() for name in state if name not in model.accumulators}

    memory = MemorySlots(schedule.units, unit_bytes)
    observed = None
    if hooks is not None:
        checks.instance("hooks", hooks, Hooks, "one of a class that inherits from Hooks")
    if isinstance(core, SpikingGraphCore):
        hooks = observed = _Observed(core, hooks)
    executor = Executor(core, schedule, memory, None, hooks, final_adjoint, at_end, progress)
    if spill_folder is not None and not schedule.disk_slots:
        raise ValueError(
            "spill_folder: expected none with a schedule that keeps all in memory; take a SpilledStates or a "
            "TwoLevelSchedule as the schedule, or leave the folder out"
        )
    if schedule.disk_slots:
        with DiskSlots(spill_folder, schedule.disk_slots, core.before) as executor.disk:
            executor.run()
    else:
        executor.run()
    return MemoryEfficientResult(
        loss=float(core.loss),
        gradients=core.gradients,
        diagnostics=Diagnostics(
            steps_executed=executor.counts.cost,
            bytes_kept=sizes_of(core).fixed + memory.memory.nbytes,
            outputs=last["outputs"],
            **(observed.seen() if observed else {}),
        ),
        initial_gradients=core.initial_gradients(),
        input_gradients=core.input_gradients,
        final_state=last["state"],
        counts=executor.counts,
    )
