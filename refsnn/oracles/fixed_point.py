"""Implicit gradient at a steady state, with a dense Jacobian of its own.

With s_* = F(x, s_*, theta) and J = dF/ds at s_*,

    (I - J^T) Lambda = dl/ds(s_*),    dL_*/dtheta = (dF/dtheta)^T Lambda.

Both derivatives of F are taken column by column with the complex step, so nothing is shared with the
hand-written `step_vjp` and `step_jvp` but the step itself.  The network must be holomorphic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.models.contract import Parameters, State
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.oracles.complex_step import complex_step_gradient

STEP = 1e-30
# largest residual of a steady state, relative to states above 1: the answer is wrong by about as much
STEADY = 1e-6


def joined(state: State) -> np.ndarray:
    """All layers of a state side by side, (B, number of units), in the order of the dict.

    Examples
    --------
    >>> joined({"layer.0": np.zeros((4, 2)), "layer.1": np.ones((4, 3))}).shape
    (4, 5)
    """
    return np.concatenate([array.reshape(len(array), -1) for array in state.values()], axis=-1)


def state_jacobian(model: ConvergentNetwork, parameters: Parameters, state: State, inputs: Any) -> np.ndarray:
    """dF/ds of each sample, by the complex step.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network, holomorphic.
    parameters, state : dict of ndarray
        float64; states (B, d_n), steady or not, entries in any order.
    inputs : ndarray, shape (B, d_N)
        x.

    Returns
    -------
    ndarray, shape (B, D, D)
        D = sum of the widths of the layers; entry (b, i, j) is d F_i / d s_j of sample b.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, float32 among them, and for networks that are not holomorphic.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network = PrototypicalNetwork((1, 1), step_size=0.25)
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> state_jacobian(network, parameters, network.initial_state(parameters, 1), np.ones((1, 1)))
    array([[[0.75]]])
    """
    parameters, inputs, _, state = _checked(model, parameters, inputs, None, state, need_targets=False)
    columns = []
    for name in model.layers:
        for unit in np.ndindex(state[name].shape[1:]):
            moved = state[name].astype(complex)
            moved[(slice(None), *unit)] += 1j * STEP
            columns.append(joined(model.step(parameters, {**state, name: moved}, inputs)).imag / STEP)
    return np.stack(columns, axis=-1)


def implicit_gradient(
    model: ConvergentNetwork, parameters: Parameters, inputs: Any, targets: Any, state: State
) -> Parameters:
    """Exact gradient of the loss at the steady state.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network, holomorphic; small, for every parameter entry costs one step.
    parameters : dict of ndarray
        float64.
    inputs, targets : array_like
        x (B, d_N) and y (B, d_0).
    state : dict of ndarray
        s_*, converged: `relax` long enough.

    Returns
    -------
    dict of ndarray
        dL_*/dtheta of the batch mean.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, float32 among them, for networks that are not holomorphic, and for a state that
        is not steady.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network, x, y = PrototypicalNetwork((1, 1), activation="identity"), np.ones((1, 1)), np.zeros((1, 1))
    >>> parameters = {"coupling.0.1.weight": np.array([[0.5]]), "coupling.0.1.bias": np.array([0.0])}
    >>> implicit_gradient(network, parameters, x, y, {"layer.0": np.array([[0.5]])})["coupling.0.1.weight"]
    array([[0.5]])
    """
    parameters, inputs, targets, state = _checked(model, parameters, inputs, targets, state)
    residual = model.residual(parameters, state, inputs)
    size = max(1.0, max(float(np.abs(array).max()) for array in state.values()))
    if residual > STEADY * size:
        raise ValueError(
            f"state: expected a steady state, got one that the next step moves by {residual:.1e}; "
            "relax for more steps, or with a smaller step_size if it cycles"
        )
    jacobian = state_jacobian(model, parameters, state, inputs)
    # complex(): the loss does not see the hidden layers, and is real there
    slopes = complex_step_gradient(lambda moved: complex(model.loss(parameters, moved, targets)), state, STEP)
    slope = joined(slopes)
    transposed = np.eye(jacobian.shape[-1]) - np.swapaxes(jacobian, -1, -2)
    adjoint = np.linalg.solve(transposed, slope[..., None])[..., 0]
    # a parameter acts on the loss through the steady state, and a read-out's also directly
    return complex_step_gradient(
        lambda moved: (
            (joined(model.step(moved, state, inputs)) * adjoint).sum() + model.loss(moved, state, targets)
        ),
        parameters,
        STEP,
    )


def _checked(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    state: State,
    need_targets: bool = True,
) -> tuple[Parameters, np.ndarray, Any, State]:
    """The door of both oracles: float64, holomorphic; the state in the order of the layers."""
    model.require_holomorphic("model")
    parameters, inputs, targets = model.check_static(parameters, inputs, targets, need_targets)
    wrong = sorted({str(array.dtype) for array in parameters.values() if array.dtype != np.float64})
    if wrong:
        raise TypeError(
            f"parameters: expected dtype float64, got {', '.join(wrong)}; convert parameters, inputs, "
            "targets and state with .astype(np.float64): an oracle must be more exact than what it checks"
        )
    return parameters, inputs, targets, model.check_state(state, len(inputs), np.dtype(np.float64))
