"""Live problems from a seed: adaptive spiking neurons, and networks that read their own past."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.algorithms.sparse_attentive_backtracking import sparse_attentive_backtracking
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron, SpikePairsWarning
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.attentive.network import AttentiveNetwork, ReminderWarning
from refsnn.testing.errors import VacuousCheck
from refsnn.testing.problems import TRIES, Problem, call, has_gradients


def adaptive_problem(
    seed: int,
    scheme: str = "official",
    divisor: str = "threshold",
    neurons: int = 4,
    steps: int = 24,
    batch: int = 2,
    refractory: int = 2,
    slots: int = 2,
    stop_reset: bool = False,
    trained: tuple[str, ...] = tuple(NEURON_PARAMETERS),
) -> Problem:
    """Adaptive spiking neurons with delays and refractory periods, and two windows to classify.

    Parameters
    ----------
    seed : int
        Of all arrays.
    scheme : {"official", "paper", "eprop"}
        Order of the operations of a step.
    divisor : {"threshold", "baseline"}
        Of the pseudo-derivative.
    neurons, steps, batch : int
        n, T (at least 8) and B.
    refractory, slots : int
        Steps without a spike after one; longest delay.
    stop_reset : bool
        Whether the reset is detached.
    trained : tuple of str
        Constants of the neuron that are parameters.

    Returns
    -------
    Problem

    Raises
    ------
    VacuousCheck
        If no draw was alive.

    Examples
    --------
    >>> adaptive_problem(0, trained=()).inputs.shape
    (24, 2, 3)
    """
    made_by = call(
        "adaptive_problem", seed=seed, scheme=scheme, divisor=divisor, neurons=neurons, steps=steps,
        batch=batch, refractory=refractory, slots=slots, stop_reset=stop_reset, trained=trained,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikePairsWarning)
        neuron = AdaptiveNeuron(
            leak=0.9, adaptation_decay=0.95, baseline=0.1, refractory=refractory, scheme=scheme,
            divisor=divisor, stop_reset=stop_reset,
            adaptation_strength=tuple(np.where(np.arange(neurons) < neurons // 2, 0.0, 1.2)),
        )  # fmt: skip
    for _ in range(TRIES):
        network = AdaptiveSpikingNetwork(
            (3, neurons, 2), neuron=neuron, delays=Delays.uniform(rng, slots, 3, neurons), trained=trained,
            readout_decay=0.8,
        )  # fmt: skip
        parameters = network.initialise(rng, gain=1.5)
        inputs = (rng.random((steps, batch, 3)) < 0.4) * 1.0
        labels, weights = rng.integers(0, 2, (2, batch)), rng.uniform(0.3, 2, (2, batch))
        targets = WindowTargets([1, steps // 2], [steps // 4, steps - 1], labels, weights)
        result = adaptive_bptt(network, parameters, inputs, targets, backend="plain")
        alive = 0.02 < result.diagnostics.spike_rates["layer.1"] < 0.6
        margin = result.diagnostics.margin
        if alive and (margin is None or margin > 1e-9) and has_gradients(result.gradients, (), 1e-7):
            return Problem(network, parameters, inputs, targets, made_by)
    raise VacuousCheck(f"no live network in {TRIES} draws: {made_by}")


def attentive_problem(
    seed: int,
    widths: tuple[int, int, int] = (2, 4, 3),
    steps: int = 10,
    batch: int = 2,
    top: int = 2,
    store_every: int = 2,
    truncate_every: int | None = 4,
    **options: Any,
) -> Problem:
    """A network that reads its own past, no selection of which is close.

    Parameters
    ----------
    seed : int
        Of all arrays.
    widths : tuple of int
        Input, units, outputs.
    steps, batch : int
        T and B.
    top, store_every, truncate_every : int
        k_top, k_att, k_trunc.
    **options
        Of the network.

    Returns
    -------
    Problem

    Raises
    ------
    VacuousCheck
        If no draw was alive.

    Examples
    --------
    >>> attentive_problem(0).inputs.shape
    (10, 2, 2)
    """
    made_by = call("attentive_problem", seed=seed, widths=widths, steps=steps, batch=batch, top=top,
                    store_every=store_every, truncate_every=truncate_every, **options)  # fmt: skip
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        network = AttentiveNetwork(
            widths, score_width=3, top=top, store_every=store_every, truncate_every=truncate_every, **options
        )
        for _ in range(TRIES):
            parameters = {
                name: 0.5 * rng.standard_normal(shape) for name, shape in network.parameter_shapes().items()
            }
            parameters["attention.score_weight"] = parameters["attention.score_weight"] * 4
            inputs = rng.standard_normal((steps, batch, widths[0]))
            labels = rng.integers(0, widths[2], (steps, batch) if network.readout == "all" else (batch,))
            with np.errstate(all="ignore"):
                try:
                    result = sparse_attentive_backtracking(
                        network, parameters, inputs, labels, backend="plain"
                    )
                except FloatingPointError:  # raw scores are not bounded
                    continue
            bounded = np.isfinite(result.loss) and np.abs(result.outputs).max() < 50
            if bounded and result.gap > 1e-4 and has_gradients(result.gradients, (), 1e-6):
                return Problem(network, parameters, inputs, labels, made_by)
    raise VacuousCheck(f"no live network in {TRIES} draws: {made_by}")
