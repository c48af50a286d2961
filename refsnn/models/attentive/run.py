"""An attentive network without its gradient: outputs, and what was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.attentive.core import AttentiveCore
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.contract import Parameters, State


@dataclass(frozen=True)
class AttentiveRun:
    """What a network did with a sequence.

    Attributes
    ----------
    outputs : ndarray, (T, B, O)
        y_t.
    weights : ndarray, (T, B, N)
        w_tj; 0 for slots that did not survive or were not there.
    final_state : dict of str to ndarray
        (h_T, c_T).
    """

    outputs: np.ndarray
    weights: np.ndarray
    final_state: State


def attentive_run(
    network: AttentiveNetwork,
    parameters: Parameters,
    inputs: Any,
    *,
    initial_state: State | None = None,
    backend: str = "cpu",
) -> AttentiveRun:
    """Run a sequence forward.

    Parameters
    ----------
    network : AttentiveNetwork
        The model.
    parameters : dict of str to ndarray
        As `network.parameter_shapes()` says.
    inputs : ndarray, (T, B, I), or StaticInput
        What each step sees.
    initial_state : dict of str to ndarray, optional
        "hidden" and "cell"; zeros by default.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    AttentiveRun

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> network = AttentiveNetwork((3, 8, 4), top=2, store_every=2, truncate_every=5)
    >>> rng = np.random.default_rng(0)
    >>> attentive_run(network, network.initialise(rng), rng.standard_normal((20, 2, 3))).outputs.shape
    (20, 2, 4)
    """
    checks.instance("network", network, AttentiveNetwork, "AttentiveNetwork((3, 32, 4))")
    parameters, inputs = network.check_inputs(parameters, inputs)
    core = AttentiveCore(network, parameters, inputs, None, backend)
    core.start(initial_state)
    outputs = np.zeros((core.steps, *core.outputs.shape), core.dtype)
    weights = np.zeros((core.steps, core.batch, core.slots), core.dtype)
    for step in range(1, core.steps + 1):
        core.forward(step)
        outputs[step - 1] = core.read_out()
        spread(core, weights[step - 1])
        np.copyto(core.before.memory, core.after.memory)
    return AttentiveRun(outputs, weights, core.after.copies())


def spread(core: AttentiveCore, weights: np.ndarray) -> None:
    """The weights of the step at hand, slot by slot.

    Parameters
    ----------
    core : AttentiveCore
        After a step.
    weights : ndarray, (B, N)
        Zeros; filled.
    """
    reading = core.reading
    for sample, count in enumerate(reading.survivors):
        weights[sample, reading.chosen[sample, :count]] = reading.weights[sample, :count]
