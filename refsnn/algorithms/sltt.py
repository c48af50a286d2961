"""Spatial learning through time (Meng et al., ICCV 2023).  Gives up every edge of time.

    dL/dW = sum_t g[t] z[t]^T,    g[t] = psi(u[t] - V_th) (W above)^T g[t] of the layer above.

That is OTTT without its traces.  SLTT-K sends the error down at K of the T steps only, drawn without
replacement; the loss is still divided by T, so that the expected gradient is K/T of SLTT's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.forward_in_time import ForwardInTime
from refsnn.algorithms.ottt import diagnostics
from refsnn.algorithms.result import GradientResult
from refsnn.algorithms.trace_rules import PRESETS
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters, zeros_like
from refsnn.models.spiking_graph import SpikingGraph, check_graph


def sltt(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    learning_steps: int | None = None,
    rng: np.random.Generator | None = None,
    backend: str = "cpu",
) -> GradientResult:
    """Gradient by the error of each step at that step.

    Parameters
    ----------
    graph : SpikingGraph
        The network, with `loss_over="each_step"`; batch normalisation of each step and max pooling are
        welcome.
    parameters, inputs, targets
        As in `refsnn.algorithms.ottt.ottt`.
    learning_steps : int, optional
        K of SLTT-K, at most T; all by default.
    rng : numpy.random.Generator, optional
        Draws the K steps.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.

    Returns
    -------
    GradientResult

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from refsnn.models.operators.dense import Dense
    >>> from refsnn.models.spiking_graph import Node
    >>> graph = SpikingGraph((Node("readout", ("input",), Dense(2)),), (3,), loss_over="each_step")
    >>> start = graph.initialise(np.random.default_rng(0))
    >>> sltt(graph, start, np.ones((4, 1, 3)), [1]).gradients["readout.bias"].shape
    (2,)
    """
    parameters, inputs, targets = check_graph(graph).check_arrays(parameters, inputs, targets)
    steps = len(inputs)
    chosen = np.ones(steps, bool)
    if learning_steps is not None:
        if checks.count("learning_steps", learning_steps) > steps:
            raise ValueError(f"learning_steps: expected at most T = {steps}, got {learning_steps}")
        chosen[:] = False
        chosen[checks.generator("rng", rng).permutation(steps)[:learning_steps]] = True
    kernels = spiking_kernels(backend)
    network = ForwardInTime(graph, PRESETS["sltt"], parameters, len(inputs[0]), steps, kernels)
    gradients = zeros_like(parameters)
    for t in range(steps):
        for name, share in network.step(parameters, inputs[t], targets, learn=bool(chosen[t])).items():
            gradients[name] += share
    return GradientResult(
        loss=graph.loss(parameters, network.state, targets, steps),
        gradients=gradients,
        diagnostics=diagnostics(network, parameters),
    )
