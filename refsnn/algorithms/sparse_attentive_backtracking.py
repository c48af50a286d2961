"""Sparse attentive backtracking (Ke 2018): credit jumps to the past states that were retrieved.

BPTT goes back through every step.  Here the recurrent edges are cut every k_trunc steps, and what is left to
carry credit far is the attention: from step t to the at most k_top + 1 memories whose scores made its
weights, and from each of them locally backward, within its segment between two cuts,

    t -> t - 1        unless t mod k_trunc = 0
    t -> tau(j)       for the survivors j of step t and the slot of its threshold.

One reverse sweep visits each step once: a slot is read only later than it was written, so that all its
readers are done when the sweep reaches it.  Nothing in it grows with the square of T
(`refsnn.models.attentive.core`).

What the sweep needs of a step may be kept or computed again: any schedule of memory-efficient BPTT serves,
while the memory itself stays outside of the slots that the schedule counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.checkpoint_executor import Executor, Hooks
from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.algorithms.memory_efficient_bptt import sizes_of
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.models.attentive.core import AttentiveCore
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.attentive.run import Readings
from refsnn.models.contract import Parameters, State
from refsnn.models.working_core import WorkingCore
from refsnn.schedules.planning import plan


@dataclass(frozen=True)
class AttentiveResult(GradientResult):
    """A gradient, and what was remembered.

    Attributes
    ----------
    loss, gradients, diagnostics
        As of any algorithm; `diagnostics.outputs` is the read-out of the last step.
    outputs : ndarray, (T, B, O)
        Of each step.
    readings : Readings
        What each step has read: survivors, their weights, the slot of the threshold.
    slot_times : ndarray of int, (N,)
        tau(j), the step after which slot j was written.
    reach : ndarray, (T, B)
        Norm of dL/dh_t: where credit came to.
    gap : float
        Smallest difference between a threshold and its neighbours in order: below about 1e-12 (1e-5 in
        float32) another order of summation can select other memories.  Of the sparsifiers that shift their
        threshold, or mix it over the batch, it is that of the order, not of who survives.
    initial_gradients, final_state : dict of str to ndarray
        dL/d(h_0, c_0), and (h_T, c_T).
    input_gradients : ndarray, (T, B, I), or None
        dL/dx, where it was asked for.
    """

    outputs: np.ndarray
    readings: Readings
    slot_times: np.ndarray
    reach: np.ndarray
    gap: float
    initial_gradients: State
    final_state: State
    input_gradients: np.ndarray | None

    @property
    def weights(self) -> np.ndarray:
        """w_tj, (T, B, N), see `Readings.weights`."""
        return self.readings.weights()

    @property
    def threshold_slots(self) -> np.ndarray:
        """Which slot's score was the threshold, (T, B), -1 for none."""
        return self.readings.threshold_slots


class _Recorded(Hooks):
    """Outputs and readings of the first visit of each step."""

    def __init__(self, core: AttentiveCore) -> None:
        self.core = core
        self.outputs = np.zeros((core.steps, *core.outputs.shape), core.dtype)
        self.readings = Readings.of(core)

    def on_first_visit(self, step: int, state: State) -> None:
        self.outputs[step - 1] = self.core.read_out()
        self.readings.note(step, self.core)


def sparse_attentive_backtracking(
    network: AttentiveNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    budget: int | str | None = None,
    strategy: str | None = None,
    every: int | None = None,
    initial_state: State | None = None,
    input_gradients: bool = False,
    backend: str = "cpu",
) -> AttentiveResult:
    """The gradient in the graph whose recurrent edges are cut and whose reminding edges are live.

    Parameters
    ----------
    network : AttentiveNetwork
        With `truncate_every=None` nothing is cut, and this is BPTT of the network with attention.
    parameters : dict of str to ndarray
        As `network.parameter_shapes()` says.
    inputs : ndarray, (T, B, I), or StaticInput
        What each step sees.
    targets : array_like or StepTargets
        See `AttentiveNetwork.check`.
    budget, strategy, every
        What is kept of the steps, as in `memory_efficient_bptt`; with neither all of it.  Slots of the memory
        count as scratch of the core: no schedule can do without them.
    initial_state : dict of str to ndarray, optional
        "hidden" and "cell"; zeros by default.
    input_gradients : bool
        Whether dL/dx is wanted.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    AttentiveResult

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.
    FloatingPointError
        If a score, the loss or a gradient is not finite.

    Warns
    -----
    ReminderWarning
        See `AttentiveNetwork.lint`.

    Examples
    --------
    >>> network = AttentiveNetwork((3, 8, 4), top=2, store_every=2, truncate_every=5)
    >>> rng = np.random.default_rng(0)
    >>> inputs, labels = rng.standard_normal((20, 2, 3)), rng.integers(0, 4, (20, 2))
    >>> result = sparse_attentive_backtracking(network, network.initialise(rng), inputs, labels)
    >>> result.slot_times, result.weights.shape, int((result.weights[-1, 0] != 0).sum())
    (array([ 0,  2,  4,  6,  8, 10, 12, 14, 16, 18, 20]), (20, 2, 11), 2)
    """
    checks.instance("network", network, AttentiveNetwork, "AttentiveNetwork((3, 32, 4))")
    if not isinstance(input_gradients, bool):
        raise TypeError(f"input_gradients: expected True or False, got {input_gradients!r}")
    parameters, inputs, checked = network.check(parameters, inputs, targets)
    core = AttentiveCore(network, parameters, inputs, checked, backend)
    if input_gradients:
        core.input_gradients = np.zeros(inputs.shape, core.dtype)
    core.start(initial_state)
    if strategy is None:
        strategy = "all_tapes" if budget is None else "auto"
    chosen = plan(core.steps, sizes_of(core), budget, strategy, every=every)
    memory = MemorySlots(chosen.schedule.units, chosen.unit_bytes)
    recorded, last = _Recorded(core), {}

    def at_end(core: WorkingCore) -> None:
        last.update(core.after.copies())

    executor = Executor(core, chosen.schedule, memory, None, recorded, None, at_end)
    executor.run()
    every_slot = network.store_every or 0
    first = every_slot if network.empty_memory else 0
    return AttentiveResult(
        loss=float(core.loss),
        gradients=core.gradients,
        diagnostics=Diagnostics(
            steps_executed=executor.counts.cost,
            bytes_kept=sizes_of(core).fixed + memory.memory.nbytes,
            outputs=recorded.outputs[-1].copy(),
        ),
        outputs=recorded.outputs,
        readings=recorded.readings,
        slot_times=first + every_slot * np.arange(core.slots),
        reach=core.reach,
        gap=float(core.gap[0]),
        initial_gradients=core.initial_gradients(),
        final_state=last,
        input_gradients=core.input_gradients,
    )
