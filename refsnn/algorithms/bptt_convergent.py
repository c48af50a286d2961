"""Backpropagation through the free relaxation: what equilibrium propagation is measured by.

    lambda_T = dl/ds(s_T) / B,    lambda_{t} = (dF/ds)^T lambda_{t+1} at s_t,
    dL/dtheta = sum_t (dF/dtheta)^T lambda_{t+1} at s_t.                                   (E4)

Truncated to the last K steps, only K + 1 states are kept; the state before them is detached.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.relaxation import free_phase
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters
from refsnn.models.convergent_network import ConvergentNetwork


def bptt_convergent(
    model: ConvergentNetwork,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    free_steps: int,
    steps_back: int | None = None,
    tolerance: float | None = None,
    backend: str = "cpu",
) -> GradientResult:
    """Gradient of the loss of s_T by backpropagation through the last `steps_back` steps.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network; tied or untied.
    parameters : dict of ndarray
        As `model.parameter_shapes()` says.
    inputs : array_like, shape (B, d_N)
        x.
    targets : array_like, shape (B, d_0)
        y.
    free_steps : int
        T, from the zero state.
    steps_back : int, optional
        K <= T; exactly K steps are differentiated.  All T by default.
    tolerance : float, optional
        End the free phase when a step moves no unit by more; `free_steps` is then the most it may take.
    backend : {"plain", "cpu", "cuda"}
        Who runs the relaxation.

    Returns
    -------
    GradientResult
        The exact gradient if `steps_back` is None.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and for more steps back than forward.
    FloatingPointError
        If the states overflow.
    NotSettledError
        If a tolerance was asked for and not reached: the network cycles, or needs more steps.

    Examples
    --------
    >>> from refsnn.models.convergent import PrototypicalNetwork
    >>> network = PrototypicalNetwork((2, 3, 4))
    >>> rng = np.random.default_rng(0)
    >>> problem = network, network.initialise(rng), rng.random((5, 4)), rng.random((5, 2))
    >>> result = bptt_convergent(*problem, free_steps=40, steps_back=10)
    >>> result.diagnostics.bytes_kept == 11 * 5 * (2 + 3) * 8
    True
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    free_steps = checks.count("free_steps", free_steps)
    steps_back = free_steps if steps_back is None else checks.count("steps_back", steps_back)
    if steps_back > free_steps:
        raise ValueError(f"steps_back: expected at most free_steps = {free_steps}, got {steps_back}")
    checks.choice("backend", backend, BACKENDS)
    drive = model.static_drive(parameters, inputs)
    start = model.initial_state(parameters, len(inputs))
    free = free_phase(model, parameters, inputs, start, free_steps, drive, steps_back + 1, backend, tolerance)
    if len(free.kept) <= steps_back:
        raise ValueError(
            f"steps_back: expected at most the {free.steps_taken} steps that the free phase took to its "
            f"tolerance, got {steps_back}; ask for a smaller tolerance, or for fewer steps back"
        )

    adjoint, direct = model.loss_gradient(parameters, free.state, targets)
    gradients = {name: direct.get(name, np.zeros_like(array)) for name, array in parameters.items()}
    for t in range(steps_back):
        # nabla_theta(t) is linearised at s_{T-t-1}, the state that the step started from
        adjoint, share = model.step_vjp(parameters, free.kept[-2 - t], inputs, adjoint, drive)
        gradients = {name: gradients[name] + share[name] for name in gradients}
    return GradientResult(
        loss=model.loss(parameters, free.state, targets),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=free.steps_executed,
            bytes_kept=free.bytes_kept,
            outputs=model.outputs(parameters, free.state),
            residual=free.residual,
            two_cycle=free.two_cycle,
        ),
    )
