"""Backpropagation through time: the yardstick.  Gives up nothing, and keeps every step of the run.

For the recursion s_t = F(x_t, s_{t-1}, theta) with L = loss(s_T, y), and lambda_t = dL/ds_t,

    lambda_T = dloss/ds_T,
    lambda_{t-1} = (dF/ds)^T lambda_t,          linearised at s_{t-1}, where the step started,
    dL/dtheta = sum_t (dF/dtheta)^T lambda_t.

`bptt_over_steps` is just that, for any model.  `bptt_over_layers` is the same gradient for a stack whose
layers have no recurrence but their own potential: layer by layer, all time steps in one product, the
charged potential the only thing kept (Yu 2024, Eq. 2).  For spiking neurons "gradient" means surrogate
gradient: the derivative of a spike is the surrogate psi.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.layerwise import layerwise_gradient
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.algorithms.stepwise import stepwise_gradient
from refsnn.algorithms.timekeeping import Steps
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Model, Parameters, zeros_like
from refsnn.models.losses import LOSSES
from refsnn.models.sequences import as_sequence, spike_statistics
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.spiking_layer import spiking_layer_backward, spiking_layer_forward
from refsnn.models.spiking_stack import DenseSpikingStack


def bptt(
    model: Model | SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    window: int | None = None,
    backend: str = "cpu",
) -> GradientResult:
    """Gradient of the loss after all steps, by backpropagation through time.

    Parameters
    ----------
    model : Model or SpikingGraph
        The network.
    parameters : dict of str to ndarray
        As `model.parameter_shapes()` says.
    inputs : ndarray, (T, B, ...), or StaticInput
        What each step sees.
    targets : ndarray
        Labels (B,) or real targets, as the model's loss needs them.
    window : int, optional
        Cut the state's gradient every so many steps, counted from the end; None never cuts
        (see `truncated_bptt`).
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons of a spiking stack.

    Returns
    -------
    GradientResult
        Loss, gradients keyed like the parameters, diagnostics.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> result = bptt(stack, stack.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2])
    >>> result.gradients["layer.1.weight"].shape, result.diagnostics.steps_executed
    ((8, 4), 5)
    """
    if isinstance(model, SpikingGraph):
        kernels, cut = spiking_kernels(backend), _checked_window(window) or 0
        if model.delayed:
            return stepwise_gradient(model, parameters, inputs, targets, kernels, cut)
        return layerwise_gradient(
            model,
            parameters,
            inputs,
            targets,
            lambda steps, dtype: Steps(steps, dtype, kernels, model.edges, cut),
            window=cut,
        )
    checks.instance("model", model, Model, "DenseSpikingStack((64, 32, 10))")
    if isinstance(model, DenseSpikingStack):
        return bptt_over_layers(model, parameters, inputs, targets, window=window, backend=backend)
    return bptt_over_steps(model, parameters, inputs, targets, window=window)


def bptt_over_steps(
    model: Model, parameters: Parameters, inputs: Any, targets: Any, *, window: int | None = None
) -> GradientResult:
    """BPTT over the model contract, step by step; keeps every state.

    Parameters
    ----------
    model : Model
        The network.
    parameters, inputs, targets, window
        As in `bptt`.

    Returns
    -------
    GradientResult
        Loss, gradients keyed like the parameters, diagnostics.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> arguments = stack.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2]
    >>> by_steps = bptt_over_steps(stack, *arguments).gradients["layer.1.weight"]
    >>> bool(np.allclose(by_steps, bptt(stack, *arguments).gradients["layer.1.weight"], rtol=1e-12))
    True
    """
    window = _checked_window(window)
    parameters, inputs, targets = model.check(parameters, inputs, targets)
    steps, batch = len(inputs), len(inputs[0])
    states = [model.initial_state(parameters, batch)]
    for t in range(steps):
        states.append(model.step(parameters, states[-1], inputs[t]))

    adjoint, direct = model.loss_gradient(parameters, states[-1], targets, steps)
    gradients = zeros_like(parameters) | direct
    for t in reversed(range(steps)):
        adjoint, share = model.step_vjp(parameters, states[t], inputs[t], adjoint)
        for name, value in share.items():
            gradients[name] += value
        if window and (steps - t) % window == 0:
            adjoint = {
                name: value if name in model.accumulators else np.zeros_like(value)
                for name, value in adjoint.items()
            }
    return GradientResult(
        loss=model.loss(parameters, states[-1], targets, steps),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=steps,
            bytes_kept=sum(value.nbytes for state in states for value in state.values()),
            outputs=model.outputs(parameters, states[-1], steps),
        ),
    )


def bptt_over_layers(
    model: DenseSpikingStack,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    window: int | None = None,
    backend: str = "cpu",
) -> GradientResult:
    """BPTT of a spiking stack, layer by layer (Yu 2024, Eq. 2); keeps the charged potentials.

    Parameters
    ----------
    model : DenseSpikingStack
        The network.
    parameters, inputs, targets, window, backend
        As in `bptt`.

    Returns
    -------
    GradientResult
        Loss, gradients keyed like the parameters, diagnostics with rates and margin.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> result = bptt_over_layers(stack, stack.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2])
    >>> 0 < result.diagnostics.spike_rates["layer.1"] < 1
    True
    """
    window = _checked_window(window)
    parameters, inputs, targets = model.check(parameters, inputs, targets)
    spiking_kernels(backend)  # refuses an unknown or absent backend, also for a stack without spikes
    neuron = model.neuron
    inputs = as_sequence(inputs)
    steps = inputs.shape[0]

    # Forward: I_t = W s_t + b for all t at once, then the neurons.
    spikes, charged = inputs, {}
    for index in model.hidden:
        name = f"layer.{index}"
        weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        spikes, charged[name] = spiking_layer_forward(neuron, weight, bias, spikes, backend)
    outputs = model.mean_readout(parameters, spikes.mean(axis=0))
    loss_function, loss_gradient = LOSSES[model.loss_function]
    rates, margin = spike_statistics(neuron, charged)
    bytes_kept = sum(array.nbytes for array in charged.values())

    # Backward: every o_t has the same adjoint, 1/T of the mean's.
    readout_adjoint = loss_gradient(outputs, targets) / steps
    gradients = {
        "readout.weight": readout_adjoint.T @ spikes.sum(axis=0),
        "readout.bias": steps * readout_adjoint.sum(axis=0),
    }
    spike_adjoint = np.empty_like(spikes)
    spike_adjoint[:] = readout_adjoint @ parameters["readout.weight"]
    del spikes
    for index in reversed(model.hidden):
        name = f"layer.{index}"
        weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        below = _spikes_of(model, charged[f"layer.{index - 1}"]) if index > 1 else inputs
        gradients[f"{name}.weight"], gradients[f"{name}.bias"], spike_adjoint = spiking_layer_backward(
            neuron,
            weight,
            bias,
            below,
            charged.pop(name),
            spike_adjoint,
            backend,
            window=window or 0,
            with_inputs=index > 1,
            overwrite_charged=True,
        )
    return GradientResult(
        loss=float(loss_function(outputs, targets)),
        gradients={name: gradients[name] for name in parameters},
        diagnostics=Diagnostics(
            steps_executed=steps, bytes_kept=bytes_kept, outputs=outputs, spike_rates=rates, margin=margin
        ),
    )


def _checked_window(window: int | None) -> int | None:
    return None if window is None else checks.count("window", window)


def _spikes_of(model: DenseSpikingStack, charged: np.ndarray) -> np.ndarray:
    constants = model.neuron.constants(charged.dtype)
    return model.neuron.equations.fire(charged, constants.threshold, constants.one)
