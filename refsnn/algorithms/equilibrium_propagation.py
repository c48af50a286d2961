"""Equilibrium propagation: the contrast of two relaxations is the gradient (Ernoult et al. 2019).

Free phase: relax to s_*.  Nudged phase: from s_*, K more steps while the output feels a force of strength
beta towards the target.  With the Hebbian products dPhi/dtheta,

    Delta-hat(beta, K) = 1 / (beta B) sum_b [ dPhi/dtheta(s^beta_K) - dPhi/dtheta(s_*) ]         (E7)

tends for beta -> 0, at the steady state of a gradient system, to minus the BPTT gradient truncated to the
last K steps (E8); to the full -dL_*/dtheta for K -> infinity.  The symmetric variant (Laborieux et al.
2021) contrasts +beta with -beta, both from the same s_*, and so removes the first order of the bias and
the drift of an unfinished free phase.
"""

from __future__ import annotations

from typing import Any

from refsnn import checks
from refsnn.algorithms.relaxation import checked_nudge, settle
from refsnn.algorithms.result import Diagnostics, GradientResult, like
from refsnn.models.contract import Parameters
from refsnn.models.coupled_layers import CoupledLayers


def equilibrium_propagation(
    model: CoupledLayers,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    free_steps: int,
    nudged_steps: int,
    nudge: complex,
    symmetric: bool = False,
) -> GradientResult:
    """Gradient estimate -Delta-hat by one-sided or symmetric equilibrium propagation.

    Parameters
    ----------
    model : EnergyBasedNetwork or PrototypicalNetwork
        The network, with tied weights.
    parameters : dict of ndarray
        As `model.parameter_shapes()` says.
    inputs : array_like, shape (B, d_N)
        x.
    targets : array_like, shape (B, d_0)
        y.
    free_steps, nudged_steps : int
        T and K.
    nudge : float or complex
        beta, not 0.  With beta = 1e-30 i the result is the limit beta -> 0 to working precision at a
        steady state; after an unfinished free phase it is the part without drift, as `symmetric` gives.
    symmetric : bool
        Contrast +beta with -beta instead of +beta with the free phase.

    Returns
    -------
    GradientResult
        Gradients in the sign of dL/dtheta: descend on them.  The loss is that of the free phase.
        `diagnostics.residual` is that of s_T, the end of the free phase.  A one-sided contrast with a
        real beta carries a drift of about residual / |beta|: trust it only where that is small.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, for a nudge of 0, and for untied networks.
    FloatingPointError
        If the states overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from refsnn.models.convergent import EnergyBasedNetwork
    >>> network = EnergyBasedNetwork((2, 3, 4))
    >>> rng = np.random.default_rng(0)
    >>> result = equilibrium_propagation(
    ...     network, network.initialise(rng), rng.random((5, 4)), rng.random((5, 2)),
    ...     free_steps=400, nudged_steps=30, nudge=0.01, symmetric=True)
    >>> result.gradients["coupling.0.1.weight"].shape, result.diagnostics.residual < 1e-12
    ((2, 3), True)
    """
    parameters, inputs, targets = model.check_static(parameters, inputs, targets)
    free_steps = checks.count("free_steps", free_steps)
    nudged_steps = checks.count("nudged_steps", nudged_steps)
    nudge = checked_nudge(model, nudge)
    checks.instance("symmetric", symmetric, bool, "True")
    batch, drive = len(inputs), model.static_drive(parameters, inputs)

    start = model.initial_state(parameters, batch)
    free = settle(model, parameters, inputs, start, free_steps, None, 0.0, drive)
    plus = settle(model, parameters, inputs, free.state, nudged_steps, targets, nudge, drive)
    executed = free.steps_executed + plus.steps_executed
    if symmetric:
        other = settle(model, parameters, inputs, free.state, nudged_steps, targets, -nudge, drive)
        executed, distance = executed + other.steps_executed, 2 * nudge
    else:
        other, distance = free, nudge

    after = model.primitive_gradient(parameters, plus.state, inputs)
    before = model.primitive_gradient(parameters, other.state, inputs)
    gradients = {
        name: like(parameters[name], (before[name] - after[name]) / (distance * batch)) for name in parameters
    }
    return GradientResult(
        loss=model.loss(free.state, targets),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=executed,
            bytes_kept=sum(array.nbytes for array in free.state.values()),
            outputs=model.outputs(free.state),
            residual=free.residual,
        ),
    )
