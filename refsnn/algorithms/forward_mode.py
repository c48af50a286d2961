"""Forward mode and real-time recurrent learning: BPTT's independent twin.

Derivatives run along with the computation instead of against it.  For one direction d in parameter space

    ds_t = (dF/ds) ds_{t-1} + (dF/dtheta) d,     ds_0 = 0,     dL = (dloss/ds_T) ds_T,

and RTRL does so for every coordinate direction at once: P_t = (dF/ds) P_{t-1} + dF/dtheta.  Nothing of the
past is kept, at the price of one tangent a parameter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.models.contract import Model, Parameters, State, zeros_like


def forward_mode(
    model: Model, parameters: Parameters, inputs: Any, targets: Any, direction: Parameters
) -> tuple[float, float]:
    """Loss and its derivative along one direction in parameter space.

    Parameters
    ----------
    model : Model
        The network.
    parameters, inputs, targets
        As in `refsnn.algorithms.bptt.bptt`.
    direction : dict of str to ndarray
        Shaped like the parameters, of the same dtype.

    Returns
    -------
    loss, derivative : float
        L and dL/dh of L(parameters + h direction) at h = 0.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from refsnn.models.spiking_stack import DenseSpikingStack
    >>> stack = DenseSpikingStack((2, 3))
    >>> parameters = stack.initialise(np.random.default_rng(0))
    >>> loss, derivative = forward_mode(stack, parameters, np.ones((1, 1, 2)), [0], parameters)
    """
    checks.instance("model", model, Model, "dense_network((64, 32, 10))")
    parameters, inputs, targets = model.check(parameters, inputs, targets)
    dtype = next(iter(parameters.values())).dtype
    direction = checks.parameters("direction", direction, model.parameter_shapes(), dtype=dtype)
    final, tangent = _push(model, parameters, inputs, direction)
    cotangent, direct = model.loss_gradient(parameters, final, targets, len(inputs))
    derivative = sum(float((cotangent[name] * tangent[name]).sum()) for name in cotangent)
    derivative += sum(float((direct[name] * direction[name]).sum()) for name in direct)
    return model.loss(parameters, final, targets, len(inputs)), derivative


def rtrl(model: Model, parameters: Parameters, inputs: Any, targets: Any) -> GradientResult:
    """The whole gradient by forward mode, one tangent a parameter.

    Parameters
    ----------
    model : Model
        The network; small, for the cost is that of (number of parameters) forward passes.
    parameters, inputs, targets
        As in `refsnn.algorithms.bptt.bptt`.

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
    >>> from refsnn.models.spiking_stack import DenseSpikingStack
    >>> stack = DenseSpikingStack((2, 3))
    >>> parameters = stack.initialise(np.random.default_rng(0))
    >>> rtrl(stack, parameters, np.ones((1, 1, 2)), [0]).gradients["readout.bias"].shape
    (3,)
    """
    checks.instance("model", model, Model, "dense_network((64, 32, 10))")
    parameters, inputs, targets = model.check(parameters, inputs, targets)
    steps = len(inputs)
    gradients, bytes_kept = {}, 0
    for name, value in parameters.items():
        # every coordinate direction of this parameter, along a leading axis
        directions = zeros_like(parameters)
        directions[name] = np.eye(value.size, dtype=value.dtype).reshape(value.size, *value.shape)
        final, tangents = _push(model, parameters, inputs, directions)
        cotangent, direct = model.loss_gradient(parameters, final, targets, steps)
        # a tangent that no direction has reached yet has no leading axis
        derivatives = sum(
            (cotangent[entry] * tangents[entry])
            .reshape(*tangents[entry].shape[: -cotangent[entry].ndim], -1)
            .sum(axis=-1)
            for entry in cotangent
        )
        gradients[name] = np.broadcast_to(derivatives, (value.size,)).reshape(value.shape).copy()
        if name in direct:
            gradients[name] += direct[name]
        bytes_kept = max(bytes_kept, sum(array.nbytes for array in tangents.values()))
    return GradientResult(
        loss=model.loss(parameters, final, targets, steps),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=steps * len(parameters),
            bytes_kept=bytes_kept,
            outputs=model.outputs(parameters, final, steps),
        ),
    )


def _push(model: Model, parameters: Parameters, inputs: Any, directions: Parameters) -> tuple[State, State]:
    """Run state and tangent forward through all steps."""
    state = model.initial_state(parameters, len(inputs[0]))
    tangent = zeros_like(state)
    for t in range(len(inputs)):
        tangent = model.step_jvp(parameters, state, inputs[t], tangent, directions)
        state = model.step(parameters, state, inputs[t])
    return state, tangent
